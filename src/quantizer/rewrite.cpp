// The rewrite to integers.
//
// Method: nodes are copied in order into a new graph. Each old value has up to three new forms, f32, i8 and i16, made
// when first asked for (and one in f16); quantize, dequantize, rescale and cast appear only where operators of
// different types meet. Weights are rounded to nearest on the symmetric grid of their output channel; biases become i32
// at the scale of the accumulator; a bias also takes back the mean error of its channel's rounded weights, estimated
// from the mean input (Nagel, van Baalen, Blankevoort, Welling: "Data-Free Quantization through Weight Equalization and
// Bias Correction", ICCV 2019, 4.2, with measured instead of derived means). Invariant: every multiplier s_x * s_w /
// s_y lies in [2^-40, 2^8] and every bias within bias_limit(): scales of weights are raised where needed.
#include "quantizer/rewrite.h"

#include <algorithm>
#include <cmath>

#include "ops/build.h"
#include "quantizer/weights.h"
#include "types/arithmetic.h"
#include "types/half.h"
#include "types/quantize_layer.h"

namespace hai::quantizer {
namespace {

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
  Rewriter(const ir::Graph& graph, const Plan& plan, const Ranges& ranges, const Observations& observations,
           const GivenWeights& given, const QuantizeOptions& options, const WinogradLayers& winograd)
      : graph_(graph),
        plan_(plan),
        ranges_(ranges),
        observations_(observations),
        given_(given),
        options_(options),
        winograd_(winograd),
        as_float_(graph.value_slots(), ir::kNone),
        as_i8_(graph.value_slots(), ir::kNone),
        as_i16_(graph.value_slots(), ir::kNone),
        as_half_(graph.value_slots(), ir::kNone),
        made_in_half_(graph.value_slots(), false),
        dequantized_(graph.value_slots(), false) {
    out_.graph.name = graph.name;
    out_.graph.symbols = graph.symbols;
    out_.graph.metadata = graph.metadata;
    out_.nodes.assign(graph.node_slots(), ir::kNone);
  }

