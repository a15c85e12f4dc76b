// The rewrite to integers.
//
// Method: nodes are copied in order into a new graph. Each old value has up to two new forms, f32 and i8, made when
// first asked for; quantize and dequantize appear only where an f32 and an integer operator meet. Weights are rounded
// to nearest on the symmetric grid of their output channel; biases become i32 at the scale of the accumulator; a bias
// also takes back the mean error of its channel's rounded weights, estimated from the mean input (Nagel, van Baalen,
// Blankevoort, Welling: "Data-Free Quantization through Weight Equalization and Bias Correction", ICCV 2019, 4.2, with
// measured instead of derived means). Invariant: every multiplier s_x * s_w / s_y lies in [2^-40, 2^8] and every bias
// in 30 bits: scales of weights are raised where needed.
#include "quantizer/rewrite.h"

#include <algorithm>
#include <cmath>

#include "ops/build.h"
#include "quantizer/weights.h"
#include "types/arithmetic.h"

namespace hai::quantizer {
namespace {

// 2^23. A bias beyond it belongs to weights that move the result by less than a step of any 8-bit output; with it, the
// sums of a depthwise layer stay below 2^24 and exact in f32, which its quickest kernels use.
constexpr double kBiasLimit = 8388608.0;

// Mean of (rounded - real weights) * input, per output channel. Means are per input channel; padding is ignored.
std::vector<double> mean_error(const ir::Node& node, std::span<const float> weights, const QuantizedWeights& quantized,
                               const ChannelLayout& layout, const Shape& shape, std::span<const float> means) {
  std::vector<double> error(static_cast<size_t>(layout.channels), 0.0);
  const bool convolution = node.op == "conv2d";
  const auto per_group = static_cast<size_t>(convolution ? shape[3].value : 0);
  const auto groups = static_cast<size_t>(node.int_attribute("groups", 1));
  const size_t outputs_per_group = static_cast<size_t>(layout.channels) / groups;
  for (size_t i = 0; i < weights.size(); ++i) {
    const size_t channel = layout.channel_of(i);
    size_t input = 0;
    if (convolution) {
      input = channel / outputs_per_group * per_group + i % per_group;
    } else if (layout.inner > 1) {
      input = i % static_cast<size_t>(layout.inner);
    } else {
      input = i / static_cast<size_t>(layout.channels);
    }
    const double rounded = static_cast<double>(quantized.values[i]) * static_cast<double>(quantized.scales[channel]);
    error[channel] += (rounded - static_cast<double>(weights[i])) * static_cast<double>(means[input]);
  }
  return error;
}

class Rewriter {
 public:
  Rewriter(const ir::Graph& graph, const Plan& plan, const std::vector<std::optional<Quantization>>& quantization,
           const Observations& observations, const GivenWeights& given, const QuantizeOptions& options)
      : graph_(graph),
        plan_(plan),
        quantization_(quantization),
        observations_(observations),
        given_(given),
        options_(options),
        as_float_(graph.value_slots(), ir::kNone),
        as_integer_(graph.value_slots(), ir::kNone) {
    out_.graph.name = graph.name;
    out_.graph.symbols = graph.symbols;
    out_.graph.metadata = graph.metadata;
  }

  Status run() {
    for (const ir::ValueId input : graph_.inputs())
      as_float_[input] = out_.graph.add_input(graph_.value(input).name, graph_.value(input).type);
    HAI_TRY(const std::vector<ir::NodeId> order, graph_.ordered());
    for (const ir::NodeId id : order) {
      Status status = !plan_.integer[id]              ? copy_float(id)
                      : plan_.roles[id] == Role::kMac ? rewrite_mac(id)
                                                      : rewrite_integer(id);
      if (!status.has_value()) return with_where(std::move(status).error(), graph_.node(id).name);
    }
    for (const ir::ValueId output : graph_.outputs()) {
      HAI_TRY(const ir::ValueId value, float_form(output));
      out_.graph.add_output(value);
    }
    name_outputs();
    return {};
  }

  Rewritten take() { return std::move(out_); }

 private:
  const Quantization& quantization_of(ir::ValueId value) const {
    const auto& chosen = quantization_[plan_.group[value]];
    HAI_CHECK(chosen.has_value());
    return *chosen;
  }

  ir::TensorType integer_type(ir::ValueId value) const {
    return {DataType::kI8, graph_.value(value).type.shape, quantization_of(value)};
  }

  // A constant or any other tensor as the original had it; integers are dequantized.
  Result<ir::ValueId> float_form(ir::ValueId value) {
    if (value == ir::kNone) return ir::kNone;
    ir::ValueId& form = as_float_[value];
    if (form != ir::kNone) return form;
    const ir::Value& source = graph_.value(value);
    if (source.is_constant()) {
      form = out_.graph.add_constant(source.name, source.type, source.constant);
      return form;
    }
    HAI_CHECK(as_integer_[value] != ir::kNone);
    ops::AppendOptions options;
    options.node_name = source.name + ".dequantize";
    options.output_names = {source.name + ".f32"};
    HAI_TRY(form, ops::append_value(out_.graph, "dequantize", {as_integer_[value]}, {}, std::move(options)));
    return form;
  }

