// A model in training whose frozen INT8 part runs on the NPU: its features are those of the CPU, and so is what is
// trained on them.
//
// What is compared are two files of one quantized graph, compiled for each device.
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "compiler/compile.h"
#include "compiler/training.h"
#include "devices/sd3403/exec/npu_program.h"
#include "devices/sd3403/exec/passes.h"
#include "devices/sd3403/exec/timing.h"
#include "devices/sd3403/exec/training_time.h"
#include "devices/sd3403/simulator/install.h"
#include "format/model.h"
#include "quantizer/options.h"
#include "quantizer/quantizer.h"
#include "quantizer/test_network.h"
#include "quantizer/test_samples.h"
#include "training/trainer.h"

namespace hai {
namespace {

using quantizer::testing::NetworkBuilder;
using quantizer::testing::samples_of;

constexpr int64_t kSize = 12;
constexpr int64_t kBatch = 3;
constexpr const char* kTraining = "loss=cross_entropy,optimizer=sgd,momentum=0.9,trainable=last:2";

// Two convolutions before two layers that are trained; a free batch.
ir::Graph network() {
  NetworkBuilder b(21);
  b.graph.symbols = {{"batch", 1, 8}};
  const ir::ValueId x = b.graph.add_input("x", {DataType::kF32, {Dim(1, 0), Dim(kSize), Dim(kSize), Dim(3)}, {}});
  const ir::ValueId stem = b.op("relu6", {b.conv(x, 3, 16, 3, "stem")});
  const ir::ValueId middle = b.op("relu", {b.conv(stem, 16, 32, 3, "middle")});
  const ir::ValueId tail = b.op("relu", {b.conv(middle, 32, 16, 3, "tail")});
  const ir::ValueId pooled =
      b.op("reduce_mean", {tail}, {{"axes", std::vector<int64_t>{1, 2}}, {"keep_dims", int64_t{0}}});
  const int64_t dims[] = {16, 5};
  std::vector<float> weights(80);
  for (float& weight : weights) weight = std::uniform_real_distribution<float>(-0.4F, 0.4F)(b.random);
  b.graph.add_output(b.op("matmul", {pooled, ops::add_constant_f32(b.graph, "head.w", dims, weights)}));
  return b.graph;
}

ir::Graph quantized(const std::string& trainable) {
  quantizer::QuantizeOptions options = quantizer::options_from_json(R"({"precision": "int8"})").value();
  options.trainable = trainable;
  auto result = quantizer::quantize(network(), samples_of({1, kSize, kSize, 3}, 8), options);
  EXPECT_TRUE(result) << result.error().to_string();
  return std::move(result->graph);
}

Result<compiler::CompiledModel> compiled(ir::Graph graph, const std::string& device,
                                         const std::string& training = kTraining, const sd3403::Machine& machine = {}) {
  compiler::CompileOptions options;
  options.sd3403.machine = machine;
  options.device = device;
  options.training = compiler::parse_training(training).value();
  options.sd3403.partition.least_macs = 0;
  return compiler::compile(std::move(graph), options);
}

std::unique_ptr<training::Trainer> trainer_of(const format::ModelFile& file) {
  const std::string path = ::testing::TempDir() + "frozen_npu_test.hai";
  EXPECT_TRUE(format::write_model_file(path, file));
  auto model = runtime::Model::load_file(path);
  EXPECT_TRUE(model) << model.error().to_string();
  auto trainer = training::Trainer::create(*model, {"", 1});
  EXPECT_TRUE(trainer) << trainer.error().to_string();
  return std::move(*trainer);
}

hai_tensor view(DataType dtype, const Dims& dims, void* data, size_t bytes) {
  hai_tensor tensor = {};
  tensor.dtype = static_cast<int32_t>(dtype);
  tensor.rank = dims.rank;
  std::copy_n(dims.size.begin(), dims.rank, tensor.dims);
  tensor.data = data;
  tensor.size_bytes = bytes;
  return tensor;
}

struct Batch {
  std::vector<float> pixels = std::vector<float>(kBatch * kSize * kSize * 3);
  std::vector<float> target = std::vector<float>(kBatch * 5, 0.0F);
  Batch() {
    std::mt19937 random(7);
    for (float& pixel : pixels) pixel = std::uniform_real_distribution<float>(-1, 1)(random);
    for (size_t i = 0; i < kBatch; ++i) target[i * 5 + i] = 1;
  }
  hai_tensor x() { return view(DataType::kF32, {kBatch, kSize, kSize, 3}, pixels.data(), pixels.size() * 4); }
  hai_tensor t() { return view(DataType::kF32, {kBatch, 5}, target.data(), target.size() * 4); }
};

std::vector<std::byte> features_of(training::Trainer& trainer, Batch& batch) {
  const format::ProgramTensor& feature = trainer.feature(0);
  const int64_t count = kBatch;
  const Dims dims = resolve(feature.shape, std::span(&count, 1));
  std::vector<std::byte> bytes(static_cast<size_t>(bytes_for(feature.dtype, dims.count())));
  const hai_tensor in = batch.x();
  const hai_tensor out = view(feature.dtype, dims, bytes.data(), bytes.size());
  const Status status = trainer.features(std::span(&in, 1), std::span(&out, 1));
  EXPECT_TRUE(status) << status.error().to_string();
  return bytes;
}

TEST(FrozenNpu, FeaturesAndTrainedParametersAreTheCpus) {
  sd3403::install_simulator();
  const ir::Graph graph = quantized("last:2");
  auto npu = compiled(graph, "sd3403");
  ASSERT_TRUE(npu) << npu.error().to_string();
  auto cpu = compiled(graph, "cpu");
  ASSERT_TRUE(cpu) << cpu.error().to_string();
  ASSERT_TRUE(npu->file.features.has_value());
  EXPECT_EQ(npu->file.features->device, "sd3403");
  EXPECT_EQ(npu->file.training->device, "cpu");
  // Both convolutions, and nothing else of note, run there.
  EXPECT_EQ(npu->report.training.frozen_npu_macs, npu->report.training.frozen_macs);
  EXPECT_EQ(npu->report.training.frozen_macs, kSize * kSize * 9 * (3 * 16 + 16 * 32));

  const auto on_npu = trainer_of(npu->file);
  const auto on_cpu = trainer_of(cpu->file);
  ASSERT_EQ(on_npu->feature_count(), 1U);
  EXPECT_EQ(on_npu->feature(0).dtype, DataType::kI8);
  EXPECT_EQ(on_npu->feature(0).shape, on_cpu->feature(0).shape);
  Batch batch;
  const std::vector<std::byte> features = features_of(*on_npu, batch);
  EXPECT_EQ(features, features_of(*on_cpu, batch));
  EXPECT_NE(features, std::vector<std::byte>(features.size(), features[0]));

  for (int i = 0; i < 3; ++i) {
    const hai_tensor inputs[] = {batch.x(), batch.t()};
    const auto a = on_npu->step(inputs, 0.05);
    const auto b = on_cpu->step(inputs, 0.05);
    ASSERT_TRUE(a && b);
    EXPECT_EQ(a->loss, b->loss) << i;
    EXPECT_TRUE(a->applied);
  }
  ASSERT_EQ(on_npu->state_count(), on_cpu->state_count());
  for (size_t i = 0; i < on_npu->state_count(); ++i) {
    const auto a = on_npu->state(i);
    const auto b = on_cpu->state(i);
    EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin(), b.end())) << on_npu->state_tensor(i).name;
  }
}

