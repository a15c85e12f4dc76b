// Profiles as files: round trips, what is left out, and what users and fuzzers get wrong.
#include "devices/sd3403/profile/machine_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "devices/sd3403/machine/profiles.h"

namespace hai::sd3403 {
namespace {

// "N051 message", or "" where the text is a machine.
std::string problem(const std::string& json) {
  const auto machine = parse_machine(json);
  return machine ? "" : machine.error().id + " " + machine.error().message;
}

std::string with_value(const std::string& name, const std::string& value) {
  return R"({"profile": "x", "values": {")" + name + "\": " + value + "}}";
}

TEST(MachineFile, RoundTripOfTheBuiltIns) {
  for (const Profile& profile : built_in_profiles()) {
    EXPECT_EQ(parse_machine(machine_json(profile.machine)).value(), profile.machine) << profile.machine.name;
  }
  Machine odd;
  odd.name = "odd";
  odd.ddr_gigabytes = 0.1 + 0.2;
  odd.points.clear();
  EXPECT_EQ(parse_machine(machine_json(odd)).value(), odd);
}

TEST(MachineFile, WhatIsLeftOut) {
  Machine machine = parse_machine(R"({"profile": "mine"})").value();
  EXPECT_EQ(machine.name, "mine");
  machine.name = "sd3403";
  EXPECT_EQ(machine, Machine{});
  machine = parse_machine(R"({"profile": "mine", "based_on": "rk3588-core", "values": {"dma_in_flight": 8}})").value();
  EXPECT_EQ(machine.cores, 1);
  EXPECT_EQ(machine.dma_in_flight, 8);
  EXPECT_EQ(machine.points, find_machine("rk3588-core")->points);
  machine = parse_machine(with_value("clock_mhz", "750")).value();
  EXPECT_EQ(machine.points, (std::vector<OperatingPoint>{{750, 0.8}}));  // the table was of another clock
}

TEST(MachineFile, AbsurdValuesAreNamed) {
  for (const MachineValueInfo& info : machine_values()) {
    for (const std::string value : {"-1", "1e300", "-1e300", "99999999999999999999999"}) {
      const std::string text = problem(with_value(std::string(info.name), value));
      EXPECT_TRUE(text.starts_with("N040")) << info.name << " " << value << " " << text;
      EXPECT_NE(text.find(info.name), std::string::npos);
    }
    for (const char* const value : {"\"8\"", "true", "null", "[1]", "{}"}) {
      const std::string text = problem(with_value(std::string(info.name), value));
      EXPECT_TRUE(text.starts_with("N052")) << text;
      EXPECT_NE(text.find(info.name), std::string::npos);
    }
  }
  EXPECT_TRUE(problem(with_value("cores", "0")).starts_with("N040"));
  EXPECT_TRUE(problem(with_value("cores", "1.5")).starts_with("N040"));
  EXPECT_TRUE(problem(with_value("clock_mhz", "-1000")).starts_with("N040"));
  EXPECT_TRUE(problem(with_value("sram_bytes", "64")).starts_with("N040"));  // less than a row
  EXPECT_TRUE(problem(with_value("ddr_long_burst_bytes", "1")).starts_with("N041"));
  EXPECT_TRUE(problem(with_value("cores", "NaN")).starts_with("N050"));
  EXPECT_TRUE(problem(with_value("cores", "1e999")).starts_with("N050"));
}

TEST(MachineFile, OperatingPoints) {
  const auto with_points = [](const std::string& points) {
    return R"({"profile": "x", "operating_points": )" + points + "}";
  };
  EXPECT_EQ(problem(with_points("[]")), "");
  EXPECT_EQ(problem(with_points(R"([{"clock_mhz": 500, "volts": 0.6}])")), "");
  EXPECT_TRUE(problem(with_points("7")).starts_with("N052"));
  EXPECT_TRUE(problem(with_points("[7]")).starts_with("N052"));
  EXPECT_TRUE(problem(with_points(R"([{"clock_mhz": 500}])")).starts_with("N052"));
  EXPECT_TRUE(problem(with_points(R"([{"clock_mhz": 500, "volts": 0.6, "x": 1}])")).starts_with("N051"));
  EXPECT_TRUE(problem(with_points(R"([{"clock_mhz": -500, "volts": 0.6}])")).starts_with("N042"));
  EXPECT_TRUE(problem(with_points(R"([{"clock_mhz": 500, "volts": 6}])")).starts_with("N042"));
}

TEST(MachineFile, TextThatIsNoProfile) {
  for (const char* const text : {"", "{", "nonsense", "{\"profile\": \"x\"} {}", "{\"profile\": \"\xff\"}"}) {
    EXPECT_TRUE(problem(text).starts_with("N050")) << text;
  }
  for (const char* const text : {"[]", "7", "null", "{}", R"({"profile": 7})", R"({"profile": ""})",
                                 R"({"profile": "x", "values": []})", R"({"profile": "x", "based_on": 3})"}) {
    EXPECT_TRUE(problem(text).starts_with("N052")) << text << problem(text);
  }
  EXPECT_TRUE(problem(R"({"profile": ")" + std::string(65, 'x') + "\"}").starts_with("N052"));
  EXPECT_TRUE(problem(R"({"profile": "x", "based_on": "sd3404"})").starts_with("N044"));
  const std::string unknown = problem(with_value("srams", "1"));
  EXPECT_TRUE(unknown.starts_with("N051"));
  EXPECT_NE(unknown.find("sram_bytes"), std::string::npos);
  EXPECT_TRUE(problem(R"({"profile": "x", "value": {}})").starts_with("N051"));
  EXPECT_TRUE(problem(R"({"profile": "x", "profile": "y"})").starts_with("N053"));
  EXPECT_TRUE(problem(R"({"profile": "x", "values": {"cores": 1, "cores": 2}})").starts_with("N053"));
  EXPECT_TRUE(problem(std::string(70000, ' ')).starts_with("N050"));
  EXPECT_FALSE(problem(std::string(60000, '[')).empty());
}

