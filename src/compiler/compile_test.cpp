#include "compiler/compile.h"

#include <gtest/gtest.h>

#include "compiler/pipeline.h"
#include "compiler/portable_graph.h"
#include "devices/cpu/lower/lower.h"
#include "ir/text.h"
#include "passes/testing/graph_builder.h"
#include "passes/testing/random_graph.h"

namespace hai::compiler {
namespace {

using passes::testing::GraphBuilder;
using passes::testing::random_float_graph;
using passes::testing::random_integer_graph;

Shape nhwc(int64_t h, int64_t w, int64_t c) { return {Dim(1, 0), Dim(h), Dim(w), Dim(c)}; }

// conv -> relu -> conv, batch free.
ir::Graph small_graph() {
  GraphBuilder b;
  b.graph.name = "small";
  b.graph.symbols = {{"batch", 1, 16}};
  b.graph.metadata["licence"] = "none";
  const auto x = b.input(nhwc(7, 5, 3));
  auto y = b.node("conv2d", {x, b.constant({4, 3, 3, 3})});
  y = b.node("relu", {y});
  b.graph.add_output(b.node("conv2d", {y, b.constant({2, 1, 1, 4})}));
  return std::move(b.graph);
}

TEST(Compile, GivesGraphAndProgram) {
  const auto model = compile(small_graph());
  ASSERT_TRUE(model) << model.error().to_string();
  ASSERT_TRUE(model->file.graph);
  ASSERT_EQ(model->file.programs.size(), 1U);
  EXPECT_EQ(model->file.name, "small");
  EXPECT_EQ(model->file.metadata.at("licence"), "none");
  EXPECT_EQ(model->file.programs[0].instructions.size(), 2U);  // relu is part of the convolution
  EXPECT_GE(model->report.arena_bytes, model->report.arena_lower_bound_bytes);
  EXPECT_GT(model->report.macs, 0);
  EXPECT_FALSE(to_string(model->report).empty());
}

TEST(Compile, SameGraphSameBytes) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    const auto one = compile(random_float_graph(seed));
    const auto two = compile(random_float_graph(seed));
    ASSERT_TRUE(one) << seed << ": " << one.error().to_string();
    ASSERT_TRUE(two);
    const auto first = format::serialize(one->file);
    const auto second = format::serialize(two->file);
    ASSERT_TRUE(first) << first.error().to_string();
    EXPECT_TRUE(*first == *second) << seed;
  }
}

// The stored graph is the one before fusing: every tensor has its name; it computes the same and compiles again.
TEST(Compile, StoresTheGraphBeforeFusing) {
  const auto model = compile(small_graph());
  ASSERT_TRUE(model) << model.error().to_string();
  const auto& nodes = model->file.graph->instructions;
  ASSERT_EQ(nodes.size(), 3U);
  EXPECT_EQ(nodes[1].kernel, "relu");
  for (uint32_t seed = 0; seed < 20; ++seed) {
    for (const ir::Graph& graph : {random_float_graph(seed), random_integer_graph(seed)}) {
      SCOPED_TRACE(seed);
      const auto first = compile(graph);
      ASSERT_TRUE(first) << first.error().to_string();
      const auto stored = from_portable(first->file);
      ASSERT_TRUE(stored) << stored.error().to_string();
      passes::testing::expect_equal_results(graph, *stored);
      const auto second = compile(*stored);
      ASSERT_TRUE(second) << second.error().to_string();
      // Not more: canonical passes may find something new in their own result.
      EXPECT_LE(second->file.programs[0].instructions.size(), first->file.programs[0].instructions.size());
      EXPECT_LE(second->file.weights_bytes(), first->file.weights_bytes());
    }
  }
}

// Files made before carry the fused graph: the same program comes out of it.
TEST(Compile, AFusedGraphOfAnOlderFileCompilesToTheSameProgram) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE(seed);
    ir::Graph graph = random_integer_graph(seed);
    const auto now = compile(graph);
    ASSERT_TRUE(now) << now.error().to_string();
    for (const auto& steps : {canonical_steps(), fusing_steps()}) ASSERT_TRUE(run_steps(graph, steps, {}, nullptr));
    graph.erase_dead();
    WeightTable weights;
    format::ModelFile old;
    old.name = graph.name;
    old.graph = *to_portable(graph, weights);
    old.weights = weights.take();
    const auto stored = from_portable(old);
    ASSERT_TRUE(stored) << stored.error().to_string();
    const auto again = compile(*stored);
    ASSERT_TRUE(again) << again.error().to_string();
    ASSERT_EQ(again->file.programs[0].instructions.size(), now->file.programs[0].instructions.size());
    for (size_t i = 0; i < now->file.programs[0].instructions.size(); ++i) {
      EXPECT_EQ(again->file.programs[0].instructions[i].kernel, now->file.programs[0].instructions[i].kernel);
    }
  }
}