// The trained file is the same file with other parameters, which its program for the NPU reads.
TEST(FrozenNpu, TheTrainedModelAnswersWithWhatWasTrained) {
  sd3403::install_simulator();
  const ir::Graph graph = quantized("last:2");
  Batch batch;
  std::vector<std::vector<float>> answers;
  for (const char* device : {"sd3403", "cpu"}) {
    auto made = compiled(graph, device);
    ASSERT_TRUE(made) << made.error().to_string();
    const auto trainer = trainer_of(made->file);
    for (int steps = 0; steps < 2; ++steps) {
      std::vector<float>& answer = answers.emplace_back(kBatch * 5);
      const std::string path = ::testing::TempDir() + "frozen_npu_trained.hai";
      ASSERT_TRUE(trainer->save(path));
      auto model = runtime::Model::load_file(path);
      ASSERT_TRUE(model) << model.error().to_string();
      auto session = runtime::Session::create(*model, {});
      ASSERT_TRUE(session) << session.error().to_string();
      EXPECT_EQ((*session)->device(), device);
      const hai_tensor in = batch.x();
      const hai_tensor out = view(DataType::kF32, {kBatch, 5}, answer.data(), answer.size() * 4);
      ASSERT_TRUE((*session)->run(std::span(&in, 1), std::span(&out, 1)));
      const hai_tensor inputs[] = {batch.x(), batch.t()};
      ASSERT_TRUE(trainer->step(inputs, 0.5));
    }
  }
  EXPECT_EQ(answers[0], answers[2]);
  EXPECT_EQ(answers[1], answers[3]);
  EXPECT_NE(answers[0], answers[1]);
}

