// RangeObserver: what calibration remembers of one tensor, and the choice of a range from it.
#pragma once

#include <cstdint>
#include <functional>
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
  // `channels`: also means of each index of the last axis; with `magnitudes` its largest magnitude and mean square.
  explicit RangeObserver(int64_t channels = 0, bool magnitudes = false)
      : channel_sums_(static_cast<size_t>(channels), 0.0),
        channel_largest_(magnitudes ? static_cast<size_t>(channels) : 0, 0.0F),
        channel_square_sums_(channel_largest_.size(), 0.0) {}

  // Adds values; with channels, values.size() is a multiple of their number. Returns false when one is not finite.
  bool add(std::span<const float> values);
  // Adds what another observer saw (channel means are not merged).
  void merge(const RangeObserver& other);

  bool empty() const { return count_ == 0; }
  float min() const { return min_; }
  float max() const { return max_; }
  // Empty unless channels were asked for.
  std::vector<float> channel_means() const;
  // Empty unless magnitudes were asked for.
  const std::vector<float>& channel_largest() const { return channel_largest_; }
  std::vector<double> channel_squares() const;

  // The i8 quantization of what was seen; zero is always exactly representable. `percentile` is for
  // Observer::kPercentile and kMse.
  Quantization choose(Observer observer, bool symmetric, double percentile = 99.99) const;
  // The range whose rounding and clipping err least in mean square behind `functions`, which are all that reads the
  // tensor (a silu that is flat below -6 needs no steps there).
  using Function = std::function<double(double)>;
  Quantization choose_behind(std::span<const Function> functions, bool symmetric) const;
  // The share of all values that a range would clip.
  double clipped_share(const Quantization& quantization) const;
  // The magnitude that `percentile` per cent of the values do not exceed, to a bin's width.
  double magnitude_percentile(double percentile) const;

 private:
  struct Range {
    double low = 0;
    double high = 0;
  };
  void grow(float largest);
  // The range of least `cost` among the whole one and ever smaller ones.
  template <typename Cost>
  Range least(bool symmetric, Cost cost) const;
  Range percentile_range(double percentile) const;
  double error_of(Range range, double step) const;
  double divergence_of(Range range, int levels) const;
  double error_behind(Range range, bool symmetric, std::span<const Function> functions,
                      std::span<const std::vector<double>> exact) const;
  double bin_center(int bin) const { return (bin + 0.5) * (2 * limit_ / kBins) - limit_; }

  static constexpr int kBins = 8192;
  float min_ = 0;
  float max_ = 0;
  int64_t count_ = 0;
  int64_t zeros_ = 0;  // exactly zero: every range keeps them
  double limit_ = 0;   // a power of two; 0 before the first non-zero value
  std::vector<int64_t> bins_;
  std::vector<double> channel_sums_;
  std::vector<float> channel_largest_;
  std::vector<double> channel_square_sums_;
};

// Scale and zero point for i8 over [low, high], widened to contain zero.
Quantization affine_i8(double low, double high, bool symmetric);
// The same for 8 bits; 16-bit tensors are symmetric, with as much room again above the largest magnitude.
Quantization range_quantization(double low, double high, bool symmetric, int bits);

}  // namespace hai::quantizer