  Result<ir::ValueId> integer_form(ir::ValueId value) {
    ir::ValueId& form = as_integer_[value];
    if (form != ir::kNone) return form;
    const ir::Value& source = graph_.value(value);
    if (source.is_constant()) {
      form = integer_constant(source);
      return form;
    }
    HAI_CHECK(as_float_[value] != ir::kNone);
    ops::AppendOptions options;
    options.node_name = source.name + ".quantize";
    options.output_names = {source.name + ".i8"};
    options.declared = {integer_type(value)};
    HAI_TRY(form, ops::append_value(out_.graph, "quantize", {as_float_[value]}, {}, std::move(options)));
    return form;
  }

  // An operand that is a constant (the addend of an addition, ...): its own range, one scale.
  ir::ValueId integer_constant(const ir::Value& source) {
    const auto values = floats_of(source);
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    const Quantization quantization =
        values.empty() ? affine_i8(0, 0, false)
                       : affine_i8(static_cast<double>(*low), static_cast<double>(*high), options_.symmetric);
    const hai_output_range range{quantization.zero_points[0], -128, 127};
    auto data = ir::ConstantData::allocate(values.size());
    const auto bytes = data->mutable_bytes();
    for (size_t i = 0; i < values.size(); ++i)
      bytes[i] = static_cast<std::byte>(static_cast<int8_t>(hai_quantize(values[i], quantization.scales[0], range)));
    return out_.graph.add_constant(source.name + ".i8", {DataType::kI8, source.type.shape, quantization},
                                   std::move(data));
  }

  Status emit(const ir::Node& node, std::vector<ir::ValueId> inputs,
              const std::vector<std::optional<ir::TensorType>>& declared, bool integer) {
    ops::AppendOptions options;
    options.node_name = node.name;
    options.declared = declared;
    options.output_count = node.outputs.size();
    for (const ir::ValueId output : node.outputs) options.output_names.push_back(graph_.value(output).name);
    HAI_TRY(const ir::NodeId copy,
            ops::append(out_.graph, node.op, std::move(inputs), node.attributes, std::move(options)));
    for (size_t i = 0; i < node.outputs.size(); ++i)
      (integer ? as_integer_ : as_float_)[node.outputs[i]] = out_.graph.node(copy).outputs[i];
    return {};
  }

  Status copy_float(ir::NodeId id) {
    const ir::Node& node = graph_.node(id);
    std::vector<ir::ValueId> inputs;
    for (const ir::ValueId input : node.inputs) {
      HAI_TRY(const ir::ValueId form, float_form(input));
      inputs.push_back(form);
    }
    std::vector<std::optional<ir::TensorType>> declared;
    for (const ir::ValueId output : node.outputs) declared.emplace_back(graph_.value(output).type);
    return emit(node, std::move(inputs), declared, false);
  }

  Status rewrite_integer(ir::NodeId id) {
    const ir::Node& node = graph_.node(id);
    std::vector<ir::ValueId> inputs;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const ir::ValueId input = node.inputs[i];
      const bool is_index = input != ir::kNone && graph_.value(input).type.dtype != DataType::kF32;  // gather's indices
      HAI_TRY(const ir::ValueId form, input == ir::kNone || is_index ? float_form(input) : integer_form(input));
      inputs.push_back(form);
    }
    std::vector<std::optional<ir::TensorType>> declared;
    for (const ir::ValueId output : node.outputs) declared.emplace_back(integer_type(output));
    return emit(node, std::move(inputs), declared, true);
  }

  Status rewrite_mac(ir::NodeId id) {
    const ir::Node& node = graph_.node(id);
    const bool float_result = plan_.float_result[id];
    HAI_TRY(const ir::ValueId x, integer_form(node.inputs[0]));
    const Quantization& x_quantization = *out_.graph.value(x).type.quantization;
    const double s_x = static_cast<double>(x_quantization.scales[0]);
    const double s_y = float_result ? 0 : static_cast<double>(quantization_of(node.outputs[0]).scales[0]);
    const ir::Value& weights = graph_.value(node.inputs[1]);
    const bool has_bias = node.inputs.size() > 2 && node.inputs[2] != ir::kNone;
    const ChannelLayout layout = layout_of(node, weights.type.shape);
    std::vector<float> bias(static_cast<size_t>(layout.channels), 0.0F);
    if (has_bias) {
      const auto given = floats_of(graph_.value(node.inputs[2]));
      if (given.size() != bias.size())
        return make_error(StatusCode::kInternal, "Q030", "bias of {} numbers for {} channels", given.size(),
                          bias.size());
      std::copy(given.begin(), given.end(), bias.begin());
    }
    HAI_TRY(const QuantizedWeights quantized, weights_of(id, floats_of(weights), layout, {s_x, s_y, bias, kBiasLimit}));
    const auto seen = observations_.find(node.inputs[0]);
    if (options_.bias_correction && seen != observations_.end() && node.op != "conv_transpose2d") {
      const std::vector<float> means = seen->second.channel_means();
      if (!means.empty()) {
        const std::vector<double> error =
            mean_error(node, floats_of(weights), quantized, layout, weights.type.shape, means);
        for (size_t c = 0; c < bias.size(); ++c) bias[c] = static_cast<float>(static_cast<double>(bias[c]) - error[c]);
      }
    }
    HAI_TRY_STATUS(check_multipliers(quantized.scales, s_x, s_y));
    const ir::ValueId w = add_weight_constant(out_.graph, weights.name, weights.type.shape, layout, quantized);
    const ir::ValueId b = add_bias(node, bias, quantized.scales, s_x);
    out_.weights.push_back({node.name, node.op, weight_sqnr_db(floats_of(weights), layout, quantized),
                            zero_channel_count(floats_of(weights), layout), float_result});
    std::vector<std::optional<ir::TensorType>> declared;
    declared.emplace_back(float_result ? graph_.value(node.outputs[0]).type : integer_type(node.outputs[0]));
    return emit(node, {x, w, b}, declared, !float_result);
  }

