// Streaming errors and distributions of a pair of tensors.
//
// Errors: sums of squares and products in f64, so that the order of samples moves the last bits only. Distributions: a
// fine histogram over [-limit, limit]; when a value falls outside, limit doubles and pairs of bins merge, so that one
// pass in fixed memory is enough. Invariant: both histograms count every element that was added.
#include "quantizer/tensor_errors.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace hai::quantizer {

bool TensorErrors::add(std::span<const float> reference, std::span<const float> actual) {
  double reference_energy = 0;
  double actual_energy = 0;
  double product = 0;
  double error_energy = 0;
  double largest = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    const double r = static_cast<double>(reference[i]);
    const double a = static_cast<double>(actual[i]);
    const double error = r - a;
    reference_energy += r * r;
    actual_energy += a * a;
    product += r * a;
    error_energy += error * error;
    largest = std::max(largest, std::abs(error));
  }
  // A NaN or an infinity anywhere makes one of these sums so.
  if (!std::isfinite(reference_energy + actual_energy + error_energy)) return false;
  count_ += static_cast<int64_t>(reference.size());
  reference_energy_ += reference_energy;
  actual_energy_ += actual_energy;
  product_ += product;
  error_energy_ += error_energy;
  max_abs_error_ = std::max(max_abs_error_, largest);
  return true;
}

double TensorErrors::cosine() const {
  if (reference_energy_ == 0 && actual_energy_ == 0) return 1;
  if (reference_energy_ == 0 || actual_energy_ == 0) return 0;
  return std::clamp(product_ / std::sqrt(reference_energy_) / std::sqrt(actual_energy_), -1.0, 1.0);
}

double TensorErrors::sqnr_db() const {
  if (error_energy_ == 0) return std::numeric_limits<double>::infinity();
  if (reference_energy_ == 0) return -std::numeric_limits<double>::infinity();
  return 10 * std::log10(reference_energy_ / error_energy_);
}

double TensorErrors::relative_error() const {
  if (error_energy_ == 0) return 0;
  return reference_energy_ == 0 ? std::numeric_limits<double>::infinity()
                                : std::sqrt(error_energy_ / reference_energy_);
}

void PairHistogram::grow(float largest) {
  const double needed = static_cast<double>(largest);
  if (needed <= limit_) return;
  if (limit_ == 0) {
    limit_ = std::exp2(std::ceil(std::log2(needed)));
    if (limit_ < needed) limit_ *= 2;
    // What was seen before was zero: the middle bin.
    return;
  }
  while (limit_ < needed) {
    for (std::vector<int64_t>* counts : {&reference_, &actual_}) {
      std::vector<int64_t> merged(kBins, 0);
      for (size_t i = 0; i < kBins; ++i) merged[kBins / 4 + i / 2] += (*counts)[i];
      *counts = std::move(merged);
    }
    limit_ *= 2;
  }
}

void PairHistogram::count(std::span<const float> values, std::vector<int64_t>& counts) {
  if (limit_ == 0) {
    counts[kBins / 2] += static_cast<int64_t>(values.size());
    return;
  }
  const double per_unit = kBins / (2 * limit_);
  for (const float value : values) {
    const double position = (static_cast<double>(value) + limit_) * per_unit;
    ++counts[static_cast<size_t>(std::clamp(position, 0.0, kBins - 1.0))];
  }
}

void PairHistogram::add(std::span<const float> reference, std::span<const float> actual) {
  if (reference_.empty()) {
    reference_.assign(kBins, 0);
    actual_.assign(kBins, 0);
  }
  for (const std::span<const float> values : {reference, actual}) {
    if (values.empty()) continue;
    const auto [least, greatest] = std::minmax_element(values.begin(), values.end());
    low_ = empty_ ? *least : std::min(low_, *least);
    high_ = empty_ ? *greatest : std::max(high_, *greatest);
    empty_ = false;
  }
  grow(std::max(std::abs(low_), std::abs(high_)));
  count(reference, reference_);
  count(actual, actual_);
}

PairHistogram::Bins PairHistogram::export_bins(int bins, double step) const {
  Bins out;
  if (empty_) return out;
  const double fine = limit_ == 0 ? 1.0 : 2 * limit_ / kBins;
  const double unit = step > fine ? step : fine;
  const double first = std::round(static_cast<double>(low_) / unit);
  const double levels = std::round(static_cast<double>(high_) / unit) - first + 1;
  const double width = std::ceil(levels / bins) * unit;
  const auto groups = static_cast<size_t>(std::ceil(levels * unit / width - 1e-9));
  out.low = (first - 0.5) * unit;
  out.high = out.low + static_cast<double>(groups) * width;
  out.reference.assign(groups, 0);
  out.actual.assign(groups, 0);
  for (size_t i = 0; i < kBins; ++i) {
    if (reference_[i] == 0 && actual_[i] == 0) continue;
    const double value = (static_cast<double>(i) + 0.5) * fine - limit_;
    const double place = std::clamp((value - out.low) / width, 0.0, static_cast<double>(groups - 1));
    out.reference[static_cast<size_t>(place)] += reference_[i];
    out.actual[static_cast<size_t>(place)] += actual_[i];
  }
  return out;
}

}  // namespace hai::quantizer
