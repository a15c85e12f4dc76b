// Pairs the nodes and tensors of a quantized graph with those of its float graph.
//
// Method: by node name and operator where that is unique, else by the name of the output tensor. A compiled graph is
// stored after fusing, and a fused node keeps the name of its first operator: so the float side is followed through the
// same activation and residual addition, reader by reader, to the tensor that the fused node hands out. Conversions
// between number formats stand for what they convert. Cross-layer equalization changes the size of channels inside the
// network on purpose; the factors are read off the weights (least squares, layer by layer, with the factors of the
// input taken out first) and count as equalization only when more than one channel in twenty is off by more than 15 %,
// which rounding and pruning do not do. It never guesses: what has no counterpart is listed with the reason.
#include "quantizer/graph_pairing.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <string_view>

#include "compiler/compile.h"
#include "compiler/pipeline.h"
#include "ops/quantized_axis.h"
#include "ops/reference.h"

namespace hai::quantizer {
namespace {

using ir::kNone;
using ir::NodeId;
using ir::ValueId;

constexpr double kEqualizedFactor = 1.15;
constexpr size_t kEqualizedShare = 20;  // one channel in so many

template <size_t N>
bool one_of(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string_view without_suffix(std::string_view name) {
  for (const std::string_view suffix : {".i8", ".i16", ".u8", ".f32"}) {
    if (name.ends_with(suffix)) return name.substr(0, name.size() - suffix.size());
  }
  return name;
}

bool same_shape(const Shape& a, const Shape& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](const Dim& x, const Dim& y) {
           return x.is_symbolic() || y.is_symbolic() || x.value == y.value;
         });
}

// What a node's epilogue applies, in order.
struct Stages {
  std::string activation = "none";
  bool residual = false;
  std::string residual_activation = "none";
};

Stages stages_of(const ir::Node& node) {
  const bool product =
      node.op == "conv2d" || node.op == "winograd_conv2d" || node.op == "conv_transpose2d" || node.op == "matmul";
  if (!product) return {};
  return {node.string_attribute("activation", "none"), node.inputs.size() > 3 && node.inputs[3] != kNone,
          node.string_attribute("residual_activation", "none")};
}

// Under which a node and its counterpart are found: winograd_conv2d is another form of conv2d.
std::string key_of(const ir::Node& node) {
  return node.name + "\n" + (node.op == "winograd_conv2d" ? "conv2d" : node.op);
}

class Pairer {
 public:
  Pairer(const ir::Graph& reference, const ir::Graph& quantized) : reference_(reference), quantized_(quantized) {
    pairing_.reference_of.assign(quantized.value_slots(), kNone);
    pairing_.gains.resize(quantized.value_slots());
  }

  Status run() {
    HAI_TRY_STATUS(pair_inputs());
    HAI_TRY_STATUS(pair_outputs());
    index_names();
    HAI_TRY(const std::vector<NodeId> order, quantized_.ordered());
    for (const NodeId id : order) HAI_TRY_STATUS(pair_node(id));
    if (pairing_.layers.empty()) {
      return make_error(StatusCode::kInvalidArgument, "Q064",
                        "none of the {} layers of the quantized model is found in the float model by name; are these "
                        "two forms of one model?",
                        pairing_.unpaired.size());
    }
    return {};
  }

  Pairing take() { return std::move(pairing_); }

 private:
  static Error mismatch(std::string_view what, const std::string& text) {
    return make_error(StatusCode::kInvalidArgument, "Q063", "the two models differ in their {}: {}", what, text);
  }

  std::string describe(const ir::Graph& graph, ValueId id) const {
    const ir::Value& value = graph.value(id);
    return fmt::format("\"{}\" {}{}", value.name, data_type_name(value.type.dtype),
                       to_string(value.type.shape, graph.symbols));
  }

  Status pair_inputs() {
    const auto& ours = quantized_.inputs();
    const auto& theirs = reference_.inputs();
    if (ours.size() != theirs.size())
      return mismatch("inputs",
                      fmt::format("the float model has {}, the quantized one {}", theirs.size(), ours.size()));
    const bool by_name = std::all_of(ours.begin(), ours.end(), [&](ValueId id) {
      const auto named = reference_.find_value(quantized_.value(id).name);
      return named && reference_.is_input(*named);
    });
    for (size_t i = 0; i < ours.size(); ++i) {
      const ValueId reference = by_name ? *reference_.find_value(quantized_.value(ours[i]).name) : theirs[i];
      const ir::TensorType& a = quantized_.value(ours[i]).type;
      const ir::TensorType& b = reference_.value(reference).type;
      if (!same_shape(a.shape, b.shape) || (a.dtype != b.dtype && !a.quantization))
        return mismatch("inputs", describe(reference_, reference) + " and " + describe(quantized_, ours[i]));
      pairing_.reference_of[ours[i]] = reference;
    }
    return {};
  }

