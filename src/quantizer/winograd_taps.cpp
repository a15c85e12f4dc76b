// Choosing the powers of two and rounding the taps.
//
// Method: tap-wise quantization with power-of-two scales (Andri, Bussolino, Cipolletta, Cavigelli, Wang: "Going Further
// With Winograd Convolutions", MICRO 2022), calibrated instead of trained: each choice is the one of least mean-square
// error, as the quantizer's other ranges are. Errors of taps are taken as independent, so that a tap's share of the
// output's error is its own error, times the mean square of its inputs, times the squares of its coefficients in the
// output transform. Rounding is types/winograd.h's.
#include "quantizer/winograd_taps.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "types/winograd.h"

namespace hai::quantizer {
namespace {

constexpr int64_t kLargestInputShift = 9;   // 25,500 / 2^8 is in 8 bits
constexpr int64_t kLargestWeightShift = 3;  // above the shift that clips nothing
constexpr int kRounds = 2;
constexpr int kScales = 12;  // candidates of a channel, 5 % apart

// G w G^T of one output and input channel.
std::array<double, HAI_WINOGRAD_MAX_TAPS> transformed(std::span<const float> weights, size_t o, size_t c,
                                                      size_t channels, int tile) {
  std::array<double, 9> w{};
  std::array<double, HAI_WINOGRAD_MAX_TAPS> u{};
  for (size_t k = 0; k < 9; ++k) w[k] = static_cast<double>(weights[(o * 9 + k) * channels + c]);
  hai_winograd_weights(tile, w.data(), u.data());
  return u;
}

size_t tap_count(int tile) { return static_cast<size_t>((tile + 2) * (tile + 2)); }

// The largest |v| of each tap: every input at 255 with the sign of its coefficient.
std::vector<int64_t> largest_magnitudes(int tile) {
  const size_t taps = tap_count(tile);
  std::vector<int64_t> largest(taps, 0);
  for (size_t at = 0; at < taps; ++at) {
    std::array<int32_t, HAI_WINOGRAD_MAX_TAPS> d{};
    d[at] = 255;
    hai_winograd_input_s32(tile, d.data());
    for (size_t t = 0; t < taps; ++t) largest[t] += std::abs(d[t]);
  }
  return largest;
}

// What an independent error of each tap's product adds to the squares of a tile's outputs.
std::vector<double> output_gains(int tile) {
  std::vector<double> gains(tap_count(tile), 0.0);
  for (size_t t = 0; t < gains.size(); ++t) {
    std::array<double, HAI_WINOGRAD_MAX_TAPS> m{};
    std::array<double, 16> y{};
    m[t] = 1.0;
    hai_winograd_output_f64(tile, m.data(), y.data());
    for (const double value : y) gains[t] += value * value;
  }
  return gains;
}

float rounded(float real, float inverse) {
  return hai_round_half_even_f32(hai_clamp_f32(real * inverse, -127.0F, 127.0F));
}

// Squares of what rounding `weights` at `step` loses.
double rounding_error(std::span<const float> weights, double step) {
  const auto unit = static_cast<float>(step);
  const auto inverse = static_cast<float>(1.0 / step);
  double error = 0.0;
  for (const float weight : weights) {
    const float difference = rounded(weight, inverse) * unit - weight;
    error += static_cast<double>(difference * difference);
  }
  return error;
}

// The real taps, and the choices so far.
class TapChooser {
 public:
  TapChooser(std::span<const float> weights, int64_t outputs, int64_t channels, const TransformedInputs& inputs)
      : tile_(inputs.tile()),
        taps_(tap_count(inputs.tile())),
        outputs_(static_cast<size_t>(outputs)),
        channels_(static_cast<size_t>(channels)),
        importance_(output_gains(inputs.tile())),
        shifts_(taps_, 0) {
    for (size_t t = 0; t < taps_; ++t) importance_[t] *= std::max(inputs.power(t), 1e-6);
    transform(weights);
    for (size_t o = 0; o < outputs_; ++o) scales_.push_back(whole_scale(o));
  }

  void choose() {
    for (int round = 0; round < kRounds; ++round) {
      for (size_t t = 0; t < taps_; ++t) choose_shift(t);
      for (size_t o = 0; o < outputs_; ++o) choose_scale(o);
    }
  }

  const std::vector<int64_t>& shifts() const { return shifts_; }

  void store(std::span<const double> least_scales, WinogradTaps& out) const {
    out.values.resize(outputs_ * taps_ * channels_);
    for (size_t o = 0; o < outputs_; ++o) {
      out.scales.push_back(static_cast<float>(std::max(scales_[o], least_scales[o] / out.base)));
      for (size_t t = 0; t < taps_; ++t) {
        const double step = static_cast<double>(out.scales[o]) * power_of(t);
        const std::span<const float> from = tap(o, t);
        int8_t* to = &out.values[(o * taps_ + t) * channels_];
        for (size_t c = 0; c < channels_; ++c) {
          const double q = static_cast<double>(from[c]) / step;
          to[c] = static_cast<int8_t>(hai_round_half_even_f64(hai_clamp_f64(q, -127.0, 127.0)));
        }
      }
    }
  }

 private:
  std::span<const float> tap(size_t o, size_t t) const {
    return std::span(real_).subspan((o * taps_ + t) * channels_, channels_);
  }
  double power_of(size_t t) const { return hai_winograd_power(static_cast<int32_t>(shifts_[t])); }

