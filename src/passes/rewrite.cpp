// Small questions and changes that several passes need.
//
// Invariants: nothing here leaves the graph structurally invalid; types are the caller's care. Names of graph outputs
// are part of a model's interface, so replacing an output moves its name. It contains no patterns of its own.
#include "passes/rewrite.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace hai::passes {
namespace {

constexpr int64_t kMaxScalarElements = 4096;

template <typename T>
std::vector<double> widen(std::span<const std::byte> bytes) {
  std::vector<double> values(bytes.size() / sizeof(T));
  for (size_t i = 0; i < values.size(); ++i) {
    T element;
    std::memcpy(&element, bytes.data() + i * sizeof(T), sizeof(T));
    values[i] = static_cast<double>(element);
  }
  return values;
}

}  // namespace

const ir::Node* producer_if(const ir::Graph& graph, ir::ValueId value, std::string_view op) {
  if (value == ir::kNone) return nullptr;
  const ir::NodeId id = graph.value(value).producer;
  if (id == ir::kNone || !graph.node(id).alive || graph.node(id).op != op) return nullptr;
  return &graph.node(id);
}

ir::NodeId sole_reader(const ir::Graph& graph, ir::ValueId value) {
  const auto& uses = graph.value(value).uses;
  if (uses.size() != 1 || graph.is_output(value)) return ir::kNone;
  return uses.front().node;
}

bool is_quantized(const ir::TensorType& type) { return is_integer(type.dtype) && type.quantization.has_value(); }

bool is_wide_point(const ir::TensorType& x, const ir::TensorType& result, const ir::TensorType& after) {
  return result.dtype == DataType::kI16 && bit_width(after.dtype) == 8 && bit_width(x.dtype) == 8;
}

size_t quick_hash(std::span<const std::byte> bytes) {
  constexpr size_t kEnd = 2048;
  const auto hash = [](std::span<const std::byte> part) {
    return std::hash<std::string_view>{}(std::string_view(reinterpret_cast<const char*>(part.data()), part.size()));
  };
  if (bytes.size() <= 2 * kEnd) return hash(bytes);
  return hash(bytes.first(kEnd)) * 31 + hash(bytes.last(kEnd)) * 17 + bytes.size();
}

std::optional<std::vector<double>> constant_values(const ir::Graph& graph, ir::ValueId value) {
  if (value == ir::kNone || !graph.value(value).is_constant()) return std::nullopt;
  const ir::Value& constant = graph.value(value);
  if (constant.type.quantization) return std::nullopt;
  const auto bytes = constant.constant->bytes();
  switch (constant.type.dtype) {
    case DataType::kF64:
      return widen<double>(bytes);
    case DataType::kF32:
      return widen<float>(bytes);
    case DataType::kI64:
      return widen<int64_t>(bytes);
    case DataType::kI32:
      return widen<int32_t>(bytes);
    default:
      return std::nullopt;
  }
}

std::optional<double> scalar_constant(const ir::Graph& graph, ir::ValueId value) {
  if (value == ir::kNone || !graph.value(value).is_constant()) return std::nullopt;
  const auto count = element_count(graph.value(value).type.shape);
  if (!count || count->value < 1 || count->value > kMaxScalarElements) return std::nullopt;
  const auto values = constant_values(graph, value);
  if (!values || std::any_of(values->begin(), values->end(), [&](double v) { return v != values->front(); })) {
    return std::nullopt;
  }
  return values->front();
}

std::optional<ScalarOperand> scalar_operand(const ir::Graph& graph, const ir::Node& node) {
  if (node.inputs.size() != 2) return std::nullopt;
  if (const auto right = scalar_constant(graph, node.inputs[1])) return ScalarOperand{node.inputs[0], *right, false};
  if (const auto left = scalar_constant(graph, node.inputs[0])) return ScalarOperand{node.inputs[1], *left, true};
  return std::nullopt;
}

bool close_to(double a, double b) { return std::abs(a - b) <= 1e-6 * std::max(1e-3, std::abs(b)); }

bool replace_value(ir::Graph& graph, ir::ValueId from, ir::ValueId to) {
  if (graph.is_output(from)) {
    const bool fixed_name = graph.is_input(to) || graph.value(to).is_constant() || graph.is_output(to);
    if (fixed_name) return false;
    std::string name = graph.value(from).name;
    graph.replace_uses(from, to);
    graph.rename_value(from, name + ".replaced");
    graph.rename_value(to, std::move(name));
    return true;
  }
  graph.replace_uses(from, to);
  return true;
}

bool replace_node(ir::Graph& graph, ir::NodeId node, ir::ValueId to) {
  if (!replace_value(graph, graph.node(node).outputs.front(), to)) return false;
  graph.erase_node(node);
  return true;
}

std::optional<std::vector<int64_t>> reshape_attribute(const Shape& shape) {
  std::vector<int64_t> sizes;
  for (const Dim& dim : shape) {
    if (dim.value == 0) return std::nullopt;
    sizes.push_back(dim.is_symbolic() ? -1 : dim.value);
  }
  if (std::count(sizes.begin(), sizes.end(), -1) > 1) return std::nullopt;
  return sizes;
}

}  // namespace hai::passes