  Status pair_outputs() {
    const auto& ours = quantized_.outputs();
    const auto& theirs = reference_.outputs();
    if (ours.size() != theirs.size()) {
      return mismatch("outputs",
                      fmt::format("the float model has {}, the quantized one {}", theirs.size(), ours.size()));
    }
    for (const ValueId reference : theirs) {
      const ValueId actual = ours[output_index(reference)];
      const ir::TensorType& a = quantized_.value(actual).type;
      const ir::TensorType& b = reference_.value(reference).type;
      if (!same_shape(a.shape, b.shape))
        return mismatch("outputs", describe(reference_, reference) + " and " + describe(quantized_, actual));
      if (b.dtype != DataType::kF32 || (a.dtype != DataType::kF32 && !a.quantization))
        continue;  // indices and the like
      pairing_.outputs.push_back(reference);
      pairing_.their_outputs.push_back(actual);
    }
    if (pairing_.outputs.empty()) return mismatch("outputs", "none of them is f32 in both");
    return {};
  }

  size_t output_index(ValueId reference) const {
    const auto& ours = quantized_.outputs();
    const auto& theirs = reference_.outputs();
    for (size_t i = 0; i < ours.size(); ++i) {
      if (quantized_.value(ours[i]).name == reference_.value(reference).name) return i;
    }
    return static_cast<size_t>(std::find(theirs.begin(), theirs.end(), reference) - theirs.begin());
  }

  void index_names() {
    for (NodeId id = 0; id < reference_.node_slots(); ++id) {
      const ir::Node& node = reference_.node(id);
      if (!node.alive || node.name.empty()) continue;
      const auto [it, fresh] = reference_by_name_.emplace(key_of(node), id);
      if (!fresh) it->second = kNone;  // ambiguous
    }
    for (NodeId id = 0; id < quantized_.node_slots(); ++id) {
      const ir::Node& node = quantized_.node(id);
      if (node.alive && !node.name.empty()) ++quantized_names_[key_of(node)];
    }
  }

  // The float node that `node` starts with, or kNone.
  NodeId counterpart(const ir::Node& node) const {
    const std::string key = key_of(node);
    const auto named = reference_by_name_.find(key);
    const auto own = quantized_names_.find(key);
    if (named != reference_by_name_.end() && named->second != kNone && own != quantized_names_.end() &&
        own->second == 1)
      return named->second;
    for (const ValueId output : node.outputs) {
      const std::string& name = quantized_.value(output).name;
      for (const std::string_view wanted : {std::string_view(name), without_suffix(name)}) {
        const auto value = reference_.find_value(wanted);
        if (value && reference_.value(*value).producer != kNone) return reference_.value(*value).producer;
      }
    }
    return kNone;
  }

  ValueId read_by(ValueId value, std::string_view op) const {
    for (const ir::Use& use : reference_.value(value).uses) {
      const ir::Node& reader = reference_.node(use.node);
      if (reader.op == op) return reader.outputs[0];
    }
    return kNone;
  }

  // From the float node's output through the stages that the quantized node has fused. The reason when that fails.
  Result<ValueId> follow(const ir::Node& node, const ir::Node& float_node, size_t output, std::string& reason) const {
    const Stages wanted = stages_of(node);
    const Stages has = stages_of(float_node);
    ValueId value = output < float_node.outputs.size() ? float_node.outputs[output] : kNone;
    const auto step = [&](bool want, bool already, std::string_view op) {
      if (value == kNone || (already && want)) return;
      if (already) {
        reason = fmt::format("the float model has {} fused into it; compare with the model before compiling", op);
        value = kNone;
      } else if (want) {
        value = read_by(value, op);
        if (value == kNone) reason = fmt::format("the float model has no {} after it", op);
      }
    };
    step(wanted.activation != "none", has.activation != "none",
         wanted.activation != "none" ? wanted.activation : has.activation);
    step(wanted.residual, has.residual, "add");
    step(wanted.residual_activation != "none", has.residual_activation != "none",
         wanted.residual_activation != "none" ? wanted.residual_activation : has.residual_activation);
    return value;
  }

