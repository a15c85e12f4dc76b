// TestModel: small ONNX models for tests, written as protobuf bytes by hand.
//
// Writing the wire format directly (varints and length-prefixed fields) lets tests make files that no library would
// write. Only what the tests need; field numbers are those of onnx-ml.proto.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace hai::onnx_import {

class ProtoBytes {
 public:
  ProtoBytes& varint(int field, int64_t value) {
    key(field, 0);
    raw_varint(static_cast<uint64_t>(value));
    return *this;
  }
  ProtoBytes& bytes(int field, const std::string& value) {
    key(field, 2);
    raw_varint(value.size());
    text_ += value;
    return *this;
  }
  ProtoBytes& message(int field, const ProtoBytes& value) { return bytes(field, value.text_); }
  ProtoBytes& float32(int field, float value) {
    key(field, 5);
    char raw[4];
    std::memcpy(raw, &value, 4);
    text_.append(raw, 4);
    return *this;
  }
  const std::string& text() const { return text_; }

 private:
  void key(int field, int wire) { raw_varint(static_cast<uint64_t>(field) << 3 | static_cast<uint64_t>(wire)); }
  void raw_varint(uint64_t value) {
    for (; value >= 128; value >>= 7) text_ += static_cast<char>((value & 127) | 128);
    text_ += static_cast<char>(value);
  }
  std::string text_;
};

inline constexpr int kOnnxFloat = 1;
inline constexpr int kOnnxInt8 = 3;
inline constexpr int kOnnxInt64 = 7;

struct TestTensor {
  int type = kOnnxFloat;
  std::vector<int64_t> dims;
  std::string raw;

  static TestTensor of(std::vector<int64_t> dims, const std::vector<float>& values) {
    return {kOnnxFloat, std::move(dims), bytes_of(values)};
  }
  static TestTensor of(std::vector<int64_t> dims, const std::vector<int64_t>& values) {
    return {kOnnxInt64, std::move(dims), bytes_of(values)};
  }
  static TestTensor of(std::vector<int64_t> dims, const std::vector<int8_t>& values) {
    return {kOnnxInt8, std::move(dims), bytes_of(values)};
  }
  template <typename T>
  static std::string bytes_of(const std::vector<T>& values) {
    return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
  }
  ProtoBytes proto(const std::string& name) const {
    ProtoBytes out;
    for (const int64_t dim : dims) out.varint(1, dim);
    return out.varint(2, type).bytes(8, name).bytes(9, raw);
  }
};

using TestDim = std::variant<int64_t, std::string>;
using TestAttribute = std::variant<int64_t, float, std::string, std::vector<int64_t>, TestTensor>;

class TestModel {
 public:
  explicit TestModel(int64_t opset = 17) : opset_(opset) {}

  TestModel& input(const std::string& name, const std::vector<TestDim>& dims, int type = kOnnxFloat) {
    ProtoBytes shape;
    for (const TestDim& dim : dims) {
      ProtoBytes one;
      if (const auto* number = std::get_if<int64_t>(&dim)) one.varint(1, *number);
      if (const auto* symbol = std::get_if<std::string>(&dim); symbol != nullptr && !symbol->empty()) {
        one.bytes(2, *symbol);
      }
      shape.message(1, one);
    }
    graph_.message(11, value(name, ProtoBytes().varint(1, type).message(2, shape)));
    return *this;
  }
  TestModel& output(const std::string& name) {
    graph_.message(12, value(name, ProtoBytes().varint(1, kOnnxFloat)));
    return *this;
  }
  TestModel& initializer(const std::string& name, const TestTensor& tensor) {
    graph_.message(5, tensor.proto(name));
    return *this;
  }
  TestModel& raw_initializer(const ProtoBytes& tensor) {
    graph_.message(5, tensor);
    return *this;
  }
  TestModel& node(const std::string& op, const std::vector<std::string>& inputs,
                  const std::vector<std::string>& outputs,
                  const std::vector<std::pair<std::string, TestAttribute>>& attributes = {},
                  const std::string& domain = {}) {
    ProtoBytes out;
    for (const std::string& name : inputs) out.bytes(1, name);
    for (const std::string& name : outputs) out.bytes(2, name);
    out.bytes(3, "node_" + (outputs.empty() ? op : outputs[0])).bytes(4, op).bytes(7, domain);
    for (const auto& [name, attribute] : attributes) out.message(5, encode(name, attribute));
    graph_.message(1, out);
    return *this;
  }
  std::string bytes() const {
    ProtoBytes graph = graph_;
    graph.bytes(2, "test");
    ProtoBytes model;
    model.varint(1, 8).message(7, graph).message(8, ProtoBytes().bytes(1, "").varint(2, opset_));
    return model.text();
  }