  Status run() {
    for (const ir::ValueId input : graph_.inputs())
      as_float_[input] = out_.graph.add_input(graph_.value(input).name, graph_.value(input).type);
    HAI_TRY(const std::vector<ir::NodeId> order, graph_.ordered());
    for (const ir::NodeId id : order) {
      Status status = plan_.weight_only[id]           ? rewrite_weight_only(id)
                      : plan_.half[id]                ? rewrite_half(id)
                      : !plan_.integer[id]            ? copy_float(id)
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
  static constexpr int kHalf = -16;

  std::vector<ir::ValueId>& integers(int bits) { return bits == 16 ? as_i16_ : as_i8_; }

  ir::TensorType integer_type(ir::ValueId value, int bits) const {
    return {bits == 16 ? DataType::kI16 : DataType::kI8, graph_.value(value).type.shape,
            ranges_.of(plan_, value, bits)};
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
    if (as_half_[value] != ir::kNone) {
      HAI_TRY(form, cast(as_half_[value], "f32", source.name + ".to_f32"));
      return form;
    }
    const ir::ValueId integer = as_i16_[value] != ir::kNone ? as_i16_[value] : as_i8_[value];
    HAI_CHECK(integer != ir::kNone);
    ops::AppendOptions options;
    options.node_name = source.name + ".dequantize";
    options.output_names = {source.name + ".f32"};
    HAI_TRY(form, ops::append_value(out_.graph, "dequantize", {integer}, {}, std::move(options)));
    dequantized_[value] = true;
    return form;
  }

  Result<ir::ValueId> cast(ir::ValueId value, const std::string& dtype, const std::string& name) {
    ops::AppendOptions options;
    options.node_name = name;
    options.output_names = {name};
    return ops::append_value(out_.graph, "cast", {value}, {{"dtype", dtype}}, std::move(options));
  }

  // As f16: a constant rounded once, an integer by way of f32.
  Result<ir::ValueId> half_form(ir::ValueId value) {
    if (value == ir::kNone) return ir::kNone;
    ir::ValueId& form = as_half_[value];
    if (form != ir::kNone) return form;
    const ir::Value& source = graph_.value(value);
    if (source.is_constant()) {
      HAI_TRY(form, half_constant(source));
      return form;
    }
    HAI_TRY(const ir::ValueId real, float_form(value));
    HAI_TRY(form, cast(real, "f16", source.name + ".to_f16"));
    return form;
  }

  Result<ir::ValueId> half_constant(const ir::Value& source) {
    const auto values = floats_of(source);
    auto data = ir::ConstantData::allocate(values.size() * sizeof(uint16_t));
    auto* halves = reinterpret_cast<uint16_t*>(data->mutable_bytes().data());
    for (size_t i = 0; i < values.size(); ++i) {
      halves[i] = half_of(values[i]);
      if ((halves[i] & 0x7c00) == 0x7c00) {
        return make_error(StatusCode::kOutOfRange, "Q033",
                          "{}: element {} is {}, and f16 ends at 65504; give this layer another precision", source.name,
                          i, values[i]);
      }
    }
    return out_.graph.add_constant(source.name + ".f16", {DataType::kF16, source.type.shape, {}}, std::move(data));
  }

  // From the tensor that came first, f32 or f16, else from the other width.
  Result<ir::ValueId> integer_form(ir::ValueId value, int bits) {
    ir::ValueId& form = integers(bits)[value];
    if (form != ir::kNone) return form;
    const ir::Value& source = graph_.value(value);
    if (source.is_constant()) {
      form = integer_constant(source, bits);
      return form;
    }
    const std::string suffix = bits == 16 ? ".i16" : ".i8";
    ops::AppendOptions options;
    options.output_names = {source.name + suffix};
    options.declared = {integer_type(value, bits)};
    if (made_in_half_[value] || (as_float_[value] != ir::kNone && !dequantized_[value])) {
      const ir::ValueId real = made_in_half_[value] ? as_half_[value] : as_float_[value];
      options.node_name = source.name + (bits == plan_.bits_of(value) ? ".quantize" : ".quantize" + suffix);
      HAI_TRY(form, ops::append_value(out_.graph, "quantize", {real}, {}, std::move(options)));
      return form;
    }
    const ir::ValueId other = integers(24 - bits)[value];
    HAI_CHECK(other != ir::kNone);
    options.node_name = source.name + ".rescale";
    HAI_TRY(form, ops::append_value(out_.graph, "rescale", {other}, {}, std::move(options)));
    return form;
  }

  // An operand that is a constant (the addend of an addition, ...): its own range, one scale.
  ir::ValueId integer_constant(const ir::Value& source, int bits) {
    const auto values = floats_of(source);
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    const Quantization quantization =
        values.empty()
            ? range_quantization(0, 0, options_.symmetric, bits)
            : range_quantization(static_cast<double>(*low), static_cast<double>(*high), options_.symmetric, bits);
    const DataType dtype = bits == 16 ? DataType::kI16 : DataType::kI8;
    const hai_output_range range{quantization.zero_points[0], static_cast<int32_t>(integer_min(dtype)),
                                 static_cast<int32_t>(integer_max(dtype))};
    auto data = ir::ConstantData::allocate(values.size() * static_cast<size_t>(bits / 8));
    const auto bytes = data->mutable_bytes();
    for (size_t i = 0; i < values.size(); ++i) {
      const int32_t q = hai_quantize(values[i], quantization.scales[0], range);
      if (bits == 8) {
        bytes[i] = static_cast<std::byte>(static_cast<int8_t>(q));
      } else {
        reinterpret_cast<int16_t*>(bytes.data())[i] = static_cast<int16_t>(q);
      }
    }
    return out_.graph.add_constant(source.name + (bits == 16 ? ".i16" : ".i8"),
                                   {dtype, source.type.shape, quantization}, std::move(data));
  }

  // A layer, whose bias stays f32, or what lies between layers.
  Status rewrite_half(ir::NodeId id) {
    const ir::Node& node = graph_.node(id);
    const bool layer = role_of(graph_, node) == Role::kMac;
    const auto winograd = winograd_.find(id);
    const bool tiled = winograd != winograd_.end();
    std::vector<ir::ValueId> inputs;
    for (const ir::ValueId input : node.inputs) {
      if (tiled && inputs.size() == 1) {
        inputs.push_back(add_taps(node, winograd->second.taps));
        continue;
      }
      const bool real = input != ir::kNone && graph_.value(input).type.dtype == DataType::kF32;
      const bool halves = real && !(layer && inputs.size() == 2);
      HAI_TRY(const ir::ValueId form, halves ? half_form(input) : float_form(input));
      inputs.push_back(form);
    }
    for (const ir::ValueId output : node.outputs) made_in_half_[output] = true;
    if (!tiled) return emit(node, std::move(inputs), {}, kHalf);
    ir::Node changed = node;
    changed.op = "winograd_conv2d";
    changed.attributes = {{"tile", int64_t{winograd->second.taps.tile}}};
    if (node.has_attribute("pads")) changed.attributes["pads"] = node.ints_attribute("pads", {});
    return emit(changed, std::move(inputs), {}, kHalf);
  }

  // Of f16.
  ir::ValueId add_taps(const ir::Node& node, const WinogradTaps& taps) {
    const ir::Value& weights = graph_.value(node.inputs[1]);
    const Shape& shape = weights.type.shape;
    const Dims dims{shape[0].value, taps.tile + 2, taps.tile + 2, shape[3].value};
    return add_halves(out_.graph, weights.name + ".taps", dims, taps.halves);
  }

  // `bits`: of the outputs, 0 for f32, kHalf for f16.
  Status emit(const ir::Node& node, std::vector<ir::ValueId> inputs,
              const std::vector<std::optional<ir::TensorType>>& declared, int bits) {
    ops::AppendOptions options;
    options.node_name = node.name;
    options.declared = declared;
    options.output_count = node.outputs.size();
    for (const ir::ValueId output : node.outputs) options.output_names.push_back(graph_.value(output).name);
    HAI_TRY(const ir::NodeId copy,
            ops::append(out_.graph, node.op, std::move(inputs), node.attributes, std::move(options)));
    for (size_t i = 0; i < node.outputs.size(); ++i)
      (bits == 0       ? as_float_
       : bits == kHalf ? as_half_
                       : integers(bits))[node.outputs[i]] = out_.graph.node(copy).outputs[i];
    out_.nodes[graph_.value(node.outputs[0]).producer] = copy;
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
    return emit(node, std::move(inputs), declared, 0);
  }

  Status rewrite_integer(ir::NodeId id) {
    const ir::Node& node = graph_.node(id);
    const int bits = node.op == "softmax" ? 8 : plan_.bits_of(node.outputs[0]);
    std::vector<ir::ValueId> inputs;
    for (const ir::ValueId input : node.inputs) {
      if (input == ir::kNone || graph_.value(input).type.dtype != DataType::kF32 ||  // gather's indices
          inputs.size() >= data_operands(node)) {
        HAI_TRY(const ir::ValueId form, float_form(input));
        inputs.push_back(form);
        continue;
      }
      const bool own_width = takes_mixed_widths(node.op) && !graph_.value(input).is_constant();
      const int read = takes_bytes(node.op) ? 8 : own_width ? plan_.bits_of(input) : bits;
      HAI_TRY(const ir::ValueId form, integer_form(input, read));
      inputs.push_back(form);
    }
    std::vector<std::optional<ir::TensorType>> declared;
    for (const ir::ValueId output : node.outputs) declared.emplace_back(integer_type(output, bits));
    return emit(node, std::move(inputs), declared, bits);
  }

  Result<std::vector<float>> bias_of(const ir::Node& node, int64_t channels) const {
    std::vector<float> bias(static_cast<size_t>(channels), 0.0F);
    if (node.inputs.size() < 3 || node.inputs[2] == ir::kNone) return bias;
    const auto given = floats_of(graph_.value(node.inputs[2]));
    if (given.size() != bias.size())
      return make_error(StatusCode::kInternal, "Q030", "bias of {} numbers for {} channels", given.size(), bias.size());
    std::copy(given.begin(), given.end(), bias.begin());
    return bias;
  }

  // Takes the mean error of the rounded weights back, where the means of the input are known.
  void correct_bias(ir::NodeId id, const ir::Node& node, const QuantizedWeights& quantized, const ChannelLayout& layout,
                    std::vector<float>& bias) const {
    const auto seen = observations_.find(node.inputs[0]);
    if (plan_.trained[id] || !options_.bias_correction || seen == observations_.end() || node.op == "conv_transpose2d")
      return;
    const std::vector<float> means = seen->second.channel_means();
    if (means.empty()) return;
    const ir::Value& weights = graph_.value(node.inputs[1]);
    const std::vector<double> error =
        mean_error(node, floats_of(weights), quantized, layout, weights.type.shape, means);
    for (size_t c = 0; c < bias.size(); ++c) bias[c] = static_cast<float>(static_cast<double>(bias[c]) - error[c]);
  }

  void record(ir::NodeId id, const QuantizedWeights& quantized, const ChannelLayout& layout) {
    const ir::Node& node = graph_.node(id);
    const auto weights = floats_of(graph_.value(node.inputs[1]));
    out_.weights.push_back({node.name, node.op, plan_.precision[id], weight_sqnr_db(weights, layout, quantized),
                            zero_channel_count(weights, layout), plan_.float_result[id]});
  }

  // Weights are taps, and the epilogue's numbers those of their scales.
  Status rewrite_winograd(ir::NodeId id, const WinogradLayer& layer) {
    const ir::Node& node = graph_.node(id);
    const bool float_result = plan_.float_result[id];
    HAI_TRY(const ir::ValueId x, integer_form(node.inputs[0], 8));
    const double s_x = static_cast<double>(out_.graph.value(x).type.quantization->scales[0]);
    const int result_bits = plan_.result_bits(id, node.outputs[0]);
    const double s_y =
        float_result ? 1.0 : static_cast<double>(ranges_.of(plan_, node.outputs[0], result_bits).scales[0]);
    const WinogradTaps& taps = layer.taps;
    std::vector<float> scales;
    for (const float s_u : taps.scales) scales.push_back(static_cast<float>(static_cast<double>(s_u) * taps.base));
    HAI_TRY_STATUS(check_multipliers(node, scales, s_x, s_y));
    const ir::Value& weights = graph_.value(node.inputs[1]);
    const int64_t dims[] = {weights.type.shape[0].value, taps.tile + 2, taps.tile + 2, weights.type.shape[3].value};
    const ir::ValueId w = ops::add_constant_i8(out_.graph, weights.name + ".taps", dims, taps.values,
                                               {taps.scales, std::vector<int32_t>(taps.scales.size(), 0), 0, 0});
    const ir::ValueId b = add_bias(node, layer.bias, scales, s_x, kWinogradBiasLimit, 8);
    ops::AppendOptions options;
    options.node_name = node.name;
    options.output_names = {graph_.value(node.outputs[0]).name};
    options.declared.emplace_back(float_result ? graph_.value(node.outputs[0]).type
                                               : integer_type(node.outputs[0], result_bits));
    ir::Attributes attributes{
        {"tile", int64_t{taps.tile}}, {"input_shifts", taps.input_shifts}, {"weight_shifts", taps.weight_shifts}};
    if (node.has_attribute("pads")) attributes["pads"] = node.ints_attribute("pads", {});
    HAI_TRY(const ir::NodeId copy,
            ops::append(out_.graph, "winograd_conv2d", {x, w, b}, std::move(attributes), std::move(options)));
    (float_result ? as_float_ : integers(result_bits))[node.outputs[0]] = out_.graph.node(copy).outputs[0];
    out_.nodes[id] = copy;
    out_.weights.push_back({node.name, "winograd_conv2d", plan_.precision[id], 0,
                            zero_channel_count(floats_of(weights), layout_of(node, weights.type.shape)), float_result,
                            taps.tile});
    return {};
  }

  Status rewrite_mac(ir::NodeId id) {
    const auto winograd = winograd_.find(id);
    if (winograd != winograd_.end()) return rewrite_winograd(id, winograd->second);
    const ir::Node& node = graph_.node(id);
    const bool float_result = plan_.float_result[id];
    const int bits = plan_.precision[id].activation_bits;
    HAI_TRY(const ir::ValueId x, integer_form(node.inputs[0], bits));
    const double s_x = static_cast<double>(out_.graph.value(x).type.quantization->scales[0]);
    const int result_bits = plan_.result_bits(id, node.outputs[0]);
    // An f32 result is the sum at scale 1.
    const double s_y =
        float_result ? 1.0 : static_cast<double>(ranges_.of(plan_, node.outputs[0], result_bits).scales[0]);
    const ir::Value& weights = graph_.value(node.inputs[1]);
    const ChannelLayout layout = layout_of(node, weights.type.shape);
    HAI_TRY(std::vector<float> bias, bias_of(node, layout.channels));
    HAI_TRY(const QuantizedWeights quantized,
            weights_of(id, {s_x, s_y, bias, bias_limit(plan_.precision[id])}, layout));
    if (quantized.bias.empty()) {
      correct_bias(id, node, quantized, layout, bias);
    } else {
      bias = quantized.bias;
    }
    HAI_TRY_STATUS(check_multipliers(node, quantized.scales, s_x, s_y));
    const ir::ValueId w = add_weight_constant(out_.graph, weights.name, weights.type.shape, layout, quantized);
    const ir::ValueId b = add_bias(node, bias, quantized.scales, s_x, bias_limit(plan_.precision[id]),
                                   plan_.precision[id].activation_bits);
    record(id, quantized, layout);
    std::vector<std::optional<ir::TensorType>> declared;
    declared.emplace_back(float_result ? graph_.value(node.outputs[0]).type
                                       : integer_type(node.outputs[0], result_bits));
    return emit(node, {x, w, b}, declared, float_result ? 0 : result_bits);
  }

  // f32 activations, integer weights: the bias stays f32 and takes the mean error back where means are known.
  Status rewrite_weight_only(ir::NodeId id) {
    const ir::Node& node = graph_.node(id);
    HAI_TRY(const ir::ValueId x, float_form(node.inputs[0]));
    const ir::Value& weights = graph_.value(node.inputs[1]);
    const ChannelLayout layout = layout_of(node, weights.type.shape);
    HAI_TRY(const QuantizedWeights quantized, weights_of(id, {}, layout));
    const ir::ValueId w = add_weight_constant(out_.graph, weights.name, weights.type.shape, layout, quantized);
    record(id, quantized, layout);
    std::vector<ir::ValueId> inputs = {x, w};
    if (!quantized.bias.empty()) {
      const int64_t dims[] = {layout.channels};
      inputs.push_back(ops::add_constant_f32(out_.graph, node.name + ".bias", dims, quantized.bias));
    }
    for (size_t i = inputs.size(); i < node.inputs.size(); ++i) {
      HAI_TRY(const ir::ValueId form, float_form(node.inputs[i]));
      inputs.push_back(form);
    }
    return emit(node, std::move(inputs), {graph_.value(node.outputs[0]).type}, 0);
  }

  // Given ones, or rounded to nearest.
  Result<QuantizedWeights> weights_of(ir::NodeId id, const ScaleBounds& bounds, const ChannelLayout& layout) const {
    const auto weights = floats_of(graph_.value(graph_.node(id).inputs[1]));
    const int bits = plan_.precision[id].weight_bits;
    const auto given = given_.find(id);
    if (given == given_.end()) {
      std::vector<float> scales = bits == 4 && !options_.largest_scales ? least_error_scales(weights, layout, bits)
                                                                        : largest_scales(weights, layout, bits);
      return round_weights(weights, layout, bounded_scales(std::move(scales), bounds), bits);
    }
    if (given->second.values.size() == weights.size() && given->second.bits == bits &&
        given->second.scales.size() == static_cast<size_t>(layout.channels) &&
        (given->second.bias.empty() || given->second.bias.size() == given->second.scales.size()))
      return given->second;
    return make_error(StatusCode::kInternal, "Q032", "{} weights of {} bits and {} scales were given for {}, {} and {}",
                      given->second.values.size(), given->second.bits, given->second.scales.size(), weights.size(),
                      bits, layout.channels);
  }

  // i32, or i64 for 16-bit activations.
  ir::ValueId add_bias(const ir::Node& node, std::span<const float> bias, std::span<const float> scales, double s_x,
                       double limit, int bits) {
    Quantization quantization{{}, std::vector<int32_t>(bias.size(), 0), 0, 0};
    auto data = ir::ConstantData::allocate(bias.size() * (bits == 16 ? sizeof(int64_t) : sizeof(int32_t)));
    std::byte* bytes = data->mutable_bytes().data();
    for (size_t c = 0; c < bias.size(); ++c) {
      const double scale = s_x * static_cast<double>(scales[c]);
      const double q = hai_round_bias(bias[c], s_x, scales[c], limit);
      if (bits == 16) {
        reinterpret_cast<int64_t*>(bytes)[c] = static_cast<int64_t>(q);
      } else {
        reinterpret_cast<int32_t*>(bytes)[c] = static_cast<int32_t>(q);
      }
      quantization.scales.push_back(static_cast<float>(scale));
    }
    return out_.graph.add_constant(node.name + (bits == 16 ? ".bias.i64" : ".bias.i32"),
                                   {bits == 16 ? DataType::kI64 : DataType::kI32,
                                    to_shape(std::vector<int64_t>{static_cast<int64_t>(bias.size())}), quantization},
                                   std::move(data));
  }

  static Status check_multipliers(const ir::Node& node, std::span<const float> scales, double s_x, double s_y) {
    if (s_y <= 0) return {};
    for (size_t c = 0; c < scales.size(); ++c) {
      const float multiplier = hai_multiplier_product(static_cast<float>(s_x), scales[c], static_cast<float>(s_y));
      if (hai_multiplier_usable(multiplier) == 0) {
        return make_error(StatusCode::kOutOfRange, "Q031",
                          "{}: output channel {}: the multiplier {} is outside [2^-40, 2^8], since its output stays so "
                          "much smaller than its products; keep this layer in f32",
                          node.name, c, multiplier);
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
  const Ranges& ranges_;
  const Observations& observations_;
  const GivenWeights& given_;
  const QuantizeOptions& options_;
  const WinogradLayers& winograd_;
  std::vector<ir::ValueId> as_float_;
  std::vector<ir::ValueId> as_i8_;
  std::vector<ir::ValueId> as_i16_;
  std::vector<ir::ValueId> as_half_;
  std::vector<bool> made_in_half_;  // by value slot: an f16 node makes it
  std::vector<bool> dequantized_;   // by value slot: the f32 form was made from an integer one
  Rewritten out_;
};

}  // namespace

ir::ValueId add_halves(ir::Graph& graph, std::string name, const Dims& dims, std::span<const uint16_t> halves) {
  return graph.add_constant(std::move(name), {DataType::kF16, to_shape(dims), {}},
                            ir::ConstantData::copy_of(std::as_bytes(halves)));
}

Result<Rewritten> rewrite(const ir::Graph& graph, const Plan& plan, const Ranges& ranges,
                          const Observations& observations, const GivenWeights& given, const QuantizeOptions& options,
                          const WinogradLayers& winograd) {
  Rewriter rewriter(graph, plan, ranges, observations, given, options, winograd);
  HAI_TRY_STATUS(rewriter.run());
  return rewriter.take();
}

}  // namespace hai::quantizer
