// The kernel "npu": checks the instruction, decodes its commands, and runs a Processor for each sample.
//
// All of it may come from a hostile file: operands and attributes are checked by read_operands(), words by decode, what
// the commands do by the processor.
#include "devices/sd3403/exec/npu_kernel.h"

#include "devices/cpu/exec/kernel_place.h"
#include "devices/sd3403/exec/npu_operands.h"
#include "devices/sd3403/exec/processor.h"

namespace hai::sd3403 {
namespace {

class NpuKernel final : public cpu::CpuKernel {
 public:
  NpuKernel(NpuOperands operands, Processor processor)
      : operands_(std::move(operands)), processor_(std::move(processor)) {}

  int64_t scratch_bytes(int64_t, int thread_count) const override { return processor_.scratch_bytes(thread_count); }
  int64_t packed_bytes() const override { return processor_.packed_bytes(); }
  bool needs_constant(size_t input) const override {
    return input >= kFirstInput || (input == kConstantsOperand && processor_.reads_constants());
  }

  void run(const cpu::RunContext& context) const override {
    for (int64_t sample = 0; sample < context.batch; ++sample)
      processor_.run(images_of_sample(operands_, context, sample), context.scratch, context.threads);
  }

 private:
  NpuOperands operands_;  // its spans are gone
  Processor processor_;
};

}  // namespace

Result<std::unique_ptr<cpu::CpuKernel>> make_npu_kernel(const cpu::KernelContext& context) {
  HAI_TRY(NpuOperands operands, read_operands(context));
  auto commands = decode_words(operands.words);
  if (!commands) return with_where(commands.error(), cpu::place_of(context.instruction));
  auto processor =
      Processor::make(*commands, operands.memory, operands.first_output(), operands.constants, context.isa);
  if (!processor) return with_where(processor.error(), cpu::place_of(context.instruction));
  operands.words = operands.constants = {};
  return std::unique_ptr<cpu::CpuKernel>(new NpuKernel(std::move(operands), std::move(*processor)));
}

void register_exec(cpu::ExecRegistry& registry) { registry.add("npu", make_npu_kernel); }

}  // namespace hai::sd3403