  void transform(std::span<const float> weights) {
    real_.resize(outputs_ * taps_ * channels_);
    for (size_t o = 0; o < outputs_; ++o) {
      for (size_t c = 0; c < channels_; ++c) {
        const auto u = transformed(weights, o, c, channels_, tile_);
        for (size_t t = 0; t < taps_; ++t) real_[(o * taps_ + t) * channels_ + c] = static_cast<float>(u[t]);
      }
    }
  }

  // The least scale of a channel that clips nothing under the present shifts.
  double whole_scale(size_t o) const {
    double largest = 0.0;
    for (size_t t = 0; t < taps_; ++t) {
      for (const float u : tap(o, t)) largest = std::max(largest, std::abs(static_cast<double>(u)) / power_of(t));
    }
    return std::max(largest / 127.0, 1e-30);
  }

  void choose_shift(size_t t) {
    double least = std::numeric_limits<double>::infinity();
    int64_t best = 0;
    for (int64_t shift = HAI_WINOGRAD_MIN_WEIGHT_SHIFT; shift <= kLargestWeightShift; ++shift) {
      const double power = hai_winograd_power(static_cast<int32_t>(shift));
      double error = 0.0;
      for (size_t o = 0; o < outputs_; ++o) error += rounding_error(tap(o, t), scales_[o] * power);
      if (error >= least) continue;
      least = error;
      best = shift;
    }
    shifts_[t] = best;
  }

  void choose_scale(size_t o) {
    const double whole = whole_scale(o);
    double least = std::numeric_limits<double>::infinity();
    for (int step = 0; step < kScales; ++step) {
      const double scale = whole * (1.0 - 0.05 * step);
      double error = 0.0;
      for (size_t t = 0; t < taps_; ++t) error += importance_[t] * rounding_error(tap(o, t), scale * power_of(t));
      if (error >= least) continue;
      least = error;
      scales_[o] = scale;
    }
  }

  int tile_;
  size_t taps_, outputs_, channels_;
  std::vector<double> importance_;  // by tap
  std::vector<int64_t> shifts_;
  std::vector<double> scales_;
  std::vector<float> real_;  // [O][taps][C]
};

}  // namespace

TransformedInputs::TransformedInputs(int tile) : tile_(tile) {
  for (const int64_t largest : largest_magnitudes(tile)) seen_.emplace_back(static_cast<size_t>(largest + 1), 0);
}

void TransformedInputs::add(int32_t* d) {
  hai_winograd_input_s32(tile_, d);
  for (size_t t = 0; t < seen_.size(); ++t) ++seen_[t][static_cast<size_t>(std::abs(d[t]))];
  ++count_;
}

int64_t TransformedInputs::best_shift(size_t tap) const {
  double least = std::numeric_limits<double>::infinity();
  int64_t best = 0;
  for (int64_t shift = 0; shift <= kLargestInputShift; ++shift) {
    double error = 0.0;
    for (size_t v = 0; v < seen_[tap].size(); ++v) {
      if (seen_[tap][v] == 0) continue;
      const int32_t kept = hai_winograd_requantize(static_cast<int32_t>(v), static_cast<int32_t>(shift));
      const double difference = static_cast<double>(v) - static_cast<double>(int64_t{kept} << shift);
      error += static_cast<double>(seen_[tap][v]) * difference * difference;
    }
    if (error >= least) continue;
    least = error;
    best = shift;
  }
  return best;
}

double TransformedInputs::power(size_t tap) const {
  double sum = 0.0;
  for (size_t v = 0; v < seen_[tap].size(); ++v)
    sum += static_cast<double>(seen_[tap][v]) * static_cast<double>(v) * static_cast<double>(v);
  return count_ == 0 ? 0.0 : sum / static_cast<double>(count_);
}

WinogradTaps choose_taps(std::span<const float> weights, int64_t channels, std::span<const double> least_scales,
                         const TransformedInputs& inputs) {
  WinogradTaps out;
  out.tile = inputs.tile();
  TapChooser chooser(weights, static_cast<int64_t>(least_scales.size()), channels, inputs);
  chooser.choose();
  out.weight_shifts = chooser.shifts();
  for (size_t t = 0; t < tap_count(out.tile); ++t) out.input_shifts.push_back(inputs.best_shift(t));
  std::array<int32_t, HAI_WINOGRAD_MAX_TAPS> e{};
  out.base = hai_winograd_power(hai_winograd_exponents(static_cast<int32_t>(tap_count(out.tile)),
                                                       out.input_shifts.data(), out.weight_shifts.data(), e.data()));
  chooser.store(least_scales, out);
  return out;
}

WinogradTaps half_taps(std::span<const float> weights, int64_t channels, int tile) {
  WinogradTaps out;
  out.tile = tile;
  const size_t taps = tap_count(tile);
  const auto depth = static_cast<size_t>(channels);
  const size_t outputs = weights.size() / 9 / depth;
  out.halves.resize(outputs * taps * depth);
  for (size_t o = 0; o < outputs; ++o) {
    for (size_t c = 0; c < depth; ++c) {
      const auto u = transformed(weights, o, c, depth, tile);
      for (size_t t = 0; t < taps; ++t) out.halves[(o * taps + t) * depth + c] = hai_f64_to_f16(u[t]);
    }
  }
  return out;
}

double input_gain(int tile) {
  const std::vector<int64_t> largest = largest_magnitudes(tile);
  return static_cast<double>(*std::max_element(largest.begin(), largest.end())) / 255.0;
}

}  // namespace hai::quantizer
