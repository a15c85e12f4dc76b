// ProductEpilogue: bias, multipliers, clamps, tables and residual of a convolution or matrix product, made ready once.
//
// Clamps go into the micro-kernel's own store, and integer tables into a look-up of what it stored; residuals and f32
// functions are applied to a tile of sums by finish_f32 or finish_i8 while it is in the first cache.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "devices/cpu/exec/exec_registry.h"
#include "types/epilogue.h"
#include "types/function_table.h"

namespace hai::cpu {

// What packing the weights found out about one output channel.
struct ChannelWeights {
  int64_t sum = 0;           // of all weights
  int64_t absolute_sum = 0;  // of their absolute values
};

struct ProductOperands {
  size_t x = 0;
  size_t weights = 1;
  size_t bias = 2;
  size_t residual = SIZE_MAX;
  double weight_factor = 1.0;  // of integer weights' scales: a power of two
};

class ProductEpilogue {
 public:
  // Precondition: the operands' dtypes are x f32 or i8/u8/i16, weights f32 or i8/i4/i16. `positions[c]` is where
  // channel c stands in the per-channel arrays of `padded` entries. `weights` is empty for f32. `left_offset`: what
  // packing adds to q of x.
  static Result<ProductEpilogue> make(const KernelContext& context, const ProductOperands& operands,
                                      std::span<const int64_t> positions, int64_t padded,
                                      std::span<const ChannelWeights> weights, int64_t left_offset);

  bool integer = false;
  bool wide = false;      // i16 activations: sums and bias of 64 bits
  bool to_float = false;  // integer sums stored as f32
  bool to_words = false;  // integer sums stored as i16
  bool has_residual = false;
  std::vector<float> bias_f32;
  std::vector<int32_t> bias;      // integer bias with the left operand's offset and zero point folded in
  std::vector<int64_t> bias_i64;  // the same, where wide
  std::vector<float> multiplier;
  float lo = 0.0F, hi = 0.0F;  // of the first store: clamp (f32), bounds minus zero point (integer)
  int32_t zero_point = 0;

  // The kernel stores into the output; look_up() must follow.
  bool stores_in_kernel() const {
    if (!integer) return !has_residual && activation_.is_clamp();
    return !has_residual && !to_float && !to_words && fixed_factor_.empty() && !first_wide_;
  }
  int64_t output_element_bytes() const { return !integer || to_float ? 4 : to_words ? 2 : 1; }
  int64_t residual_element_bytes() const { return integer ? residual_bits_ / 8 : 4; }
  int64_t bytes() const;

  // `tile` is [rows][tile_stride], clamped already where the activation is a clamp. Strides count elements.
  void finish_f32(float* tile, int64_t tile_stride, int32_t rows, int32_t cols, const float* residual,
                  int64_t residual_stride, float* out, int64_t out_stride) const;
  // `sums` of 32 bits without bias, and overwritten; `position` is that of its first column.
  void finish_i8(int32_t* sums, int64_t sums_stride, int32_t rows, int32_t cols, int64_t position,
                 const std::byte* residual, int64_t residual_stride, std::byte* out, int64_t out_stride) const;
  // The same of what has been rounded to the first rounding point already: `steps` lack its zero point.
  void finish_steps(int32_t* steps, int64_t steps_stride, int32_t rows, int32_t cols, int64_t position,
                    const std::byte* residual, int64_t residual_stride, std::byte* out, int64_t out_stride) const;
  // Wide: `sums` without bias to the first rounding point, or to f32; `position` is that of the first column.
  void store_s16(const int64_t* sums, int64_t sums_stride, int32_t rows, int32_t cols, int64_t position, std::byte* out,
                 int64_t out_stride) const;
  // Table and residual on what store_s16 or a kernel stored, in place.
  void finish_s16(std::byte* out, int64_t out_stride, int64_t rows, int32_t cols, const std::byte* residual,
                  int64_t residual_stride) const;
  // Replaces stored integers by the table's, where there is a table.
  void look_up(std::byte* out, int64_t out_stride, int64_t rows, int64_t cols) const;
  // The bias has been added to the sums: finish_i8 adds none.
  void take_bias_out();

 private:
  void finish(const int32_t* sums, int64_t sums_stride, int32_t rows, int32_t cols, int64_t position,
              const std::byte* residual, int64_t residual_stride, std::byte* out, int64_t out_stride,
              bool rounded) const;
  Status make_float(const KernelContext& context, const ProductOperands& operands, std::span<const int64_t> positions);
  Status make_integer(const KernelContext& context, const ProductOperands& operands, std::span<const int64_t> positions,
                      std::span<const ChannelWeights> weights, int64_t left_offset);
  Status make_bias(const KernelContext& context, const ProductOperands& operands, std::span<const int64_t> positions,
                   std::span<const ChannelWeights> weights, int64_t left_offset);
  void make_table(const hai_output_range& from, float from_scale, const hai_output_range& to, float to_scale);
  Status make_residual(const KernelContext& context, const ProductOperands& operands, const RoundingPoint& before_add,
                       const RoundingPoint& last);

  Isa isa_ = Isa::kScalar;
  std::vector<double> fixed_factor_, fixed_unit_;  // hai_fixed_point of each channel; empty: half_even
  Activation activation_;
  Activation residual_activation_;
  float residual_lo_ = 0.0F, residual_hi_ = 0.0F;
  bool first_wide_ = false;           // the first rounding point of 32-bit sums is an i16
  FunctionTable table_;               // without entries: none
  std::vector<uint8_t> table_bytes_;  // the same by the bytes of q, where all is of 8 bits
  bool residual_signed_ = true;
  int32_t residual_bits_ = 8;
  int32_t residual_zero_point_ = 0;
  float residual_multiplier_ = 1.0F;
  int32_t sum_zero_point_ = 0;
  float sum_multiplier_ = 1.0F;
  hai_output_range out_range_{};  // of the sum with the residual
};

// Per-tensor parameters of an 8-bit tensor, checked; an error names the operand.
Result<RoundingPoint> one_scale(const KernelContext& context, const format::ProgramTensor& tensor,
                                std::string_view operand);

}  // namespace hai::cpu
