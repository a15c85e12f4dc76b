// Scales and rounding of weights.
//
// Method: symmetric grids, one a output channel, [-7, 7], [-127, 127] or [-32767, 32767], so that the negative of a
// weight is a weight and 16-bit products of 8-bit weights stay away from the one pair that overflows. Rounding is to
// nearest, ties to even, in f64. Invariant: a scale is finite and positive, and multiplier and bias stay in the ranges
// of docs/reference/arithmetic.md; for that a channel's scale is raised, never lowered.
#include "quantizer/weights.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "types/arithmetic.h"
#include "types/quantize_layer.h"

namespace hai::quantizer {
namespace {

std::vector<double> largest_magnitudes(std::span<const float> weights, const ChannelLayout& layout) {
  std::vector<double> largest(static_cast<size_t>(layout.channels), 0.0);
  for (size_t i = 0; i < weights.size(); ++i) {
    double& slot = largest[layout.channel_of(i)];
    slot = std::max(slot, static_cast<double>(std::abs(weights[i])));
  }
  return largest;
}

DataType integer_type_of(int bits) { return bits == 4 ? DataType::kI4 : bits == 16 ? DataType::kI16 : DataType::kI8; }

}  // namespace

std::span<const float> floats_of(const ir::Value& value) {
  const auto bytes = value.constant->bytes();
  return {reinterpret_cast<const float*>(bytes.data()), bytes.size() / sizeof(float)};
}

double bias_limit(const Precision& precision) {
  if (precision.activation_bits == 8) return 0x1p23;
  return precision.weight_bits <= 8 ? 0x1p30 : 0x1p40;
}

double largest_multiplier(const ir::Graph& graph, const ir::Node& node, const Precision& precision,
                          double input_scale) {
  const auto largest_of = [&](size_t operand) {
    double largest = 0;
    if (operand >= node.inputs.size() || node.inputs[operand] == ir::kNone) return largest;
    for (const float x : floats_of(graph.value(node.inputs[operand])))
      largest = std::max(largest, std::abs(static_cast<double>(x)));
    return largest;
  };
  return hai_layer_multiplier(input_scale, largest_of(1), static_cast<double>(weight_limit(precision.weight_bits)),
                              largest_of(2), bias_limit(precision));
}

int64_t weight_limit(int bits) { return (int64_t{1} << (bits - 1)) - 1; }

ChannelLayout layout_of(const ir::Node& node, const Shape& shape) {
  const auto rank = static_cast<int32_t>(shape.size());
  const int32_t axis = node.op != "matmul" ? 0 : node.int_attribute("transpose_b", 0) != 0 ? rank - 2 : rank - 1;
  ChannelLayout layout{shape[static_cast<size_t>(axis)].value, 1, axis};
  for (size_t i = static_cast<size_t>(axis) + 1; i < shape.size(); ++i) layout.inner *= shape[i].value;
  return layout;
}

std::vector<float> largest_scales(std::span<const float> weights, const ChannelLayout& layout, int bits) {
  std::vector<float> scales;
  const auto limit = static_cast<double>(weight_limit(bits));
  for (const double largest : largest_magnitudes(weights, layout)) scales.push_back(hai_weight_scale(largest, limit));
  return scales;
}

std::vector<float> least_error_scales(std::span<const float> weights, const ChannelLayout& layout, int bits) {
  constexpr int kCandidates = 24;
  const std::vector<float> largest = largest_scales(weights, layout, bits);
  std::vector<float> best = largest;
  std::vector<double> best_error(largest.size(), std::numeric_limits<double>::infinity());
  const auto limit = static_cast<float>(weight_limit(bits));
  std::vector<float> candidate(largest.size());
  std::vector<double> error(largest.size());
  for (int step = 0; step < kCandidates; ++step) {
    const float keep = 1.0F - 0.025F * static_cast<float>(step);  // down to 0.425 of the largest
    for (size_t c = 0; c < largest.size(); ++c) candidate[c] = largest[c] * keep;
    std::fill(error.begin(), error.end(), 0.0);
    for (size_t i = 0; i < weights.size(); ++i) {
      const size_t c = layout.channel_of(i);
      const float q = std::clamp(hai_round_half_even_f32(weights[i] / candidate[c]), -limit, limit);
      const float difference = q * candidate[c] - weights[i];
      error[c] += static_cast<double>(difference * difference);
    }
    for (size_t c = 0; c < largest.size(); ++c) {
      if (error[c] >= best_error[c]) continue;
      best_error[c] = error[c];
      best[c] = candidate[c];
    }
  }
  return best;
}

std::vector<float> bounded_scales(std::vector<float> scales, const ScaleBounds& bounds) {
  for (size_t c = 0; c < scales.size(); ++c) {
    const bool has_bias = c < bounds.bias.size();
    scales[c] = hai_bounded_weight_scale(scales[c], bounds.input_scale, bounds.output_scale,
                                         has_bias ? static_cast<double>(bounds.bias[c]) : 0.0,
                                         has_bias ? bounds.bias_limit : 0.0);
  }
  return scales;
}

QuantizedWeights round_weights(std::span<const float> weights, const ChannelLayout& layout, std::vector<float> scales,
                               int bits) {
  QuantizedWeights out{std::vector<int16_t>(weights.size()), std::move(scales), bits, {}};
  const auto limit = static_cast<double>(weight_limit(bits));
  for (size_t i = 0; i < weights.size(); ++i) {
    out.values[i] = static_cast<int16_t>(hai_round_weight(weights[i], out.scales[layout.channel_of(i)], limit));
  }
  return out;
}

double weight_sqnr_db(std::span<const float> weights, const ChannelLayout& layout, const QuantizedWeights& quantized) {
  double signal = 0;
  double noise = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    const auto w = static_cast<double>(weights[i]);
    const double rounded =
        static_cast<double>(quantized.values[i]) * static_cast<double>(quantized.scales[layout.channel_of(i)]);
    signal += w * w;
    noise += (rounded - w) * (rounded - w);
  }
  return noise > 0 && signal > 0 ? 10 * std::log10(signal / noise) : 0;
}

