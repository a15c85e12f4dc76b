// Importing: what graphs come out, with the batch free, bound and shapes folded; and errors that name what to do.
#include "importers/onnx/onnx_import.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "importers/onnx/onnx_test_model.h"
#include "ir/text.h"
#include "ops/build.h"
#include "ops/interpreter.h"

namespace hai::onnx_import {
namespace {

Result<ir::Graph> import(const TestModel& model, const ImportOptions& options = {}) {
  const std::string bytes = model.bytes();
  return import_onnx_bytes(as_bytes(bytes), options);
}

std::string error_of(const TestModel& model, const ImportOptions& options = {}) {
  auto graph = import(model, options);
  return graph ? "no error" : graph.error().to_string();
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(OnnxImport, SeedModelWithAFreeBatch) {
  auto graph = import(seed_model());
  ASSERT_TRUE(graph) << graph.error().to_string();
  EXPECT_TRUE(ops::verify(*graph));
  ASSERT_EQ(graph->symbols.size(), 1U);
  EXPECT_EQ(graph->symbols[0], (Symbol{"N", 1, 16}));
  const ir::Value& x = graph->value(graph->inputs()[0]);
  EXPECT_EQ(x.name, "x");
  EXPECT_EQ(x.type.shape, (Shape{Dim(1, 0), Dim(3), Dim(8), Dim(8)}));
  const ir::Value& y = graph->value(graph->outputs()[0]);
  EXPECT_EQ(y.name, "y");
  EXPECT_EQ(y.type.shape, (Shape{Dim(1, 0), Dim(5)}));
  // The integers of the quantized weights are kept.
  const auto q = graph->find_value("q");
  bool has_integers = false;
  for (ir::ValueId id = 0; id < graph->value_slots(); ++id) {
    const ir::Value& value = graph->value(id);
    has_integers =
        has_integers || (value.is_constant() && value.type.dtype == DataType::kI8 && value.type.quantization);
  }
  EXPECT_TRUE(has_integers) << q.has_value() << ir::print(*graph, {.max_constant_bytes = 16});
}

TEST(OnnxImport, BatchesAgree) {
  auto graph = import(seed_model());
  ASSERT_TRUE(graph) << graph.error().to_string();
  ops::Tensor three = ops::Tensor::zeros(DataType::kF32, {3, 3, 8, 8});
  auto* values = reinterpret_cast<float*>(three.storage.data());
  for (int i = 0; i < 3 * 192; ++i) values[i] = static_cast<float>((i * 37) % 101) / 50.0F - 1.0F;
  auto all = ops::interpret(*graph, {{three}});
  ASSERT_TRUE(all) << all.error().to_string();
  ImportOptions bound;
  bound.dims["N"] = 1;
  auto single = import(seed_model(), bound);
  ASSERT_TRUE(single) << single.error().to_string();
  EXPECT_TRUE(single->symbols.empty());
  for (size_t sample = 0; sample < 3; ++sample) {
    ops::Tensor one = ops::Tensor::zeros(DataType::kF32, {1, 3, 8, 8});
    std::copy_n(three.storage.begin() + static_cast<int64_t>(sample * 192 * 4), 192 * 4, one.storage.begin());
    auto result = ops::interpret(*single, {{one}});
    ASSERT_TRUE(result) << result.error().to_string();
    EXPECT_EQ(std::memcmp(result->outputs[0].storage.data(), all->outputs[0].storage.data() + sample * 20, 20), 0);
  }
}

TEST(OnnxImport, UnboundSymbolsAreNamed) {
  TestModel model;
  model.input("image", {std::string("N"), int64_t{3}, std::string("height"), std::string("width")});
  model.node("Relu", {"image"}, {"y"}).output("y");
  const std::string error = error_of(model);
  EXPECT_TRUE(contains(error, "\"height\"") && contains(error, "--dim height=")) << error;
  ImportOptions options;
  options.dims = {{"height", 13}, {"width", 19}};
  auto graph = import(model, options);
  ASSERT_TRUE(graph) << graph.error().to_string();
  EXPECT_EQ(graph->value(graph->outputs()[0]).type.shape, (Shape{Dim(1, 0), Dim(3), Dim(13), Dim(19)}));
}

TEST(OnnxImport, UnnamedDimensionsHaveNames) {
  TestModel model;
  model.input("image", {std::string(), int64_t{3}, std::string()});
  model.node("Relu", {"image"}, {"y"}).output("y");
  EXPECT_TRUE(contains(error_of(model), "--dim image.2=")) << error_of(model);
  ImportOptions options;
  options.dims["image.2"] = 7;
  EXPECT_TRUE(import(model, options));
}

TEST(OnnxImport, TheBatchHasTheRangeThatIsGivenForIt) {
  TestModel model;
  model.input("image", {std::string("N"), int64_t{3}, std::string("height")});
  model.node("Relu", {"image"}, {"y"}).output("y");
  ImportOptions options;
  options.dims = {{"height", 13}, {"N", {2, 40}}};
  auto graph = import(model, options);
  ASSERT_TRUE(graph) << graph.error().to_string();
  EXPECT_EQ(graph->symbols, (std::vector<Symbol>{{"N", 2, 40}}));
  TestModel unnamed;
  unnamed.input("image", {std::string(), int64_t{3}});
  unnamed.node("Relu", {"image"}, {"y"}).output("y");
  for (const char* name : {"image.0", "batch"}) {
    options.dims = {{name, {3, 5}}};
    graph = import(unnamed, options);
    ASSERT_TRUE(graph) << graph.error().to_string();
    EXPECT_EQ(graph->symbols, (std::vector<Symbol>{{"batch", 3, 5}}));
    options.dims = {{name, 4}};
    graph = import(unnamed, options);
    ASSERT_TRUE(graph) << graph.error().to_string();
    EXPECT_EQ(graph->value(graph->inputs()[0]).type.shape[0], Dim(4));
  }
}

TEST(OnnxImport, DimensionsThatAreNotThereAreRefused) {
  TestModel model;
  model.input("image", {std::string("N"), int64_t{3}, std::string("height")});
  model.node("Relu", {"image"}, {"y"}).output("y");
  ImportOptions options;
  options.dims = {{"height", 13}, {"hight", 14}};
  const std::string error = error_of(model, options);
  EXPECT_TRUE(contains(error, "\"hight\"; free ones are N, height [HAI-X069]")) << error;
  options.dims = {{"height", {1, 4}}};  // only the batch may stay free
  EXPECT_TRUE(contains(error_of(model, options), "HAI-X054")) << error_of(model, options);
  const int64_t beyond = (int64_t{1} << 31) + 1;
  for (const DimRange range : {DimRange(-1), DimRange(0, 4), DimRange(5, 4), DimRange(1, beyond), DimRange(beyond)}) {
    options.dims = {{"height", 13}, {"N", range}};
    EXPECT_TRUE(contains(error_of(model, options), "HAI-X053")) << to_string(range);
  }
  TestModel fixed;
  fixed.input("image", {int64_t{1}, int64_t{3}});
  fixed.node("Relu", {"image"}, {"y"}).output("y");
  options.dims = {{"N", 1}};
  EXPECT_TRUE(contains(error_of(fixed, options), "all of their dimensions are fixed")) << error_of(fixed, options);
}

TEST(OnnxImport, AFixedBatchBecomesFreeOnRequest) {
  TestModel model;
  model.input("x", {int64_t{1}, int64_t{6}, int64_t{2}});
  model.initializer("shape", TestTensor::of({3}, std::vector<int64_t>{1, 3, 4}));
  model.node("Reshape", {"x", "shape"}, {"y"}).output("y");
  auto fixed = import(model);
  ASSERT_TRUE(fixed) << fixed.error().to_string();
  EXPECT_TRUE(fixed->symbols.empty());
  ImportOptions options;
  options.free_batch = true;
  auto free = import(model, options);
  ASSERT_TRUE(free) << free.error().to_string();
  EXPECT_EQ(free->value(free->outputs()[0]).type.shape, (Shape{Dim(1, 0), Dim(3), Dim(4)}));
}

TEST(OnnxImport, ABatchOfAnotherMeaningIsNotFreed) {
  TestModel model;
  model.input("x", {int64_t{1}, int64_t{6}});
  model.initializer("shape", TestTensor::of({2}, std::vector<int64_t>{6, 1}));
  model.node("Reshape", {"x", "shape"}, {"y"}).output("y");
  ImportOptions options;
  options.free_batch = true;
  EXPECT_TRUE(contains(error_of(model, options), "node_y"));
}

TEST(OnnxImport, AllUnknownOperatorsAreListed) {
  TestModel model;
  model.input("x", {int64_t{2}});
  model.node("FancyOp", {"x"}, {"a"});
  model.node("FancyOp", {"a"}, {"b"});
  model.node("Other", {"b"}, {"y"}, {}, "com.example");
  model.output("y");
  const std::string error = error_of(model);
  EXPECT_TRUE(contains(error, "FancyOp (domain ai.onnx) at node \"node_a\" and 1 more")) << error;
  EXPECT_TRUE(contains(error, "Other (domain com.example) at node \"node_y\"")) << error;
  EXPECT_TRUE(contains(error, "hai ops")) << error;
}

TEST(OnnxImport, UnneededNodesAreNotAskedFor) {
  TestModel model;
  model.input("x", {int64_t{2}});
  model.node("FancyOp", {"x"}, {"unused"});
  model.node("Relu", {"x"}, {"y"}).output("y");
  EXPECT_TRUE(import(model)) << error_of(model);
}

TEST(OnnxImport, NodesNeedNotBeSorted) {
  TestModel model;
  model.input("x", {int64_t{2}});
  model.node("Neg", {"a"}, {"y"});
  model.node("Relu", {"x"}, {"a"}).output("y");
  EXPECT_TRUE(import(model)) << error_of(model);
}

TEST(OnnxImport, OutputsThatAreInputsOrConstantsGetTheirNames) {
  TestModel model;
  model.input("x", {int64_t{2}});
  model.node("Identity", {"x"}, {"same"}).output("same").output("x");
  model.initializer("c", TestTensor::of({1}, std::vector<float>{2.0F}));
  model.node("Neg", {"c"}, {"folded"}).output("folded");
  auto graph = import(model);
  ASSERT_TRUE(graph) << graph.error().to_string();
  ASSERT_EQ(graph->outputs().size(), 3U);
  EXPECT_EQ(graph->value(graph->outputs()[0]).name, "same");
  EXPECT_EQ(graph->value(graph->outputs()[1]).name, "x");
  EXPECT_EQ(graph->value(graph->outputs()[2]).name, "folded");
  ops::Tensor x = ops::Tensor::zeros(DataType::kF32, {2});
  auto result = ops::interpret(*graph, {{x}});
  ASSERT_TRUE(result) << result.error().to_string();
  EXPECT_EQ(*reinterpret_cast<const float*>(result->outputs[2].storage.data()), -2.0F);
}

TEST(OnnxImport, InitializersMayAlsoBeInputs) {
  TestModel model;
  model.input("x", {int64_t{2}}).input("w", {int64_t{2}});
  model.initializer("w", TestTensor::of({2}, std::vector<float>{1.0F, 2.0F}));
  model.node("Add", {"x", "w"}, {"y"}).output("y");
  auto graph = import(model);
  ASSERT_TRUE(graph) << graph.error().to_string();
  EXPECT_EQ(graph->inputs().size(), 1U);
}

// A class token, repeated for each sample of a free batch.
TEST(OnnxImport, ExpandingOverAFreeBatch) {
  TestModel model;
  model.input("x", {std::string("N"), int64_t{2}, int64_t{3}});
  model.initializer("token", TestTensor::of({1, 1, 3}, std::vector<float>{1.0F, 2.0F, 3.0F}));
  model.initializer("rest", TestTensor::of({2}, std::vector<int64_t>{1, 3}));
  model.initializer("zero", TestTensor::of({1}, std::vector<int64_t>{0}));
  model.node("Shape", {"x"}, {"shape"});
  model.node("Gather", {"shape", "zero"}, {"batch"});
  model.node("Concat", {"batch", "rest"}, {"wanted"}, {{"axis", int64_t{0}}});
  model.node("Expand", {"token", "wanted"}, {"tokens"});
  model.node("Concat", {"tokens", "x"}, {"y"}, {{"axis", int64_t{1}}}).output("y");
  auto graph = import(model);
  ASSERT_TRUE(graph) << graph.error().to_string();
  ops::Tensor x = ops::Tensor::zeros(DataType::kF32, {2, 2, 3});
  auto result = ops::interpret(*graph, {{x}});
  ASSERT_TRUE(result) << result.error().to_string();
  const auto* y = reinterpret_cast<const float*>(result->outputs[0].storage.data());
  const std::vector<float> once = {1, 2, 3, 0, 0, 0, 0, 0, 0};
  for (size_t i = 0; i < 18; ++i) EXPECT_EQ(y[i], once[i % 9]) << i;
}

// One axis is the operator; more axes, or statistics that are read, are its parts.
TEST(OnnxImport, LayerNormalizationOverTheLastAxisIsOneOperator) {
  for (const int64_t axis : {2, 1}) {
    for (const bool statistics : {false, true}) {
      TestModel model;
      model.input("x", {int64_t{2}, int64_t{3}, int64_t{5}});
      const std::vector<int64_t> dims = axis == 2 ? std::vector<int64_t>{5} : std::vector<int64_t>{3, 5};
      const std::vector<float> values(axis == 2 ? 5 : 15, 0.5F);
      model.initializer("scale", TestTensor::of(dims, values)).initializer("bias", TestTensor::of(dims, values));
      std::vector<std::string> outputs = {"y"};
      if (statistics) outputs.insert(outputs.end(), {"mean", "inverse"});
      model.node("LayerNormalization", {"x", "scale", "bias"}, outputs, {{"axis", axis}});
      for (const std::string& output : outputs) model.output(output);
      auto graph = import(model);
      ASSERT_TRUE(graph) << graph.error().to_string();
      const bool whole = axis == 2 && !statistics;
      EXPECT_EQ(ir::print(*graph, {}).find("layer_norm") != std::string::npos, whole) << ir::print(*graph, {});
    }
  }
}

TEST(OnnxImport, OperatorSetsOutOfRange) {
  for (const int64_t opset : {int64_t{6}, int64_t{99}, int64_t{-3}}) {
    TestModel model(opset);
    model.input("x", {int64_t{2}}).node("Relu", {"x"}, {"y"}).output("y");
    EXPECT_TRUE(contains(error_of(model), "opset_version=17")) << error_of(model);
  }
}

TEST(OnnxImport, AttributesOfTheWrongKind) {
  TestModel model;
  model.input("x", {int64_t{2}}).node("Softmax", {"x"}, {"y"}, {{"axis", 1.0F}}).output("y");
  EXPECT_TRUE(contains(error_of(model), "attribute \"axis\" is not an integer")) << error_of(model);
}

// --- hostile files ---

struct Hostile {
  const char* name;
  TestModel model;
  const char* wanted;  // part of the message
};

// NOLINTNEXTLINE(readability-function-size): a table
std::vector<Hostile> hostile_models() {
  std::vector<Hostile> cases;
  const auto add = [&](const char* name, const char* wanted) -> TestModel& {
    cases.push_back({name, TestModel(), wanted});
    return cases.back().model;
  };
  cases.reserve(32);
  add("missing initializer", "\"w\"").input("x", {int64_t{2}}).node("Add", {"x", "w"}, {"y"}).output("y");
  add("cycle", "cycle").input("x", {int64_t{2}}).node("Add", {"x", "b"}, {"a"}).node("Relu", {"a"}, {"b"}).output("b");
  add("reads itself", "cycle").input("x", {int64_t{2}}).node("Add", {"x", "a"}, {"a"}).output("a");
  add("output of nothing", "\"gone\"").input("x", {int64_t{2}}).output("gone");
  add("no outputs", "no outputs").input("x", {int64_t{2}}).node("Relu", {"x"}, {"y"});
  add("name written twice", "twice")
      .input("x", {int64_t{2}})
      .node("Relu", {"x"}, {"y"})
      .node("Neg", {"x"}, {"y"})
      .output("y");
  add("input written again", "twice").input("x", {int64_t{2}}).node("Relu", {"x"}, {"x"}).output("x");
  add("input twice", "twice").input("x", {int64_t{2}}).input("x", {int64_t{2}}).output("x");
  add("output twice", "twice").input("x", {int64_t{2}}).output("x").output("x");
  add("negative dimension", "-5").input("x", {int64_t{-5}}).node("Relu", {"x"}, {"y"}).output("y");
  add("dimensions past 2^63", "2^63")
      .input("x", {int64_t{1} << 40, int64_t{1} << 40})
      .node("Relu", {"x"}, {"y"})
      .output("y");
  add("dimensions past 2^63 at the largest batch", "bytes")
      .input("x", {std::string("N"), int64_t{1} << 59})
      .node("Relu", {"x"}, {"y"})
      .output("y");
  add("nine dimensions", "9 dimensions")
      .input("x", std::vector<TestDim>(9, TestDim(int64_t{1})))
      .node("Relu", {"x"}, {"y"})
      .output("y");
  add("initializer with a negative dimension", "negative")
      .input("x", {int64_t{2}})
      .initializer("w", {kOnnxFloat, {-2}, {}})
      .node("Add", {"x", "w"}, {"y"})
      .output("y");
  add("initializer with an overflowing shape", "memory")
      .input("x", {int64_t{2}})
      .initializer("w", {kOnnxFloat, {int64_t{1} << 32, int64_t{1} << 32}, {}})
      .node("Add", {"x", "w"}, {"y"})
      .output("y");
  add("initializer with too few bytes", "need 8")
      .input("x", {int64_t{2}})
      .initializer("w", {kOnnxFloat, {2}, "1234"})
      .node("Add", {"x", "w"}, {"y"})
      .output("y");
  add("initializer of strings", "string")
      .input("x", {int64_t{2}})
      .initializer("w", {8, {2}, ""})
      .node("Add", {"x", "w"}, {"y"})
      .output("y");
  add("initializer of an unknown type", "element type 77")
      .input("x", {int64_t{2}})
      .initializer("w", {77, {2}, ""})
      .node("Add", {"x", "w"}, {"y"})
      .output("y");
  add("boolean that is none", "boolean")
      .input("x", {int64_t{2}})
      .initializer("w", {9, {2}, "\1\7"})
      .node("Add", {"x", "w"}, {"y"})
      .output("y");
  add("mismatched types", "node_y")
      .input("x", {int64_t{2}})
      .initializer("w", TestTensor::of({2}, std::vector<int64_t>{1, 2}))
      .node("Add", {"x", "w"}, {"y"})
      .output("y");
  add("mismatched shapes", "node_y")
      .input("x", {int64_t{2}})
      .initializer("w", TestTensor::of({3}, std::vector<float>{1, 2, 3}))
      .node("Add", {"x", "w"}, {"y"})
      .output("y");
  add("weights of another rank", "node_y")
      .input("x", {int64_t{1}, int64_t{2}, int64_t{4}, int64_t{4}})
      .initializer("w", TestTensor::of({2}, std::vector<float>{1, 2}))
      .node("Conv", {"x", "w"}, {"y"})
      .output("y");
  add("huge strides", "strides")
      .input("x", {int64_t{1}, int64_t{1}, int64_t{4}, int64_t{4}})
      .initializer("w", TestTensor::of({1, 1, 1, 1}, std::vector<float>{1}))
      .node("Conv", {"x", "w"}, {"y"}, {{"strides", std::vector<int64_t>{INT64_MAX, 1}}})
      .output("y");
  add("huge range", "range")
      .input("x", {int64_t{2}})
      .initializer("a", TestTensor::of({}, std::vector<int64_t>{0}))
      .initializer("b", TestTensor::of({}, std::vector<int64_t>{INT64_MAX}))
      .initializer("c", TestTensor::of({}, std::vector<int64_t>{1}))
      .node("Range", {"a", "b", "c"}, {"y"})
      .output("y");
  add("huge constant of shape", "too large")
      .initializer("s", TestTensor::of({2}, std::vector<int64_t>{int64_t{1} << 31, int64_t{1} << 31}))
      .node("ConstantOfShape", {"s"}, {"y"})
      .output("y");
  add("reshape to more elements", "node_y")
      .input("x", {int64_t{2}})
      .initializer("s", TestTensor::of({1}, std::vector<int64_t>{3}))
      .node("Reshape", {"x", "s"}, {"y"})
      .output("y");
  add("axis out of range", "axis")
      .input("x", {int64_t{2}})
      .node("Softmax", {"x"}, {"y"}, {{"axis", int64_t{7}}})
      .output("y");
  add("operand missing", "missing").input("x", {int64_t{2}}).node("Add", {"x"}, {"y"}).output("y");
  add("division of shapes by zero", "node_")
      .initializer("a", TestTensor::of({1}, std::vector<int64_t>{4}))
      .initializer("z", TestTensor::of({1}, std::vector<int64_t>{0}))
      .node("Div", {"a", "z"}, {"y"})
      .output("y");
  return cases;
}

TEST(OnnxImportHostile, ModelsAreRefusedWithTheirReason) {
  for (const Hostile& hostile : hostile_models()) {
    const std::string error = error_of(hostile.model);
    if (std::string(hostile.name) == "division of shapes by zero" && error == "no error") continue;  // 0 by definition
    EXPECT_TRUE(contains(error, hostile.wanted)) << hostile.name << ": " << error;
  }
}

// Each kind of name, with a byte that no UTF-8 has.
TEST(OnnxImportHostile, NamesThatAreNotUtf8) {
  const auto refused = [](const TestModel& model, const std::string& place) {
    const std::string error = error_of(model);
    EXPECT_TRUE(contains(error, place + " \"b\\xe4x\" is not UTF-8") && contains(error, "X033")) << error;
  };
  const std::string bad = "b\xe4x";
  refused(TestModel().input(bad, {int64_t{2}}).node("Relu", {bad}, {"y"}).output("y"), "the input");
  refused(TestModel().input("x", {bad}).node("Relu", {"x"}, {"y"}).output("y"), "a dimension of input \"x\",");
  refused(TestModel().input("x", {int64_t{2}}).node("Relu", {"x"}, {"y"}).output("y").output(bad), "the output");
  refused(TestModel().input("x", {int64_t{2}}).node("Relu", {bad}, {"y"}).output("y"), "an input of node \"node_y\",");
  refused(TestModel().input("x", {int64_t{2}}).node(bad, {"x"}, {"y"}).output("y"), "the operator");
  refused(TestModel().input("x", {int64_t{2}}).node("Relu", {"x"}, {"y"}, {}, bad).output("y"),
          "the domain of an operator,");
  refused(TestModel().input("x", {int64_t{2}}).node("Relu", {"x"}, {"y"}, {{bad, int64_t{1}}}).output("y"),
          "an attribute of node \"node_y\",");
  refused(TestModel()
              .input("x", {int64_t{1}})
              .initializer(bad, TestTensor::of({1}, std::vector<float>{2.0F}))
              .node("Add", {"x", "x"}, {"y"})
              .output("y"),
          "the initializer");
  // The node's name is made from its output's here; the node is met first.
  const std::string error = error_of(TestModel().input("x", {int64_t{2}}).node("Relu", {"x"}, {bad}).output(bad));
  EXPECT_TRUE(contains(error, "the node \"node_b\\xe4x\" is not UTF-8")) << error;
}

TEST(OnnxImport, MetadataThatIsNotUtf8IsEscaped) {
  const std::string bytes = TestModel().input("x", {int64_t{2}}).node("Relu", {"x"}, {"y"}).output("y").bytes() +
                            ProtoBytes().bytes(2, "Gru\xdf").text() +
                            ProtoBytes().message(14, ProtoBytes().bytes(1, "k\xff").bytes(2, "v\xfe")).text();
  auto graph = import_onnx_bytes(as_bytes(bytes), {});
  ASSERT_TRUE(graph) << graph.error().to_string();
  EXPECT_EQ(graph->metadata.at("producer"), "Gru\\xdf");
  EXPECT_EQ(graph->metadata.at("k\\xff"), "v\\xfe");
}

TEST(OnnxImportHostile, EveryTruncation) {
  const std::string bytes = seed_model().bytes();
  for (size_t length = 0; length < bytes.size(); ++length) {
    auto graph = import_onnx_bytes(as_bytes(bytes.substr(0, length)), {});
    EXPECT_TRUE(graph || !graph.error().message.empty());
  }
  EXPECT_FALSE(import_onnx_bytes({}, {}));
}

TEST(OnnxImportHostile, FlippedBitsGiveAnErrorOrAValidGraph) {
  const std::string bytes = seed_model().bytes();
  for (size_t at = 0; at < bytes.size(); at += at > 500 ? 7 : 1) {
    std::string hostile = bytes;
    hostile[at] = static_cast<char>(static_cast<unsigned char>(hostile[at]) ^ (1U << (at % 8)));
    auto graph = import_onnx_bytes(as_bytes(hostile), {});
    if (graph) {
      EXPECT_TRUE(ops::verify(*graph)) << "byte " << at;
    }
  }
}

TEST(OnnxImportHostile, DeepNesting) {
  // Graphs in attributes of nodes of graphs, far past every limit.
  ProtoBytes graph;
  graph.bytes(2, "inner");
  for (int depth = 0; depth < 2000; ++depth) {
    ProtoBytes attribute;
    attribute.bytes(1, "then_branch").message(6, graph).varint(20, 5);
    ProtoBytes node;
    node.bytes(2, "y").bytes(4, "If").message(5, attribute);
    graph = ProtoBytes();
    graph.message(1, node);
  }
  ProtoBytes model;
  model.varint(1, 8).message(7, graph);
  auto imported = import_onnx_bytes(as_bytes(model.text()), {});
  ASSERT_FALSE(imported);
  EXPECT_TRUE(contains(imported.error().message, "nested") || contains(imported.error().message, "not an ONNX model"))
      << imported.error().to_string();
}

TEST(OnnxImportHostile, RecursiveFunctions) {
  ProtoBytes call;
  call.bytes(1, "a").bytes(2, "b").bytes(4, "f").bytes(7, "own");
  ProtoBytes function;
  function.bytes(1, "f").bytes(4, "a").bytes(5, "b").message(7, call).message(7, call).bytes(10, "own");
  TestModel model;
  model.input("x", {int64_t{2}}).node("f", {"x"}, {"y"}, {}, "own").output("y");
  auto imported = import_onnx_bytes(as_bytes(model.bytes() + ProtoBytes().message(25, function).text()), {});
  ASSERT_FALSE(imported);
  EXPECT_EQ(imported.error().id, "X068") << imported.error().to_string();
}

TEST(OnnxImport, FunctionsAreInlined) {
  ProtoBytes body;
  body.bytes(1, "a").bytes(2, "t").bytes(4, "Relu");
  ProtoBytes second;
  second.bytes(1, "t").bytes(2, "b").bytes(4, "Neg");
  ProtoBytes function;
  function.bytes(1, "f").bytes(4, "a").bytes(5, "b").message(7, body).message(7, second).bytes(10, "own");
  TestModel model;
  model.input("x", {int64_t{2}}).node("f", {"x"}, {"y"}, {}, "own").node("f", {"y"}, {"z"}, {}, "own").output("z");
  auto imported = import_onnx_bytes(as_bytes(model.bytes() + ProtoBytes().message(25, function).text()), {});
  ASSERT_TRUE(imported) << imported.error().to_string();
  EXPECT_EQ(imported->live_node_count(), 4U);
}

// --- external data ---

class ExternalData : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "onnx_external_" + std::to_string(reinterpret_cast<uintptr_t>(this)) + "/";
    ASSERT_EQ(std::system(("mkdir -p '" + folder_ + "model'").c_str()), 0);
    write(folder_ + "model/weights.bin", std::string(64, '\1'));
    write(folder_ + "outside.bin", std::string(64, '\1'));
    ASSERT_EQ(std::system(("ln -sf ../outside.bin '" + folder_ + "model/link.bin'").c_str()), 0);
  }
  void TearDown() override { EXPECT_EQ(std::system(("rm -r '" + folder_ + "'").c_str()), 0); }

