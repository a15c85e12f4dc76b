// ConvolveRules: what follows the sums of a Convolve, read from its fields and its tables and checked.
//
//   q = store(sum + bias) at the first rounding; q = table[q]; q = add(q, residual)
// The rounding points of docs/reference/arithmetic.md, for one value at a time. convolve_epilogue.h has them for tiles.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "devices/sd3403/exec/processor_cache.h"
#include "devices/sd3403/isa/command.h"
#include "types/arithmetic.h"

namespace hai::sd3403 {

struct ConvolveRules {
  bool wide = false;         // sums of 64 bits: of i16 input through f64, of a transform rounded to f32
  bool transformed = false;  // the latter
  int64_t output_type = kI8;
  std::vector<int64_t> bias;  // an entry an output channel
  std::vector<float> multiplier;
  hai_output_range first{};    // of the first rounding
  std::vector<int16_t> table;  // empty: none
  int32_t table_first = 0;
  bool adds_residual = false;
  int64_t residual_type = kI8;
  int32_t residual_zero_point = 0, addend_zero_point = 0;
  float residual_multiplier = 1.0F, addend_multiplier = 1.0F;
  hai_output_range last{};  // of the addition

  // Error N069, and N064 and N065 of what it reads.
  static Result<ConvolveRules> make(const Convolve& command, const WeightCache& cache);
  static void append_key(const Convolve& command, const WeightCache& cache, CacheKey& key);

  int32_t last_entry() const { return table_first + static_cast<int32_t>(table.size()) - 1; }
  // `sum` has the bias; `residual` is looked at where there is one. Precondition: the output is an integer.
  int32_t integer(int64_t sum, float channel_multiplier, int32_t residual) const;
  // What follows the first rounding.
  int32_t behind(int32_t q, int32_t residual) const;
  // Of an f32 output.
  float real(int64_t sum, float channel_multiplier) const;
};

}  // namespace hai::sd3403
