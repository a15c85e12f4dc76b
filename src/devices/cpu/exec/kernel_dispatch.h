// One name for a kernel that exists once per instruction set.
//
// In a kernel's C file:   void HAI_KERNEL(relu_f32)(const float* x, float* y, int64_t count) { ... } (kernel_name.h) In
// C++ that calls it:   HAI_KERNEL_FAMILY(relu_f32, void, (const float*, float*, int64_t));
//                         relu_f32_for(isa)(x, y, count);
// `HAI_KERNEL_FAMILY` declares relu_f32__scalar, relu_f32__avx2, ... of this architecture and a selector over them.
#pragma once

#include "devices/cpu/exec/isa.h"

#if defined(__x86_64__)
#define HAI_KERNEL_FAMILY(name, returns, parameters)                        \
  extern "C" {                                                              \
  returns name##__scalar parameters;                                        \
  returns name##__avx2 parameters;                                          \
  returns name##__avx2vnni parameters;                                      \
  returns name##__avx512 parameters;                                        \
  returns name##__avx512vnni parameters;                                    \
  }                                                                         \
  using name##_function = returns(*) parameters;                            \
  [[maybe_unused]] static name##_function name##_for(::hai::cpu::Isa isa) { \
    switch (isa) {                                                          \
      case ::hai::cpu::Isa::kAvx2:                                          \
        return name##__avx2;                                                \
      case ::hai::cpu::Isa::kAvx2Vnni:                                      \
        return name##__avx2vnni;                                            \
      case ::hai::cpu::Isa::kAvx512:                                        \
        return name##__avx512;                                              \
      case ::hai::cpu::Isa::kAvx512Vnni:                                    \
        return name##__avx512vnni;                                          \
      default:                                                              \
        return name##__scalar;                                              \
    }                                                                       \
  }                                                                         \
  static_assert(true)
#elif defined(__aarch64__)
#define HAI_KERNEL_FAMILY(name, returns, parameters)                        \
  extern "C" {                                                              \
  returns name##__scalar parameters;                                        \
  returns name##__neon parameters;                                          \
  returns name##__neondot parameters;                                       \
  returns name##__neoni8mm parameters;                                      \
  }                                                                         \
  using name##_function = returns(*) parameters;                            \
  [[maybe_unused]] static name##_function name##_for(::hai::cpu::Isa isa) { \
    switch (isa) {                                                          \
      case ::hai::cpu::Isa::kNeon:                                          \
        return name##__neon;                                                \
      case ::hai::cpu::Isa::kNeonDot:                                       \
        return name##__neondot;                                             \
      case ::hai::cpu::Isa::kNeonI8mm:                                      \
        return name##__neoni8mm;                                            \
      default:                                                              \
        return name##__scalar;                                              \
    }                                                                       \
  }                                                                         \
  static_assert(true)
#else
#error "HAI's CPU device knows x86-64 and Arm64"
#endif