TEST(Compile, BindsDimensions) {
  CompileOptions options;
  options.dims["batch"] = {4, 4};
  const auto model = compile(small_graph(), options);
  ASSERT_TRUE(model) << model.error().to_string();
  EXPECT_TRUE(model->file.programs[0].symbols.empty());
  EXPECT_EQ(model->file.programs[0].tensors[0].shape[0], Dim(4));
  options.dims["batch"] = {2, 5};
  const auto ranged = compile(small_graph(), options);
  ASSERT_TRUE(ranged);
  EXPECT_EQ(ranged->file.programs[0].symbols[0].max, 5);
}

TEST(Compile, ReadsDimensions) {
  const std::vector<std::string> texts = {"height=640", "batch=1..16"};
  const auto dims = parse_dims(texts);
  ASSERT_TRUE(dims) << dims.error().to_string();
  EXPECT_EQ(to_string(dims->at("height")) + " " + to_string(dims->at("batch")), "640 1..16");
  const std::vector<std::string> twice = {"height=640", "height=320"};
  ASSERT_FALSE(parse_dims(twice));
  EXPECT_EQ(parse_dims(twice).error().id, "K021");
  for (const std::string text :
       {"", "=3", "h", "h=", "h=0", "h=-1", "h=3..2", "h=1..", "h=..2", "h=1x", "h=1e3", "h=99999999999999999999"}) {
    const auto read = parse_dims({&text, 1});
    ASSERT_FALSE(read) << text;
    EXPECT_EQ(read.error().id, "K018");
  }
}

TEST(Compile, RefusesWhatItCannotDo) {
  const auto id_of = [](const CompileOptions& options) {
    const auto model = compile(small_graph(), options);
    return model ? std::string() : model.error().id;
  };
  CompileOptions options;
  options.dims["height"] = {1, 1};
  EXPECT_EQ(id_of(options), "K014");
  options = {};
  options.dims["batch"] = {0, 4};
  EXPECT_EQ(id_of(options), "K015");
  options = {};
  options.disabled_passes = {"fuse_everything"};
  EXPECT_EQ(id_of(options), "K011");
  options.disabled_passes = {"fuse_quantization"};
  EXPECT_EQ(id_of(options), "K012");
  options = {};
  options.print_ir = {"between:simplify"};
  EXPECT_EQ(id_of(options), "K013");
  options = {};
  options.device = "gpu";
  EXPECT_EQ(id_of(options), "K019");
}

TEST(Compile, RefusesASecondFreeDimension) {
  GraphBuilder b;
  b.graph.symbols = {{"batch", 1, 16}, {"width", 1, 64}};
  b.graph.add_output(b.node("relu", {b.input({Dim(3), Dim(1, 1)})}));
  const auto model = compile(b.graph);
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().id, "K016");
  CompileOptions options;
  options.dims["width"] = {13, 13};
  EXPECT_TRUE(compile(b.graph, options));
}

TEST(Compile, PrintsBeforeAndAfterPasses) {
  CompileOptions options;
  std::vector<std::string> places;
  options.print_ir = {"before:fuse_conv_activation", "after:fuse_conv_activation"};
  options.print_sink = [&](std::string_view place, std::string_view text) {
    places.emplace_back(place);
    EXPECT_NE(text.find("conv2d"), std::string_view::npos);
    EXPECT_EQ(text.find("relu(") != std::string_view::npos, place.starts_with("before"));
  };
  ASSERT_TRUE(compile(small_graph(), options));
  EXPECT_EQ(places, options.print_ir);
}

TEST(Compile, OutputsThatAreInputsOrEqualBecomeCopies) {
  GraphBuilder b;
  const auto x = b.input({Dim(3), Dim(4)});
  const auto y = b.node("relu", {x});
  b.graph.add_output(x);
  b.graph.add_output(y);
  b.graph.add_output(y);
  b.graph.add_output(b.constant({13}));
  const auto model = compile(b.graph);
  ASSERT_TRUE(model) << model.error().to_string();
  EXPECT_EQ(model->file.programs[0].outputs.size(), 4U);
}

