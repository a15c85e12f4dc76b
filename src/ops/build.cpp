// Appending nodes with inferred types, inferring again, and constants from C++ values.
//
// append() checks and infers on a free-standing Node before the graph is touched, so that an error leaves the graph as
// it was. Declared types fix dtype and quantization of outputs; their shapes are ignored, since shapes are inferred.
#include "ops/build.h"

#include <fmt/format.h>

#include <cstring>

#include "ops/verify.h"

namespace hai::ops {
namespace {

Status check_declared(const ir::Node& node, std::span<const ir::TensorType> types,
                      std::span<const std::optional<ir::TensorType>> declared) {
  for (size_t i = 0; i < std::min(types.size(), declared.size()); ++i) {
    if (!declared[i]) continue;
    if (declared[i]->dtype == types[i].dtype && declared[i]->quantization == types[i].quantization) continue;
    return with_where(
        make_error(StatusCode::kInvalidArgument, "O040", "output {} is declared as {}{}, but the operator gives {}{}",
                   i, data_type_name(declared[i]->dtype), declared[i]->quantization ? " with a scale" : "",
                   data_type_name(types[i].dtype), types[i].quantization ? " with a scale" : ""),
        fmt::format("operator {}", node.op));
  }
  return {};
}

ir::ValueId add_constant(ir::Graph& graph, std::string name, DataType dtype, std::span<const int64_t> dims,
                         std::span<const std::byte> bytes, std::optional<Quantization> quantization) {
  ir::TensorType type{dtype, to_shape(dims), std::move(quantization)};
  return graph.add_constant(std::move(name), std::move(type), ir::ConstantData::copy_of(bytes));
}

}  // namespace

Result<ir::NodeId> append(ir::Graph& graph, std::string_view op, std::vector<ir::ValueId> inputs,
                          ir::Attributes attributes, AppendOptions options) {
  ir::Node node;
  node.op = std::string(op);
  node.name = options.node_name;
  node.inputs = std::move(inputs);
  node.attributes = std::move(attributes);
  for (const ir::ValueId id : node.inputs) {
    if (id != ir::kNone && (id >= graph.value_slots() || !graph.value(id).alive)) {
      return make_error(StatusCode::kInvalidArgument, "O041", "operator {} reads value {}, which does not exist", op,
                        id);
    }
  }
  HAI_TRY(std::vector<ir::TensorType> types, infer_types(graph, node, options.declared));
  HAI_TRY_STATUS(check_declared(node, types, options.declared));
  return graph.add_node(std::move(node.op), std::move(node.inputs), std::move(types), std::move(node.attributes),
                        std::move(options.node_name), std::move(options.output_names));
}

Result<ir::ValueId> append_value(ir::Graph& graph, std::string_view op, std::vector<ir::ValueId> inputs,
                                 ir::Attributes attributes, AppendOptions options) {
  HAI_TRY(const ir::NodeId id, append(graph, op, std::move(inputs), std::move(attributes), std::move(options)));
  return graph.node(id).outputs[0];
}

Result<std::vector<ir::TensorType>> infer_node(const ir::Graph& graph, ir::NodeId id) {
  const ir::Node& node = graph.node(id);
  std::vector<std::optional<ir::TensorType>> declared;
  for (const ir::ValueId output : node.outputs) declared.emplace_back(graph.value(output).type);
  return infer_types(graph, node, declared);
}

Status reinfer(ir::Graph& graph) {
  HAI_TRY(const std::vector<ir::NodeId> order, graph.ordered());
  for (const ir::NodeId id : order) {
    HAI_TRY(std::vector<ir::TensorType> types, infer_node(graph, id));
    const ir::Node& node = graph.node(id);
    if (types.size() != node.outputs.size()) {
      return make_error(StatusCode::kInvalidArgument, "O042", "node \"{}\" ({}) has {} outputs, inference gives {}",
                        node.name, node.op, node.outputs.size(), types.size());
    }
    for (size_t i = 0; i < types.size(); ++i) graph.value(node.outputs[i]).type = std::move(types[i]);
  }
  return {};
}

ir::ValueId add_constant_f32(ir::Graph& graph, std::string name, std::span<const int64_t> dims,
                             std::span<const float> values) {
  return add_constant(graph, std::move(name), DataType::kF32, dims, std::as_bytes(values), std::nullopt);
}

ir::ValueId add_constant_i32(ir::Graph& graph, std::string name, std::span<const int64_t> dims,
                             std::span<const int32_t> values) {
  return add_constant(graph, std::move(name), DataType::kI32, dims, std::as_bytes(values), std::nullopt);
}

ir::ValueId add_constant_i64(ir::Graph& graph, std::string name, std::span<const int64_t> dims,
                             std::span<const int64_t> values) {
  return add_constant(graph, std::move(name), DataType::kI64, dims, std::as_bytes(values), std::nullopt);
}

ir::ValueId add_constant_i8(ir::Graph& graph, std::string name, std::span<const int64_t> dims,
                            std::span<const int8_t> values, Quantization quantization) {
  return add_constant(graph, std::move(name), DataType::kI8, dims, std::as_bytes(values), std::move(quantization));
}

}  // namespace hai::ops
