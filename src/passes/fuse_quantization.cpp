// Gives integer operators to imported graphs that describe quantization by dequantize -> float operator -> quantize.
//
// Movers: an operator that only moves elements commutes with dequantize, exactly; dequantize moves down past it.
// Compute: an operator whose float operands all come from dequantize, and whose result only a quantize reads (possibly
// after a clamp), becomes the integer operator with that quantize's type. Convolutions and matrix products whose result
// is not quantized become integer ones with an f32 result. Weights must have 4 or 8 bits, with scales and zero points
// per tensor or per output channel; a float or i32 bias becomes i32 with scale s_x * s_w. What has no integer form, or
// an unusable multiplier, stays float. Weights of float products keep their integers (keep_integer_weights); constants
// still behind a dequantize at the end are folded to f32. This pass decides where an imported graph rounds, so it is
// not optional.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "ops/build.h"
#include "passes/passes.h"
#include "passes/rewrite.h"
#include "types/arithmetic.h"

namespace hai::passes {
namespace {

using ir::Graph;
using ir::kNone;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

bool one_of(std::string_view op, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), op) != names.end();
}

bool is_mover(const Node& node) {
  if (node.op == "resize") return node.string_attribute("mode", "nearest") == "nearest";
  if (node.op == "pad")
    return node.string_attribute("mode", "constant") != "constant" || node.float_attribute("value", 0) == 0;
  return one_of(node.op, {"transpose", "reshape", "slice", "split", "gather", "max_pool"});
}

bool is_matrix_op(std::string_view op) { return one_of(op, {"conv2d", "conv_transpose2d", "matmul"}); }

// Operators with an integer form whose operands are all activations.
bool is_activation_op(const Node& node) {
  return one_of(node.op,
                {"add",         "sub",        "mul",        "min",        "max",    "concat",       "average_pool",
                 "reduce_mean", "reduce_sum", "reduce_max", "reduce_min", "resize", "softmax",      "relu",
                 "relu6",       "leaky_relu", "elu",        "sigmoid",    "silu",   "hard_sigmoid", "hard_swish",
                 "tanh",        "gelu",       "mish",       "softplus",   "exp",    "erf",          "abs",
                 "neg",         "sqrt",       "square",     "clip",       "pad",    "max_pool"});
}

bool eight_bits_one_scale(const ir::TensorType& type) {
  return (type.dtype == DataType::kI8 || type.dtype == DataType::kU8) && type.quantization &&
         type.quantization->per_tensor();
}

class Fuser {
 public:
  explicit Fuser(Graph& graph) : graph_(graph) {}

  Result<int64_t> run() {
    HAI_TRY(std::vector<NodeId> order, graph_.ordered());
    int64_t changes = 0;
    for (const NodeId id : order) {
      if (!graph_.node(id).alive) continue;
      HAI_TRY(const bool moved, move_dequantize(id));
      if (moved) ++changes;
    }
    HAI_TRY(order, graph_.ordered());
    for (const NodeId id : order) {
      if (!graph_.node(id).alive) continue;
      const Node& node = graph_.node(id);
      if (is_matrix_op(node.op) ? fuse_matrix_op(id) : is_activation_op(node) && fuse_activation_op(id)) ++changes;
    }
    graph_.erase_dead();
    HAI_TRY(const PassStats kept, keep_integer_weights(graph_));
    HAI_TRY(const int64_t folded, fold_rest());
    return changes + kept.changes + folded;
  }

 private:
  // The integer value behind a dequantize, or kNone.
  ValueId integer_of(ValueId value) const {
    const Node* dequantize = producer_if(graph_, value, "dequantize");
    return dequantize == nullptr ? kNone : dequantize->inputs[0];
  }

  static ops::AppendOptions options_for(const Node& node, std::vector<ir::TensorType> declared) {
    ops::AppendOptions options;
    options.node_name = node.name;
    options.output_count = node.outputs.size();
    for (ir::TensorType& type : declared) options.declared.emplace_back(std::move(type));
    return options;
  }

