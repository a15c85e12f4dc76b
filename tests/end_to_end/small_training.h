// A training that takes microseconds a step and has every kind of state: parameters, moments, running statistics.
//
// Batch and learning rate of a step follow from its number alone, so a resumed run can be held against one that was
// never interrupted.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "compiler/compile.h"
#include "compiler/training.h"
#include "format/model.h"
#include "passes/testing/graph_builder.h"
#include "training/trainer.h"

namespace hai::small_training {

// A folder of one test, gone with it.
class Folder {
 public:
  Folder() {
    static int counter = 0;
    path_ = std::filesystem::temp_directory_path() / fmt::format("hai_checkpoints_{}_{}", ::getpid(), counter++);
    std::filesystem::create_directories(path_);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

// Writes the model [N, 3] -> 8 -> batch norm -> relu -> 2 classes, with its training program.
inline void write_model(const std::string& path, const std::string& options = "optimizer=adamw,clip_norm=1",
                        int64_t hidden = 8) {
  passes::testing::GraphBuilder b;
  b.graph.symbols = {{"batch", 1, 64}};
  auto y = b.node("matmul", {b.input({Dim(1, 0), Dim(3)}), b.constant({3, hidden}), b.constant({hidden}, 0, 0)});
  y = b.node("batch_norm", {y, b.constant({hidden}, 0.5F, 1.5F), b.constant({hidden}), b.constant({hidden}, 0, 0),
                            b.constant({hidden}, 1, 1)});
  y = b.node("relu", {y});
  y = b.node("matmul", {y, b.constant({hidden, 2}, -0.5F, 0.5F), b.constant({2}, 0, 0)});
  b.graph.add_output(y);
  compiler::CompileOptions compile;
  compile.training = compiler::parse_training(options).value();
  const auto model = compiler::compile(std::move(b.graph), compile);
  ASSERT_TRUE(model) << model.error().to_string();
  ASSERT_TRUE(format::write_model_file(path, model->file));
}

inline std::unique_ptr<training::Trainer> make_trainer(const std::string& model, int threads = 1,
                                                       const std::string& isa = "") {
  training::TrainerOptions options;
  options.threads = threads;
  options.isa = isa;
  auto trainer = training::Trainer::create(runtime::Model::load_file(model).value(), options);
  EXPECT_TRUE(trainer) << trainer.error().to_string();
  return std::move(trainer).value();
}

inline hai_tensor view(std::vector<float>& values, int64_t columns) {
  hai_tensor tensor = {};
  tensor.dtype = HAI_F32;
  tensor.rank = 2;
  tensor.dims[0] = static_cast<int64_t>(values.size()) / columns;
  tensor.dims[1] = columns;
  tensor.data = values.data();
  tensor.size_bytes = values.size() * sizeof(float);
  return tensor;
}

// The step after trainer.steps(), of a batch of 5 to 11.
inline Result<training::StepResult> next_step(training::Trainer& trainer) {
  const auto number = static_cast<uint32_t>(trainer.steps() + trainer.refused_steps() + 1);
  std::mt19937 random(number);
  std::uniform_real_distribution<float> unit(-1, 1);
  const size_t count = 5 + number % 7;
  std::vector<float> x(3 * count);
  std::vector<float> target(2 * count);
  for (float& value : x) value = unit(random);
  for (size_t i = 0; i < count; ++i) target[2 * i + (x[3 * i] * x[3 * i + 1] > 0 ? 1 : 0)] = 1;
  const hai_tensor inputs[] = {view(x, 3), view(target, 2)};
  return trainer.step(inputs, 0.05 / (1 + 0.01 * number));
}

inline void train(training::Trainer& trainer, int steps) {
  for (int i = 0; i < steps; ++i) {
    const auto result = next_step(trainer);
    ASSERT_TRUE(result) << result.error().to_string();
    ASSERT_TRUE(result->applied);
  }
}

// Every bit that the trainer holds.
using Snapshot = std::vector<std::string>;
inline Snapshot snapshot(training::Trainer& trainer) {
  Snapshot out = {fmt::format("{} applied, {} refused", trainer.steps(), trainer.refused_steps())};
  for (size_t i = 0; i < trainer.state_count(); ++i) {
    const auto state = trainer.state(i);
    out.emplace_back(reinterpret_cast<const char*>(state.data()), state.size());
  }
  return out;
}

}  // namespace hai::small_training
