// ConvolveEpilogue: the rules behind the sums of a Convolve for whole tiles of results, on the CPU device's kernels.
//
// Where one rounding (and a table of bytes) is all there is, the matrix-product kernel stores results itself; else a
// tile of sums is finished while it is in the first cache. What the kernels have no form for is done value by value.
#pragma once

#include <cstdint>
#include <vector>

#include "devices/cpu/exec/isa.h"
#include "devices/sd3403/exec/convolve_rules.h"
#include "devices/sd3403/exec/convolve_weights.h"

namespace hai::sd3403 {

// Where a tile's results go and what is added to them: pixels one after the other, `stride` elements apart.
struct ResultPixels {
  std::byte* out;
  int64_t out_stride;
  const std::byte* residual;  // null: none
  int64_t residual_stride;
};

class ConvolveEpilogue {
 public:
  // `padded`: entries of the arrays by channel, a multiple of 16. `takes_bias`: else the sums have it already.
  ConvolveEpilogue(ConvolveRules rules, const SumBounds& bounds, int64_t padded, bool takes_bias, cpu::Isa isa);

  // The kernel stores 8-bit results; look_up() must follow.
  bool stores_in_kernel() const { return way_ == Way::kInKernel; }
  int64_t output_bytes() const { return element_bytes(rules_.output_type); }
  int64_t residual_bytes() const { return element_bytes(rules_.residual_type); }
  int64_t bytes() const;
  const ConvolveRules& rules() const { return rules_; }

  // For a kernel's own store: by channel, and bounds less the zero point.
  const int32_t* bias() const { return bias_.data(); }
  const float* multiplier() const { return multiplier_.data(); }
  float lo() const { return static_cast<float>(first_.lo - first_.zero_point); }
  float hi() const { return static_cast<float>(first_.hi - first_.zero_point); }
  int32_t zero_point() const { return first_.zero_point; }
  // The bias with what the kernel's form of the input needs; in 64 bits.
  int64_t folded_bias(size_t channel) const { return folded_[channel]; }

  // Looks stored bytes up where there is a table. The stride counts bytes.
  void look_up(std::byte* out, int64_t stride, int64_t pixels, int64_t channels) const;
  // 32-bit sums, of a transform those that are rounded to steps already; rows of `stride`, readable up to a multiple of
  // 16 columns; `channel` is the first column's. `words` is room for rows * cols of 16 bits.
  void finish(const int32_t* sums, int64_t stride, int32_t rows, int32_t cols, int64_t channel,
              const ResultPixels& results, int16_t* words) const;
  // The same of 64-bit sums.
  void finish(const int64_t* sums, int64_t stride, int32_t rows, int32_t cols, int64_t channel,
              const ResultPixels& results, int16_t* words) const;
  // Of real numbers of steps, for a transform where finishes_real().
  void finish_real(const float* real, int64_t stride, int32_t rows, int32_t cols, const ResultPixels& results) const;
  bool finishes_real() const { return way_ == Way::kReal || way_ == Way::kSingle; }
  // What the first rounding made, in 16 bits: table, residual, store. Precondition: rounds_to_words().
  void finish_words(int16_t* words, int64_t stride, int32_t rows, int32_t cols, const ResultPixels& results,
                    bool looks_up) const;
  // The first rounding fits 16 bits, and words are how results are finished.
  bool rounds_to_words() const { return way_ == Way::kWords || way_ == Way::kRowsOfWords; }
  // Nothing but the first rounding to 16 bits.
  bool only_words() const { return way_ == Way::kRowsOfWords && rules_.table.empty(); }

 private:
  enum class Way : uint8_t {
    kInKernel,     // bytes, one rounding, at most a table of bytes
    kRows,         // epilogue_i8 straight to the results
    kReal,         // f32
    kRowsOfWords,  // to i16 results in place
    kWords,        // through words in scratch
    kSingle,       // value by value
  };
  Way choose_way() const;
  template <typename Sum>
  void finish_single(const Sum* sums, int64_t stride, int32_t rows, int32_t cols, int64_t channel,
                     const ResultPixels& results) const;

  ConvolveRules rules_;
  cpu::Isa isa_;
  Way way_ = Way::kSingle;
  hai_output_range first_{};  // of the first rounding, within the table where there is one
  std::vector<int64_t> folded_;
  std::vector<int32_t> bias_;
  std::vector<int64_t> wide_bias_;
  std::vector<float> multiplier_;
  std::vector<uint8_t> table_bytes_;  // by the byte of what the kernel stores
};

}  // namespace hai::sd3403
