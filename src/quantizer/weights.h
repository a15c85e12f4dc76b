// Weights as integers: their layout, scales, rounding and constants, for 4, 8 and 16 bits.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "quantizer/options.h"

namespace hai::quantizer {

// How the weights of a layer lie in memory: `channels` output channels; element i belongs to channel (i / inner) %
// channels.
struct ChannelLayout {
  int64_t channels = 1;
  int64_t inner = 1;
  int32_t axis = 0;

  size_t channel_of(size_t i) const { return (i / static_cast<size_t>(inner)) % static_cast<size_t>(channels); }
};

// Convolutions are OHWI; a matrix product's constant is [..., N, K] when transposed, else [..., K, N].
ChannelLayout layout_of(const ir::Node& node, const Shape& shape);

// Symmetric per output channel, in [-limit, limit].
struct QuantizedWeights {
  std::vector<int16_t> values;
  std::vector<float> scales;  // one a channel
  int bits = 8;
  std::vector<float> bias;  // what the layer's bias becomes; empty: its own, corrected for the rounding
};

// What a layer's weights must be, chosen elsewhere (AdaRound, ...): by node of the canonical graph.
using GivenWeights = std::map<ir::NodeId, QuantizedWeights>;

// The most steps that a bias may have. A larger one belongs to weights that move the result by less than a step of any
// output of that width. 8-bit activations, 2^23: the sums of a depthwise layer stay below 2^24 and exact in f32, which
// its quickest kernels use. 16-bit activations and weights of at most 8 bits, 2^30: they stay below 2^31. Else 2^40.
double bias_limit(const Precision& precision);

// The largest multiplier of a layer whose output scale is 1: of weights whose scales clip nothing, or of the bias where
// its limit asks for more. Weights and bias are constants in f32.
double largest_multiplier(const ir::Graph& graph, const ir::Node& node, const Precision& precision, double input_scale);

// 7, 127, 32767: the largest stored weight of 4, 8 and 16 bits.
int64_t weight_limit(int bits);

// What scales must respect besides the weights. `input_scale` s_x and `output_scale` s_y (1 of f32 results) bound the
// multiplier; 0 where there is none (weight-only). `bias`: one a channel or empty; it must fit `bias_limit` steps.
struct ScaleBounds {
  double input_scale = 0;
  double output_scale = 0;
  std::span<const float> bias;
  double bias_limit = 0;
};

// The largest magnitude of each channel over the limit: nothing is clipped.
std::vector<float> largest_scales(std::span<const float> weights, const ChannelLayout& layout, int bits);
// Of the same and ever smaller ones, the scales whose rounding and clipping err least in mean square: what 4 bits need.
std::vector<float> least_error_scales(std::span<const float> weights, const ChannelLayout& layout, int bits);
// Scales, each raised as far as `bounds` asks: an all-zero channel gets the least usable scale.
std::vector<float> bounded_scales(std::vector<float> scales, const ScaleBounds& bounds);
// To nearest on the grid of each channel's scale.
QuantizedWeights round_weights(std::span<const float> weights, const ChannelLayout& layout, std::vector<float> scales,
                               int bits);

// Signal over rounding noise in dB; 0 when either is zero.
double weight_sqnr_db(std::span<const float> weights, const ChannelLayout& layout, const QuantizedWeights& quantized);
// Output channels without a weight that is not zero.
int64_t zero_channel_count(std::span<const float> weights, const ChannelLayout& layout);

// i4 (two a byte, low nibble first), i8 or i16, with one scale a channel.
ir::ValueId add_weight_constant(ir::Graph& graph, std::string name, const Shape& shape, const ChannelLayout& layout,
                                const QuantizedWeights& quantized);

// The numbers of an f32 constant.
std::span<const float> floats_of(const ir::Value& value);

}  // namespace hai::quantizer
