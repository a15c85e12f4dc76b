// Folds per-channel scales and offsets that follow a float convolution or matrix product into its weights and bias.
//
// Patterns, where the first result is read by the second node alone and weights and parameters are f32 constants:
//   conv2d | conv_transpose2d | matmul (constant b)  ->  batch_norm | mul | div by, add | sub of [.., C] constants
// y = (w * x + b) * scale + offset becomes (w * scale) * x + (b * scale + offset), computed in f64 and rounded once.
// Per channel means: the constant broadcasts along all axes but the last, which is the output channel in NHWC. Nodes
// that already carry an activation or residual, and integer ones, are left alone.
#include <cmath>
#include <cstring>

#include "ops/build.h"
#include "passes/passes.h"
#include "passes/rewrite.h"
#include "types/quantize_layer.h"

namespace hai::passes {
namespace {

using ir::Graph;
using ir::kNone;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

struct Affine {  // per output channel
  std::vector<double> scale;
  std::vector<double> offset;
};

bool is_f32(const Graph& graph, ValueId value) {
  return value != kNone && graph.value(value).type.dtype == DataType::kF32;
}

// What follows `value` per channel: y = value * scale + offset, for the node `next` that reads it.
std::optional<Affine> affine_of(const Graph& graph, const Node& next, ValueId value, int64_t channels) {
  const auto count = static_cast<size_t>(channels);
  Affine affine{std::vector<double>(count, 1.0), std::vector<double>(count, 0.0)};
  if (next.op == "batch_norm") {
    if (next.inputs[0] != value) return std::nullopt;
    std::vector<double> parts[4];
    for (size_t i = 0; i < 4; ++i) {
      auto part = constant_values(graph, next.inputs[i + 1]);
      if (!part || part->size() != count) return std::nullopt;
      parts[i] = std::move(*part);
    }
    const double epsilon = next.float_attribute("epsilon", 1e-5);
    for (size_t c = 0; c < count; ++c) {
      const hai_channel_affine folded =
          hai_batch_norm_affine(parts[0][c], parts[1][c], parts[2][c], parts[3][c], epsilon);
      affine.scale[c] = folded.scale;
      affine.offset[c] = folded.offset;
    }
    return affine;
  }
  const bool known = next.op == "mul" || next.op == "add" || next.op == "sub" || next.op == "div";
  if (!known || next.inputs[0] == next.inputs[1]) return std::nullopt;
  const bool value_is_left = next.inputs[0] == value;
  const ValueId other = next.inputs[value_is_left ? 1 : 0];
  const Shape& shape = graph.value(other).type.shape;
  const auto values = constant_values(graph, other);
  if (!values || (values->size() != 1 && (values->size() != count || shape.back() != Dim(channels))))
    return std::nullopt;
  for (size_t c = 0; c < count; ++c) {
    const double v = (*values)[values->size() == 1 ? 0 : c];
    if (next.op == "mul") affine.scale[c] = v;
    if (next.op == "add") affine.offset[c] = v;
    if (next.op == "sub" && value_is_left) affine.offset[c] = -v;
    if (next.op == "sub" && !value_is_left) affine.scale[c] = -1.0, affine.offset[c] = v;
    if (next.op == "div" && !value_is_left) return std::nullopt;
    if (next.op == "div") affine.scale[c] = 1.0 / v;
  }
  return affine;
}

// Elements of a weight tensor as runs: element (o, c, i) at (o * channels + c) * inner + i belongs to output channel c.
struct ChannelLayout {
  int64_t channels = 0;
  int64_t inner = 1;
};

std::optional<ChannelLayout> channel_layout(const Graph& graph, const Node& node) {
  const Shape& shape = graph.value(node.inputs[1]).type.shape;
  const auto number = [&](size_t axis) { return shape[axis].value; };
  if (node.op == "matmul") {
    if (shape.size() < 2) return std::nullopt;
    const bool transposed = node.int_attribute("transpose_b", 0) != 0;
    if (transposed && shape.size() != 2) return std::nullopt;
    if (transposed) return ChannelLayout{number(0), number(1)};
    return ChannelLayout{number(shape.size() - 1), 1};
  }
  return ChannelLayout{number(0), number(1) * number(2) * number(3)};
}

bool foldable(const Graph& graph, const Node& node) {
  if (node.op != "conv2d" && node.op != "conv_transpose2d" && node.op != "matmul") return false;
  if (!is_f32(graph, node.inputs[0]) || !is_f32(graph, node.inputs[1])) return false;
  if (!graph.value(node.inputs[1]).is_constant()) return false;
  if (node.inputs.size() > 2 && node.inputs[2] != kNone && !graph.value(node.inputs[2]).is_constant()) return false;
  if (node.inputs.size() > 3 && node.inputs[3] != kNone) return false;
  return node.string_attribute("activation", "none") == "none" &&
         node.string_attribute("residual_activation", "none") == "none";
}

void apply(Graph& graph, NodeId id, const Affine& affine, const ChannelLayout& layout) {
  const ir::Value weights = graph.value(graph.node(id).inputs[1]);
  auto scaled = ir::ConstantData::allocate(weights.constant->bytes().size());
  const size_t count = weights.constant->bytes().size() / sizeof(float);
  const auto inner = static_cast<size_t>(layout.inner);
  const auto channels = static_cast<size_t>(layout.channels);
  const auto* from = reinterpret_cast<const float*>(weights.constant->bytes().data());
  auto* to = reinterpret_cast<float*>(scaled->mutable_bytes().data());
  for (size_t start = 0; start < count; start += inner) {
    const double scale = affine.scale[(start / inner) % channels];
    for (size_t i = start; i < start + inner; ++i) to[i] = hai_fold_weight(from[i], scale);
  }
  const ValueId new_weights = graph.add_constant(weights.name, weights.type, std::move(scaled));
  std::vector<double> bias(channels, 0.0);
  std::string bias_name = graph.node(id).name + ".bias";
  const bool has_bias = graph.node(id).inputs.size() > 2 && graph.node(id).inputs[2] != kNone;
  if (has_bias) {
    const ValueId old = graph.node(id).inputs[2];
    bias = *constant_values(graph, old);
    bias_name = graph.value(old).name;
  }
  std::vector<float> new_bias(channels);
  for (size_t c = 0; c < channels; ++c) new_bias[c] = hai_fold_bias(bias[c], affine.scale[c], affine.offset[c]);
  const int64_t dims[1] = {layout.channels};
  const ValueId bias_id = ops::add_constant_f32(graph, bias_name, dims, new_bias);
  graph.set_input(id, 1, new_weights);
  if (graph.node(id).inputs.size() > 2) {
    graph.set_input(id, 2, bias_id);
  } else {
    graph.append_input(id, bias_id);
  }
}

Folding folding_of(const Graph& graph, NodeId into, const Node& next, ValueId value) {
  Folding out{into, next.op, next.inputs[0] == value, 0, {}, graph.value(next.outputs[0]).name};
  if (next.op == "batch_norm") out.epsilon = next.float_attribute("epsilon", 1e-5);
  for (const ValueId input : next.inputs) {
    if (input != value) out.constants.push_back(graph.value(input).name);
  }
  return out;
}

// Folds the reader of `id` into it; false when there is none that fits.
bool fold_reader(Graph& graph, NodeId id, const std::vector<bool>& kept, std::vector<Folding>* foldings) {
  const Node& node = graph.node(id);
  const ValueId result = node.outputs[0];
  const NodeId next_id = sole_reader(graph, result);
  if (next_id == kNone || kept[next_id]) return false;
  const auto layout = channel_layout(graph, node);
  if (!layout || layout->channels <= 0 || layout->inner <= 0) return false;
  if (node.inputs.size() > 2 && node.inputs[2] != kNone) {
    const auto bias = constant_values(graph, node.inputs[2]);
    if (!bias || static_cast<int64_t>(bias->size()) != layout->channels) return false;
  }
  const Node& next = graph.node(next_id);
  if (graph.value(next.outputs[0]).type != graph.value(result).type) return false;  // the constant broadcast the result
  const auto affine = affine_of(graph, next, result, layout->channels);
  if (!affine) return false;
  for (const double v : affine->scale) {
    if (!std::isfinite(v)) return false;
  }
  if (foldings != nullptr) foldings->push_back(folding_of(graph, id, next, result));
  apply(graph, id, *affine, *layout);
  return replace_node(graph, next_id, result);
}

}  // namespace

Result<PassStats> fold_batch_norm(Graph& graph) {
  return fold_batch_norm_but(graph, std::vector<bool>(graph.node_slots(), false));
}

Result<PassStats> fold_batch_norm_but(Graph& graph, const std::vector<bool>& kept, std::vector<Folding>* foldings) {
  PassStats stats;
  HAI_TRY(const std::vector<NodeId> order, graph.ordered());
  for (const NodeId id : order) {
    if (kept[id] || !graph.node(id).alive || !foldable(graph, graph.node(id))) continue;
    while (fold_reader(graph, id, kept, foldings)) ++stats.changes;
  }
  graph.erase_dead();
  return stats;
}

}  // namespace hai::passes
