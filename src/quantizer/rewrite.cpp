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
#include "types/arithmetic.h"

namespace hai::quantizer {
namespace {

constexpr double kWeightMax = 127.0;
// 2^23. A bias beyond it belongs to weights that move the result by less than a step of any 8-bit output; with it, the
// sums of a depthwise layer stay below 2^24 and exact in f32, which its quickest kernels use.
constexpr double kBiasLimit = 8388608.0;

std::span<const float> floats_of(const ir::Value& value) {
  const auto bytes = value.constant->bytes();
  return {reinterpret_cast<const float*>(bytes.data()), bytes.size() / sizeof(float)};
}

// How the weights of an operator lie in memory: `channels` output channels; element i belongs to channel (i / inner) %
// channels.
struct ChannelLayout {
  int64_t channels = 1;
  int64_t inner = 1;
  int32_t axis = 0;
};

ChannelLayout layout_of(const ir::Node& node, const Shape& shape) {
  const auto rank = static_cast<int32_t>(shape.size());
  // Convolutions are OHWI; a matrix product's constant is [..., N, K] when transposed, else [..., K, N].
  const int32_t axis = node.op != "matmul" ? 0 : node.int_attribute("transpose_b", 0) != 0 ? rank - 2 : rank - 1;
  ChannelLayout layout{shape[static_cast<size_t>(axis)].value, 1, axis};
  for (size_t i = static_cast<size_t>(axis) + 1; i < shape.size(); ++i) layout.inner *= shape[i].value;
  return layout;
}

struct QuantizedWeights {
  std::vector<int8_t> values;
  std::vector<float> scales;
  std::vector<double> bias_shift;  // what the rounding adds to each output channel, on average; empty when unknown
  WeightRecord record;
};

QuantizedWeights quantize_weights(std::span<const float> weights, const ChannelLayout& layout,
                                  std::span<const float> bias, double s_x, double s_y) {
  QuantizedWeights out;
  const auto channels = static_cast<size_t>(layout.channels);
  std::vector<double> largest(channels, 0.0);
  const auto channel_of = [&](size_t i) { return (i / static_cast<size_t>(layout.inner)) % channels; };
  for (size_t i = 0; i < weights.size(); ++i) {
    double& slot = largest[channel_of(i)];
    slot = std::max(slot, static_cast<double>(std::abs(weights[i])));
  }
  for (size_t c = 0; c < channels; ++c) {
    double scale = largest[c] / kWeightMax;
    // An all-zero (or nearly so) channel: the least scale whose multiplier and bias are usable, doubled to stay clear
    // of rounding.
    if (s_y > 0) scale = std::max(scale, 2.0 * HAI_MULTIPLIER_MIN * s_y / s_x);
    if (c < bias.size()) scale = std::max(scale, std::abs(static_cast<double>(bias[c])) / (kBiasLimit * s_x));
    scale = std::max(scale, 1e-30);
    out.scales.push_back(static_cast<float>(scale));
    if (largest[c] == 0) ++out.record.zero_channels;
  }
  double signal = 0;
  double noise = 0;
  out.values.resize(weights.size());
  for (size_t i = 0; i < weights.size(); ++i) {
    const double scale = static_cast<double>(out.scales[channel_of(i)]);
    const double w = static_cast<double>(weights[i]);
    const double q = std::clamp(std::nearbyint(w / scale), -kWeightMax, kWeightMax);
    out.values[i] = static_cast<int8_t>(q);
    signal += w * w;
    noise += (q * scale - w) * (q * scale - w);
  }
  out.record.sqnr_db = noise > 0 && signal > 0 ? 10 * std::log10(signal / noise) : 0;
  return out;
}

// Mean of (rounded - real weights) * input, per output channel. Means are per input channel; padding is ignored.
std::vector<double> mean_error(const ir::Node& node, std::span<const float> weights, const QuantizedWeights& quantized,
                               const ChannelLayout& layout, const Shape& shape, std::span<const float> means) {
  std::vector<double> error(static_cast<size_t>(layout.channels), 0.0);
  const bool convolution = node.op == "conv2d";
  const auto per_group = static_cast<size_t>(convolution ? shape[3].value : 0);
  const auto groups = static_cast<size_t>(node.int_attribute("groups", 1));
  const size_t outputs_per_group = static_cast<size_t>(layout.channels) / groups;
  for (size_t i = 0; i < weights.size(); ++i) {
    const size_t channel = (i / static_cast<size_t>(layout.inner)) % static_cast<size_t>(layout.channels);
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
           const Observations& observations, const QuantizeOptions& options)
      : graph_(graph),
        plan_(plan),
        quantization_(quantization),
        observations_(observations),
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
    QuantizedWeights quantized = quantize_weights(floats_of(weights), layout, bias, s_x, s_y);
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
    const Shape& w_shape = weights.type.shape;
    std::vector<int64_t> dims;
    for (const Dim& dim : w_shape) dims.push_back(dim.value);
    const std::vector<int32_t> no_zero(quantized.scales.size(), 0);
    const ir::ValueId w = ops::add_constant_i8(out_.graph, weights.name, dims, quantized.values,
                                               {quantized.scales, no_zero, layout.axis, 0});
    const ir::ValueId b = add_bias(node, bias, quantized.scales, s_x);
    quantized.record.node = node.name;
    quantized.record.op = node.op;
    quantized.record.float_result = float_result;
    out_.weights.push_back(quantized.record);
    std::vector<std::optional<ir::TensorType>> declared;
    declared.emplace_back(float_result ? graph_.value(node.outputs[0]).type : integer_type(node.outputs[0]));
    return emit(node, {x, w, b}, declared, !float_result);
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
  const QuantizeOptions& options_;
  std::vector<ir::ValueId> as_float_;
  std::vector<ir::ValueId> as_integer_;
  Rewritten out_;
};

}  // namespace

Result<Rewritten> rewrite(const ir::Graph& graph, const Plan& plan,
                          const std::vector<std::optional<Quantization>>& quantization,
                          const Observations& observations, const QuantizeOptions& options) {
  Rewriter rewriter(graph, plan, quantization, observations, options);
  HAI_TRY_STATUS(rewriter.run());
  return rewriter.take();
}

}  // namespace hai::quantizer
