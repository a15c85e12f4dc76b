// Graph surgery: one layer in f32 inside an integer graph.
//
// Method: the layer's inputs are made unrounded by computing their producers once more in f32, from dequantized
// operands and dequantized weights (so that their own weight error stays) through movers up to the first operator that
// rounds; the layer itself runs in f32 on the float model's weights, brought to the equalized sizes; a quantize gives
// readers the type that they had. Rounding points elsewhere are untouched.
#include "quantizer/wider_layer.h"

#include <map>

#include "ops/build.h"

namespace hai::quantizer {
namespace {

using ir::kNone;
using ir::NodeId;
using ir::ValueId;

class Surgeon {
 public:
  Surgeon(const ir::Graph& reference, const ir::Graph& quantized, const Pairing& pairing)
      : reference_(reference), pairing_(pairing), graph_(quantized) {}

  Result<ir::Graph> run(const PairedLayer& layer) {
    const ir::Node node = graph_.node(layer.node);
    const ValueId result = node.outputs[0];
    HAI_TRY(const ValueId wide, float_twin(layer.node, &layer));
    const ir::TensorType type = graph_.value(result).type;
    ValueId replacement = wide;
    if (type.quantization) {
      ops::AppendOptions options;
      options.declared = {type};
      HAI_TRY(replacement, ops::append_value(graph_, "quantize", {wide}, {}, std::move(options)));
    }
    graph_.replace_uses(result, replacement);
    graph_.erase_dead();
    HAI_TRY_STATUS(ops::verify(graph_));
    return std::move(graph_);
  }

 private:
  // The tensor in f32 as it is after rounding.
  Result<ValueId> rounded_float(ValueId value) {
    const ir::Value& source = graph_.value(value);
    if (source.type.dtype == DataType::kF32 || !source.type.quantization) return value;
    if (source.is_constant()) return constant_as_float(value);
    if (const auto made = rounded_.find(value); made != rounded_.end()) return made->second;
    HAI_TRY(const ValueId form, ops::append_value(graph_, "dequantize", {value}));
    rounded_[value] = form;
    return form;
  }

  // The tensor in f32 before the rounding of the operator that made it.
  Result<ValueId> unrounded_float(ValueId value) {
    const ir::Value& source = graph_.value(value);
    if (!source.type.quantization || source.is_constant() || source.producer == kNone) return rounded_float(value);
    const ir::Node& producer = graph_.node(source.producer);
    if (producer.op == "quantize") return producer.inputs[0];
    if (producer.op == "rescale") return unrounded_float(producer.inputs[0]);
    if (producer.outputs.size() != 1) return rounded_float(value);
    if (const auto made = unrounded_.find(value); made != unrounded_.end()) return made->second;
    HAI_TRY(const ValueId form, float_twin(source.producer, nullptr));
    unrounded_[value] = form;
    return form;
  }

  Result<ValueId> constant_as_float(ValueId value) {
    const ir::Value& source = graph_.value(value);
    HAI_TRY(const std::vector<float> values, real_values(source));
    return add_floats(source.name + ".f32", source.type.shape, values);
  }

  ValueId add_floats(std::string name, const Shape& shape, std::span<const float> values) {
    std::vector<int64_t> dims;
    for (const Dim& dim : shape) dims.push_back(dim.value);
    return ops::add_constant_f32(graph_, std::move(name), dims, values);
  }

  // The node in f32. For the widened layer: with the float model's weights and unrounded inputs.
  Result<ValueId> float_twin(NodeId id, const PairedLayer* widened) {
    const ir::Node node = graph_.node(id);
    std::vector<ValueId> inputs;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (node.inputs[i] == kNone) {
        inputs.push_back(kNone);
        continue;
      }
      const bool weights = i > 0 && i < 3 && has_weights(graph_, node);
      const bool unrounded = widened != nullptr || is_mover(node) || node.op == "max_pool";
      HAI_TRY(const ValueId form, weights&& widened != nullptr ? float_weights(node, *widened, i)
                                  : weights || !unrounded      ? rounded_float(node.inputs[i])
                                                               : unrounded_float(node.inputs[i]));
      inputs.push_back(form);
    }
    ir::Attributes attributes = node.attributes;
    for (const char* key : {"conv_scale", "conv_zero_point", "conv_bits", "pre_residual_scale",
                            "pre_residual_zero_point", "pre_residual_bits"})
      attributes.erase(key);
    ops::AppendOptions options;
    options.node_name = node.name + ".wide";
    return ops::append_value(graph_, node.op, std::move(inputs), std::move(attributes), std::move(options));
  }

  // Operand 1 (weights) or 2 (bias) of the float model, at the equalized sizes.
  Result<ValueId> float_weights(const ir::Node& node, const PairedLayer& layer, size_t operand) {
    const ir::Node& theirs = reference_.node(layer.float_node);
    const ir::Value& ours = graph_.value(node.inputs[operand]);
    const bool given = has_weights(reference_, theirs) && operand < theirs.inputs.size() &&
                       theirs.inputs[operand] != kNone && reference_.value(theirs.inputs[operand]).is_constant() &&
                       reference_.value(theirs.inputs[operand]).type.shape == ours.type.shape;
    if (!given) return rounded_float(node.inputs[operand]);
    HAI_TRY(std::vector<float> values, real_values(reference_.value(theirs.inputs[operand])));
    const Gains& output = pairing_.gains[node.outputs[0]];
    const Gains& input = pairing_.gains[node.inputs[0]];
    const WeightChannels channels(node, graph_.value(node.inputs[1]).type.shape);
    for (size_t i = 0; i < values.size(); ++i) {
      const WeightIndex at = operand == 1 ? channels.of(i) : WeightIndex{input.size(), i};
      if (at.output < output.size()) values[i] *= output[at.output];
      if (at.input < input.size()) values[i] /= input[at.input];
    }
    return add_floats(ours.name + ".wide", ours.type.shape, values);
  }

  const ir::Graph& reference_;
  const Pairing& pairing_;
  ir::Graph graph_;
  std::map<ValueId, ValueId> rounded_;
  std::map<ValueId, ValueId> unrounded_;
};

}  // namespace

Result<ir::Graph> with_wider_layer(const ir::Graph& reference, const ir::Graph& quantized, const Pairing& pairing,
                                   const PairedLayer& layer) {
  return Surgeon(reference, quantized, pairing).run(layer);
}

}  // namespace hai::quantizer
