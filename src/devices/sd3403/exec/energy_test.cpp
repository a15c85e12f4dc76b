// Energies worked out by hand, the three denominators, supplies, the governor, and how the SoC's constant comes about.
#include "devices/sd3403/exec/energy.h"

#include <gtest/gtest.h>

#include <limits>

#include "devices/sd3403/exec/governor.h"
#include "devices/sd3403/isa/assembly.h"

namespace hai::sd3403 {
namespace {

std::vector<Command> program(const std::string& text) {
  return assemble(
             text +
             "end queue=load\nend queue=compute\nend queue=store\nend core=1 queue=load\nend core=1 queue=compute\n"
             "end core=1 queue=store\n")
      .value();
}

// 80 x 80 pixels, 64 to 64 channels, 3 x 3.
const char* const kWindow =
    "convolve layer=1 input_rows=80 input_columns=80 input_channels=64 input_row_stride=5120 input_pixel_stride=64 "
    "output_rows=80 output_columns=80 output_channels=64 output_row_stride=5120 output_pixel_stride=64 first_sum=1 "
    "last_sum=1 window_rows=3 window_columns=3 pad_top=1 pad_left=1\n";
const char* const kLoad = "dma_load layer=2 row_bytes=100000\n";

std::string window_and_load() {
  std::string text = kWindow;
  text += kLoad;
  return text;
}

Timeline timed(const std::string& text, const Machine& machine = {}) {
  return time_program(program(text), {}, machine).value();
}

TEST(Energy, CountsTimesConstants) {
  const Timeline t = timed(window_and_load());
  const Energy e = energy_of(t);
  ASSERT_EQ(e.layers.size(), 2U);
  EXPECT_DOUBLE_EQ(e.layers[0].products, 6400.0 * 64 * 64 * 9 * 0.0875);
  EXPECT_DOUBLE_EQ(e.layers[0].values, 6400.0 * 64 * 2);
  EXPECT_DOUBLE_EQ(e.layers[0].sums, 2.0 * 4 * 6400 * 64 * 9 * 4 * 0.33);
  EXPECT_DOUBLE_EQ(e.layers[0].ddr, 0);
  EXPECT_DOUBLE_EQ(e.layers[1].ddr, 100032 * 160.0);  // whole bursts
  EXPECT_DOUBLE_EQ(e.layers[1].sram, 100000 * 1.75);
  EXPECT_DOUBLE_EQ(e.total.leakage, 0.06 * t.seconds() * 1e12);
  double sum = 0;
  for (const LayerEnergy& layer : e.layers) sum += layer.npu_and_ddr();
  EXPECT_NEAR(e.total.npu_and_ddr(), sum, 1e-9 * sum);
  EXPECT_DOUBLE_EQ(e.total.npu_and_ddr(), e.total.npu() + e.total.ddr);
}

TEST(Energy, DenominatorsStayApart) {
  const Timeline t = timed(window_and_load());
  const Energy e = energy_of(t);
  EXPECT_DOUBLE_EQ(e.period_seconds, t.seconds());
  EXPECT_DOUBLE_EQ(e.npu.watts * e.period_seconds, e.npu.joules);
  EXPECT_DOUBLE_EQ(e.npu_and_ddr.joules - e.npu.joules, e.total.ddr * 1e-12);
  EXPECT_NEAR(e.soc.watts - e.npu_and_ddr.watts, t.machine.soc_constant_watts, 1e-9);
  EXPECT_DOUBLE_EQ(e.npu.frames_a_joule, e.frames_a_second / e.npu.watts);
  EXPECT_GT(e.npu.frames_a_joule, e.npu_and_ddr.frames_a_joule);
  EXPECT_GT(e.npu_and_ddr.frames_a_joule, e.soc.frames_a_joule);
}

TEST(Energy, WaitingForTheNextFrameCosts) {
  const Timeline t = timed(kWindow);
  const Energy fast = energy_of(t);
  const Energy slow = energy_of(t, 1.0 / 30);
  EXPECT_DOUBLE_EQ(slow.frames_a_second, 30);
  EXPECT_NEAR(slow.npu.joules - fast.npu.joules, 0.06 * (1.0 / 30 - t.seconds()), 1e-12);
  EXPECT_NEAR(slow.soc.watts, 3.35 + slow.npu_and_ddr.watts, 1e-9);
}

TEST(Energy, SupplyScalesItsSquareAndLeakageItself) {
  const Machine machine;
  const Machine slow = at_clock(machine, 400).value();
  EXPECT_EQ(slow.clock_mhz, 400);
  EXPECT_EQ(slow.clock_volts, 0.60);
  const Energy a = energy_of(timed(window_and_load(), machine));
  const Energy b = energy_of(timed(window_and_load(), slow));
  EXPECT_NEAR(b.total.products / a.total.products, 0.5625, 1e-12);
  EXPECT_DOUBLE_EQ(b.total.ddr, a.total.ddr);
  EXPECT_NEAR(b.total.leakage / b.period_seconds, 0.06e12 * 0.75, 1);
  EXPECT_EQ(at_clock(machine, 450).error().id, "N043");
}

TEST(Energy, SlowerClocksSeeFasterMemory) {
  const Machine slow = at_clock({}, 200).value();
  EXPECT_LT(timed(kLoad, slow).cycles(), timed(kLoad).cycles());
  EXPECT_GT(timed(kLoad, slow).seconds(), timed(kLoad).seconds());
}

TEST(Governor, TakesTheSlowestPointInTime) {
  const auto commands = program(kWindow);
  const Machine machine;
  const double at_600 = time_program(commands, {}, at_clock(machine, 600).value())->seconds();
  EXPECT_EQ(slowest_in_time(commands, {}, machine, at_600)->machine.clock_mhz, 600);
  EXPECT_EQ(slowest_in_time(commands, {}, machine, at_600 * 0.999)->machine.clock_mhz, 800);
  EXPECT_EQ(slowest_in_time(commands, {}, machine, 1)->machine.clock_mhz, 200);
  EXPECT_EQ(slowest_in_time(commands, {}, machine, at_600 / 10).error().id, "N085");
  for (const double absurd :
       {0.0, -1.0, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    EXPECT_EQ(slowest_in_time(commands, {}, machine, absurd).error().id, "N086");
  }
}

// docs/reference/sd3403_time_and_energy.md: 5.2 W, less the NPU at 4 TOPS on a layer such as kWindow, less DRAM for the
// NPU (1.8 bytes a thousand products, a YOLOv5s's) and for 4K30 video (8 passes over frames of 1.5 bytes a pixel).
TEST(Energy, SocConstantIsWhatTheOfficialFigureLeaves) {
  const Timeline t = timed(kWindow);
  const LayerEnergy e = energy_of(t).total;
  const double npu =
      (e.npu() - e.leakage) / static_cast<double>(t.total.all_products()) * 2.0 + t.machine.leakage_watts;
  const double bytes = 2.0e12 * 1.8e-3 + 8 * 3840.0 * 2160 * 1.5 * 30;
  const double dram = bytes * t.machine.ddr_byte_picojoules * 1e-12;
  RecordProperty("npu_watts", std::to_string(npu));
  RecordProperty("dram_watts", std::to_string(dram));
  EXPECT_NEAR(t.machine.soc_constant_watts, 5.2 - npu - dram, 0.005) << npu << " " << dram;
}

}  // namespace
}  // namespace hai::sd3403
