// The operands and attributes of an instruction "npu" (npu_kernel.h), checked.
#pragma once

#include <span>
#include <vector>

#include "devices/cpu/exec/exec_registry.h"
#include "devices/sd3403/exec/processor_step.h"
#include "devices/sd3403/isa/program_verifier.h"

namespace hai::sd3403 {

inline constexpr size_t kConstantsOperand = 1;
inline constexpr size_t kFirstInput = 2;   // the operand, and its image
inline constexpr size_t kMostImages = 64;  // what a command can name

// Of a data tensor.
struct Sample {
  int64_t bytes = 0;
  bool batched = false;  // one a sample; else one for all
};

struct NpuOperands {
  std::span<const std::byte> words;      // the commands', undecoded
  std::span<const std::byte> constants;  // image 0
  MemorySizes memory;
  std::vector<Sample> inputs, outputs;

  int64_t first_output() const { return static_cast<int64_t>(kFirstInput + inputs.size()); }
};

// Spans are those of the context. Errors name the instruction: C010 to C012.
Result<NpuOperands> read_operands(const cpu::KernelContext& context);

// Images of one sample of a run, by number; image 1 is the processor's.
std::array<ImageBytes, kMostImages> images_of_sample(const NpuOperands& operands, const cpu::RunContext& context,
                                                     int64_t sample);

}  // namespace hai::sd3403