int64_t zero_channel_count(std::span<const float> weights, const ChannelLayout& layout) {
  const std::vector<double> largest = largest_magnitudes(weights, layout);
  return std::count(largest.begin(), largest.end(), 0.0);
}

ir::ValueId add_weight_constant(ir::Graph& graph, std::string name, const Shape& shape, const ChannelLayout& layout,
                                const QuantizedWeights& quantized) {
  const DataType dtype = integer_type_of(quantized.bits);
  const auto count = static_cast<int64_t>(quantized.values.size());
  auto data = ir::ConstantData::allocate(static_cast<size_t>(bytes_for(dtype, count)));
  const std::span<std::byte> bytes = data->mutable_bytes();
  if (quantized.bits == 16) {
    std::copy(quantized.values.begin(), quantized.values.end(), reinterpret_cast<int16_t*>(bytes.data()));
  } else if (quantized.bits == 8) {
    for (size_t i = 0; i < quantized.values.size(); ++i) bytes[i] = static_cast<std::byte>(quantized.values[i] & 0xff);
  } else {
    std::fill(bytes.begin(), bytes.end(), std::byte{0});
    for (size_t i = 0; i < quantized.values.size(); ++i)
      bytes[i / 2] |= static_cast<std::byte>((quantized.values[i] & 0xf) << (i % 2 == 0 ? 0 : 4));
  }
  Quantization quantization{quantized.scales, std::vector<int32_t>(quantized.scales.size(), 0), layout.axis, 0};
  return graph.add_constant(std::move(name), {dtype, shape, std::move(quantization)}, std::move(data));
}

}  // namespace hai::quantizer
