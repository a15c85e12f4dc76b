// What convolutions of f16 have in common, direct or transformed: the bias, and what becomes of finished sums.
//
// Sums are f32 in the stated order (docs/reference/arithmetic.md, "f16" and "Winograd").
#pragma once

#include <cstdint>
#include <vector>

#include "devices/sd3403/exec/processor_step.h"
#include "devices/sd3403/isa/command.h"
#include "types/half.h"

namespace hai::sd3403 {

// Of a Convolve of f16 that ends its sums.
class HalfResults {
 public:
  explicit HalfResults(const Convolve& command);

  // Sums of `channels` output channels from `first` on, of one pixel.
  void store(const StepContext& context, const float* sums, int64_t row, int64_t column, int64_t first,
             int64_t channels) const;

 private:
  Tile output_, residual_;
  bool real_, adds_residual_;  // f32 output; residual
  HalfEpilogue epilogue_;
};

// Of each output channel, and zeros up to a multiple of `padded`; empty where the command reads no channel table. Error
// N064: a channel table that nobody wrote.
Result<std::vector<float>> half_bias(const Convolve& command, const WeightCache& cache, int64_t padded);

}  // namespace hai::sd3403