TEST(FrozenNpu, WhatTheNpuCannotHelpIsRefused) {
  EXPECT_EQ(compiled(network(), "sd3403", "trainable=all").error().id, "K033");
  const auto floats = compiled(network(), "sd3403");
  ASSERT_FALSE(floats);
  EXPECT_EQ(floats.error().id, "K033");
  EXPECT_NE(floats.error().message.find("f32"), std::string::npos) << floats.error().message;
}

format::ModelFile file_for(const sd3403::Machine& machine) {
  auto made = compiled(quantized("last:2"), "sd3403", kTraining, machine);
  EXPECT_TRUE(made) << made.error().to_string();
  const std::string path = ::testing::TempDir() + "frozen_npu_time.hai";
  EXPECT_TRUE(format::write_model_file(path, made->file));
  auto read = format::read_model_file(path);
  EXPECT_TRUE(read) << read.error().to_string();
  return std::move(*read);
}

TEST(FrozenNpu, TimeOnTheBoardIsCyclesAndRooflines) {
  sd3403::Machine machine;
  machine.name = "slow arithmetic";  // of the host, whose memory is free
  machine.host_f32_gigaflops = 0.001;
  machine.host_gigabytes = 10000;
  machine.host_efficiency = 0.5;
  machine.host_operator_us = 0;
  const format::ModelFile file = file_for(machine);
  const auto one = sd3403::training_time(file, {40, 10, 4, 0});
  ASSERT_TRUE(one) << one.error().to_string();
  EXPECT_EQ(one->machine.name, "slow arithmetic");

  // The NPU: a first pass and three that find the weights in the cache, ten times.
  const format::Program& frozen = *file.features;
  const auto at = std::find_if(frozen.instructions.begin(), frozen.instructions.end(),
                               [](const format::Instruction& code) { return code.kernel == "npu"; });
  ASSERT_NE(at, frozen.instructions.end());
  const auto npu = sd3403::read_npu_program(frozen, *at, file.weights[0].bytes);
  ASSERT_TRUE(npu);
  const auto first = sd3403::time_program(npu->commands, npu->constants, npu->machine);
  const auto later = sd3403::time_program(sd3403::later_pass(npu->commands).commands, npu->constants, npu->machine);
  ASSERT_TRUE(first && later);
  EXPECT_DOUBLE_EQ(one->frozen_npu_seconds, 10 * (first->seconds() + 3 * later->seconds()));
  EXPECT_LT(later->seconds(), first->seconds());

  // A step of four samples: products of the tail forward and backward to its weights, of the head to its input too;
  // the rest are sums and activations.
  constexpr int64_t kTail = kSize * kSize * 9 * 32 * 16;
  constexpr int64_t kHead = 16 * 5;
  const double products = 2.0 * 4 * (2 * kTail + 3 * kHead);
  const double step = one->step_seconds / 10 * 0.001e9 * 0.5;
  EXPECT_GT(step, products);
  EXPECT_LT(step, 1.1 * products);

  const auto more = sd3403::training_time(file, {80, 30, 4, 100});
  ASSERT_TRUE(more);
  EXPECT_DOUBLE_EQ(more->frozen_npu_seconds, 2 * one->frozen_npu_seconds);
  EXPECT_DOUBLE_EQ(more->step_seconds, 3 * one->step_seconds);
  EXPECT_EQ(one->measuring_seconds, 0);
  EXPECT_GT(more->measuring_seconds, more->frozen_npu_seconds);  // of the whole network
  EXPECT_DOUBLE_EQ(more->seconds(),
                   more->frozen_npu_seconds + more->frozen_host_seconds + more->step_seconds + more->measuring_seconds);

  EXPECT_EQ(sd3403::training_time(file, {1, 1, 9, 0}).error().id, "N141");
  EXPECT_EQ(sd3403::training_time(file, {-1, 1, 1, 0}).error().id, "N141");
  const auto cpu = compiled(quantized("last:2"), "cpu");
  ASSERT_TRUE(cpu);
  EXPECT_EQ(sd3403::training_time(cpu->file, {1, 1, 1, 0}).error().id, "N140");
}

}  // namespace
}  // namespace hai
