// Checks of machines, each value at and beyond its bounds; operating points; the built-in profiles.
#include "devices/sd3403/machine/machine.h"

#include <gtest/gtest.h>

#include <limits>

#include "devices/sd3403/machine/profiles.h"

namespace hai::sd3403 {
namespace {

std::string problem(const Machine& machine) {
  const Status status = check_machine(machine);
  return status ? "" : status.error().id + " " + status.error().message;
}

TEST(Machine, TheDefaultIsFine) { EXPECT_EQ(problem({}), ""); }

TEST(Machine, EveryValueBeyondItsBoundsIsNamed) {
  for (const MachineValueInfo& info : machine_values()) {
    for (const double value : {info.least - 1, info.greatest * 2 + 1, std::numeric_limits<double>::quiet_NaN(), 1e300,
                               -1e300, std::numeric_limits<double>::infinity()}) {
      Machine machine;
      machine.*info.value = value;
      const std::string text = problem(machine);
      EXPECT_TRUE(text.starts_with("N040")) << info.name << " " << value;
      EXPECT_NE(text.find(info.name), std::string::npos) << text;
    }
  }
}

TEST(Machine, WhatCountsIsAnInteger) {
  Machine machine;
  machine.cores = 1.5;
  EXPECT_TRUE(problem(machine).starts_with("N040"));
  machine = {};
  machine.clock_mhz = 683.59375;
  machine.ddr_byte_picojoules = 0.5;
  EXPECT_EQ(problem(machine), "");
}

TEST(Machine, ValuesThatContradictEachOther) {
  Machine machine;
  machine.ddr_long_burst_bytes = 32;
  EXPECT_TRUE(problem(machine).starts_with("N041")) << problem(machine);
  machine = {};
  machine.ddr_short_efficiency = 0.9;
  EXPECT_TRUE(problem(machine).starts_with("N041"));
  machine = {};
  machine.sram_word_bytes = 128;
  EXPECT_TRUE(problem(machine).starts_with("N041"));
  machine = {};
  machine.array_output_channels = 1024;
  machine.array_pixels = 1024;
  EXPECT_TRUE(problem(machine).starts_with("N041"));
}

TEST(Machine, OperatingPoints) {
  Machine machine;
  machine.points.clear();
  EXPECT_EQ(problem(machine), "");
  EXPECT_EQ(at_clock(machine, 1000).error().id, "N043");
  for (const OperatingPoint& wrong :
       {OperatingPoint{0, 0.8}, OperatingPoint{-5, 0.8}, OperatingPoint{100, 0}, OperatingPoint{100, 5},
        OperatingPoint{1e300, 0.8}, OperatingPoint{std::numeric_limits<double>::quiet_NaN(), 0.8}}) {
    machine.points = {wrong};
    EXPECT_TRUE(problem(machine).starts_with("N042"));
  }
  machine.points = {{400, 0.6}, {400, 0.7}};
  EXPECT_TRUE(problem(machine).starts_with("N042"));
  machine.points.assign(65, {});
  EXPECT_TRUE(problem(machine).starts_with("N042"));
}

TEST(Profiles, AreMachines) {
  ASSERT_EQ(built_in_profiles().size(), 4U);
  for (const Profile& profile : built_in_profiles()) {
    EXPECT_EQ(problem(profile.machine), "");
    EXPECT_EQ(find_machine(profile.machine.name).value(), profile.machine);
  }
  EXPECT_EQ(find_machine("sd3403").value(), Machine{});
  EXPECT_EQ(find_machine("rk3588-core")->cores, 1);
  EXPECT_EQ(find_machine("ethos-u85-2048")->points.size(), 1U);
  const auto missing = find_machine("sd3404");
  EXPECT_EQ(missing.error().id, "N044");
  EXPECT_NE(missing.error().message.find("rk3588-core"), std::string::npos);
}

TEST(Profiles, PeaksAreThoseOfTheTable) {
  const auto tops = [](std::string_view name) {
    const Machine m = find_machine(name).value();
    return 2e-6 * m.cores * m.array_input_channels * m.array_output_channels * m.array_pixels * m.clock_mhz;
  };
  EXPECT_DOUBLE_EQ(tops("sd3403"), 4.096);
  EXPECT_DOUBLE_EQ(tops("ethos-u85-2048"), 4.096);
  EXPECT_DOUBLE_EQ(tops("hi3403v100-svp"), 5.6);
  EXPECT_DOUBLE_EQ(tops("rk3588-core"), 2.048);
}

}  // namespace
}  // namespace hai::sd3403
