// Shared answers to "can the CPU device take this node?".
//
// A refusal names operator and type; the compiler prints it as the reason of a fallback or as the error.
#include "devices/cpu/lower/supports.h"

namespace hai::cpu {
namespace {

Status check_value(const ir::Graph& graph, const ir::Node& node, ir::ValueId id, ops::DataTypeSet allowed) {
  const ir::TensorType& type = graph.value(id).type;
  if (!ops::contains(allowed, type.dtype)) {
    return make_error(
        StatusCode::kUnsupported, "C030",
        "{} of {} is not supported on cpu; it takes {}: convert the tensor to one of them, or keep the node in f32",
        node.op, data_type_name(type.dtype), ops::describe(allowed));
  }
  if (is_integer(type.dtype) && bit_width(type.dtype) <= 16 &&
      (!type.quantization || !type.quantization->per_tensor() || type.quantization->scales.size() != 1)) {
    return make_error(StatusCode::kUnsupported, "C031", "{} of {} needs one scale for the whole tensor on cpu", node.op,
                      data_type_name(type.dtype));
  }
  return {};
}

}  // namespace

Status supports_elementwise(const ir::Graph& graph, const ir::Node& node, ops::DataTypeSet allowed) {
  for (const ir::ValueId id : node.inputs) {
    if (id != ir::kNone) HAI_TRY_STATUS(check_value(graph, node, id, allowed));
  }
  for (const ir::ValueId id : node.outputs) HAI_TRY_STATUS(check_value(graph, node, id, allowed));
  return {};
}

Status supports_operand(const ir::Graph& graph, const ir::Node& node, size_t operand, ops::DataTypeSet allowed) {
  if (operand >= node.inputs.size() || node.inputs[operand] == ir::kNone) return {};
  return check_value(graph, node, node.inputs[operand], allowed);
}

Status supports_multiplier(const ir::Node& node, float multiplier) {
  if (hai_multiplier_usable(multiplier)) return {};
  return make_error(
      StatusCode::kOutOfRange, "C032",
      "{}: the scales of its tensors give multiplier {}, which must be in [2^-40, 2^8]; quantize its tensors with "
      "scales nearer to each other, or keep the node in f32",
      node.op, multiplier);
}

Status supports_whole_bytes(const ir::Graph& graph, const ir::Node& node) {
  for (const ir::ValueId id : node.inputs) {
    if (id == ir::kNone || bit_width(graph.value(id).type.dtype) >= 8) continue;
    return make_error(StatusCode::kUnsupported, "C033", "{} of packed {} is not supported on cpu; dequantize it first",
                      node.op, data_type_name(graph.value(id).type.dtype));
  }
  return {};
}

Status supports_f32_and_quantized(const ir::Graph& graph, const ir::Node& node) {
  constexpr ops::DataTypeSet kTypes = ops::set_of({DataType::kF32}) | ops::kQuantizedTypes;
  HAI_TRY_STATUS(check_value(graph, node, node.inputs[0], kTypes));
  HAI_TRY_STATUS(check_value(graph, node, node.outputs[0], kTypes));
  const DataType x = graph.value(node.inputs[0]).type.dtype;
  const DataType y = graph.value(node.outputs[0]).type.dtype;
  if (x == y) return {};
  return make_error(StatusCode::kUnsupported, "C034", "{} from {} to {} is not supported on cpu; the types must be one",
                    node.op, data_type_name(x), data_type_name(y));
}

Status supports_floats_and_quantized(const ir::Graph& graph, const ir::Node& node) {
  const bool halves = graph.value(node.inputs[0]).type.dtype == DataType::kF16;
  return halves ? supports_elementwise(graph, node, ops::set_of({DataType::kF16}))
                : supports_f32_and_quantized(graph, node);
}

float scale_of(const ir::Graph& graph, ir::ValueId value) {
  const auto& quantization = graph.value(value).type.quantization;
  return quantization && !quantization->scales.empty() ? quantization->scales[0] : 1.0F;
}

}  // namespace hai::cpu
