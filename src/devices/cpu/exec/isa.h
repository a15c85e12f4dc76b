// Instruction sets of the CPU device: which are compiled in, which this machine has, which one to use (HAI_CPU forces
// one).
#pragma once

#include <span>
#include <string_view>

#include "base/result.h"

namespace hai::cpu {

// Order within an architecture: later ones are preferred.
enum class Isa : int32_t { kScalar = 0, kAvx2, kAvx2Vnni, kAvx512, kAvx512Vnni, kNeon, kNeonDot, kNeonI8mm };
inline constexpr int kIsaCount = 8;

std::string_view isa_name(Isa isa);  // "avx512vnni"
bool isa_compiled(Isa isa);          // has kernels in this build
bool isa_available(Isa isa);         // compiled, and this machine (CPU and operating system) can run it
// Compiled and available ones, scalar first.
std::span<const Isa> available_isas();
// The one HAI_CPU names, else the best available. An unknown or unavailable name is an error that lists what there is.
Result<Isa> selected_isa();

}  // namespace hai::cpu