TEST(MachineFile, Files) {
  const std::filesystem::path path = std::filesystem::path(::testing::TempDir()) / "machine_file_test.json";
  std::ofstream(path) << machine_json(Machine{});
  EXPECT_EQ(read_machine(path.string()).value(), Machine{});
  EXPECT_EQ(load_machine(path.string()).value(), Machine{});
  EXPECT_EQ(load_machine("rk3588-core").value(), find_machine("rk3588-core").value());
  EXPECT_EQ(load_machine("sd3404").error().id, "N044");
  EXPECT_FALSE(load_machine("sd3404.json").has_value());
  std::ofstream(path) << with_value("cores", "0");
  EXPECT_NE(read_machine(path.string()).error().to_string().find("machine_file_test.json"), std::string::npos);
  std::ofstream(path) << std::string(70000, ' ');
  EXPECT_EQ(read_machine(path.string()).error().id, "N050");
  std::filesystem::remove(path);
  EXPECT_FALSE(read_machine(::testing::TempDir()).has_value());
}

// Bytes of a good profile changed at random: a machine that check_machine() accepts, or an error with an id.
TEST(MachineFile, DamagedText) {
  std::mt19937 random(5);
  const std::string good = machine_json(Machine{});
  for (int i = 0; i < 3000; ++i) {
    std::string text = good;
    for (unsigned n = 0; n <= random() % 3; ++n) text[random() % text.size()] = static_cast<char>(random());
    const auto machine = parse_machine(text);
    if (machine) {
      EXPECT_TRUE(check_machine(*machine).has_value());
    } else {
      EXPECT_TRUE(machine.error().id.starts_with("N0")) << machine.error().to_string();
    }
  }
}

// A figure that is said to be of sd3403 must be one of sd3403.
TEST(MachineFile, ABuiltInNameIsOfTheBuiltInMachine) {
  EXPECT_EQ(parse_machine(R"({"profile": "sd3403"})").value(), find_machine("sd3403").value());
  for (const char* text : {R"({"profile": "sd3403", "values": {"sram_bytes": 1048576}})",
                           R"({"profile": "sd3403", "based_on": "rk3588-core"})", R"({"profile": "rk3588-core"})"}) {
    const auto machine = parse_machine(text);
    ASSERT_FALSE(machine) << text;
    EXPECT_EQ(machine.error().id, "N095");
    EXPECT_NE(machine.error().message.find("\"my-"), std::string::npos) << machine.error().message;
  }
}

}  // namespace
}  // namespace hai::sd3403