 private:
  static ProtoBytes value(const std::string& name, const ProtoBytes& tensor_type) {
    return ProtoBytes().bytes(1, name).message(2, ProtoBytes().message(1, tensor_type));
  }
  static ProtoBytes encode(const std::string& name, const TestAttribute& attribute) {
    ProtoBytes out;
    out.bytes(1, name);
    if (const auto* integer = std::get_if<int64_t>(&attribute)) out.varint(3, *integer).varint(20, 2);
    if (const auto* real = std::get_if<float>(&attribute)) out.float32(2, *real).varint(20, 1);
    if (const auto* text = std::get_if<std::string>(&attribute)) out.bytes(4, *text).varint(20, 3);
    if (const auto* tensor = std::get_if<TestTensor>(&attribute)) out.message(5, tensor->proto("t")).varint(20, 4);
    if (const auto* integers = std::get_if<std::vector<int64_t>>(&attribute)) {
      for (const int64_t integer : *integers) out.varint(8, integer);
      out.varint(20, 7);
    }
    return out;
  }

  int64_t opset_;
  ProtoBytes graph_;
};

// A model with one of most things: a convolution, a pool, shape arithmetic over a free batch, a matrix product,
// quantized weights. What the hostile tests and the fuzz target start from.
inline TestModel seed_model() {
  TestModel model;
  std::vector<float> weights(4 * 3 * 3 * 3);
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = 0.01F * static_cast<float>(i % 17) - 0.05F;
  model.input("x", {std::string("N"), int64_t{3}, int64_t{8}, int64_t{8}});
  model.initializer("w", TestTensor::of({4, 3, 3, 3}, weights));
  model.initializer("b", TestTensor::of({4}, std::vector<float>{0.1F, -0.1F, 0.2F, 0.0F}));
  model.node("Conv", {"x", "w", "b"}, {"c"}, {{"pads", std::vector<int64_t>{1, 1, 1, 1}}, {"group", int64_t{1}}});
  model.node("Relu", {"c"}, {"r"});
  model.node("MaxPool", {"r"}, {"p"},
             {{"kernel_shape", std::vector<int64_t>{2, 2}}, {"strides", std::vector<int64_t>{2, 2}}});
  model.node("Shape", {"p"}, {"s"});
  model.initializer("zero", TestTensor::of({}, std::vector<int64_t>{0}));
  model.node("Gather", {"s", "zero"}, {"n"}, {{"axis", int64_t{0}}});
  model.initializer("axis0", TestTensor::of({1}, std::vector<int64_t>{0}));
  model.node("Unsqueeze", {"n", "axis0"}, {"n1"});
  model.initializer("rest", TestTensor::of({1}, std::vector<int64_t>{-1}));
  model.node("Concat", {"n1", "rest"}, {"target"}, {{"axis", int64_t{0}}});
  model.node("Reshape", {"p", "target"}, {"flat"});
  model.initializer("q", TestTensor::of({64, 5}, std::vector<int8_t>(320, int8_t{3})));
  model.initializer("scale", TestTensor::of({}, std::vector<float>{0.02F}));
  model.node("DequantizeLinear", {"q", "scale"}, {"m"});
  model.node("Gemm", {"flat", "m"}, {"g"}, {{"alpha", 1.0F}});
  model.node("Softmax", {"g"}, {"y"}, {{"axis", int64_t{-1}}});
  model.output("y");
  return model;
}

inline std::span<const std::byte> as_bytes(const std::string& text) {
  return std::as_bytes(std::span<const char>(text.data(), text.size()));
}

}  // namespace hai::onnx_import
