// What is remembered of two tensors that should be equal: errors and both distributions, over a stream of samples in
// bounded memory.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace hai::quantizer {

// Sums in f64 over every element seen.
class TensorErrors {
 public:
  // Precondition: equal sizes. False, with nothing added, when an element of either is not finite.
  bool add(std::span<const float> reference, std::span<const float> actual);

  int64_t count() const { return count_; }
  double max_abs_error() const { return max_abs_error_; }
  // 1 for equal directions; 1 when both are zero, 0 when one is.
  double cosine() const;
  // Signal over error, dB; infinite without error, -infinite when the reference is zero and the other is not.
  double sqnr_db() const;
  // sqrt(error energy / signal energy).
  double relative_error() const;

 private:
  int64_t count_ = 0;
  double reference_energy_ = 0;
  double actual_energy_ = 0;
  double product_ = 0;
  double error_energy_ = 0;
  double max_abs_error_ = 0;
};

// Two histograms over the same bins, which double in width when a value falls outside.
class PairHistogram {
 public:
  void add(std::span<const float> reference, std::span<const float> actual);

  struct Bins {
    double low = 0;
    double high = 0;
    std::vector<int64_t> reference;
    std::vector<int64_t> actual;
  };
  // At most `bins` of equal width over what was seen; empty before anything was. With `step` > 0 (the scale of the
  // quantized tensor) each bin holds the same number of its levels, so that rounding draws no comb.
  Bins export_bins(int bins, double step = 0) const;

 private:
  void grow(float largest);
  void count(std::span<const float> values, std::vector<int64_t>& counts);

  static constexpr int kBins = 4096;
  double limit_ = 0;  // a power of two
  float low_ = 0;
  float high_ = 0;
  bool empty_ = true;
  std::vector<int64_t> reference_;
  std::vector<int64_t> actual_;
};

}  // namespace hai::quantizer
