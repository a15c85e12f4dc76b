// RangeObserver: what calibration remembers of one tensor, and the choice of an 8-bit range from it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "quantizer/options.h"
#include "types/quantization.h"

namespace hai::quantizer {

// One pass over the data in bounded memory: least and largest value, a histogram over [-limit, limit] whose limit
// doubles (pairs of bins merging) when a value falls outside, and, where asked for, the mean of each index of the last
// axis.
class RangeObserver {
 public:
  explicit RangeObserver(int64_t channels = 0) : channel_sums_(static_cast<size_t>(channels), 0.0) {}

  // Adds values; with channels, values.size() is a multiple of their number. Returns false when one is not finite.
  bool add(std::span<const float> values);
  // Adds what another observer saw (channel means are not merged).
  void merge(const RangeObserver& other);

  bool empty() const { return count_ == 0; }
  float min() const { return min_; }
  float max() const { return max_; }
  // Empty unless channels were asked for.
  std::vector<float> channel_means() const;

  // The i8 quantization of what was seen; zero is always exactly representable.
  Quantization choose(Observer observer, bool symmetric) const;

 private:
  struct Range {
    double low = 0;
    double high = 0;
  };
  void grow(float largest);
  Range best_range(bool symmetric) const;
  double error_of(Range range, double step) const;

  static constexpr int kBins = 8192;
  float min_ = 0;
  float max_ = 0;
  int64_t count_ = 0;
  double limit_ = 0;  // a power of two; 0 before the first non-zero value
  std::vector<int64_t> bins_;
  std::vector<double> channel_sums_;
};

// Scale and zero point for i8 over [low, high], widened to contain zero.
Quantization affine_i8(double low, double high, bool symmetric);

}  // namespace hai::quantizer
