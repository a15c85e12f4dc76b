// Parts of conv2d that stand in files of their own.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/op_schema.h"

namespace hai::ops {

struct ConvAttributes {
  std::vector<int64_t> strides;    // rows, columns
  std::vector<int64_t> pads;       // top, left, bottom, right
  std::vector<int64_t> dilations;  // rows, columns
  int64_t groups = 1;
};

std::vector<Sample> conv2d_samples(const OpSchema& schema);

}  // namespace hai::ops
