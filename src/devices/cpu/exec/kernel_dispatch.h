// One name for a kernel that exists once per instruction set.
//
// In a kernel's C file:   void HAI_KERNEL(relu_f32)(const float* x, float* y, int64_t count) { ... } (kernel_name.h) In
// C++ that calls it:   HAI_KERNEL_FAMILY(relu_f32, void, (const float*, float*, int64_t));
//                         relu_f32_for(isa)(x, y, count);
// `HAI_KERNEL_FAMILY` declares relu_f32__scalar, relu_f32__avx2, ... of this architecture and a selector over them: one
// a vector width, which the sets with dot products (vnni, neondot, neoni8mm) share. `HAI_DOT_KERNEL_FAMILY` is for
// kernels in files foo__dot.c, which are compiled for those sets as well.
#pragma once

#include "devices/cpu/exec/isa.h"

// The selector: each set's own function, `avx2vnni` and so on where dot products make a difference.
#if defined(__x86_64__)
#define HAI_SELECT_KERNEL(name, returns, parameters, avx2vnni, avx512vnni)  \
  using name##_function = returns(*) parameters;                            \
  [[maybe_unused]] static name##_function name##_for(::hai::cpu::Isa isa) { \
    switch (isa) {                                                          \
      case ::hai::cpu::Isa::kAvx2:                                          \
        return name##__avx2;                                                \
      case ::hai::cpu::Isa::kAvx2Vnni:                                      \
        return name##__##avx2vnni;                                          \
      case ::hai::cpu::Isa::kAvx512:                                        \
        return name##__avx512;                                              \
      case ::hai::cpu::Isa::kAvx512Vnni:                                    \
        return name##__##avx512vnni;                                        \
      default:                                                              \
        return name##__scalar;                                              \
    }                                                                       \
  }                                                                         \
  static_assert(true)
#define HAI_KERNEL_FAMILY(name, returns, parameters) \
  extern "C" {                                       \
  returns name##__scalar parameters;                 \
  returns name##__avx2 parameters;                   \
  returns name##__avx512 parameters;                 \
  }                                                  \
  HAI_SELECT_KERNEL(name, returns, parameters, avx2, avx512)
#define HAI_DOT_KERNEL_FAMILY(name, returns, parameters) \
  extern "C" {                                           \
  returns name##__scalar parameters;                     \
  returns name##__avx2 parameters;                       \
  returns name##__avx2vnni parameters;                   \
  returns name##__avx512 parameters;                     \
  returns name##__avx512vnni parameters;                 \
  }                                                      \
  HAI_SELECT_KERNEL(name, returns, parameters, avx2vnni, avx512vnni)
#elif defined(__aarch64__)
#define HAI_SELECT_KERNEL(name, returns, parameters, neondot, neoni8mm)     \
  using name##_function = returns(*) parameters;                            \
  [[maybe_unused]] static name##_function name##_for(::hai::cpu::Isa isa) { \
    switch (isa) {                                                          \
      case ::hai::cpu::Isa::kNeon:                                          \
        return name##__neon;                                                \
      case ::hai::cpu::Isa::kNeonDot:                                       \
        return name##__##neondot;                                           \
      case ::hai::cpu::Isa::kNeonI8mm:                                      \
        return name##__##neoni8mm;                                          \
      default:                                                              \
        return name##__scalar;                                              \
    }                                                                       \
  }                                                                         \
  static_assert(true)
#define HAI_KERNEL_FAMILY(name, returns, parameters) \
  extern "C" {                                       \
  returns name##__scalar parameters;                 \
  returns name##__neon parameters;                   \
  }                                                  \
  HAI_SELECT_KERNEL(name, returns, parameters, neon, neon)
#define HAI_DOT_KERNEL_FAMILY(name, returns, parameters) \
  extern "C" {                                           \
  returns name##__scalar parameters;                     \
  returns name##__neon parameters;                       \
  returns name##__neondot parameters;                    \
  returns name##__neoni8mm parameters;                   \
  }                                                      \
  HAI_SELECT_KERNEL(name, returns, parameters, neondot, neoni8mm)
#else
#error "HAI's CPU device knows x86-64 and Arm64"
#endif
