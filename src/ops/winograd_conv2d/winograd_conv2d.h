// Parts of winograd_conv2d that stand in files of their own.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/op_schema.h"

namespace hai::ops {

// Shifts are empty for real tensors.
struct WinogradAttributes {
  int64_t tile = 0;  // outputs of a tile along an axis: 2 or 4
  std::vector<int64_t> pads;
  std::vector<int64_t> input_shifts;
  std::vector<int64_t> weight_shifts;
};

// Checked: lengths, bounds, shifts there exactly where `integer`.
Result<WinogradAttributes> winograd_attributes(const ir::Node& node, bool integer);

std::vector<Sample> winograd_conv2d_samples(const OpSchema& schema);

}  // namespace hai::ops