  // mover(dequantize(q)) -> dequantize(mover(q)); a constant q is moved here and now.
  Result<bool> move_dequantize(NodeId id) {
    const Node node = graph_.node(id);
    if (!is_mover(node) || node.inputs.empty()) return false;
    const ValueId source = integer_of(node.inputs[0]);
    if (source == kNone) return false;
    Quantization quantization = *graph_.value(source).type.quantization;
    if (!quantization.per_tensor()) {
      // Weights on their way to a convolution: the axis of their scales moves with them.
      if (node.op != "transpose" || quantization.block != 0) return false;
      const auto permutation = node.ints_attribute("permutation");
      const auto found = std::find(permutation.begin(), permutation.end(), quantization.axis);
      quantization.axis = static_cast<int32_t>(found - permutation.begin());
    }
    std::vector<ir::TensorType> types;
    for (const ValueId output : node.outputs) {
      types.push_back({graph_.value(source).type.dtype, graph_.value(output).type.shape, quantization});
    }
    std::vector<ValueId> inputs = node.inputs;
    inputs[0] = source;
    auto moved = ops::append(graph_, node.op, std::move(inputs), node.attributes, options_for(node, std::move(types)));
    if (!moved) return false;  // no integer form
    const std::vector<ValueId> results = graph_.node(*moved).outputs;
    for (size_t i = 0; i < results.size(); ++i) {
      auto real = ops::append_value(graph_, "dequantize", {results[i]});
      if (!real || !replace_value(graph_, node.outputs[i], *real)) return false;
    }
    graph_.erase_node(id);
    if (graph_.value(source).is_constant()) HAI_TRY_STATUS(fold_node(graph_, *moved));
    return true;
  }

  // The quantize that alone reads `value`, to 8 bits with one scale.
  NodeId quantize_after(ValueId value) const {
    const NodeId reader = sole_reader(graph_, value);
    if (reader == kNone || graph_.node(reader).op != "quantize") return kNone;
    return eight_bits_one_scale(graph_.value(graph_.node(reader).outputs[0]).type) ? reader : kNone;
  }

  bool fuse_activation_op(NodeId id) {
    const Node node = graph_.node(id);
    if (node.outputs.size() != 1) return false;
    const NodeId quantize = quantize_after(node.outputs[0]);
    if (quantize == kNone) return false;
    std::vector<ValueId> inputs;
    for (const ValueId input : node.inputs) {
      const ValueId integer = input == kNone ? kNone : integer_of(input);
      if (integer == kNone || !eight_bits_one_scale(graph_.value(integer).type)) return false;
      inputs.push_back(integer);
    }
    const ValueId quantized = graph_.node(quantize).outputs[0];
    ir::TensorType type = graph_.value(quantized).type;
    auto fused = ops::append_value(graph_, node.op, std::move(inputs), node.attributes, options_for(node, {type}));
    if (!fused || graph_.value(*fused).type != type) return false;
    replace_node(graph_, quantize, *fused);
    return true;
  }

  // Integer weights as a constant with one scale and zero point per output channel; kNone when they are anything else.
  ValueId integer_weights(ValueId value, int64_t channels, int32_t axis) {
    ValueId integer = integer_of(value);
    if (integer == kNone || !graph_.value(integer).is_constant()) return kNone;
    const ir::Value& weights = graph_.value(integer);
    Quantization quantization = *weights.type.quantization;
    const DataType dtype = weights.type.dtype;
    const bool small = dtype == DataType::kI8 || dtype == DataType::kU8 || bit_width(dtype) == 4;
    if (!small || quantization.block != 0) return kNone;
    if (!quantization.per_tensor()) return quantization.axis == axis ? integer : kNone;
    quantization = {std::vector<float>(static_cast<size_t>(channels), quantization.scales[0]),
                    std::vector<int32_t>(static_cast<size_t>(channels), quantization.zero_points[0]), axis, 0};
    ir::TensorType type = weights.type;
    type.quantization = std::move(quantization);
    return graph_.add_constant(weights.name, std::move(type), weights.constant);
  }

  // The bias in units of s_x * s_w, rounded to nearest; kNone in, kNone out. std::nullopt when it is no constant.
  std::optional<ValueId> integer_bias(ValueId bias, float input_scale, const std::vector<float>& weight_scales) {
    if (bias == kNone) return kNone;
    std::vector<double> values;
    if (const auto plain = constant_values(graph_, bias)) {
      values = *plain;
    } else {
      const ValueId integer = integer_of(bias);
      if (integer == kNone || !graph_.value(integer).is_constant()) return std::nullopt;
      const ir::Value& source = graph_.value(integer);
      if (source.type.dtype != DataType::kI32) return std::nullopt;
      const auto bytes = source.constant->bytes();
      const std::vector<float>& scales = source.type.quantization->scales;
      for (size_t i = 0; i * sizeof(int32_t) < bytes.size(); ++i) {
        int32_t q = 0;
        std::memcpy(&q, bytes.data() + i * sizeof q, sizeof q);
        values.push_back(static_cast<double>(q) * static_cast<double>(scales[scales.size() == 1 ? 0 : i]));
      }
    }
    if (values.size() != weight_scales.size()) return std::nullopt;
    std::vector<int32_t> rounded(values.size());
    std::vector<float> scales(values.size());
    for (size_t c = 0; c < values.size(); ++c) {
      const double step = static_cast<double>(input_scale) * static_cast<double>(weight_scales[c]);
      scales[c] = static_cast<float>(step);
      const double units = std::nearbyint(values[c] / step);
      if (!(std::abs(units) < 1073741824.0)) return std::nullopt;  // room for the accumulator
      rounded[c] = static_cast<int32_t>(units);
    }
    ir::TensorType type{DataType::kI32,
                        {Dim(static_cast<int64_t>(values.size()))},
                        Quantization{std::move(scales), std::vector<int32_t>(values.size(), 0), 0, 0}};
    return graph_.add_constant(graph_.value(bias).name, std::move(type),
                               ir::ConstantData::copy_of(std::as_bytes(std::span(rounded))));
  }

