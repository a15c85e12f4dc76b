// Range observers: min-max, percentile, and the ranges of least mean square error and of least divergence.
//
// Method: the histogram's limit is a power of two, so that two observers merge without resampling. Mean square: the
// error of a candidate range counts, for each bin, the clipping error of its centre outside the range and step^2 / 12
// (uniform rounding noise) inside; exact zeros cost nothing. A mean over calibration samples believes in its rarest
// values more than others do: what lies beyond the percentile is not kept, however little its clipping would save.
// Divergence: Migacz, "8-bit inference with TensorRT"
// (2017): the Kullback-Leibler divergence from the clipped histogram, what lies outside added to its ends, to the
// histogram of the quantized values, spread evenly over the occupied bins of each level. Candidates shrink either end
// of [min, max] in turn (coordinate descent over 64 steps an end): full ranges are candidates too, so the result is
// never worse than min-max in its measure. Zero stays inside, because padding and ReLU must be exact.
#include "quantizer/observer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/result.h"
#include "types/arithmetic.h"
#include "types/quantize_layer.h"

namespace hai::quantizer {
namespace {

constexpr int kLow = -128;
constexpr int kHigh = 127;
constexpr int kSteps = 64;
constexpr int64_t kLeastForDivergence = 32 * (kHigh - kLow + 1);  // values: 32 for each of the levels

}  // namespace

bool RangeObserver::add(std::span<const float> values) {
  if (values.empty()) return true;
  float low = values[0];
  float high = values[0];
  bool finite = true;
  for (const float value : values) {
    finite = finite && std::isfinite(value);
    low = std::min(low, value);
    high = std::max(high, value);
  }
  if (!finite) return false;
  min_ = count_ == 0 ? low : std::min(min_, low);
  max_ = count_ == 0 ? high : std::max(max_, high);
  grow(std::max(std::abs(low), std::abs(high)));
  count_ += static_cast<int64_t>(values.size());
  if (limit_ == 0) zeros_ = count_;  // nothing but zeros so far
  if (limit_ > 0) {
    constexpr int kHalf = kBins / 2;
    const auto per_unit = static_cast<float>(kHalf / limit_);
    for (const float value : values) {
      zeros_ += value == 0.0F ? 1 : 0;
      const int bin = static_cast<int>(value * per_unit + static_cast<float>(kHalf));
      ++bins_[static_cast<size_t>(std::clamp(bin, 0, kBins - 1))];
    }
  }
  const size_t channels = channel_sums_.size();
  if (channels > 0) {
    HAI_CHECK(values.size() % channels == 0);
    for (size_t row = 0; row < values.size(); row += channels) {
      for (size_t c = 0; c < channels; ++c) channel_sums_[c] += static_cast<double>(values[row + c]);
    }
  }
  for (size_t row = 0; row < values.size() && !channel_largest_.empty(); row += channels) {
    for (size_t c = 0; c < channels; ++c) {
      channel_largest_[c] = std::max(channel_largest_[c], std::abs(values[row + c]));
      channel_square_sums_[c] += static_cast<double>(values[row + c]) * static_cast<double>(values[row + c]);
    }
  }
  return true;
}

void RangeObserver::grow(float largest) {
  if (largest == 0.0F) return;
  if (limit_ == 0) {
    limit_ = std::exp2(std::ceil(std::log2(static_cast<double>(largest))));
    bins_.assign(kBins, 0);
    bins_[kBins / 2] = count_;  // all that came before was zero
  }
  while (static_cast<double>(largest) > limit_) {
    // Twice the range: bin i of the old histogram lies in bin kBins / 4 + i / 2 of the new one.
    std::vector<int64_t> wider(kBins, 0);
    for (int i = 0; i < kBins; ++i) wider[static_cast<size_t>(kBins / 4 + i / 2)] += bins_[static_cast<size_t>(i)];
    bins_ = std::move(wider);
    limit_ *= 2;
  }
}

void RangeObserver::merge(const RangeObserver& other) {
  if (other.count_ == 0) return;
  RangeObserver scaled = other;
  const auto target = static_cast<float>(std::max(limit_, other.limit_));
  grow(target);
  scaled.grow(target);
  if (limit_ > 0) {
    for (size_t i = 0; i < bins_.size(); ++i) bins_[i] += scaled.bins_[i];
  }
  min_ = count_ == 0 ? other.min_ : std::min(min_, other.min_);
  max_ = count_ == 0 ? other.max_ : std::max(max_, other.max_);
  count_ += other.count_;
  zeros_ += other.zeros_;
}

std::vector<float> RangeObserver::channel_means() const {
  std::vector<float> means(channel_sums_.size(), 0.0F);
  const double rows =
      channel_sums_.empty() ? 1 : static_cast<double>(count_) / static_cast<double>(channel_sums_.size());
  for (size_t c = 0; c < means.size(); ++c) means[c] = rows > 0 ? static_cast<float>(channel_sums_[c] / rows) : 0.0F;
  return means;
}

std::vector<double> RangeObserver::channel_squares() const {
  std::vector<double> squares = channel_square_sums_;
  const double rows = squares.empty() ? 1 : static_cast<double>(count_) / static_cast<double>(squares.size());
  for (double& square : squares) square = rows > 0 ? square / rows : 0;
  return squares;
}

double RangeObserver::error_of(Range range, double step) const {
  double clipping = 0;
  for (int i = 0; i < kBins; ++i) {
    const int64_t count = bins_[static_cast<size_t>(i)];
    if (count == 0) continue;
    const double center = bin_center(i);
    const double clipped = center < range.low ? range.low - center : center > range.high ? center - range.high : 0.0;
    clipping += static_cast<double>(count) * clipped * clipped;
  }
  return clipping + static_cast<double>(count_ - zeros_) * step * step / 12.0;
}

double RangeObserver::divergence_of(Range range, int levels) const {
  const double width = 2 * limit_ / kBins;
  const int first = std::clamp(static_cast<int>(std::floor((range.low + limit_) / width)), 0, kBins - 1);
  const int last = std::clamp(static_cast<int>(std::ceil((range.high + limit_) / width)) - 1, first, kBins - 1);
  const int bins = last - first + 1;
  std::vector<double> clipped(static_cast<size_t>(bins), 0.0);
  for (int i = 0; i < kBins; ++i)
    clipped[static_cast<size_t>(std::clamp(i, first, last) - first)] +=
        static_cast<double>(bins_[static_cast<size_t>(i)]);
  double divergence = 0;
  double inside = 0;
  for (int i = first; i <= last; ++i) inside += static_cast<double>(bins_[static_cast<size_t>(i)]);
  if (inside == 0) return std::numeric_limits<double>::infinity();
  const double all = static_cast<double>(count_);
  for (int level = 0; level < levels; ++level) {
    const int begin = first + static_cast<int>(static_cast<int64_t>(bins) * level / levels);
    const int end = first + static_cast<int>(static_cast<int64_t>(bins) * (level + 1) / levels);
    double sum = 0;
    int occupied = 0;
    for (int i = begin; i < end; ++i) {
      sum += static_cast<double>(bins_[static_cast<size_t>(i)]);
      occupied += bins_[static_cast<size_t>(i)] != 0 ? 1 : 0;
    }
    for (int i = begin; i < end; ++i) {
      const double p = clipped[static_cast<size_t>(i - first)] / all;
      if (p == 0) continue;
      // An end bin that only clipped values fill has no counterpart: a small share stands in for none.
      const bool counted = bins_[static_cast<size_t>(i)] != 0;
      const double q = counted ? sum / occupied / inside : 1e-9;
      divergence += p * std::log(p / q);
    }
  }
  return divergence;
}

template <typename Cost>
RangeObserver::Range RangeObserver::least(bool symmetric, Cost cost) const {
  const Range full{std::min(0.0, static_cast<double>(min_)), std::max(0.0, static_cast<double>(max_))};
  const double largest = std::max(-full.low, full.high);
  Range best = symmetric ? Range{-largest, largest} : full;
  double best_cost = cost(best);
  const auto attempt = [&](Range candidate) {
    const double candidate_cost = cost(candidate);
    if (candidate_cost < best_cost) {
      best_cost = candidate_cost;
      best = candidate;
    }
  };
  for (int round = 0; round < (symmetric ? 1 : 2); ++round) {
    for (int i = 1; i <= kSteps; ++i) {
      const double keep = static_cast<double>(i) / kSteps;
      attempt(symmetric ? Range{-largest * keep, largest * keep} : Range{best.low, full.high * keep});
    }
    if (symmetric || full.low == 0) break;
    const double high = best.high;
    for (int i = 1; i <= kSteps; ++i) attempt({full.low * i / kSteps, high});
  }
  return best;
}

// What lies beyond the percentile is shared evenly between the two ends.
RangeObserver::Range RangeObserver::percentile_range(double percentile) const {
  const double beyond = (100.0 - percentile) / 200.0 * static_cast<double>(count_);
  const auto end_of = [&](int from, int step) {
    double passed = 0;
    int bin = from;
    while (bin >= 0 && bin < kBins) {
      passed += static_cast<double>(bins_[static_cast<size_t>(bin)]);
      if (passed > beyond) break;
      bin += step;
    }
    return bin_center(std::clamp(bin, 0, kBins - 1));
  };
  const double half = limit_ / kBins;
  return {std::max(static_cast<double>(min_), end_of(0, 1) - half),
          std::min(static_cast<double>(max_), end_of(kBins - 1, -1) + half)};
}

Quantization RangeObserver::choose(Observer observer, bool symmetric, double percentile) const {
  if (observer == Observer::kMinMax || limit_ == 0)
    return affine_i8(static_cast<double>(min_), static_cast<double>(max_), symmetric);
  // A histogram of a few values (a pooled vector) says nothing of their distribution.
  const bool sparse = count_ - zeros_ < kLeastForDivergence;
  Range range;
  if (observer == Observer::kPercentile) {
    range = percentile_range(percentile);
  } else if (observer == Observer::kKl && !sparse) {
    range = least(symmetric, [&](Range r) { return divergence_of(r, kHigh - kLow + 1); });
  } else {
    range = least(symmetric, [&](Range r) {
      return error_of(r, symmetric ? std::max(-r.low, r.high) / kHigh : (r.high - r.low) / (kHigh - kLow));
    });
    const Range most = percentile_range(percentile);
    range = {std::max(range.low, most.low), std::min(range.high, most.high)};
  }
  return affine_i8(range.low, range.high, symmetric);
}

// Of each bin's centre: f of what its stored integer stands for, against f itself.
double RangeObserver::error_behind(Range range, bool symmetric, std::span<const Function> functions,
                                   std::span<const std::vector<double>> exact) const {
  const Quantization quantization = affine_i8(range.low, range.high, symmetric);
  const auto scale = static_cast<double>(quantization.scales[0]);
  const int zero = quantization.zero_points[0];
  double error = 0;
  std::array<double, kHigh - kLow + 1> rounded{};
  for (size_t f = 0; f < functions.size(); ++f) {
    for (int q = kLow; q <= kHigh; ++q) rounded[static_cast<size_t>(q - kLow)] = functions[f](scale * (q - zero));
    for (int i = 0; i < kBins; ++i) {
      const int64_t count = bins_[static_cast<size_t>(i)];
      if (count == 0) continue;
      const double q = std::clamp<double>(hai_round_half_even_f64(bin_center(i) / scale) + zero, kLow, kHigh);
      const double difference =
          rounded[static_cast<size_t>(static_cast<int>(q) - kLow)] - exact[f][static_cast<size_t>(i)];
      error += static_cast<double>(count) * difference * difference;
    }
  }
  return error;
}

Quantization RangeObserver::choose_behind(std::span<const Function> functions, bool symmetric) const {
  if (limit_ == 0) return affine_i8(static_cast<double>(min_), static_cast<double>(max_), symmetric);
  std::vector<std::vector<double>> exact(functions.size(), std::vector<double>(kBins, 0.0));
  for (size_t f = 0; f < functions.size(); ++f) {
    for (int i = 0; i < kBins; ++i) {
      if (bins_[static_cast<size_t>(i)] != 0) exact[f][static_cast<size_t>(i)] = functions[f](bin_center(i));
    }
  }
  const Range range = least(symmetric, [&](Range r) { return error_behind(r, symmetric, functions, exact); });
  return affine_i8(range.low, range.high, symmetric);
}

double RangeObserver::clipped_share(const Quantization& quantization) const {
  if (count_ == 0 || limit_ == 0) return 0;
  const auto scale = static_cast<double>(quantization.scales[0]);
  const double low = (kLow - quantization.zero_points[0] - 0.5) * scale;
  const double high = (kHigh - quantization.zero_points[0] + 0.5) * scale;
  int64_t clipped = 0;
  for (int i = 0; i < kBins; ++i) {
    const double center = bin_center(i);
    if (center < low || center > high) clipped += bins_[static_cast<size_t>(i)];
  }
  return static_cast<double>(clipped) / static_cast<double>(count_);
}

double RangeObserver::magnitude_percentile(double percentile) const {
  if (limit_ == 0) return 0;
  const double wanted = percentile / 100.0 * static_cast<double>(count_);
  double passed = 0;
  for (int i = 0; i < kBins / 2; ++i) {
    passed +=
        static_cast<double>(bins_[static_cast<size_t>(kBins / 2 + i)] + bins_[static_cast<size_t>(kBins / 2 - 1 - i)]);
    if (passed >= wanted) return (i + 1) * (2 * limit_ / kBins);
  }
  return limit_;
}

Quantization range_quantization(double low, double high, bool symmetric, int bits) {
  if (bits == 8) return affine_i8(low, high, symmetric);
  return per_tensor_quantization(hai_choose_range_i16(low, high).scale, 0);
}

Quantization affine_i8(double low, double high, bool symmetric) {
  const hai_range_choice choice = hai_choose_range_i8(low, high, symmetric ? 1 : 0);
  return per_tensor_quantization(choice.scale, choice.zero_point);
}

}  // namespace hai::quantizer
