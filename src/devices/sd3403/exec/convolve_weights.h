// The weights of Convolve commands as integers, what is known about their sums, and their forms for kernels.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "devices/cpu/exec/product_epilogue.h"
#include "devices/sd3403/isa/command.h"

namespace hai::sd3403 {

// [output channel][window row][window column][input channel], of depthwise without the last, of a transform with its
// taps as the window.
std::vector<int16_t> expand_weights(const Convolve& command, std::span<const std::byte> blocks);

// Input channels that an output channel's sum runs over.
inline int64_t depth_of(const Convolve& c) { return c.connection == kDepthwise ? 1 : c.input_channels; }

// By output channel, of weights less their zero point.
std::vector<cpu::ChannelWeights> measure_weights(const Convolve& command, std::span<const int16_t> weights);

// What convolutions that add to the same sums have in common, by output channel.
struct SumBounds {
  std::vector<int64_t> reach;       // the largest magnitude that the sum without bias might have
  std::vector<int64_t> correction;  // what the bias takes up: kernels sum (q + left offset) * w, not (q - zero point) *
                                    // w, where w is less its zero point

  // Adds one convolution's. Error N070: its zero point is not of its type.
  Status add(const Convolve& command, std::span<const cpu::ChannelWeights> channels, int64_t left_offset);
  // Error N070 where a channel's sum with its bias might leave 31 bits, or 53 where they are wide.
  Status check(const Convolve& command, std::span<const int64_t> bias) const;
};

}  // namespace hai::sd3403