  bool fuse_matrix_op(NodeId id) {
    const Node node = graph_.node(id);
    const ValueId x = integer_of(node.inputs[0]);
    if (x == kNone || !eight_bits_one_scale(graph_.value(x).type) ||
        (node.inputs.size() > 3 && node.inputs[3] != kNone))
      return false;
    const Shape& weight_shape = graph_.value(node.inputs[1]).type.shape;
    const bool by_rows = node.op != "matmul" || node.int_attribute("transpose_b", 0) != 0;
    const auto rank = static_cast<int32_t>(weight_shape.size());
    const int32_t axis = node.op != "matmul" ? 0 : (by_rows ? rank - 2 : rank - 1);
    if (axis < 0) return false;
    const ValueId weights = integer_weights(node.inputs[1], weight_shape[static_cast<size_t>(axis)].value, axis);
    if (weights == kNone) return false;
    const std::vector<float> weight_scales = graph_.value(weights).type.quantization->scales;
    const float input_scale = graph_.value(x).type.quantization->scales[0];
    const auto bias = integer_bias(node.inputs.size() > 2 ? node.inputs[2] : kNone, input_scale, weight_scales);
    if (!bias) return false;

    // result -> quantize, or result -> clamp -> quantize: the integer result has the quantize's type in both cases.
    const ValueId result = node.outputs[0];
    NodeId clamp = kNone;
    NodeId quantize = quantize_after(result);
    const NodeId reader = sole_reader(graph_, result);
    if (quantize == kNone && reader != kNone && one_of(graph_.node(reader).op, {"relu", "relu6", "clip"})) {
      quantize = quantize_after(graph_.node(reader).outputs[0]);
      if (quantize != kNone) clamp = reader;
    }
    ir::TensorType type =
        quantize == kNone ? graph_.value(result).type : graph_.value(graph_.node(quantize).outputs[0]).type;
    if (quantize != kNone) {
      type.shape = graph_.value(result).type.shape;
      for (const float scale : weight_scales) {
        if (hai_multiplier_usable(hai_multiplier_product(input_scale, scale, type.quantization->scales[0])) == 0)
          return false;
      }
    }
    std::vector<ValueId> inputs{x, weights};
    if (*bias != kNone) inputs.push_back(*bias);
    auto fused = ops::append_value(graph_, node.op, std::move(inputs), node.attributes, options_for(node, {type}));
    if (!fused) return false;
    ValueId last = *fused;
    if (clamp != kNone) {
      const Node activation = graph_.node(clamp);
      auto clamped =
          ops::append_value(graph_, activation.op, {last}, activation.attributes, options_for(activation, {type}));
      if (!clamped) return false;
      last = *clamped;
    }
    if (quantize != kNone) {
      replace_node(graph_, quantize, last);
    } else {
      replace_node(graph_, id, last);
    }
    return true;
  }

  // dequantize of a constant that no integer operator took.
  Result<int64_t> fold_rest() {
    int64_t folded = 0;
    for (NodeId id = 0; id < graph_.node_slots(); ++id) {
      const Node& node = graph_.node(id);
      if (!node.alive || node.op != "dequantize" || !graph_.value(node.inputs[0]).is_constant()) continue;
      if (graph_.is_output(node.outputs[0])) continue;
      HAI_TRY_STATUS(fold_node(graph_, id));
      ++folded;
    }
    return folded;
  }

  Graph& graph_;
};

}  // namespace

Result<PassStats> fuse_quantization(Graph& graph) {
  const auto is_dequantize = [&](NodeId id) { return graph.node(id).alive && graph.node(id).op == "dequantize"; };
  bool any = false;
  for (NodeId id = 0; id < graph.node_slots() && !any; ++id) any = is_dequantize(id);
  if (!any) return PassStats{};
  HAI_TRY(const int64_t changes, Fuser(graph).run());
  graph.erase_dead();
  return PassStats{changes};
}

}  // namespace hai::passes