  bool counts_as_layer(const ir::Node& node) const {
    if (is_conversion(node) || is_mover(node)) return false;
    const auto quantized = [&](ValueId id) {
      return id != kNone && quantized_.value(id).type.quantization.has_value();
    };
    return has_weights(quantized_, node) || std::any_of(node.outputs.begin(), node.outputs.end(), quantized) ||
           (!node.inputs.empty() && quantized(node.inputs[0]));
  }

  Status pair_node(NodeId id) {
    const ir::Node& node = quantized_.node(id);
    if (is_conversion(node)) {
      pairing_.reference_of[node.outputs[0]] = pairing_.reference_of[node.inputs[0]];
      pairing_.gains[node.outputs[0]] = pairing_.gains[node.inputs[0]];
      return {};
    }
    const bool layer = counts_as_layer(node);
    const NodeId found = counterpart(node);
    std::string reason = found == kNone ? "no node or tensor of that name in the float model" : "";
    bool paired = found != kNone;
    for (size_t i = 0; i < node.outputs.size() && found != kNone; ++i) {
      HAI_TRY(const ValueId value, follow(node, reference_.node(found), i, reason));
      const bool fits = value != kNone && reference_.value(value).type.dtype == DataType::kF32 &&
                        same_shape(reference_.value(value).type.shape, quantized_.value(node.outputs[i]).type.shape);
      if (value != kNone && !fits) reason = "its result has another shape in the float model";
      if (fits) {
        pairing_.reference_of[node.outputs[i]] = value;
      } else {
        paired = false;
      }
    }
    if (paired) HAI_TRY_STATUS(find_gains(node, reference_.node(found)));
    if (!layer) return {};
    if (paired) {
      pairing_.layers.push_back({id, found, node.outputs[0], pairing_.reference_of[node.outputs[0]]});
    } else {
      pairing_.unpaired.push_back(
          {node.name.empty() ? quantized_.value(node.outputs[0]).name : node.name, node.op, std::move(reason)});
    }
    return {};
  }

  Status find_gains(const ir::Node& node, const ir::Node& float_node) {
    const bool comparable = (node.op == "conv2d" || node.op == "matmul") && node.op == float_node.op &&
                            has_weights(quantized_, node) && has_weights(reference_, float_node);
    if (comparable) {
      // A residual addition needs both sides at their own size: nothing is equalized across it.
      if (node.inputs.size() > 3 && node.inputs[3] != kNone) return {};
      HAI_TRY(pairing_.gains[node.outputs[0]], gains_of(node, float_node));
      return {};
    }
    static constexpr std::array<std::string_view, 10> kKeepsChannels = {
        "relu",         "relu6",       "clip",       "leaky_relu", "max_pool",
        "average_pool", "reduce_mean", "reduce_max", "pad",        "resize"};
    if (node.inputs.empty() || !one_of(kKeepsChannels, node.op)) return {};
    const Gains& gains = pairing_.gains[node.inputs[0]];
    const Shape& shape = quantized_.value(node.outputs[0]).type.shape;
    if (!gains.empty() && !shape.empty() && !shape.back().is_symbolic() &&
        shape.back().value == static_cast<int64_t>(gains.size()))
      pairing_.gains[node.outputs[0]] = gains;
    return {};
  }

  Result<Gains> gains_of(const ir::Node& node, const ir::Node& float_node) const {
    const ir::Value& theirs = reference_.value(float_node.inputs[1]);
    const ir::Value& ours = quantized_.value(node.inputs[1]);
    if (theirs.type.shape != ours.type.shape) return Gains{};
    HAI_TRY(const std::vector<float> before, real_values(theirs));
    HAI_TRY(const std::vector<float> after, real_values(ours));
    const WeightChannels channels(node, ours.type.shape);
    const Gains& input = pairing_.gains[node.inputs[0]];
    std::vector<double> product(channels.output_channels(), 0.0);
    std::vector<double> energy(channels.output_channels(), 0.0);
    for (size_t i = 0; i < before.size(); ++i) {
      const WeightIndex at = channels.of(i);
      const double scaled =
          static_cast<double>(before[i]) / (at.input < input.size() ? static_cast<double>(input[at.input]) : 1.0);
      product[at.output] += scaled * static_cast<double>(after[i]);
      energy[at.output] += scaled * scaled;
    }
    Gains gains(channels.output_channels(), 1.0F);
    size_t far = 0;
    for (size_t c = 0; c < gains.size(); ++c) {
      const double gain = energy[c] > 0 ? product[c] / energy[c] : 1.0;
      if (gain > 0) gains[c] = static_cast<float>(gain);
      if (gain > 0 && std::abs(std::log(gain)) > std::log(kEqualizedFactor)) ++far;
    }
    if (far * kEqualizedShare <= gains.size()) gains.clear();
    return gains;
  }

