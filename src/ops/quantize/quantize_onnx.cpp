// ONNX QuantizeLinear and DequantizeLinear: integers are kept as they are, with their scales in the tensor's type.
//
// A constant behind DequantizeLinear (a weight) stays an integer constant; per-axis and block-wise scales are kept.
// Scales and zero points must be constant. An integer tensor that has no quantization, or another one, is dequantized
// with ordinary arithmetic, which gives the same numbers.
#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "importers/onnx/import_registry.h"

namespace hai::onnx_import {
namespace {

// The integers of a constant, nibbles included.
Result<std::vector<int32_t>> read_zero_points(ImportContext& context, ir::ValueId id) {
  const ir::Value& value = context.graph().value(id);
  if (!value.is_constant() || !is_integer(value.type.dtype) || bit_width(value.type.dtype) > 32) {
    return context.unsupported("its zero points must be constant integers of at most 32 bits");
  }
  const int bits = bit_width(value.type.dtype);
  const auto bytes = value.constant->bytes();
  std::vector<int32_t> out(static_cast<size_t>(element_count(value.type.shape)->value));
  for (size_t i = 0; i < out.size(); ++i) {
    uint32_t raw = 0;
    if (bits == 4) {
      raw = (static_cast<uint32_t>(bytes[i / 2]) >> (i % 2 * 4)) & 15U;
    } else {
      const auto width = static_cast<size_t>(bits) / 8;
      std::memcpy(&raw, bytes.data() + i * width, width);
    }
    const int shift = 32 - bits;
    out[i] =
        is_signed_integer(value.type.dtype) ? static_cast<int32_t>(raw << shift) >> shift : static_cast<int32_t>(raw);
  }
  return out;
}

// Scale (operand 1), zero point (operand 2), axis and block_size as the quantization of a tensor of shape `shape`.
Result<Quantization> read_quantization(ImportContext& context, const Shape& shape, ir::ValueId zero_point) {
  HAI_TRY(const ir::ValueId scale, context.input(1));
  if (context.type(scale).dtype != DataType::kF32) return context.unsupported("its scale must be float32");
  HAI_TRY(const std::vector<double> scales, context.reals(1, "the scale"));
  Quantization out;
  for (const double one : scales) {
    if (!std::isfinite(one) || one <= 0.0)
      return context.invalid(fmt::format("a scale is {}; scales are positive", one));
    out.scales.push_back(static_cast<float>(one));
  }
  out.zero_points.assign(out.scales.size(), 0);
  if (zero_point != ir::kNone) {
    HAI_TRY(out.zero_points, read_zero_points(context, zero_point));
    if (out.zero_points.size() != out.scales.size()) return context.invalid("scales and zero points differ in number");
  }
  if (context.rank(scale) == 0 || (scales.size() == 1 && context.rank(scale) == 1)) return out;
  HAI_TRY(const int64_t axis, context.axis(context.int_attribute("axis", 1), shape.size()));
  out.axis = static_cast<int32_t>(axis);
  out.block = context.int_attribute("block_size", 0);
  const Dim size = shape[static_cast<size_t>(axis)];
  if (out.block == 0 && (context.rank(scale) != 1 || size != Dim(static_cast<int64_t>(scales.size())))) {
    return context.invalid(fmt::format("{} scales do not fit axis {}", scales.size(), axis));
  }
  return out;
}

Status convert_quantize(ImportContext& context) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  HAI_TRY(const ir::ValueId zero_point, context.optional_input(2));
  ir::TensorType type{DataType::kU8, context.shape(x), {}};
  const int64_t wanted = context.int_attribute("output_dtype", 0);
  if (zero_point != ir::kNone) type.dtype = context.type(zero_point).dtype;
  if (zero_point == ir::kNone && wanted == 3) type.dtype = DataType::kI8;
  if (zero_point == ir::kNone && wanted == 5) type.dtype = DataType::kI16;
  if (zero_point == ir::kNone && wanted == 4) type.dtype = DataType::kU16;
  HAI_TRY(type.quantization, read_quantization(context, type.shape, zero_point));
  HAI_TRY(const ir::ValueId y, context.emit("quantize", {x}, {}, std::move(type)));
  return context.set_output(0, y);
}

// (q - zero_point) * scale with ordinary operators.
Result<ir::ValueId> by_arithmetic(ImportContext& context, ir::ValueId x, const Quantization& quantization) {
  if (!quantization.per_tensor() || context.type(x).quantization) {
    return context.unsupported("its operand has another quantization, or none where scales differ along an axis");
  }
  HAI_TRY(const ir::ValueId real, context.emit("cast", {x}, {{"dtype", std::string("f32")}}));
  HAI_TRY(const ir::ValueId shifted,
          context.emit("sub", {real, context.scalar_like(real, quantization.zero_points[0])}));
  return context.emit("mul", {shifted, context.constant_f32({quantization.scales[0]}, {})});
}

Status convert_dequantize(ImportContext& context) {
  HAI_TRY(ir::ValueId x, context.input(0));
  HAI_TRY(const ir::ValueId zero_point, context.optional_input(2));
  const ir::TensorType type = context.type(x);
  if (!is_integer(type.dtype)) return context.unsupported("its operand must be integers");
  HAI_TRY(const Quantization quantization, read_quantization(context, type.shape, zero_point));
  ir::Graph& graph = context.graph();
  if (graph.value(x).is_constant() && !type.quantization) {
    const ir::Value value = graph.value(x);
    x = graph.add_constant(value.name, {type.dtype, type.shape, quantization}, value.constant);
  } else if (graph.is_input(x) && !type.quantization && graph.value(x).uses.empty()) {
    graph.value(x).type.quantization = quantization;  // a quantized input, read by nothing else so far
  }
  if (context.type(x).quantization != quantization) {
    HAI_TRY(const ir::ValueId y, by_arithmetic(context, x, quantization));
    return context.set_output(0, y);
  }
  HAI_TRY(const ir::ValueId y, context.emit("dequantize", {x}));
  return context.set_output(0, y);
}

}  // namespace

void register_quantize_onnx(ImportRegistry& registry);
void register_quantize_onnx(ImportRegistry& registry) {
  registry.add("QuantizeLinear", convert_quantize);
  registry.add("DequantizeLinear", convert_dequantize);
}

}  // namespace hai::onnx_import
