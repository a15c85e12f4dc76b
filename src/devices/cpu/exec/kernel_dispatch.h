// One name for a kernel that exists once per instruction set.
//
// In a kernel's C file:   void HAI_KERNEL(relu_f32)(const float* x, float* y, int64_t count) { ... } (kernel_name.h) In
// C++ that calls it:   HAI_KERNEL_FAMILY(relu_f32, void, (const float*, float*, int64_t));
//                         relu_f32_for(isa)(x, y, count);
// `HAI_KERNEL_FAMILY` declares relu_f32__scalar, relu_f32__avx2, ... of this architecture and a selector over them: one
// a vector width, which the sets with dot products (vnni, neondot, neoni8mm) share. `HAI_DOT_KERNEL_FAMILY` is for
// kernels in files foo__dot.c, which are compiled for those sets as well.
#pragma once

#include <cstddef>
#include <iterator>

#include "devices/cpu/exec/isa.h"

// The selector: each set's own function from kFirstVectorIsa on, in the order of Isa; scalar for all others.
#define HAI_SELECT_KERNEL(name, returns, parameters, ...)                                              \
  using name##_function = returns(*) parameters;                                                       \
  [[maybe_unused]] static name##_function name##_for(::hai::cpu::Isa isa) {                            \
    static constexpr name##_function kBySet[] = {__VA_ARGS__};                                         \
    const auto at = static_cast<size_t>(isa) - static_cast<size_t>(::hai::cpu::kFirstVectorIsa);       \
    return isa >= ::hai::cpu::kFirstVectorIsa && at < std::size(kBySet) ? kBySet[at] : name##__scalar; \
  }                                                                                                    \
  static_assert(true)

#if defined(__x86_64__)
namespace hai::cpu {
inline constexpr Isa kFirstVectorIsa = Isa::kAvx2;
}
#define HAI_KERNEL_FAMILY(name, returns, parameters) \
  extern "C" {                                       \
  returns name##__scalar parameters;                 \
  returns name##__avx2 parameters;                   \
  returns name##__avx512 parameters;                 \
  }                                                  \
  HAI_SELECT_KERNEL(name, returns, parameters, name##__avx2, name##__avx2, name##__avx512, name##__avx512)
#define HAI_DOT_KERNEL_FAMILY(name, returns, parameters) \
  extern "C" {                                           \
  returns name##__scalar parameters;                     \
  returns name##__avx2 parameters;                       \
  returns name##__avx2vnni parameters;                   \
  returns name##__avx512 parameters;                     \
  returns name##__avx512vnni parameters;                 \
  }                                                      \
  HAI_SELECT_KERNEL(name, returns, parameters, name##__avx2, name##__avx2vnni, name##__avx512, name##__avx512vnni)
#elif defined(__aarch64__)
namespace hai::cpu {
inline constexpr Isa kFirstVectorIsa = Isa::kNeon;
}
#define HAI_KERNEL_FAMILY(name, returns, parameters) \
  extern "C" {                                       \
  returns name##__scalar parameters;                 \
  returns name##__neon parameters;                   \
  }                                                  \
  HAI_SELECT_KERNEL(name, returns, parameters, name##__neon, name##__neon, name##__neon)
#define HAI_DOT_KERNEL_FAMILY(name, returns, parameters) \
  extern "C" {                                           \
  returns name##__scalar parameters;                     \
  returns name##__neon parameters;                       \
  returns name##__neondot parameters;                    \
  returns name##__neoni8mm parameters;                   \
  }                                                      \
  HAI_SELECT_KERNEL(name, returns, parameters, name##__neon, name##__neondot, name##__neoni8mm)
#else
#error "HAI's CPU device knows x86-64 and Arm64"
#endif