  static void write(const std::string& path, const std::string& content) {
    std::ofstream(path, std::ios::binary) << content;
  }
  std::string import_with(const std::string& location, const std::string& offset, const std::string& length) const {
    ProtoBytes tensor;
    tensor.varint(1, 4).varint(2, kOnnxFloat).bytes(8, "w");
    tensor.message(13, ProtoBytes().bytes(1, "location").bytes(2, location));
    if (!offset.empty()) tensor.message(13, ProtoBytes().bytes(1, "offset").bytes(2, offset));
    if (!length.empty()) tensor.message(13, ProtoBytes().bytes(1, "length").bytes(2, length));
    tensor.varint(14, 1);
    TestModel model;
    model.input("x", {int64_t{4}}).raw_initializer(tensor).node("Add", {"x", "w"}, {"y"}).output("y");
    write(folder_ + "model/model.onnx", model.bytes());
    ImportOptions options;
    options.outputs = outputs_;
    auto graph = import_onnx_file(folder_ + "model/model.onnx", options);
    return graph ? "no error" : graph.error().to_string();
  }

  std::string folder_;
  std::vector<std::string> outputs_;
};

TEST_F(ExternalData, IsNotWhatWillBeWritten) {
  outputs_ = {"", folder_ + "model/new.hai", folder_ + "outside.bin"};
  EXPECT_EQ(import_with("weights.bin", "", ""), "no error");
  outputs_.push_back(folder_ + "model/../model/weights.bin");
  EXPECT_TRUE(contains(import_with("weights.bin", "", ""), "X016"));
}

TEST_F(ExternalData, IsReadFromBesideTheModel) {
  EXPECT_EQ(import_with("weights.bin", "", ""), "no error");
  EXPECT_EQ(import_with("weights.bin", "48", "16"), "no error");
  EXPECT_EQ(import_with("./weights.bin", "3", "16"), "no error");
}

TEST_F(ExternalData, StaysInTheFolder) {
  for (const char* location : {"../outside.bin", "/etc/passwd", "link.bin", "", "..", ".", "a/../../outside.bin"}) {
    const std::string error = import_with(location, "", "");
    EXPECT_TRUE(contains(error, "outside of the model's folder") || contains(error, "not a readable file")) << error;
  }
}

TEST_F(ExternalData, LengthsAreChecked) {
  EXPECT_TRUE(contains(import_with("weights.bin", "49", "16"), "reaches past"));
  EXPECT_TRUE(contains(import_with("weights.bin", "0", "12"), "12 bytes"));
  EXPECT_TRUE(contains(import_with("weights.bin", "9223372036854775800", "16"), "reaches past"));
  EXPECT_TRUE(contains(import_with("weights.bin", "-4", "16"), "no byte count"));
  EXPECT_TRUE(contains(import_with("weights.bin", "four", "16"), "no byte count"));
  EXPECT_TRUE(contains(import_with("gone.bin", "", ""), "not a readable file"));
}

TEST_F(ExternalData, AFileOfTwoGibibytesIsTooLarge) {
  write(folder_ + "large.onnx", "");
  std::filesystem::resize_file(folder_ + "large.onnx", int64_t{1} << 31);  // sparse: takes no space
  const std::string error = import_onnx_file(folder_ + "large.onnx").error().to_string();
  EXPECT_TRUE(contains(error, "2 GiB") && contains(error, "external data")) << error;
}

TEST(OnnxImport, FilesThatAreNone) {
  EXPECT_TRUE(contains(import_onnx_file("/no/such/model.onnx").error().to_string(), "cannot open"));
  EXPECT_TRUE(contains(import_onnx_file("/tmp").error().to_string(), "not a regular file"));
}

}  // namespace
}  // namespace hai::onnx_import