  // Given ones, or rounded to nearest.
  Result<QuantizedWeights> weights_of(ir::NodeId id, std::span<const float> weights, const ChannelLayout& layout,
                                      const ScaleBounds& bounds) const {
    const auto given = given_.find(id);
    if (given == given_.end())
      return round_weights(weights, layout, bounded_scales(largest_scales(weights, layout, 8), bounds), 8);
    if (given->second.values.size() == weights.size() &&
        given->second.scales.size() == static_cast<size_t>(layout.channels))
      return given->second;
    return make_error(StatusCode::kInternal, "Q032", "{} weights and {} scales were given for {} and {}",
                      given->second.values.size(), given->second.scales.size(), weights.size(), layout.channels);
  }

  ir::ValueId add_bias(const ir::Node& node, std::span<const float> bias, std::span<const float> scales, double s_x) {
    Quantization quantization{{}, std::vector<int32_t>(bias.size(), 0), 0, 0};
    auto data = ir::ConstantData::allocate(bias.size() * sizeof(int32_t));
    auto* values = reinterpret_cast<int32_t*>(data->mutable_bytes().data());
    for (size_t c = 0; c < bias.size(); ++c) {
      const double scale = s_x * static_cast<double>(scales[c]);
      values[c] = static_cast<int32_t>(
          std::clamp(std::nearbyint(static_cast<double>(bias[c]) / scale), -kBiasLimit, kBiasLimit));
      quantization.scales.push_back(static_cast<float>(scale));
    }
    return out_.graph.add_constant(
        node.name + ".bias.i32",
        {DataType::kI32, to_shape(std::vector<int64_t>{static_cast<int64_t>(bias.size())}), quantization},
        std::move(data));
  }

  static Status check_multipliers(std::span<const float> scales, double s_x, double s_y) {
    if (s_y <= 0) return {};
    for (size_t c = 0; c < scales.size(); ++c) {
      const float multiplier = hai_multiplier_product(static_cast<float>(s_x), scales[c], static_cast<float>(s_y));
      if (hai_multiplier_usable(multiplier) == 0) {
        return make_error(StatusCode::kOutOfRange, "Q031",
                          "output channel {}: the multiplier {} is outside [2^-40, 2^8], since its output stays so "
                          "much smaller than its products; keep this layer in f32",
                          c, multiplier);
      }
    }
    return {};
  }

  // Graph outputs keep their names; an integer tensor that took one gives it back.
  void name_outputs() {
    for (size_t i = 0; i < graph_.outputs().size(); ++i) {
      const std::string& wanted = graph_.value(graph_.outputs()[i]).name;
      const ir::ValueId value = out_.graph.outputs()[i];
      if (out_.graph.value(value).name == wanted) continue;
      const auto holder = out_.graph.find_value(wanted);
      if (holder) out_.graph.rename_value(*holder, wanted + ".i8");
      out_.graph.rename_value(value, wanted);
    }
  }

  const ir::Graph& graph_;
  const Plan& plan_;
  const std::vector<std::optional<Quantization>>& quantization_;
  const Observations& observations_;
  const GivenWeights& given_;
  const QuantizeOptions& options_;
  std::vector<ir::ValueId> as_float_;
  std::vector<ir::ValueId> as_integer_;
  Rewritten out_;
};

}  // namespace

Result<Rewritten> rewrite(const ir::Graph& graph, const Plan& plan,
                          const std::vector<std::optional<Quantization>>& quantization,
                          const Observations& observations, const GivenWeights& given, const QuantizeOptions& options) {
  Rewriter rewriter(graph, plan, quantization, observations, given, options);
  HAI_TRY_STATUS(rewriter.run());
  return rewriter.take();
}

}  // namespace hai::quantizer