TEST(Pipeline, SwitchingAPassOffKeepsResults) {
  for (const std::string& name : pass_names()) {
    CompileOptions options;
    options.disabled_passes = {name};
    if (!check_pass_names(options)) continue;  // required
    for (uint32_t seed = 100; seed < 115; ++seed) {
      SCOPED_TRACE(name + " off, seed " + std::to_string(seed));
      for (const ir::Graph& graph : {random_float_graph(seed), random_integer_graph(seed)}) {
        ir::Graph changed = graph;
        for (const auto& steps : {canonical_steps(), fusing_steps()}) {
          const Status status = run_steps(changed, steps, options, nullptr);
          ASSERT_TRUE(status) << status.error().to_string();
        }
        passes::testing::expect_equal_results(graph, changed);
        if (::testing::Test::HasFailure()) return;
      }
    }
  }
}

TEST(Pipeline, KeepsResultsAtEveryBatch) {
  for (uint32_t seed = 200; seed < 240; ++seed) {
    SCOPED_TRACE(seed);
    for (const ir::Graph& graph : {random_float_graph(seed), random_integer_graph(seed)}) {
      ir::Graph changed = graph;
      for (const auto& steps : {canonical_steps(), fusing_steps()}) {
        const Status status = run_steps(changed, steps, {}, nullptr);
        ASSERT_TRUE(status) << status.error().to_string();
      }
      passes::testing::expect_equal_results(graph, changed, seed, 1 + seed % 16);
      if (::testing::Test::HasFailure()) return;
    }
  }
}

TEST(PortableGraph, ThereAndBackIsTheIdentity) {
  for (uint32_t seed = 0; seed < 40; ++seed) {
    for (const ir::Graph& graph : {random_float_graph(seed), random_integer_graph(seed)}) {
      WeightTable weights;
      auto program = to_portable(graph, weights);
      ASSERT_TRUE(program) << program.error().to_string();
      format::ModelFile file;
      file.name = graph.name;
      file.metadata = graph.metadata;
      file.graph = std::move(*program);
      file.weights = weights.take();
      ASSERT_TRUE(format::verify_model(file));
      const auto back = from_portable(file);
      ASSERT_TRUE(back) << back.error().to_string();
      EXPECT_EQ(ir::print(*back), ir::print(graph.compact())) << seed;
    }
  }
}

TEST(PortableGraph, RefusesBrokenPrograms) {
  WeightTable weights;
  format::ModelFile file;
  file.graph = *to_portable(small_graph(), weights);
  file.weights = weights.take();
  ASSERT_TRUE(from_portable(file));
  format::ModelFile broken = file;
  broken.graph->instructions[0].kernel = "conv9d";
  EXPECT_EQ(from_portable(broken).error().id, "K003");
  broken = file;
  std::swap(broken.graph->instructions[0], broken.graph->instructions[1]);
  EXPECT_EQ(from_portable(broken).error().id, "K002");
  broken = file;
  broken.graph->instructions.push_back(broken.graph->instructions[0]);
  EXPECT_EQ(from_portable(broken).error().id, "K002");
  broken = file;
  broken.graph->instructions.pop_back();
  EXPECT_EQ(from_portable(broken).error().id, "K002");
  broken = file;
  broken.weights.pop_back();
  EXPECT_FALSE(from_portable(broken));
  broken = file;
  broken.graph->instructions[0].attributes["strides"] = std::string("two");
  EXPECT_FALSE(from_portable(broken));
  broken = file;
  broken.graph.reset();
  EXPECT_EQ(from_portable(broken).error().id, "K004");
}

TEST(WeightTable, KeepsEqualBytesOnce) {
  WeightTable table;
  const std::vector<std::byte> a(13, std::byte{1});
  const std::vector<std::byte> b(127, std::byte{2});
  EXPECT_EQ(table.add(a, nullptr), 0);
  EXPECT_EQ(table.add(b, nullptr), 64);
  EXPECT_EQ(table.add(a, nullptr), 0);
  EXPECT_EQ(table.size_bytes(), 64 + 127);
}

}  // namespace
}  // namespace hai::compiler
