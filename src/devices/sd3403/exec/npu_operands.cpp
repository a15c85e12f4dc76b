// Reading operands and attributes.
//
// All of it may come from a hostile file: each is held against bounds before it is used. What the commands do is the
// processor's to check.
#include "devices/sd3403/exec/npu_operands.h"

#include <fmt/format.h>

#include <algorithm>

namespace hai::sd3403 {
namespace {

constexpr int64_t kMostScratchImage = int64_t{1} << 30;

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

Result<int64_t> size_attribute(const cpu::KernelContext& context, std::string_view name, int64_t least,
                               int64_t greatest) {
  HAI_TRY(const int64_t value, context.int_attribute(name, -1, least, greatest));
  if (value >= 0) return value;
  return context.refuse(fmt::format("the attribute {} is missing", name));
}

}  // namespace

Result<NpuOperands> read_operands(const cpu::KernelContext& context) {
  const size_t tensors = context.inputs.size() + context.outputs.size();
  if (context.inputs.size() < kFirstInput || tensors > kMostImages) {
    return context.refuse(fmt::format("takes commands, constants and at most {} tensors", kMostImages - kFirstInput));
  }
  NpuOperands out;
  HAI_TRY(out.words, constant_bytes(context, 0, "commands"));
  HAI_TRY(out.constants, constant_bytes(context, kConstantsOperand, "constants"));
  HAI_TRY(out.memory.sram_bytes, size_attribute(context, "sram_bytes", 1 << 14, 1 << 24));
  HAI_TRY(out.memory.cache_bytes, size_attribute(context, "cache_bytes", 1 << 12, 1 << 20));
  HAI_TRY(out.memory.accumulator_bytes, size_attribute(context, "accumulator_bytes", 1 << 10, 1 << 24));
  HAI_TRY(const int64_t scratch_bytes, size_attribute(context, "scratch_bytes", 0, kMostScratchImage));
  out.memory.image_bytes = {static_cast<int64_t>(out.constants.size()), scratch_bytes};
  for (size_t i = kFirstInput; i < context.inputs.size(); ++i) {
    if (context.inputs[i] == nullptr) return context.refuse(fmt::format("operand {} is missing", i));
    HAI_TRY(const Sample sample, sample_of(context, *context.inputs[i]));
    out.inputs.push_back(sample);
    out.memory.image_bytes.push_back(sample.bytes);
  }
  for (const format::ProgramTensor* tensor : context.outputs) {
    HAI_TRY(const Sample sample, sample_of(context, *tensor));
    out.outputs.push_back(sample);
    out.memory.image_bytes.push_back(sample.bytes);
  }
  return out;
}

std::array<ImageBytes, kMostImages> images_of_sample(const NpuOperands& operands, const cpu::RunContext& context,
                                                     int64_t sample) {
  std::array<ImageBytes, kMostImages> images{};
  images[0].read = context.inputs[kConstantsOperand].data;
  for (size_t i = 0; i < operands.inputs.size(); ++i) {
    const int64_t offset = operands.inputs[i].batched ? sample * operands.inputs[i].bytes : 0;
    images[kFirstInput + i].read = context.inputs[kFirstInput + i].data + offset;
  }
  for (size_t i = 0; i < operands.outputs.size(); ++i) {
    const int64_t offset = operands.outputs[i].batched ? sample * operands.outputs[i].bytes : 0;
    std::byte* data = context.outputs[i].data + offset;
    images[kFirstInput + operands.inputs.size() + i] = {data, data};
  }
  return images;
}

}  // namespace hai::sd3403
