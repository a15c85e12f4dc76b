// Taps of winograd_conv2d: the powers of two of each tap, from what calibration saw of transformed inputs, and weights
// rounded for them; or of f16, rounded once.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace hai::quantizer {

// What calibration saw behind the input transform, tap by tap: a histogram of magnitudes, which are whole numbers.
class TransformedInputs {
 public:
  explicit TransformedInputs(int tile);  // 2 or 4

  // One tile of one channel: q - zero_point of (tile + 2)^2 inputs, each within [-255, 255]; overwritten.
  void add(int32_t* d);

  int tile() const { return tile_; }
  // The shift of a tap that errs least in mean square, rounding and clamping.
  int64_t best_shift(size_t tap) const;
  // Mean square of a tap.
  double power(size_t tap) const;

 private:
  int tile_;
  int64_t count_ = 0;
  std::vector<std::vector<uint32_t>> seen_;  // [tap][magnitude]
};

// The most steps of a layer's bias, which is an i32 beside sums of 53 bits.
inline constexpr double kWinogradBiasLimit = 0x1p30;

struct WinogradTaps {
  int tile = 4;
  std::vector<int64_t> input_shifts;
  std::vector<int64_t> weight_shifts;
  std::vector<int8_t> values;    // [O][taps][C]
  std::vector<float> scales;     // s_u of each output channel
  double base = 1.0;             // 2^base: s_w = s_u * base
  std::vector<uint16_t> halves;  // of f16: [O][taps][C], and nothing else but `tile`
};

// Of f16: transformed in f64 and rounded once. `weights`: [O][3][3][C].
WinogradTaps half_taps(std::span<const float> weights, int64_t channels, int tile);

// How much larger than every input a transformed one may be: 4 or 100.
double input_gain(int tile);

// `weights`: [O][3][3][C]. Shifts of taps and scales of channels are chosen in turns, each for the least mean-square
// error of the output that rounding the weights makes, which a tap adds to as far as its inputs and the output
// transform carry it. `least_scales`: of s_w of each output channel.
WinogradTaps choose_taps(std::span<const float> weights, int64_t channels, std::span<const double> least_scales,
                         const TransformedInputs& inputs);

}  // namespace hai::quantizer
