// Each pass: pattern -> rewrite, and the same results before and after.
#include "passes/passes.h"

#include <gtest/gtest.h>

#include "passes/testing/graph_builder.h"
#include "passes/testing/random_graph.h"

namespace hai::passes {
namespace {

using testing::count_of;
using testing::expect_equal_results;
using testing::GraphBuilder;
using testing::only;

using PassFunction = Result<PassStats> (*)(ir::Graph&);

// Runs a pass, verifies, compares results; returns the rewritten graph.
ir::Graph apply(PassFunction pass, const ir::Graph& before, int64_t batch = 1) {
  ir::Graph after = before;
  const auto stats = pass(after);
  EXPECT_TRUE(stats) << stats.error().to_string();
  const Status status = ops::verify(after);
  EXPECT_TRUE(status) << status.error().to_string();
  expect_equal_results(before, after, 7, batch);
  return after;
}

Shape nchw(int64_t c, int64_t h, int64_t w) { return {Dim(1), Dim(c), Dim(h), Dim(w)}; }
Shape nhwc(int64_t h, int64_t w, int64_t c) { return {Dim(1), Dim(h), Dim(w), Dim(c)}; }

TEST(FoldConstants, ComputesConstantChains) {
  GraphBuilder b;
  const auto x = b.input({Dim(3)});
  const auto c = b.node("mul", {b.node("add", {b.constant({3}), b.constant({3})}), b.scalar(2.0F)});
  b.graph.add_output(b.node("add", {x, c}));
  const ir::Graph after = apply(fold_constants, b.graph);
  EXPECT_EQ(after.live_node_count(), 1U);
}

TEST(FoldConstants, KeepsLargeExpansionsAndOutputs) {
  GraphBuilder b;
  const auto x = b.input({Dim(600), Dim(600)});
  const auto large = b.node("add", {b.constant({600, 1}), b.constant({1, 600})});  // 1.4 MB from 5 KB
  b.graph.add_output(b.node("add", {x, large}));
  b.graph.add_output(b.node("neg", {b.constant({3})}));
  const ir::Graph after = apply(fold_constants, b.graph);
  EXPECT_EQ(after.live_node_count(), 3U);
}

TEST(Simplify, RemovesWhatChangesNothing) {
  GraphBuilder b;
  auto x = b.input({Dim(2), Dim(3), Dim(4)});
  auto y = b.node("relu", {x});
  y = b.transpose(y, {0, 1, 2});
  y = b.node("add", {y, b.scalar(0.0F)});
  y = b.node("mul", {b.scalar(1.0F), y});
  y = b.node("reshape", {y}, {{"shape", std::vector<int64_t>{6, 4}}});
  y = b.node("reshape", {y}, {{"shape", std::vector<int64_t>{2, 3, 4}}});
  y = b.node("relu", {y});
  b.graph.add_output(y);
  const std::string name = b.graph.value(y).name;
  const ir::Graph after = apply(simplify, b.graph);
  EXPECT_EQ(after.live_node_count(), 1U);
  EXPECT_EQ(after.value(after.outputs()[0]).name, name);
}

TEST(Simplify, MergesReshapesAndClips) {
  GraphBuilder b;
  auto y = b.node("reshape", {b.input({Dim(2), Dim(12)})}, {{"shape", std::vector<int64_t>{6, 4}}});
  y = b.node("reshape", {y}, {{"shape", std::vector<int64_t>{3, 8}}});
  y = b.node("clip", {y}, {{"min", -1.0}, {"max", 0.5}});
  y = b.node("clip", {y}, {{"min", -0.5}, {"max", 2.0}});
  b.graph.add_output(y);
  const ir::Graph after = apply(simplify, b.graph);
  EXPECT_EQ(after.live_node_count(), 2U);
  EXPECT_EQ(only(after, "clip").float_attribute("min", 0), -0.5);
  EXPECT_EQ(only(after, "clip").float_attribute("max", 0), 0.5);
}

TEST(Simplify, APowerOfTwoIsASquare) {
  GraphBuilder b;
  const auto x = b.input({Dim(3), Dim(5)});
  b.graph.add_output(b.node("pow", {x, b.scalar(2.0F)}));
  b.graph.add_output(b.node("pow", {x, b.scalar(3.0F)}));
  b.graph.add_output(b.node("pow", {b.scalar(2.0F), x}));
  const ir::Graph after = apply(simplify, b.graph);
  EXPECT_EQ(count_of(after, "square"), 1);
  EXPECT_EQ(count_of(after, "pow"), 2);
}

TEST(Simplify, KeepsARescaleToAnotherScale) {
  GraphBuilder b;
  const auto x = b.input({Dim(13)}, b.quantization());
  const auto y = b.node("rescale", {b.node("rescale", {x}, {}, b.type(x).quantization)}, {}, b.quantization());
  b.graph.add_output(y);
  EXPECT_EQ(count_of(apply(simplify, b.graph), "rescale"), 1);
}

TEST(Simplify, AnOutputKeepsItsNameEvenWhenItIsTheInput) {
  GraphBuilder b;
  const auto x = b.input({Dim(3)});
  b.graph.add_output(b.transpose(x, {0}));
  const ir::Graph after = apply(simplify, b.graph);
  EXPECT_EQ(after.live_node_count(), 1U);  // an input cannot take the output's name
}

TEST(MergeDuplicates, JoinsEqualNodesAndConstants) {
  GraphBuilder b;
  const auto x = b.input({Dim(3)});
  const auto left = b.node("relu", {b.node("add", {x, b.scalar(2.0F)})});
  const auto right = b.node("relu", {b.node("add", {x, b.scalar(2.0F)})});
  const auto other = b.node("relu", {b.node("add", {x, b.scalar(3.0F)})});
  b.graph.add_output(b.node("add", {b.node("mul", {left, right}), other}));
  const ir::Graph after = apply(merge_duplicates, b.graph);
  EXPECT_EQ(count_of(after, "relu"), 2);
  EXPECT_EQ(count_of(after, "add"), 3);
}

TEST(MergeDuplicates, AttributesAndTypesMatter) {
  GraphBuilder b;
  const auto x = b.input({Dim(13)}, b.quantization());
  const auto one = b.node("relu", {x}, {}, per_tensor_quantization(0.1F, 0));
  const auto two = b.node("relu", {x}, {}, per_tensor_quantization(0.2F, 0));
  b.graph.add_output(b.node("add", {one, two}, {}, b.quantization()));
  EXPECT_EQ(count_of(apply(merge_duplicates, b.graph), "relu"), 2);
}

TEST(CancelTransposes, ThroughElementWiseAndResiduals) {
  GraphBuilder b;
  const auto x = b.to_nhwc(b.input(nchw(3, 7, 5)));
  auto conv = [&](ir::ValueId v) { return b.to_nchw(b.node("conv2d", {b.to_nhwc(v), b.constant({3, 1, 1, 3})})); };
  const auto first = b.node("relu", {conv(b.to_nchw(x))});
  const auto sum = b.node("add", {first, b.node("mul", {conv(first), b.constant({1, 3, 1, 1})})});
  b.graph.add_output(conv(b.node("clip", {sum}, {{"min", -1.0}, {"max", 1.0}})));
  ir::Graph after = apply(cancel_transposes, b.graph);
  ASSERT_TRUE(fold_constants(after));
  EXPECT_EQ(count_of(after, "transpose"), 2);  // at the input and at the output
}

TEST(CancelTransposes, RewritesAxes) {
  GraphBuilder b;
  const auto x = b.to_nchw(b.input(nhwc(7, 5, 4)));
  const auto parts = b.nodes("split", {x}, {{"axis", int64_t{1}}, {"sizes", std::vector<int64_t>{1, 3}}}, {}, 2);
  auto y = b.node("concat", {parts[1], parts[0]}, {{"axis", int64_t{-3}}});
  y = b.node(
      "pad", {y},
      {{"pads", std::vector<int64_t>{0, 0, 1, 2, 0, 0, 0, 1}}, {"mode", std::string("constant")}, {"value", 0.5}});
  y = b.node("slice", {y},
             {{"starts", std::vector<int64_t>{1, 0}},
              {"ends", std::vector<int64_t>{3, 6}},
              {"axes", std::vector<int64_t>{1, 3}},
              {"steps", std::vector<int64_t>{1, 2}}});
  y = b.node("softmax", {y}, {{"axis", int64_t{1}}});
  b.graph.add_output(b.to_nhwc(y));
  EXPECT_EQ(count_of(apply(cancel_transposes, b.graph), "transpose"), 0);
}

TEST(CancelTransposes, ReducesWithAndWithoutKeptDimensions) {
  for (const int64_t keep : {0, 1}) {
    GraphBuilder b;
    const auto x = b.to_nchw(b.input(nhwc(7, 5, 4)));
    const auto mean = b.node("reduce_mean", {x}, {{"axes", std::vector<int64_t>{2, 3}}, {"keep_dims", keep}});
    b.graph.add_output(b.node("reshape", {mean}, {{"shape", std::vector<int64_t>{1, 4}}}));
    EXPECT_EQ(count_of(apply(cancel_transposes, b.graph), "transpose"), 0) << keep;
  }
}

TEST(CancelTransposes, ReshapesThatKeepGroupsOfAxes) {
  // The head of an anchor-based detector: [N, 3 * 5, h, w] -> [N, 3, 5, h, w] -> [N, 3, h, w, 5].
  GraphBuilder b;
  const auto x = b.to_nchw(b.input(nhwc(7, 5, 15)));
  const auto split = b.node("reshape", {x}, {{"shape", std::vector<int64_t>{1, 3, 5, 7, 5}}});
  b.graph.add_output(b.node("sigmoid", {b.transpose(split, {0, 1, 3, 4, 2})}));
  EXPECT_EQ(count_of(apply(cancel_transposes, b.graph), "transpose"), 1);
  // [N, C, h, w] -> [N, C, h * w] and back.
  GraphBuilder c;
  auto y = c.node("reshape", {c.to_nchw(c.input(nhwc(7, 5, 4)))}, {{"shape", std::vector<int64_t>{1, 4, 35}}});
  y = c.node("reshape", {c.node("relu", {y})}, {{"shape", std::vector<int64_t>{1, 4, 7, 5}}});
  c.graph.add_output(c.to_nhwc(y));
  EXPECT_EQ(count_of(apply(cancel_transposes, c.graph), "transpose"), 0);
}

TEST(CancelTransposes, ChannelShuffleWithTheBatchFoldedIntoTheChannels) {
  GraphBuilder b;
  const auto conv = [&](ir::ValueId v, int64_t c) { return b.node("conv2d", {v, b.constant({c, 1, 1, c})}); };
  const auto x = b.to_nchw(conv(b.input(nhwc(7, 5, 8)), 8));
  const auto pairs = b.node("reshape", {x}, {{"shape", std::vector<int64_t>{1, 4, 2, 7, 5}}});
  const auto half = [&](int64_t i) {
    const auto part = b.node("slice", {pairs},
                             {{"starts", std::vector<int64_t>{i}},
                              {"ends", std::vector<int64_t>{i + 1}},
                              {"axes", std::vector<int64_t>{2}},
                              {"steps", std::vector<int64_t>{1}}});
    return b.node("reshape", {part}, {{"shape", std::vector<int64_t>{4, 1, 7, 5}}});
  };
  const auto right = conv(b.transpose(half(1), {1, 2, 3, 0}), 4);
  const auto joined = b.node("concat", {half(0), b.transpose(right, {3, 0, 1, 2})}, {{"axis", int64_t{0}}});
  b.graph.add_output(conv(b.transpose(joined, {1, 2, 3, 0}), 8));
  EXPECT_EQ(count_of(apply(cancel_transposes, b.graph), "transpose"), 0);
}

TEST(CancelTransposes, KeepsReshapesThatMixAxes) {
  GraphBuilder b;
  const auto y = b.node("reshape", {b.to_nchw(b.input(nhwc(7, 5, 4)))}, {{"shape", std::vector<int64_t>{1, 140}}});
  b.graph.add_output(y);
  EXPECT_EQ(count_of(apply(cancel_transposes, b.graph), "transpose"), 1);
}

TEST(FoldPad, GivesZeroPaddingToTheConvolution) {
  GraphBuilder b;
  const auto padded = b.node(
      "pad", {b.input(nhwc(7, 5, 4))},
      {{"pads", std::vector<int64_t>{0, 0, 1, 0, 0, 1, 1, 0}}, {"mode", std::string("constant")}, {"value", 0.0}});
  b.graph.add_output(
      b.node("conv2d", {padded, b.constant({2, 3, 3, 4})}, {{"pads", std::vector<int64_t>{1, 0, 0, 0}}}));
  const ir::Graph after = apply(fold_pad, b.graph);
  EXPECT_EQ(after.live_node_count(), 1U);
  EXPECT_EQ(only(after, "conv2d").ints_attribute("pads"), (std::vector<int64_t>{1, 1, 1, 1}));
}

TEST(FoldPad, LooksThroughATranspose) {
  GraphBuilder b;
  const auto padded =
      b.node("pad", {b.input(nchw(4, 7, 5))},
             {{"pads", std::vector<int64_t>{0, 0, 1, 0, 0, 0, 2, 3}}, {"mode", std::string("constant")}});
  b.graph.add_output(b.node("conv2d", {b.to_nhwc(padded), b.constant({2, 3, 3, 4})}));
  const ir::Graph after = apply(fold_pad, b.graph);
  EXPECT_EQ(after.live_node_count(), 2U);
  EXPECT_EQ(only(after, "conv2d").ints_attribute("pads"), (std::vector<int64_t>{1, 0, 2, 3}));
}

TEST(FoldPad, LeavesOtherPadding) {
  GraphBuilder b;
  const auto padded = b.node(
      "pad", {b.input(nhwc(7, 5, 4))},
      {{"pads", std::vector<int64_t>{0, 1, 1, 0, 0, 1, 1, 0}}, {"mode", std::string("constant")}, {"value", 1.0}});
  b.graph.add_output(b.node("conv2d", {padded, b.constant({2, 3, 3, 4})}));
  EXPECT_EQ(apply(fold_pad, b.graph).live_node_count(), 2U);
}

TEST(FoldBatchNorm, IntoConvolutionsAndMatrixProducts) {
  for (const std::string op : {"conv2d", "depthwise", "conv_transpose2d", "matmul"}) {
    GraphBuilder b;
    const auto x = op == "matmul" ? b.input({Dim(5), Dim(4)}) : b.input(nhwc(7, 5, 4));
    ir::ValueId y = ir::kNone;
    int64_t channels = 6;
    if (op == "matmul") y = b.node("matmul", {x, b.constant({4, 6})});
    if (op == "conv2d") y = b.node("conv2d", {x, b.constant({6, 3, 3, 4}), b.constant({6})});
    if (op == "conv_transpose2d")
      y = b.node("conv_transpose2d", {x, b.constant({6, 3, 3, 4})}, {{"strides", std::vector<int64_t>{2, 2}}});
    if (op == "depthwise") channels = 4, y = b.node("conv2d", {x, b.constant({4, 3, 3, 1})}, {{"groups", int64_t{4}}});
    if (op != "matmul") {
      y = b.node("batch_norm",
                 {y, b.constant({channels}), b.constant({channels}), b.constant({channels}),
                  b.constant({channels}, 0.5F, 2.0F)},
                 {{"epsilon", 1e-3}});
    }
    y = b.node("mul", {y, b.constant({channels})});
    y = b.node("sub", {b.constant({1, channels}), y});
    y = b.node("div", {y, b.scalar(3.0F)});
    b.graph.add_output(y);
    const ir::Graph after = apply(fold_batch_norm, b.graph);
    EXPECT_EQ(after.live_node_count(), 1U) << op;
  }
}

TEST(FoldBatchNorm, NotWhenOthersReadTheSumOrConstantsAreNotPerChannel) {
  GraphBuilder b;
  const auto y = b.node("conv2d", {b.input(nhwc(3, 3, 3)), b.constant({3, 1, 1, 3})});
  b.graph.add_output(b.node("mul", {y, b.constant({3})}));
  b.graph.add_output(y);
  EXPECT_EQ(apply(fold_batch_norm, b.graph).live_node_count(), 2U);
  GraphBuilder c;
  const auto z = c.node("conv2d", {c.input(nhwc(3, 3, 3)), c.constant({3, 1, 1, 3})});
  c.graph.add_output(c.node("mul", {z, c.constant({3, 1})}));  // per column
  EXPECT_EQ(apply(fold_batch_norm, c.graph).live_node_count(), 2U);
}

TEST(RecogniseActivations, EverySpelling) {
  const auto shifted = [](GraphBuilder& b, ir::ValueId x, bool as_clip) {
    const auto sum = b.node("add", {b.scalar(3.0F), x});
    return as_clip ? b.node("clip", {sum}, {{"min", 0.0}, {"max", 6.0}}) : b.node("relu6", {sum});
  };
  using Build = std::function<ir::ValueId(GraphBuilder&, ir::ValueId)>;
  const std::vector<std::pair<std::string, Build>> cases = {
      {"silu", [](GraphBuilder& b, ir::ValueId x) { return b.node("mul", {b.node("sigmoid", {x}), x}); }},
      {"hard_sigmoid",
       [&](GraphBuilder& b, ir::ValueId x) { return b.node("div", {shifted(b, x, true), b.scalar(6.0F)}); }},
      {"hard_sigmoid",
       [&](GraphBuilder& b, ir::ValueId x) { return b.node("mul", {b.scalar(1.0F / 6), shifted(b, x, false)}); }},
      {"hard_swish",
       [&](GraphBuilder& b, ir::ValueId x) {
         return b.node("mul", {x, b.node("div", {shifted(b, x, true), b.scalar(6.0F)})});
       }},
      {"hard_swish",
       [&](GraphBuilder& b, ir::ValueId x) {
         return b.node("div", {b.node("mul", {shifted(b, x, false), x}), b.scalar(6.0F)});
       }},
      {"hard_swish",
       [&](GraphBuilder& b, ir::ValueId x) {
         return b.node("mul", {x, b.node("hard_sigmoid", {x}, {{"alpha", 1.0 / 6}, {"beta", 0.5}})});
       }},
      {"gelu",
       [](GraphBuilder& b, ir::ValueId x) {
         const auto erf = b.node("erf", {b.node("div", {x, b.scalar(1.41421356F)})});
         return b.node("mul", {b.node("mul", {x, b.node("add", {erf, b.scalar(1.0F)})}), b.scalar(0.5F)});
       }},
      {"gelu",
       [](GraphBuilder& b, ir::ValueId x) {
         const auto erf = b.node("erf", {b.node("mul", {x, b.scalar(0.70710678F)})});
         return b.node("mul", {b.node("mul", {b.scalar(0.5F), x}), b.node("add", {b.scalar(1.0F), erf})});
       }},
      {"mish",
       [](GraphBuilder& b, ir::ValueId x) { return b.node("mul", {x, b.node("tanh", {b.node("softplus", {x})})}); }},
      {"relu6", [](GraphBuilder& b, ir::ValueId x) { return b.node("clip", {x}, {{"min", 0.0}, {"max", 6.0}}); }},
      {"relu6", [](GraphBuilder& b, ir::ValueId x) { return b.node("min", {b.node("relu", {x}), b.scalar(6.0F)}); }},
      {"relu", [](GraphBuilder& b, ir::ValueId x) { return b.node("clip", {x}, {{"min", 0.0}}); }},
      {"relu", [](GraphBuilder& b, ir::ValueId x) { return b.node("max", {b.scalar(0.0F), x}); }},
  };
  for (size_t i = 0; i < cases.size(); ++i) {
    GraphBuilder b;
    const auto y = cases[i].second(b, b.input({Dim(13), Dim(19)}));
    b.graph.add_output(y);
    const ir::Graph after = apply(recognise_activations, b.graph);
    EXPECT_EQ(after.live_node_count(), 1U) << "case " << i << ": " << cases[i].first;
    EXPECT_EQ(count_of(after, cases[i].first), 1) << "case " << i;
  }
}

TEST(RecogniseActivations, LeavesNearMisses) {
  GraphBuilder b;
  const auto x = b.input({Dim(13)});
  b.graph.add_output(b.node("mul", {x, b.node("sigmoid", {b.node("neg", {x})})}));
  b.graph.add_output(b.node(
      "div", {b.node("clip", {b.node("add", {x, b.scalar(3.01F)})}, {{"min", 0.0}, {"max", 6.0}}), b.scalar(6.0F)}));
  const ir::Graph after = apply(recognise_activations, b.graph);
  EXPECT_EQ(count_of(after, "silu") + count_of(after, "hard_sigmoid"), 0);
}

// The spellings of x - mean(x) over its deviation: how it is squared, how it is divided, what follows.
struct NormSpelling {
  std::string square = "square";
  bool reciprocal = false;
  bool scale = true;
  bool bias = true;
  int64_t axis = -1;
};

ir::Graph spelled_norm(const NormSpelling& spelling) {
  GraphBuilder b;
  const auto x = b.input({Dim(2), Dim(5), Dim(19)});
  const auto mean = [&](ir::ValueId v) {
    return b.node("reduce_mean", {v}, {{"axes", std::vector<int64_t>{spelling.axis}}, {"keep_dims", int64_t{1}}});
  };
  const auto c = b.node("sub", {x, mean(x)});
  const auto square = spelling.square == "square" ? b.node("square", {c})
                      : spelling.square == "mul"  ? b.node("mul", {c, c})
                                                  : b.node("pow", {c, b.scalar(2.0F)});
  const auto deviation = b.node("sqrt", {b.node("add", {mean(square), b.scalar(0.25F)})});
  auto y = spelling.reciprocal ? b.node("mul", {b.node("reciprocal", {deviation}), c}) : b.node("div", {c, deviation});
  if (spelling.scale) y = b.node("mul", {b.constant({1, 1, 19}), y});
  if (spelling.bias) y = b.node("add", {y, b.constant({19})});
  b.graph.add_output(b.node("relu", {y}));
  return std::move(b.graph);
}

TEST(RecogniseLayerNorm, EverySpelling) {
  for (const std::string square : {"square", "mul", "pow"}) {
    for (const bool reciprocal : {false, true}) {
      for (const int affine : {0, 1, 2, 3}) {
        const ir::Graph before =
            spelled_norm({square, reciprocal, (affine & 1) != 0, (affine & 2) != 0, 2 - affine % 2 * 3});
        const ir::Graph after = apply(recognise_layer_norm, before);
        EXPECT_EQ(count_of(after, "layer_norm"), 1);
        EXPECT_EQ(after.live_node_count(), 2U);
      }
    }
  }
}

TEST(RecogniseLayerNorm, NotOverAnotherAxis) {
  const ir::Graph before = spelled_norm({.axis = 1});
  EXPECT_EQ(count_of(apply(recognise_layer_norm, before), "layer_norm"), 0);
}

// What another reader sees of the scaled value is not swallowed.
TEST(RecogniseLayerNorm, InnerResultsWithOtherReadersStay) {
  ir::Graph before = spelled_norm({});
  const std::vector<ir::NodeId> order = *before.ordered();
  for (const ir::NodeId id : order) {
    const ir::Node& node = before.node(id);
    if (node.op == "mul" && before.value(node.inputs[0]).is_constant()) before.add_output(node.outputs[0]);
  }
  const ir::Graph after = apply(recognise_layer_norm, before);
  EXPECT_EQ(count_of(after, "layer_norm"), 1);
  EXPECT_EQ(count_of(after, "add"), 1);
}

// A vision transformer's class token, in front or behind, over a fixed or a free batch.
TEST(JoinConstantRows, BecomeAPadAndOneAddition) {
  for (const bool front : {true, false}) {
    for (const bool free : {true, false}) {
      for (const auto& position : std::vector<std::vector<int64_t>>{{1, 7, 5}, {7, 5}, {5}, {1}}) {
        GraphBuilder b;
        if (free) b.graph.symbols = {{"batch", 1, 16}};
        const auto x = b.input({free ? Dim(1, 0) : Dim(1), Dim(6), Dim(5)});
        auto token = b.constant({1, 1, 5});
        if (free) token = b.node("expand", {token, x}, {{"shape", std::vector<int64_t>{-1, -1, -1}}});
        const auto joined =
            b.node("concat", front ? std::vector{token, x} : std::vector{x, token}, {{"axis", int64_t{1}}});
        b.graph.add_output(b.node("add", {joined, b.constant(position)}));
        const ir::Graph after = apply(fold_constants, apply(join_constant_rows, b.graph, free ? 3 : 1));
        EXPECT_EQ(count_of(after, "concat"), 0);
        EXPECT_EQ(count_of(after, "expand"), 0);
        EXPECT_EQ(count_of(after, "pad"), 1);
        EXPECT_EQ(after.live_node_count(), 2U);
      }
    }
  }
}

TEST(JoinConstantRows, NotWithTwoTensorsOrAnotherReader) {
  for (const bool two : {true, false}) {
    GraphBuilder b;
    const auto x = b.input({Dim(1), Dim(6), Dim(5)});
    const auto joined = b.node("concat", {b.constant({1, 1, 5}), x, two ? b.node("relu", {x}) : b.constant({1, 6, 5})},
                               {{"axis", int64_t{1}}});
    b.graph.add_output(b.node("add", {joined, b.constant({13, 5})}));
    if (!two) b.graph.add_output(b.node("relu", {joined}));
    EXPECT_EQ(count_of(apply(join_constant_rows, b.graph), "concat"), 1);
  }
}

TEST(FuseConvActivation, Floats) {
  for (const std::string op : {"relu", "relu6", "clip", "silu", "hard_swish", "leaky_relu", "gelu"}) {
    GraphBuilder b;
    const auto y = b.node("conv2d", {b.input(nhwc(7, 5, 4)), b.constant({3, 3, 3, 4})});
    ir::Attributes attributes;
    if (op == "clip") attributes = {{"min", -0.25}, {"max", 0.5}};
    if (op == "leaky_relu") attributes = {{"alpha", 0.3}};
    b.graph.add_output(b.node(op, {y}, attributes));
    const ir::Graph after = apply(fuse_conv_activation, b.graph);
    EXPECT_EQ(after.live_node_count(), 1U) << op;
    EXPECT_EQ(only(after, "conv2d").string_attribute("activation", ""), op);
  }
}

TEST(FuseConvActivation, IntegersKeepTheirRoundingPoints) {
  for (const std::string op : {"relu", "relu6", "silu", "hard_swish", "leaky_relu"}) {
    for (const bool same_scale : {true, false}) {
      GraphBuilder b;
      const auto y =
          b.node("conv2d", {b.input(nhwc(7, 5, 4), b.quantization()), b.weights_i8({3, 3, 3, 4}, 0), b.bias_i32(3)}, {},
                 b.quantization());
      b.graph.add_output(b.node(op, {y}, {}, same_scale ? *b.type(y).quantization : b.quantization()));
      const ir::Graph after = apply(fuse_conv_activation, b.graph);
      const bool clamp = op == "relu" || op == "relu6";
      EXPECT_EQ(after.live_node_count(), clamp && !same_scale ? 2U : 1U) << op << same_scale;
      EXPECT_EQ(only(after, "conv2d").has_attribute("conv_scale"), !clamp);
    }
  }
}

// conv2d (i8 to i16) [-> silu, to i16] -> add (to i8): every way of fusing it gives the integers of the chain.
TEST(FuseConvActivation, WideRoundingPointsStayWide) {
  for (const bool function : {false, true}) {
    for (const bool residual : {false, true}) {
      if (!function && !residual) continue;
      GraphBuilder b(7);
      const auto x = b.input(nhwc(7, 5, 4), b.quantization());
      auto y = b.wide_node("conv2d", {x, b.weights_i8({4, 1, 1, 4}, 0), b.bias_i32(4)},
                           per_tensor_quantization(0.003F, -500));
      if (function && residual) y = b.wide_node("silu", {y}, per_tensor_quantization(0.002F, 300));
      if (function && !residual) y = b.node("silu", {y}, {}, b.quantization());
      if (residual) y = b.node("add", {x, y}, {}, b.quantization());
      b.graph.add_output(y);
      const ir::Graph fused = apply(fuse_conv_residual, apply(fuse_conv_activation, b.graph));
      EXPECT_EQ(fused.live_node_count(), 1U);
      EXPECT_EQ(only(fused, "conv2d").int_attribute("conv_bits", 0), function ? 16 : 0);
      EXPECT_EQ(only(fused, "conv2d").int_attribute("pre_residual_bits", 0), residual ? 16 : 0);
      const auto inputs = testing::random_inputs(b.graph, 3);
      const auto want = ops::interpret(b.graph, inputs);
      const auto got = ops::interpret(fused, inputs);
      ASSERT_TRUE(want.has_value() && got.has_value());
      EXPECT_EQ(got->outputs[0].storage, want->outputs[0].storage) << function << residual;
    }
  }
}

// The layer with the wide result takes the sum and reads the other's 8 bits.
TEST(FuseConvResidual, OfTwoLayersTheWideOneTakesTheSum) {
  GraphBuilder b;
  const auto x = b.input(nhwc(7, 5, 4), b.quantization());
  const auto wide = b.wide_node("conv2d", {x, b.weights_i8({4, 1, 1, 4}, 0)}, per_tensor_quantization(0.003F, 0));
  const auto narrow = b.node("conv2d", {x, b.weights_i8({4, 1, 1, 4}, 0)}, {}, b.quantization());
  b.graph.add_output(b.node("add", {wide, narrow}, {}, b.quantization()));
  const ir::Graph after = apply(fuse_conv_residual, b.graph);
  EXPECT_EQ(after.live_node_count(), 2U);
  EXPECT_EQ(count_of(after, "add"), 0);
}

TEST(FuseConvResidual, FloatsAndIntegers) {
  for (const bool integer : {false, true}) {
    GraphBuilder b;
    std::optional<Quantization> q;
    const auto next = [&]() { return integer ? std::optional(b.quantization()) : q; };
    const auto x = b.input(nhwc(7, 5, 4), next());
    const auto weights = [&]() { return integer ? b.weights_i8({4, 1, 1, 4}, 0) : b.constant({4, 1, 1, 4}); };
    const auto conv = b.node("conv2d", {x, weights()}, {}, next());
    const auto sum = b.node("add", {x, conv}, {}, next());
    b.graph.add_output(b.node("relu", {sum}, {}, b.type(sum).quantization));
    const ir::Graph after = apply(fuse_conv_residual, b.graph);
    EXPECT_EQ(after.live_node_count(), 1U);
    EXPECT_EQ(only(after, "conv2d").string_attribute("residual_activation", ""), "relu");
    EXPECT_EQ(only(after, "conv2d").has_attribute("pre_residual_scale"), integer);
  }
}

TEST(FuseConvResidual, NotWhenTheOperandBroadcastsOrTheSumIsReadTwice) {
  GraphBuilder b;
  const auto x = b.input(nhwc(7, 5, 4));
  const auto conv = b.node("conv2d", {x, b.constant({4, 1, 1, 4})});
  const auto mean = b.node("reduce_mean", {x}, {{"axes", std::vector<int64_t>{1, 2}}, {"keep_dims", int64_t{1}}});
  b.graph.add_output(b.node("add", {conv, mean}));
  const auto other = b.node("conv2d", {x, b.constant({4, 1, 1, 4})});
  b.graph.add_output(b.node("add", {other, x}));
  b.graph.add_output(b.node("neg", {other}));
  EXPECT_EQ(count_of(apply(fuse_conv_residual, b.graph), "add"), 2);
}

TEST(CancelQuantization, OnlyTheExactPair) {
  GraphBuilder b;
  const auto x = b.input({Dim(127)}, b.quantization());
  const auto same = b.node("quantize", {b.node("dequantize", {x})}, {}, b.type(x).quantization);
  const auto other = b.node("quantize", {b.node("dequantize", {x})}, {}, b.quantization());
  b.graph.add_output(b.node("relu", {same}, {}, b.quantization()));
  b.graph.add_output(b.node("relu", {other}, {}, b.quantization()));
  EXPECT_EQ(count_of(apply(cancel_quantization, b.graph), "quantize"), 1);
}

TEST(FuseQuantization, MakesIntegerOperatorsOfImportedPairs) {
  GraphBuilder b;
  const auto q = [&](ir::ValueId v) { return b.node("quantize", {v}, {}, b.quantization()); };
  const auto dq = [&](ir::ValueId v) { return b.node("dequantize", {v}); };
  const auto x = dq(q(b.input(nchw(4, 7, 5))));
  const auto weights = b.transpose(dq(b.weights_i8({6, 4, 3, 3}, 0)), {0, 2, 3, 1});
  auto y = b.node("relu", {b.node("conv2d", {b.to_nhwc(x), weights, b.constant({6})})});
  y = dq(q(y));
  y = dq(q(b.node("add", {y, y})));
  y = b.node("conv2d", {y, dq(b.weights_i8({2, 1, 1, 6}, 0))});
  b.graph.add_output(b.node("sigmoid", {y}));
  ir::Graph after = b.graph;
  ASSERT_TRUE(fuse_quantization(after));
  const Status status = ops::verify(after);
  ASSERT_TRUE(status) << status.error().to_string();
  EXPECT_EQ(count_of(after, "dequantize"), 0);  // the last convolution gives f32 from its sums
  EXPECT_EQ(count_of(after, "quantize"), 1);
  // The integer form rounds the bias and requantizes in f32: at most one step of the last scale apart.
  expect_equal_results(b.graph, after, 7, 1, 0.05);
}

TEST(FuseQuantization, WeightsOfFloatProductsStayIntegers) {
  GraphBuilder b;
  const auto x = b.input(nhwc(3, 3, 4));
  const auto weights = b.weights_i8({2, 1, 1, 4}, 0);
  b.graph.add_output(b.node("conv2d", {x, b.node("dequantize", {weights})}));
  const ir::Graph after = apply(fuse_quantization, b.graph);
  ASSERT_EQ(after.live_node_count(), 1U);
  const ir::NodeId node = after.ordered()->front();
  EXPECT_EQ(after.value(after.node(node).inputs[1]).type.dtype, DataType::kI8);
}

TEST(FuseQuantization, FoldsWhatNoProductTakes) {
  GraphBuilder b;
  const auto x = b.input(nhwc(3, 3, 4));
  b.graph.add_output(b.node("add", {x, b.node("dequantize", {b.weights_i8({3, 3, 4}, 0)})}));
  // Scales along another axis than the product's columns.
  b.graph.add_output(b.node("matmul", {x, b.node("dequantize", {b.weights_i8({4, 5}, 0)})}));
  const ir::Graph after = apply(fuse_quantization, b.graph);
  EXPECT_EQ(count_of(after, "dequantize"), 0);
  EXPECT_EQ(after.live_node_count(), 2U);
}

// Every pass alone on random networks.
class EveryPass : public ::testing::TestWithParam<PassFunction> {};

TEST_P(EveryPass, KeepsFloatResults) {
  for (uint32_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    apply(GetParam(), testing::random_float_graph(seed), 1 + seed % 3);
    if (::testing::Test::HasFailure()) return;
  }
}

TEST_P(EveryPass, KeepsIntegersBitForBit) {
  if (GetParam() == fuse_quantization) GTEST_SKIP() << "decides where an imported graph rounds";
  for (uint32_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    apply(GetParam(), testing::random_integer_graph(seed), 1 + seed % 3);
    if (::testing::Test::HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Passes, EveryPass,
                         ::testing::Values(fold_constants, simplify, merge_duplicates, cancel_transposes,
                                           fuse_quantization, keep_integer_weights, cancel_quantization,
                                           recognise_activations, recognise_layer_norm, join_constant_rows, fold_pad,
                                           fold_batch_norm, fuse_conv_activation, fuse_conv_residual));

}  // namespace
}  // namespace hai::passes
