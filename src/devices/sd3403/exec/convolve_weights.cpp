// Unpacking blocks of weights, and the proof that sums fit.
//
// Method: |bias| + sum |w| * max |q - zero point| of each channel, over all convolutions that add to the same sums. It
// holds for whatever the input is, so that a run needs no checks.
#include "devices/sd3403/exec/convolve_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "base/checked.h"
#include "devices/sd3403/exec/processor_step.h"

namespace hai::sd3403 {
namespace {

constexpr int64_t kWideLimit =
    (int64_t{1} << 53) - 1;  // what goes through f64: sums of i16 products, and of transformed tiles

int16_t weight_at(std::span<const std::byte> blocks, int64_t form, int64_t at) {
  if (form == kWeightI16) {
    int16_t value;
    std::memcpy(&value, blocks.data() + 2 * at, sizeof value);
    return value;
  }
  if (form == kWeightI8) return static_cast<int8_t>(blocks[static_cast<size_t>(at)]);
  const auto pair = std::to_integer<int>(blocks[static_cast<size_t>(at / 2)]);
  const int nibble = at % 2 == 0 ? pair & 0xf : pair >> 4;
  return static_cast<int16_t>(nibble >= 8 ? nibble - 16 : nibble);
}

bool ends_wide(const Convolve& c) { return has_wide_sums(c) && c.narrow_sums == 0; }

int64_t limit_of(const Convolve& c) { return ends_wide(c) ? kWideLimit : std::numeric_limits<int32_t>::max(); }

Error refuse(const Convolve& c, size_t channel, int64_t reach, int64_t bias) {
  return make_error(StatusCode::kUnsupported, "N070",
                    "the sums of channel {}, of at most {} beside a bias of {}, may pass {} bits", channel, reach, bias,
                    ends_wide(c) ? 53 : 31);
}

}  // namespace

std::vector<int16_t> expand_weights(const Convolve& c, std::span<const std::byte> blocks) {
  const int64_t length = taps_of(c) * depth_of(c);  // of an output channel
  std::vector<int16_t> out(static_cast<size_t>(c.output_channels * length));
  for (int64_t first = 0; first < c.output_channels; first += kBlockChannels) {
    const int64_t channels = std::min(kBlockChannels, c.output_channels - first);
    for (int64_t k = 0; k < length; ++k) {
      for (int64_t lane = 0; lane < channels; ++lane) {
        out[static_cast<size_t>((first + lane) * length + k)] =
            weight_at(blocks, c.weights, first * length + k * kBlockChannels + lane);
      }
    }
  }
  return out;
}

std::vector<cpu::ChannelWeights> measure_weights(const Convolve& c, std::span<const int16_t> weights) {
  std::vector<cpu::ChannelWeights> out(static_cast<size_t>(c.output_channels));
  const size_t length = weights.size() / out.size();
  for (size_t o = 0; o < out.size(); ++o) {
    for (const int16_t stored : weights.subspan(o * length, length)) {
      const int64_t weight = stored - c.weight_zero_point;
      out[o].sum += weight;
      out[o].absolute_sum += std::abs(weight);
    }
  }
  return out;
}

Status SumBounds::add(const Convolve& c, std::span<const cpu::ChannelWeights> channels, int64_t left_offset) {
  HAI_TRY_STATUS(check_zero_point("input_zero_point", c.input_zero_point, c.input_type));
  const int64_t least = c.input_type == kI8 ? -128 : c.input_type == kU8 ? 0 : -32768;
  const int64_t greatest = c.input_type == kI8 ? 127 : c.input_type == kU8 ? 255 : 32767;
  const int64_t reach_of_q = std::max(greatest - c.input_zero_point, c.input_zero_point - least);
  reach.resize(channels.size());
  correction.resize(channels.size());
  for (size_t o = 0; o < channels.size(); ++o) {
    // A cache of 2^20 bytes makes a term of less than 2^53: neither sum wraps before its chain is refused.
    reach[o] += channels[o].absolute_sum * reach_of_q;
    correction[o] -= (c.input_zero_point + left_offset) * channels[o].sum;
    if (reach[o] > limit_of(c)) return refuse(c, o, reach[o], 0);
  }
  return {};
}

Status SumBounds::check(const Convolve& c, std::span<const int64_t> bias) const {
  const int64_t limit = limit_of(c);
  for (size_t o = 0; o < bias.size(); ++o) {
    if (bias[o] <= limit && bias[o] >= -limit && reach[o] <= limit - std::abs(bias[o])) continue;
    return refuse(c, o, reach[o], bias[o]);
  }
  return {};
}

}  // namespace hai::sd3403
