// Finishing tiles of sums.
//
// Method: what a table leaves outside has its outermost entry, so the first rounding may clamp to the table's ends;
// then every index is inside. Results of 16 bits, and 8-bit ones that need values of 16 bits on the way, are rounded to
// words and finished there (finish_s16); the words are the results themselves where nothing is read that lies there.
#include "devices/sd3403/exec/convolve_epilogue.h"

#include <algorithm>

#include "devices/cpu/exec/product_kernels.h"
#include "devices/sd3403/exec/processor_step.h"

namespace hai::sd3403 {

ConvolveEpilogue::ConvolveEpilogue(ConvolveRules rules, const SumBounds& bounds, int64_t padded, bool takes_bias,
                                   cpu::Isa isa)
    : rules_(std::move(rules)), isa_(isa), first_(rules_.first) {
  const auto count = static_cast<size_t>(padded);
  multiplier_.assign(count, 0.0F);
  std::copy(rules_.multiplier.begin(), rules_.multiplier.end(), multiplier_.begin());
  for (size_t o = 0; o < rules_.bias.size(); ++o) folded_.push_back(rules_.bias[o] + bounds.correction[o]);
  if (rules_.wide) {
    wide_bias_.assign(count, 0);
    if (takes_bias) std::copy(folded_.begin(), folded_.end(), wide_bias_.begin());
  } else {
    bias_.assign(count, 0);
    // The kernels sum modulo 2^32.
    for (size_t o = 0; o < folded_.size() && takes_bias; ++o) bias_[o] = static_cast<int32_t>(folded_[o]);
  }
  if (!rules_.table.empty()) {
    first_.lo = std::clamp(first_.lo, rules_.table_first, rules_.last_entry());
    first_.hi = std::clamp(first_.hi, rules_.table_first, rules_.last_entry());
  }
  way_ = choose_way();
  if (way_ != Way::kInKernel || rules_.table.empty()) return;
  table_bytes_.assign(256, 0);
  for (int32_t q = first_.lo; q <= first_.hi; ++q) {
    const int16_t entry = rules_.table[static_cast<size_t>(q - rules_.table_first)];
    table_bytes_[static_cast<uint8_t>(q)] = static_cast<uint8_t>(entry);
  }
}

ConvolveEpilogue::Way ConvolveEpilogue::choose_way() const {
  if (rules_.output_type == kF32) return Way::kReal;
  const bool bytes = rules_.output_type != kI16;
  const bool to_words = first_.lo >= INT16_MIN && first_.hi <= INT16_MAX;
  if (rules_.wide && !rules_.transformed) {
    if (!to_words) return Way::kSingle;
    return bytes || rules_.adds_residual ? Way::kWords : Way::kRowsOfWords;
  }
  const bool in_kernel = bytes && !rules_.adds_residual && (rules_.table.empty() || first_.hi - first_.lo < 256);
  if (in_kernel && !rules_.transformed) return Way::kInKernel;
  if (bytes && (!rules_.adds_residual || rules_.residual_type != kI16)) return Way::kRows;
  if (!bytes && !rules_.adds_residual) return Way::kRowsOfWords;
  return to_words || !rules_.table.empty() ? Way::kWords : Way::kSingle;
}

int64_t ConvolveEpilogue::bytes() const {
  return static_cast<int64_t>(4 * (bias_.size() + 2 * multiplier_.size()) +
                              8 * (wide_bias_.size() + 2 * folded_.size()) + 2 * rules_.table.size() +
                              table_bytes_.size());
}

void ConvolveEpilogue::look_up(std::byte* out, int64_t stride, int64_t pixels, int64_t channels) const {
  if (table_bytes_.empty()) return;
  if (stride == channels) {
    channels *= pixels;
    pixels = 1;
  }
  lookup_rows_for(isa_)(table_bytes_.data(), reinterpret_cast<uint8_t*>(out), stride, pixels, channels);
}

void ConvolveEpilogue::finish(const int32_t* sums, int64_t stride, int32_t rows, int32_t cols, int64_t channel,
                              const ResultPixels& results, int16_t* words) const {
  if (way_ == Way::kSingle) return finish_single(sums, stride, rows, cols, channel, results);
  hai_epilogue_i8 e = {};
  e.sums = sums;
  e.rounded = rules_.transformed ? 1 : 0;
  e.sums_stride = stride;
  e.rows = rows;
  e.cols = cols;
  if (!rules_.transformed) {
    e.bias = bias_.data() + channel;
    e.multiplier = multiplier_.data() + channel;
  }
  e.lo = lo();
  e.hi = hi();
  e.zero_point = first_.zero_point;
  e.table = rules_.table.empty() ? nullptr : rules_.table.data();
  e.table_first = rules_.table_first;
  e.sum_zero_point = first_.zero_point;
  e.out_stride = results.out_stride;
  switch (way_) {
    case Way::kReal:
      e.out_f32 = reinterpret_cast<float*>(results.out);
      break;
    case Way::kRowsOfWords:
      e.out_s16 = reinterpret_cast<int16_t*>(results.out);
      break;
    case Way::kWords:
      e.out_s16 = words;
      e.out_stride = cols;
      break;
    default:
      e.out = reinterpret_cast<uint8_t*>(results.out);
      break;
  }
  if (rules_.adds_residual && way_ == Way::kRows) {
    e.residual = reinterpret_cast<const uint8_t*>(results.residual);
    e.residual_stride = results.residual_stride;
    e.residual_signed = rules_.residual_type == kI8 ? 1 : 0;
    e.residual_zero_point = rules_.residual_zero_point;
    e.residual_multiplier = rules_.residual_multiplier;
    e.sum_zero_point = rules_.addend_zero_point;
    e.sum_multiplier = rules_.addend_multiplier;
    e.out_lo = static_cast<float>(rules_.last.lo - rules_.last.zero_point);
    e.out_hi = static_cast<float>(rules_.last.hi - rules_.last.zero_point);
    e.out_zero_point = rules_.last.zero_point;
  }
  epilogue_i8_for(isa_)(&e);
  if (way_ == Way::kWords) finish_words(words, cols, rows, cols, results, false);
}

void ConvolveEpilogue::finish(const int64_t* sums, int64_t stride, int32_t rows, int32_t cols, int64_t channel,
                              const ResultPixels& results, int16_t* words) const {
  if (way_ == Way::kSingle) return finish_single(sums, stride, rows, cols, channel, results);
  hai_requantize_s16 e = {};
  e.sums = sums;
  e.sums_stride = stride;
  e.rows = rows;
  e.cols = cols;
  e.bias = wide_bias_.data() + channel;
  e.multiplier = multiplier_.data() + channel;
  e.lo = static_cast<double>(lo());
  e.hi = static_cast<double>(hi());
  e.zero_point = first_.zero_point;
  e.out_stride = results.out_stride;
  if (way_ == Way::kReal) {
    e.out_f32 = reinterpret_cast<float*>(results.out);
    requantize_s16_for(isa_)(&e);
    return;
  }
  const bool in_place = way_ == Way::kRowsOfWords;
  e.out = in_place ? reinterpret_cast<int16_t*>(results.out) : words;
  if (!in_place) e.out_stride = cols;
  requantize_s16_for(isa_)(&e);
  finish_words(e.out, e.out_stride, rows, cols, results, true);
}

void ConvolveEpilogue::finish_words(int16_t* words, int64_t stride, int32_t rows, int32_t cols,
                                    const ResultPixels& results, bool looks_up) const {
  looks_up = looks_up && !rules_.table.empty();
  if (looks_up || rules_.adds_residual) {
    hai_finish_s16 e = {};
    e.y = words;
    e.y_stride = stride;
    e.rows = rows;
    e.cols = cols;
    e.table = looks_up ? rules_.table.data() : nullptr;
    e.table_first = rules_.table_first;
    e.residual = rules_.adds_residual ? results.residual : nullptr;
    e.residual_stride = results.residual_stride;
    e.residual_bits = rules_.residual_type == kI16 ? 16 : 8;
    e.residual_signed = rules_.residual_type == kU8 ? 0 : 1;
    e.zero_point = rules_.addend_zero_point;
    e.residual_zero_point = rules_.residual_zero_point;
    e.multiplier = rules_.addend_multiplier;
    e.residual_multiplier = rules_.residual_multiplier;
    e.lo = rules_.last.lo;
    e.hi = rules_.last.hi;
    e.out_zero_point = rules_.last.zero_point;
    finish_s16_for(isa_)(&e);
  }
  if (reinterpret_cast<std::byte*>(words) == results.out) return;
  for (int32_t row = 0; row < rows; ++row) {
    const int16_t* from = words + row * stride;
    if (rules_.output_type == kI16) {
      std::memcpy(results.out + row * results.out_stride * 2, from, static_cast<size_t>(cols) * 2);
      continue;
    }
    std::byte* to = results.out + row * results.out_stride;
    for (int32_t c = 0; c < cols; ++c) to[c] = static_cast<std::byte>(from[c]);
  }
}

void ConvolveEpilogue::finish_real(const float* real, int64_t stride, int32_t rows, int32_t cols,
                                   const ResultPixels& results) const {
  for (int32_t row = 0; row < rows; ++row) {
    const float* from = real + row * stride;
    if (way_ == Way::kReal) {
      std::memcpy(results.out + row * results.out_stride * 4, from, static_cast<size_t>(cols) * 4);
      continue;
    }
    for (int32_t c = 0; c < cols; ++c) {
      int32_t added = 0;
      if (rules_.adds_residual) {
        added = load_integer(results.residual + (row * results.residual_stride + c) * residual_bytes(),
                             rules_.residual_type);
      }
      store_integer(results.out + (row * results.out_stride + c) * output_bytes(), rules_.output_type,
                    rules_.behind(hai_store_f32(from[c], rules_.first), added));
    }
  }
}

template <typename Sum>
void ConvolveEpilogue::finish_single(const Sum* sums, int64_t stride, int32_t rows, int32_t cols, int64_t channel,
                                     const ResultPixels& results) const {
  using Unsigned = std::make_unsigned_t<Sum>;
  for (int32_t row = 0; row < rows; ++row) {
    for (int32_t c = 0; c < cols; ++c) {
      const auto at = static_cast<size_t>(channel + c);
      const int64_t bias = rules_.wide ? wide_bias_[at] : bias_[at];
      const auto sum = static_cast<Sum>(static_cast<Unsigned>(sums[row * stride + c]) + static_cast<Unsigned>(bias));
      int32_t added = 0;
      if (rules_.adds_residual) {
        added = load_integer(results.residual + (row * results.residual_stride + c) * residual_bytes(),
                             rules_.residual_type);
      }
      store_integer(results.out + (row * results.out_stride + c) * output_bytes(), rules_.output_type,
                    rules_.integer(sum, multiplier_[at], added));
    }
  }
}

}  // namespace hai::sd3403
