// The NPU's programs as a kernel of the CPU device's registry: an instruction "npu" of a program of device sd3403.
//
// Operands: inputs [commands, constants, data ...], outputs [data ...]. `commands` is a constant of u8, 128 bytes a
// command; `constants` a constant of u8, image 0. Image 1 is the scratch; from 2 on follow the data inputs, then the
// data outputs, each the dense row-major tensor of one sample: a batch of N runs N times, and tensors whose shape
// depends on the batch advance by a sample. Attributes: sram_bytes, cache_bytes, accumulator_bytes (of the machine),
// scratch_bytes (image 1); others are for other readers.
#pragma once

#include "devices/cpu/exec/exec_registry.h"

namespace hai::sd3403 {

// Errors: those of read_operands(), decode_words() and Processor::make().
Result<std::unique_ptr<cpu::CpuKernel>> make_npu_kernel(const cpu::KernelContext& context);

// Adds the kernel "npu".
void register_exec(cpu::ExecRegistry& registry);

}  // namespace hai::sd3403
