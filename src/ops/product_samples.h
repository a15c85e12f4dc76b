// Operands of samples of convolutions and matrix products: quantizations under which integer outputs use their range.
#pragma once

#include <string>
#include <vector>

#include "ops/op_schema.h"

namespace hai::ops {

struct ProductTypes {
  DataType x = DataType::kF32;
  DataType y = DataType::kF32;
  DataType weights = DataType::kF32;
  bool per_channel = true;
  bool bias = true;
  bool weight_zero_points = false;  // one a scale
  int64_t block = 0;                // elements of a matrix's other axis that share a scale
  bool wide_points = false;         // what is looked up or added is held in i16
};

struct EpilogueSample {
  std::string activation = "none";
  bool residual = false;
  std::string residual_activation = "none";
};

// A sample with operands x, weights, bias, residual (when the op takes one) and the declared output. `depth` is the
// length of the sums: it sets the output's scale.
Sample product_sample(std::string name, const ProductTypes& types, Shape x, Shape weights, Shape y, int channel_axis,
                      int64_t depth, const EpilogueSample& epilogue, bool takes_residual);

}  // namespace hai::ops
