// A small model for tests of the container and of the runtime: two instructions of kernels that only tests register.
//
//   t = test_scale(x, w)      t[n, i] = x[n, i] * w[i]
//   y = test_add(t, x)        y = t + x
#pragma once

#include <cstring>
#include <memory>
#include <vector>

#include "format/model.h"

namespace hai::format::testing {

inline constexpr int64_t kTestWidth = 13;

inline ProgramTensor make_tensor(std::string name, Shape shape, TensorPlace place, uint32_t index = 0,
                                 int64_t offset_bytes = 0) {
  ProgramTensor tensor;
  tensor.name = std::move(name);
  tensor.dtype = DataType::kF32;
  tensor.shape = std::move(shape);
  tensor.place = place;
  tensor.index = index;
  tensor.offset_bytes = offset_bytes;
  return tensor;
}

inline Program make_test_program(bool portable) {
  const Shape batched = {Dim(1, 0), Dim(kTestWidth)};
  Program program;
  program.device = portable ? "graph" : "cpu";
  program.symbols = {{"N", 1, 16}};
  program.tensors = {
      make_tensor("x", batched, TensorPlace::kInput),
      make_tensor("w", {Dim(kTestWidth)}, TensorPlace::kConstant, 0, 64),
      make_tensor("t", batched, portable ? TensorPlace::kValue : TensorPlace::kPerSample),
      make_tensor("y", batched, portable ? TensorPlace::kValue : TensorPlace::kOutput),
  };
  Instruction scale;
  scale.kernel = "test_scale";
  scale.name = "layer/scale";
  scale.inputs = {0, 1};
  scale.outputs = {2};
  scale.attributes = {{"axis", int64_t{1}},
                      {"factor", -0.0},
                      {"mode", std::string("plain")},
                      {"pads", std::vector<int64_t>{0, -1, 1}},
                      {"weights", std::vector<double>{0.5, 2.0}}};
  scale.macs = kTestWidth;
  Instruction add;
  add.kernel = "test_add";
  add.name = "layer/add";
  add.inputs = {2, 0};
  add.outputs = {3};
  program.instructions = {scale, add};
  program.inputs = {0};
  program.outputs = {3};
  if (!portable) {
    program.per_sample_bytes = 64;
    program.arena_lower_bound_bytes = 64;
  }
  return program;
}

inline std::vector<float> test_weights() {
  std::vector<float> weights;
  for (int i = 0; i < kTestWidth; ++i) weights.push_back(static_cast<float>(i) - 3.5F);
  return weights;
}

// Weights begin at 64, so that the section starts with a gap.
inline ModelFile make_test_model() {
  ModelFile model;
  model.name = "test";
  model.graph = make_test_program(true);
  model.programs = {make_test_program(false)};
  auto weights = std::make_shared<std::vector<float>>(test_weights());
  model.weights.push_back({64, std::as_bytes(std::span(*weights)), weights});
  Preprocessing preprocessing;
  preprocessing.input = "x";
  preprocessing.width = 13;
  preprocessing.height = 7;
  preprocessing.mean = {123.5F, 0, 1};
  model.preprocessing = preprocessing;
  model.quantization_report = R"({"layers": []})";
  model.metadata = {{"licence", "MIT"}, {"producer", "test"}};
  return model;
}

}  // namespace hai::format::testing