  const ir::Graph& reference_;
  const ir::Graph& quantized_;
  std::map<std::string, NodeId> reference_by_name_;
  std::map<std::string, int> quantized_names_;
  Pairing pairing_;
};

}  // namespace

bool is_conversion(const ir::Node& node) {
  static constexpr std::array<std::string_view, 3> kNames = {"quantize", "dequantize", "rescale"};
  return one_of(kNames, node.op);
}

bool is_mover(const ir::Node& node) {
  static constexpr std::array<std::string_view, 7> kNames = {"reshape", "transpose", "slice", "split",
                                                             "gather",  "expand",    "cast"};
  return one_of(kNames, node.op);
}

bool has_weights(const ir::Graph& graph, const ir::Node& node) {
  const bool product = node.op == "conv2d" || node.op == "conv_transpose2d" || node.op == "matmul";
  return product && node.inputs.size() >= 2 && node.inputs[1] != kNone && graph.value(node.inputs[1]).is_constant();
}

Result<std::vector<float>> real_values(const ir::Value& constant) {
  const TensorView view{constant.type.dtype, resolve(constant.type.shape, {}), constant.constant->bytes().data(),
                        constant.type.quantization ? &*constant.type.quantization : nullptr};
  std::vector<float> values(static_cast<size_t>(view.count()));
  if (view.quantization == nullptr) {
    if (view.dtype != DataType::kF32) {
      return make_error(StatusCode::kUnsupported, "Q066", "constant \"{}\" of type {} is no weight", constant.name,
                        data_type_name(view.dtype));
    }
    const float* data = data_of<float>(view);
    std::copy(data, data + view.count(), values.begin());
    return values;
  }
  const ops::QuantizedAxis parameters(*view.quantization, view.dims);
  for (int64_t i = 0; i < view.count(); ++i) {
    const size_t slice = parameters.slice_of(i);
    values[static_cast<size_t>(i)] =
        static_cast<float>(ops::load_integer(view, i) - view.quantization->zero_points[slice]) *
        view.quantization->scales[slice];
  }
  return values;
}

WeightChannels::WeightChannels(const ir::Node& node, const Shape& shape) {
  const auto size = [&](size_t axis) { return static_cast<size_t>(shape[axis].value); };
  convolution_ = node.op != "matmul";
  const size_t axis = convolution_ ? 0 : shape.size() - (node.int_attribute("transpose_b", 0) != 0 ? 2 : 1);
  outputs_ = std::max<size_t>(size(axis), 1);
  for (size_t i = axis + 1; i < shape.size(); ++i) inner_ *= std::max<size_t>(size(i), 1);
  if (convolution_) {
    group_inputs_ = std::max<size_t>(size(shape.size() - 1), 1);
    groups_ = static_cast<size_t>(std::max<int64_t>(node.int_attribute("groups", 1), 1));
    group_outputs_ = std::max<size_t>(outputs_ / groups_, 1);
    inputs_ = group_inputs_ * groups_;
  } else {
    inputs_ = inner_ > 1 ? inner_ : size(shape.size() - 2);
  }
}

size_t WeightChannels::input_channels() const { return inputs_; }

WeightIndex WeightChannels::of(size_t element) const {
  const size_t output = element / inner_ % outputs_;
  if (convolution_) return {output / group_outputs_ * group_inputs_ + element % group_inputs_, output};
  return {inner_ > 1 ? element % inner_ : element / outputs_ % inputs_, output};
}

Status prepare_reference(ir::Graph& graph) {
  HAI_TRY_STATUS(compiler::canonicalise(graph));
  graph.erase_dead();
  graph = graph.compact();
  return {};
}

Status prepare_quantized(ir::Graph& graph) {
  HAI_TRY_STATUS(compiler::canonicalise(graph));
  HAI_TRY_STATUS(compiler::run_steps(graph, compiler::fusing_steps(), {}, nullptr));
  graph.erase_dead();
  graph = graph.compact();
  return {};
}

Result<Pairing> pair_graphs(const ir::Graph& reference, const ir::Graph& quantized) {
  Pairer pairer(reference, quantized);
  HAI_TRY_STATUS(pairer.run());
  return pairer.take();
}

}  // namespace hai::quantizer
