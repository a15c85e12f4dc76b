// Range observers: min-max, and the range of least mean square error.
//
// Method: the histogram's limit is a power of two, so that two observers merge without resampling. The error of a
// candidate range counts, for each bin, the clipping error of its centre outside the range and step^2 / 12 (uniform
// rounding noise) inside. Candidates shrink either end of [min, max] in turn (coordinate descent over 64 steps an end,
// two rounds): full ranges are candidates too, so the result is never worse than min-max in this measure. Zero stays
// inside, because padding and ReLU must be exact.
#include "quantizer/observer.h"

#include <algorithm>
#include <cmath>

#include "base/result.h"

namespace hai::quantizer {
namespace {

constexpr int kLow = -128;
constexpr int kHigh = 127;
constexpr int kSteps = 64;
constexpr double kSmallestScale = 1e-30;  // a tensor that is zero throughout still needs a positive scale

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
  if (limit_ > 0) {
    const auto per_unit = static_cast<float>(kBins / 2 / limit_);
    for (const float value : values) {
      const int bin = static_cast<int>(value * per_unit + static_cast<float>(kBins / 2));
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
}

std::vector<float> RangeObserver::channel_means() const {
  std::vector<float> means(channel_sums_.size(), 0.0F);
  const double rows =
      channel_sums_.empty() ? 1 : static_cast<double>(count_) / static_cast<double>(channel_sums_.size());
  for (size_t c = 0; c < means.size(); ++c) means[c] = rows > 0 ? static_cast<float>(channel_sums_[c] / rows) : 0.0F;
  return means;
}

double RangeObserver::error_of(Range range, double step) const {
  const double width = 2 * limit_ / kBins;
  double error = 0;
  for (int i = 0; i < kBins; ++i) {
    const int64_t count = bins_[static_cast<size_t>(i)];
    if (count == 0) continue;
    const double center = (i + 0.5) * width - limit_;
    const double clipped = center < range.low ? range.low - center : center > range.high ? center - range.high : 0.0;
    error += static_cast<double>(count) * (clipped * clipped + step * step / 12.0);
  }
  return error;
}

RangeObserver::Range RangeObserver::best_range(bool symmetric) const {
  const Range full{std::min(0.0, static_cast<double>(min_)), std::max(0.0, static_cast<double>(max_))};
  const double largest = std::max(-full.low, full.high);
  const auto cost = [&](Range range) {
    const double step =
        symmetric ? std::max(-range.low, range.high) / kHigh : (range.high - range.low) / (kHigh - kLow);
    return error_of(range, step);
  };
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
    if (symmetric) break;
    const double high = best.high;
    for (int i = 1; i <= kSteps; ++i) attempt({full.low * i / kSteps, high});
  }
  return best;
}

Quantization RangeObserver::choose(Observer observer, bool symmetric) const {
  if (observer == Observer::kMinMax || limit_ == 0) {
    return affine_i8(static_cast<double>(min_), static_cast<double>(max_), symmetric);
  }
  const Range range = best_range(symmetric);
  return affine_i8(range.low, range.high, symmetric);
}

Quantization affine_i8(double low, double high, bool symmetric) {
  low = std::min(low, 0.0);
  high = std::max(high, 0.0);
  if (symmetric) {
    const double scale = std::max(-low, high) / kHigh;
    return per_tensor_quantization(static_cast<float>(std::max(scale, kSmallestScale)), 0);
  }
  const auto scale = static_cast<float>(std::max((high - low) / (kHigh - kLow), kSmallestScale));
  const double zero = std::nearbyint(kLow - low / static_cast<double>(scale));
  return per_tensor_quantization(scale, static_cast<int32_t>(std::clamp<double>(zero, kLow, kHigh)));
}

}  // namespace hai::quantizer
