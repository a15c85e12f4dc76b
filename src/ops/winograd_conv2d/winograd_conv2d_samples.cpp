// Samples of winograd_conv2d: both tiles, images that cut them unevenly, channels that fill no vector, every epilogue.
//
// Input shifts follow the gain of each tap, so that transformed inputs use their 8 bits and a few of them clamp; weight
// shifts only vary. The output's scale puts a standard deviation of the sums at some 40 steps.
#include <array>
#include <cmath>
#include <string>

#include "ops/product_samples.h"
#include "ops/winograd_conv2d/winograd_conv2d.h"
#include "types/winograd.h"

namespace hai::ops {
namespace {

constexpr double kDeviation = 74.0;  // of uniform integers of 8 bits

struct Geometry {
  const char* name;
  int64_t n, h, w, c, o;
  std::vector<int64_t> pads = {1, 1, 1, 1};
};

const std::vector<Geometry>& geometries() {
  static const std::vector<Geometry> kGeometries = {
      {"odd", 1, 13, 19, 16, 33},
      {"even", 1, 16, 20, 32, 16},
      {"odd_channels", 2, 7, 9, 19, 13},
      {"one_channel", 1, 19, 13, 1, 8},
      {"first_layer", 1, 19, 18, 3, 24},
      {"deep", 1, 5, 6, 150, 70},
      {"no_padding", 1, 13, 15, 12, 31, {0, 0, 0, 0}},
      {"asymmetric", 1, 13, 14, 5, 7, {2, 0, 1, 2}},
      {"padded_twice", 1, 6, 11, 8, 9, {2, 2, 2, 2}},
      {"wide_127", 1, 3, 127, 4, 8},
      {"tall_127", 1, 127, 5, 7, 3, {0, 1, 2, 1}},
      {"one_output", 1, 3, 3, 20, 5, {0, 0, 0, 0}},
      {"one_pixel", 1, 1, 1, 24, 17},
      {"batch", 3, 8, 8, 16, 16},
  };
  return kGeometries;
}

struct Shifts {
  std::vector<int64_t> input, weight;
  double deviation = 0.0;  // of sums in units of s_x s_u
  int32_t base = 0;
};

// The energy of what an impulse at input `at` gives: what independent inputs add to each tap.
std::vector<double> input_energy(int tile) {
  const size_t taps = static_cast<size_t>((tile + 2) * (tile + 2));
  std::vector<double> energy(taps, 0.0);
  for (size_t at = 0; at < taps; ++at) {
    std::array<double, HAI_WINOGRAD_MAX_TAPS> d{};
    d[at] = 1.0;
    hai_winograd_input_f64(tile, d.data());
    for (size_t t = 0; t < taps; ++t) energy[t] += d[t] * d[t];
  }
  return energy;
}

// `spread`: how much weight shifts vary.
Shifts shifts_of(int tile, int64_t channels, int64_t spread) {
  Shifts out;
  const std::vector<double> energy = input_energy(tile);
  for (size_t t = 0; t < energy.size(); ++t) {
    const double deviation = kDeviation * std::sqrt(energy[t]);
    out.input.push_back(static_cast<int64_t>(std::max(0.0, std::floor(std::log2(deviation / 35.0)))));
    out.weight.push_back(static_cast<int64_t>(t) * 7 % 5 * spread / 4 - 2);
  }
  std::array<int32_t, HAI_WINOGRAD_MAX_TAPS> e{};
  out.base = hai_winograd_exponents(static_cast<int32_t>(energy.size()), out.input.data(), out.weight.data(), e.data());
  double variance = 0.0;
  for (size_t t = 0; t < energy.size(); ++t) {
    std::array<double, HAI_WINOGRAD_MAX_TAPS> m{};
    std::array<double, 16> y{};
    m[t] = kDeviation * kDeviation * std::sqrt(static_cast<double>(channels) / 2.0) * hai_winograd_power(e[t]);
    hai_winograd_output_f64(tile, m.data(), y.data());
    variance += y[0] * y[0];
  }
  out.deviation = std::sqrt(variance);
  return out;
}

Sample make_sample(const Geometry& g, int tile, const std::string& suffix, const ProductTypes& types,
                   const EpilogueSample& epilogue = {}, int64_t spread = 4) {
  const int64_t side = tile + 2;
  const int64_t oh = g.h + g.pads[0] + g.pads[2] - 2;
  const int64_t ow = g.w + g.pads[1] + g.pads[3] - 2;
  const Shifts shifts = shifts_of(tile, g.c, spread);
  // product_sample scales the output for sums of `depth` uniform products in units of s_x s_u.
  const double steps = shifts.deviation * hai_winograd_power(shifts.base) / (kDeviation * kDeviation);
  const bool integer = is_integer(types.x);
  Sample sample = product_sample(std::string(g.name) + "_f" + std::to_string(tile) + suffix, types,
                                 {g.n, g.h, g.w, g.c}, {g.o, side, side, g.c}, {g.n, oh, ow, g.o}, 0,
                                 integer ? static_cast<int64_t>(steps * steps) + 1 : g.c, epilogue, true);
  sample.attributes["tile"] = int64_t{tile};
  sample.attributes["pads"] = g.pads;
  if (!integer) {
    // Results of the size of what clamps cut: a tolerance is a share of the largest.
    sample.inputs[1].low = tile == 2 ? -0.05 : -0.004;
    sample.inputs[1].high = -sample.inputs[1].low;
    return sample;
  }
  sample.attributes["input_shifts"] = shifts.input;
  sample.attributes["weight_shifts"] = shifts.weight;
  const double bias = std::min(shifts.deviation, 2e9);
  sample.inputs[2].low = -bias;
  sample.inputs[2].high = bias;
  return sample;
}

void add_epilogues(std::vector<Sample>& out, const Geometry& g, int tile) {
  constexpr ProductTypes kFloat{};
  constexpr ProductTypes kHalf{DataType::kF16, DataType::kF16, DataType::kF16, true, true};
  constexpr ProductTypes kInt8{DataType::kI8, DataType::kI8, DataType::kI8, true, true};
  constexpr ProductTypes kUint8{DataType::kU8, DataType::kU8, DataType::kI8, true, true};
  constexpr ProductTypes kPoints{DataType::kI8, DataType::kI8, DataType::kI8, true, true, false, 0, true};
  constexpr ProductTypes kTo16{DataType::kI8, DataType::kI16, DataType::kI8, true, true};
  for (const char* activation : {"none", "relu", "relu6", "clip", "silu", "hard_swish", "leaky_relu"}) {
    for (const bool residual : {false, true}) {
      const std::string name = "_" + std::string(activation) + (residual ? "_residual" : "");
      const EpilogueSample epilogue{activation, residual, residual ? "relu" : "none"};
      out.push_back(make_sample(g, tile, name + "_f32", kFloat, epilogue));
      out.push_back(make_sample(g, tile, name + "_f16", kHalf, epilogue));
      out.push_back(make_sample(g, tile, name + "_i8", kInt8, epilogue));
      out.push_back(make_sample(g, tile, name + "_u8", kUint8, epilogue));
      out.push_back(make_sample(g, tile, name + "_i8_points_i16", kPoints, epilogue));
      out.push_back(make_sample(g, tile, name + "_i8_to_i16", kTo16, epilogue));
    }
  }
}

}  // namespace

std::vector<Sample> winograd_conv2d_samples(const OpSchema&) {
  constexpr ProductTypes kFloat{};
  constexpr ProductTypes kHalf{DataType::kF16, DataType::kF16, DataType::kF16, true, true};
  constexpr ProductTypes kInt8{DataType::kI8, DataType::kI8, DataType::kI8, true, true};
  constexpr ProductTypes kUint8{DataType::kU8, DataType::kU8, DataType::kI8, true, true};
  std::vector<Sample> out;
  for (const int tile : {2, 4}) {
    for (const Geometry& g : geometries()) {
      out.push_back(make_sample(g, tile, "_f32", kFloat));
      out.push_back(make_sample(g, tile, "_f16", kHalf));
      out.push_back(make_sample(g, tile, "_i8", kInt8));
      out.push_back(make_sample(g, tile, "_u8", kUint8));
    }
    const Geometry& odd = geometries().front();
    add_epilogues(out, odd, tile);
    out.push_back(make_sample(odd, tile, "_i8_to_u8", {DataType::kI8, DataType::kU8, DataType::kI8, true, true}));
    out.push_back(make_sample(odd, tile, "_u8_to_i8", {DataType::kU8, DataType::kI8, DataType::kI8, true, true}));
    out.push_back(make_sample(odd, tile, "_i8_to_f32", {DataType::kI8, DataType::kF32, DataType::kI8, true, true}));
    out.push_back(
        make_sample(odd, tile, "_one_scale_no_bias", {DataType::kI8, DataType::kI8, DataType::kI8, false, false}));
    // Sums far beyond 32 bits.
    out.push_back(make_sample(odd, tile, "_long_sums_i8", kInt8, {"relu6", true, "none"}, 16));
    out.push_back(make_sample(odd, tile, "_long_sums_u8", kUint8, {"silu"}, 16));
    out.push_back(
        make_sample(odd, tile, "_f16_no_bias", {DataType::kF16, DataType::kF16, DataType::kF16, true, false}));
    // A direct window of so many channels does not fit the NPU in f16.
    out.push_back(make_sample({"beyond_windows", 1, 5, 6, 520, 20}, tile, "_f16", kHalf));
    // Some transformed inputs pass f16's 65504.
    out.push_back(make_sample(odd, tile, "_f16_overflow", kHalf));
    out.back().inputs[0].low = tile == 2 ? -20000.0 : -1000.0;
    out.back().inputs[0].high = -out.back().inputs[0].low;
    for (const DataType real : {DataType::kF64, DataType::kBF16}) {
      out.push_back(make_sample(odd, tile, "_" + std::string(data_type_name(real)), {real, real, real, true, true},
                                {"relu6", true, "none"}));
    }
  }
  return out;
}

}  // namespace hai::ops
