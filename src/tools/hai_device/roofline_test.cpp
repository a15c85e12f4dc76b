// The arithmetic of the roofline, with round figures for the machine; never a measured time.
#include "tools/hai_device/roofline.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace hai::tools {
namespace {

// 100 GMAC/s in f32, 400 in INT8; 200 GB/s up to 128 KiB, 20 GB/s from 8 MiB on.
MachineLimits round_machine() {
  MachineLimits out;
  out.used = {cpu::Isa::kScalar, 100e9, 400e9};
  out.peaks = {out.used};
  out.bandwidths = {{16 << 10, 200e9}, {128 << 10, 100e9}, {8 << 20, 20e9}};
  return out;
}

LayerWork layer(const char* name, Arithmetic arithmetic, int64_t macs, int64_t bytes, double measured_ms) {
  return {name, "conv2d", arithmetic, macs, bytes, measured_ms};
}

TEST(RooflineTest, ArithmeticOfEachWidth) {
  const MachineLimits machine = round_machine();
  EXPECT_EQ(macs_per_second(machine, Arithmetic::kFloat), 100e9);
  EXPECT_EQ(macs_per_second(machine, Arithmetic::kInt8), 400e9);
  EXPECT_EQ(macs_per_second(machine, Arithmetic::kInt16), 200e9);
}

TEST(RooflineTest, BandwidthIsThatOfTheLargestSetNotLargerThanTheBytes) {
  const MachineLimits machine = round_machine();
  EXPECT_EQ(bytes_per_second(machine, 0), 200e9);
  EXPECT_EQ(bytes_per_second(machine, 16 << 10), 200e9);
  EXPECT_EQ(bytes_per_second(machine, (128 << 10) - 1), 200e9);
  EXPECT_EQ(bytes_per_second(machine, 128 << 10), 100e9);
  EXPECT_EQ(bytes_per_second(machine, int64_t{1} << 40), 20e9);
}

TEST(RooflineTest, TheLongerOfBothIsTheLimit) {
  const MachineLimits machine = round_machine();
  const LayerLimit heavy = limit_of(layer("a", Arithmetic::kInt8, 400'000'000, 16 << 10, 1.5), machine);
  EXPECT_DOUBLE_EQ(heavy.compute_ms, 1.0);
  EXPECT_DOUBLE_EQ(heavy.limit_ms, 1.0);
  EXPECT_DOUBLE_EQ(heavy.gap_ms, 0.5);
  const LayerLimit wide = limit_of(layer("b", Arithmetic::kFloat, 1000, 20'000'000, 3.0), machine);
  EXPECT_DOUBLE_EQ(wide.memory_ms, 1.0);
  EXPECT_DOUBLE_EQ(wide.limit_ms, 1.0);
  EXPECT_DOUBLE_EQ(wide.gap_ms, 2.0);
}

TEST(RooflineTest, QuickerThanTheLimitIsNoGap) {
  const LayerLimit lucky = limit_of(layer("a", Arithmetic::kInt8, 400'000'000, 0, 0.9), round_machine());
  EXPECT_EQ(lucky.gap_ms, 0);
}

TEST(RooflineTest, LargestGapFirstThenByName) {
  const auto sorted = by_gap({layer("c", Arithmetic::kFloat, 0, 0, 1.0), layer("b", Arithmetic::kFloat, 0, 0, 2.0),
                              layer("a", Arithmetic::kFloat, 0, 0, 1.0)},
                             round_machine());
  ASSERT_EQ(sorted.size(), 3U);
  EXPECT_EQ(sorted[0].work.name, "b");
  EXPECT_EQ(sorted[1].work.name, "a");
  EXPECT_EQ(sorted[2].work.name, "c");
}

TEST(RooflineTest, JsonCarriesWhatTheTableShows) {
  const MachineLimits machine = round_machine();
  const auto layers = by_gap({layer("a", Arithmetic::kInt8, 400'000'000, 1000, 1.5)}, machine);
  const nlohmann::ordered_json json = nlohmann::ordered_json::parse(roofline_json(layers, machine));
  EXPECT_EQ(json["layers"].size(), 1U);
  EXPECT_EQ(json["layers"][0]["bound"], "arithmetic");
  EXPECT_EQ(json["layers"][0]["macs"], 400'000'000);
  EXPECT_DOUBLE_EQ(json["layers"][0]["gap_ms"].get<double>(), 0.5);
  EXPECT_DOUBLE_EQ(json["peaks"][0]["i8_gmacs_per_s"].get<double>(), 400.0);
  EXPECT_EQ(json["read_bandwidths"].size(), 3U);
}

}  // namespace
}  // namespace hai::tools
