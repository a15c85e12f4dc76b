// What conv2d, conv_transpose2d and matmul share as schemas: weights and bias types, the epilogue's attributes, checks
// and exact reference. See types/epilogue.h for its meaning.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/inference.h"
#include "ops/reference.h"
#include "types/epilogue.h"
#include "types/fixed_point.h"

namespace hai::ops {

// The attributes of an epilogue; `with_residual` adds those that follow the addition.
std::vector<AttributeSpec> epilogue_attributes(bool with_residual);

// Type rules of "products": x float, or quantized i8, u8, i16; weights (operand 1) of the same float type, or of 4 or 8
// bits (i16 too where x is i16) with one scale, or with one scale along `channel_axis`; bias (operand 2) [channels] of
// x's float type (f32 too where x is f16), or i32 (i64 where x is i16). `channels` is the size of the output's last
// axis. Where x is f32 and the weights are integers, these may also have one scale for each block of `block_axis` (-1:
// they may not).
Status check_product_types(const OpSchema& schema, const InferContext& context, int channel_axis, const Dim& channels,
                           int block_axis = -1);

// The output type for `shape`, with the residual (operand `residual`, when the node has it) and the epilogue checked. A
// quantized x gives the declared integer type (i16 for an i16 x; for an 8-bit x i16 or any of 8 bits), or f32 when that
// is declared and nothing follows the bias.
InferResult infer_product_output(const OpSchema& schema, const InferContext& context, Shape shape,
                                 size_t residual = SIZE_MAX);

// Elements of f16 or f32.
std::vector<float> load_all_f32(const TensorView& view);

// Weights as real numbers: floats as they are, integers as float(q - z) * s, rounded to f32 like dequantize.
std::vector<double> load_real_weights(const TensorView& view);

// q - zero_point of every element; a zero point for each entry of `channel_axis` where the quantization has them.
std::vector<int64_t> load_centred(const TensorView& view, int channel_axis);

// Integer sums of 8-bit x that are not plain dot products (winograd_conv2d).
struct SumForm {
  double weight_factor = 1.0;  // what scales of weights are to be multiplied by: a power of two
  bool long_sums = false;      // sums of up to 53 bits, which are rounded to f32 once and go on as those of 32 bits
};

// The reference of one output element after its sum is known.
class ReferenceEpilogue {
 public:
  // Operands as in check_product_types. `residual` may have no data.
  static Result<ReferenceEpilogue> make(const ReferenceContext& context, int64_t channels, const TensorView& residual,
                                        const SumForm& form = {});

  void store_float(int64_t element, int64_t channel, double sum) const;
  // f16: what a sum starts from, and the steps behind it (types/half.h), one after the other.
  float half_start(int64_t channel) const;
  void store_half(int64_t element, float sum) const;
  // Refuses a sum outside of the accumulator: i32 for 8-bit x, 2^53 for i16 and long sums.
  Status store_integer_sum(int64_t element, int64_t channel, int64_t sum) const;

 private:
  ReferenceEpilogue(const ReferenceContext& context, const TensorView& residual)
      : residual_(residual), y_(context.outputs[0]) {}
  Status prepare_integer(const ReferenceContext& context, int64_t channels);
  int32_t first_rounding(int64_t sum, int64_t channel) const;

  Epilogue epilogue_;
  TensorView residual_;
  MutableTensorView y_;
  SumForm form_;
  bool wide_ = false;                   // i16: sums and bias of 64 bits
  std::vector<double> bias_f64_;        // empty: none
  std::vector<int64_t> bias_;           // empty: none
  std::vector<float> multipliers_;      // per channel
  std::vector<hai_fixed_point> fixed_;  // the same for fixed_point; empty otherwise
  RoundingPoint first_;                 // where the sum is rounded
  hai_output_range first_range_{};
  hai_output_range table_range_{};  // of what the activation hands on
  RoundingPoint before_add_;
  hai_output_range add_range_{};
  float multiplier_first_ = 1.0F;  // of the addition's two operands
  float multiplier_residual_ = 1.0F;
};

}  // namespace hai::ops
