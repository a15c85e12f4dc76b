// The kernel "npu": checks the instruction, decodes its commands, and runs a Processor for each sample.
//
// All of it may come from a hostile file: operands, attributes and sizes are held against bounds before they are used.
// What the commands do is the processor's to check.
#include "devices/sd3403/exec/npu_kernel.h"

#include <fmt/format.h>

#include <cstring>

#include "devices/sd3403/exec/processor.h"

namespace hai::sd3403 {
namespace {

constexpr size_t kConstants = 1;    // the operand
constexpr size_t kFirstInput = 2;   // the operand, and its image
constexpr size_t kMostImages = 64;  // what a command can name
constexpr int64_t kMostScratchImage = int64_t{1} << 30;

std::string place(const cpu::KernelContext& context) {
  return fmt::format("{} '{}'", context.instruction.kernel, context.instruction.name);
}

// Of a data tensor.
struct Sample {
  int64_t bytes = 0;
  bool batched = false;  // one a sample; else one for all
};

Result<Sample> sample_of(const cpu::KernelContext& context, const format::ProgramTensor& tensor) {
  const bool first_only = std::none_of(tensor.shape.begin() + (tensor.shape.empty() ? 0 : 1), tensor.shape.end(),
                                       [](const Dim& dim) { return dim.is_symbolic(); });
  const auto count = element_count(tensor.shape);
  if (!first_only || !count || bit_width(tensor.dtype) < 8) {
    return context.refuse(
        fmt::format("tensor '{}': only its first dimension may hang on the batch, and its elements "
                    "must have whole bytes",
                    tensor.name));
  }
  return Sample{bytes_for(tensor.dtype, count->value), count->is_symbolic()};
}

Result<std::span<const std::byte>> constant_bytes(const cpu::KernelContext& context, size_t operand,
                                                  std::string_view what) {
  const bool given = context.inputs[operand] != nullptr && context.constants[operand].data != nullptr;
  if (!given || context.constants[operand].dtype != DataType::kU8) {
    return context.refuse(fmt::format("operand {}, the {}, must be a constant of u8", operand, what));
  }
  const TensorView& view = context.constants[operand];
  return std::span(view.data, static_cast<size_t>(view.size_bytes()));
}

Result<std::vector<Command>> decode_commands(const cpu::KernelContext& context) {
  HAI_TRY(const auto bytes, constant_bytes(context, 0, "commands"));
  auto commands = decode_words(bytes);
  if (!commands) return with_where(commands.error(), place(context));
  return commands;
}

Result<int64_t> size_attribute(const cpu::KernelContext& context, std::string_view name, int64_t least,
                               int64_t greatest) {
  HAI_TRY(const int64_t value, context.int_attribute(name, -1, least, greatest));
  if (value >= 0) return value;
  return context.refuse(fmt::format("the attribute {} is missing", name));
}

class NpuKernel final : public cpu::CpuKernel {
 public:
  static Result<std::unique_ptr<cpu::CpuKernel>> make(const cpu::KernelContext& context);

  int64_t scratch_bytes(int64_t, int thread_count) const override { return processor_.scratch_bytes(thread_count); }
  int64_t packed_bytes() const override { return processor_.packed_bytes(); }
  bool needs_constant(size_t input) const override {
    return input >= kFirstInput || (input == kConstants && processor_.reads_constants());
  }

  void run(const cpu::RunContext& context) const override {
    std::array<ImageBytes, kMostImages> images{};
    images[0].read = context.inputs[kConstants].data;
    for (int64_t sample = 0; sample < context.batch; ++sample) {
      for (size_t i = 0; i < inputs_.size(); ++i) {
        const int64_t offset = inputs_[i].batched ? sample * inputs_[i].bytes : 0;
        images[kFirstInput + i].read = context.inputs[kFirstInput + i].data + offset;
      }
      for (size_t i = 0; i < outputs_.size(); ++i) {
        const int64_t offset = outputs_[i].batched ? sample * outputs_[i].bytes : 0;
        std::byte* data = context.outputs[i].data + offset;
        images[kFirstInput + inputs_.size() + i] = {data, data};
      }
      processor_.run(images, context.scratch, context.threads);
    }
  }

 private:
  explicit NpuKernel(Processor processor) : processor_(std::move(processor)) {}

  Processor processor_;
  std::vector<Sample> inputs_, outputs_;
};

Result<std::unique_ptr<cpu::CpuKernel>> NpuKernel::make(const cpu::KernelContext& context) {
  const size_t tensors = context.inputs.size() + context.outputs.size();
  if (context.inputs.size() < kFirstInput || tensors > kMostImages) {
    return context.refuse(fmt::format("takes commands, constants and at most {} tensors", kMostImages - kFirstInput));
  }
  HAI_TRY(const std::vector<Command> commands, decode_commands(context));
  HAI_TRY(const auto constants, constant_bytes(context, kConstants, "constants"));
  MemorySizes memory;
  HAI_TRY(memory.sram_bytes, size_attribute(context, "sram_bytes", 1 << 14, 1 << 24));
  HAI_TRY(memory.cache_bytes, size_attribute(context, "cache_bytes", 1 << 12, 1 << 20));
  HAI_TRY(memory.accumulator_bytes, size_attribute(context, "accumulator_bytes", 1 << 10, 1 << 24));
  HAI_TRY(const int64_t scratch_bytes, size_attribute(context, "scratch_bytes", 0, kMostScratchImage));
  memory.image_bytes = {static_cast<int64_t>(constants.size()), scratch_bytes};
  std::vector<Sample> inputs;
  std::vector<Sample> outputs;
  for (size_t i = kFirstInput; i < context.inputs.size(); ++i) {
    if (context.inputs[i] == nullptr) return context.refuse(fmt::format("operand {} is missing", i));
    HAI_TRY(const Sample sample, sample_of(context, *context.inputs[i]));
    inputs.push_back(sample);
    memory.image_bytes.push_back(sample.bytes);
  }
  for (const format::ProgramTensor* tensor : context.outputs) {
    HAI_TRY(const Sample sample, sample_of(context, *tensor));
    outputs.push_back(sample);
    memory.image_bytes.push_back(sample.bytes);
  }
  const auto first_output = static_cast<int64_t>(context.inputs.size());
  auto processor = Processor::make(commands, memory, first_output, constants, context.isa);
  if (!processor) {
    return with_where(processor.error(), place(context));
  }
  std::unique_ptr<NpuKernel> kernel(new NpuKernel(std::move(*processor)));
  kernel->inputs_ = std::move(inputs);
  kernel->outputs_ = std::move(outputs);
  return std::unique_ptr<cpu::CpuKernel>(std::move(kernel));
}

}  // namespace

void register_exec(cpu::ExecRegistry& registry) { registry.add("npu", NpuKernel::make); }

}  // namespace hai::sd3403
