// Rooflines by hand, stages in order, and the busiest engine.
#include "devices/sd3403/exec/platform.h"

#include <gtest/gtest.h>

namespace hai::sd3403 {
namespace {

Machine plain() {
  Machine machine;
  machine.host_f32_gigaflops = 10;
  machine.host_i8_gigamacs = 5;
  machine.host_gigabytes = 2;
  machine.host_efficiency = 0.5;
  machine.host_operator_us = 100;
  machine.gpu_f32_gigaflops = 1000;
  machine.gpu_gigabytes = 1000;
  machine.gpu_operator_us = 0;
  return machine;
}

// quantize (4 elements of f32) -> npu -> sigmoid.
format::Program program() {
  format::Program out;
  const auto tensor = [](const char* name, DataType dtype) {
    format::ProgramTensor t;
    t.name = name;
    t.dtype = dtype;
    t.shape = {1, 1000000};
    return t;
  };
  out.tensors = {tensor("x", DataType::kF32), tensor("q", DataType::kI8), tensor("r", DataType::kF32),
                 tensor("y", DataType::kF32)};
  out.inputs = {0};
  out.outputs = {3};
  const auto instruction = [&](const char* kernel, uint32_t from, uint32_t to, int64_t macs) {
    format::Instruction i;
    i.kernel = kernel;
    i.name = kernel;
    i.inputs = {from};
    i.outputs = {to};
    i.macs = macs;
    out.instructions.push_back(i);
  };
  instruction("quantize", 0, 1, 0);
  instruction("npu", 1, 2, 5000000000);
  instruction("sigmoid", 2, 3, 0);
  return out;
}

TEST(Platform, TheLongerOfArithmeticAndMemoryCounts) {
  const Machine machine = plain();
  EXPECT_DOUBLE_EQ(seconds_of(machine, Engine::kHost, {5000000, 0, 0, 1}), 1e-3 + 1e-4);
  EXPECT_DOUBLE_EQ(seconds_of(machine, Engine::kHost, {5000000, 0, 3000000, 1}), 3e-3 + 1e-4);
  EXPECT_DOUBLE_EQ(seconds_of(machine, Engine::kHost, {0, 2500000, 0, 2}), 1e-3 + 2e-4);
}

TEST(Platform, WorkFollowsFromKernelAndTensors) {
  const format::Program p = program();
  EXPECT_EQ(work_of(p, p.instructions[0]).bytes, 5000000);
  EXPECT_EQ(work_of(p, p.instructions[0]).flops, 2000000);
  EXPECT_EQ(work_of(p, p.instructions[1]).macs_i8, 5000000000);
  EXPECT_EQ(work_of(p, p.instructions[2]).flops, 20000000);
  EXPECT_EQ(work_of(p, p.instructions[2]).bytes, 8000000);
}

TEST(Platform, AFreeBatchMultipliesWhatDependsOnIt) {
  format::Program p = program();
  p.tensors[1].shape = {Dim(1, 0), Dim(1000000)};
  p.tensors[2].shape = {Dim(1, 0), Dim(1000000)};
  EXPECT_EQ(work_of(p, p.instructions[1]).bytes, 5000000);
  EXPECT_EQ(work_of(p, p.instructions[1], 3).bytes, 15000000);
  EXPECT_EQ(work_of(p, p.instructions[1], 3).macs_i8, 15000000000);
  EXPECT_EQ(work_of(p, p.instructions[2], 3).bytes, 16000000);  // its result has no batch
  EXPECT_EQ(work_of(p, p.instructions[2], 3).flops, 20000000);
}

TEST(Platform, StagesAddUpAndTheBusiestEngineSetsThePeriod) {
  const format::Program p = program();
  const Machine machine = plain();
  const double npu[] = {0.02};
  const PlatformTime alone = platform_time(p, npu, machine, nullptr);
  ASSERT_EQ(alone.stages.size(), 3U);
  EXPECT_EQ(alone.stages[1].engine, Engine::kNpu);
  const double before = 5e-3 + 1e-4;  // memory
  const double behind = 8e-3 + 1e-4;
  EXPECT_DOUBLE_EQ(alone.latency_seconds, before + 0.02 + behind);
  EXPECT_DOUBLE_EQ(alone.period_seconds, 0.02);
  EXPECT_DOUBLE_EQ(alone.host_only_seconds, before + (2.0 + 1e-4) + behind);
  const double quick[] = {0.001};
  EXPECT_DOUBLE_EQ(platform_time(p, quick, machine, nullptr).period_seconds, before + behind);
  const Camera camera;
  const PlatformTime whole = platform_time(p, npu, machine, &camera);
  EXPECT_EQ(whole.stages.front().engine, Engine::kGpu);
  EXPECT_EQ(whole.stages.back().name, "boxes and drawing");
  EXPECT_GT(whole.latency_seconds, alone.latency_seconds);
  EXPECT_NE(to_text(whole, machine).find("modelled, profile sd3403"), std::string::npos);
}

}  // namespace
}  // namespace hai::sd3403
