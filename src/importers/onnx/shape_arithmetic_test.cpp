// Arithmetic on shapes with a free batch, and that it gives up where the result is no dimension.
#include "importers/onnx/shape_arithmetic.h"

#include <gtest/gtest.h>

namespace hai::onnx_import {
namespace {

const std::vector<Symbol> kSymbols = {{"N", 1, 16}};
const Dim kBatch(1, 0);

KnownInts vector_of(std::vector<Dim> values) {
  const auto count = static_cast<int64_t>(values.size());
  return {DataType::kI64, {count}, std::move(values)};
}
KnownInts scalar_of(Dim value) { return {DataType::kI64, {}, {value}}; }

std::optional<std::vector<Dim>> fold(const std::string& op, const std::vector<KnownInts>& inputs,
                                     std::map<std::string, OnnxAttribute, std::less<>> attributes = {},
                                     size_t outputs = 1) {
  OnnxNode node;
  node.op_type = op;
  node.outputs.assign(outputs, "y");
  node.attributes = std::move(attributes);
  std::vector<const KnownInts*> operands;
  for (const KnownInts& input : inputs) operands.push_back(&input);
  const auto result = fold_known(node, operands, 17, kSymbols);
  if (!result) return std::nullopt;
  return result->back().values;
}

using Dims1 = std::vector<Dim>;

TEST(ShapeArithmetic, SymbolsSurviveWhatKeepsThemLinear) {
  EXPECT_EQ(fold("Mul", {scalar_of(kBatch), scalar_of(8)}), (Dims1{Dim(8, 0)}));
  EXPECT_EQ(fold("Div", {scalar_of(Dim(8, 0)), scalar_of(4)}), (Dims1{Dim(2, 0)}));
  EXPECT_EQ(fold("Div", {scalar_of(Dim(8, 0)), scalar_of(Dim(2, 0))}), (Dims1{Dim(4)}));
  EXPECT_EQ(fold("Add", {scalar_of(Dim(8, 0)), scalar_of(kBatch)}), (Dims1{Dim(9, 0)}));
  EXPECT_EQ(fold("Sub", {scalar_of(kBatch), scalar_of(kBatch)}), (Dims1{Dim(0)}));
  EXPECT_EQ(fold("Mod", {scalar_of(Dim(8, 0)), scalar_of(4)}), (Dims1{Dim(0)}));
  EXPECT_EQ(fold("Concat", {vector_of({kBatch}), vector_of({-1, 7})}, {{"axis", int64_t{0}}}), (Dims1{kBatch, -1, 7}));
  EXPECT_EQ(fold("ReduceProd", {vector_of({kBatch, 3, 4})}), (Dims1{Dim(12, 0)}));
}

TEST(ShapeArithmetic, GivesUpWhereItIsNoDimension) {
  EXPECT_EQ(fold("Add", {scalar_of(kBatch), scalar_of(1)}), std::nullopt);
  EXPECT_EQ(fold("Mul", {scalar_of(kBatch), scalar_of(kBatch)}), std::nullopt);
  EXPECT_EQ(fold("Div", {scalar_of(kBatch), scalar_of(2)}), std::nullopt);
  EXPECT_EQ(fold("Div", {scalar_of(4), scalar_of(0)}), std::nullopt);
  EXPECT_EQ(fold("Div", {scalar_of(INT64_MIN), scalar_of(-1)}), std::nullopt);
  EXPECT_EQ(fold("Mul", {scalar_of(INT64_MAX), scalar_of(2)}), std::nullopt);
  EXPECT_EQ(fold("Neg", {scalar_of(INT64_MIN)}), std::nullopt);
  EXPECT_EQ(fold("Gather", {vector_of({1, 2}), scalar_of(2)}), std::nullopt);
}

TEST(ShapeArithmetic, ComparisonsUseTheBounds) {
  EXPECT_EQ(fold("Equal", {scalar_of(kBatch), scalar_of(-1)}), (Dims1{0}));
  EXPECT_EQ(fold("Equal", {scalar_of(kBatch), scalar_of(kBatch)}), (Dims1{1}));
  EXPECT_EQ(fold("Less", {scalar_of(kBatch), scalar_of(17)}), (Dims1{1}));
  EXPECT_EQ(fold("Greater", {scalar_of(kBatch), scalar_of(3)}), std::nullopt);
  EXPECT_EQ(fold("Max", {scalar_of(kBatch), scalar_of(1)}), std::nullopt);
  EXPECT_EQ(fold("Max", {scalar_of(kBatch), scalar_of(0)}), (Dims1{kBatch}));
  EXPECT_EQ(fold("Where", {{DataType::kBool, {2}, {1, 0}}, vector_of({5, 6}), vector_of({kBatch, kBatch})}),
            (Dims1{5, kBatch}));
}

TEST(ShapeArithmetic, SlicesLikeNumPy) {
  const KnownInts x = vector_of({10, 11, 12, 13, 14});
  const auto slice = [&](int64_t start, int64_t end, int64_t step) {
    return fold("Slice", {x, vector_of({start}), vector_of({end}), vector_of({0}), vector_of({step})});
  };
  EXPECT_EQ(slice(1, 3, 1), (Dims1{11, 12}));
  EXPECT_EQ(slice(-2, INT64_MAX, 1), (Dims1{13, 14}));
  EXPECT_EQ(slice(INT64_MIN, 2, 1), (Dims1{10, 11}));
  EXPECT_EQ(slice(-1, INT64_MIN, -2), (Dims1{14, 12, 10}));
  EXPECT_EQ(slice(100, 0, -1), (Dims1{14, 13, 12, 11}));
  EXPECT_EQ(slice(3, 1, 1), (Dims1{}));
  EXPECT_EQ(slice(0, 5, INT64_MAX), (Dims1{10}));
  EXPECT_EQ(slice(0, 5, 0), std::nullopt);
}

TEST(ShapeArithmetic, NumbersFollowOnnx) {
  EXPECT_EQ(fold("Div", {scalar_of(-7), scalar_of(2)}), (Dims1{-3}));
  EXPECT_EQ(fold("Mod", {scalar_of(-7), scalar_of(3)}), (Dims1{2}));
  EXPECT_EQ(fold("Mod", {scalar_of(-7), scalar_of(3)}, {{"fmod", int64_t{1}}}), (Dims1{-1}));
  EXPECT_EQ(fold("Range", {scalar_of(5), scalar_of(0), scalar_of(-2)}), (Dims1{5, 3, 1}));
  EXPECT_EQ(fold("Range", {scalar_of(0), scalar_of(INT64_MAX), scalar_of(1)}), std::nullopt);
  EXPECT_EQ(fold("Split", {vector_of({1, 2, 3})}, {}, 2), (Dims1{3}));
  EXPECT_EQ(fold("Tile", {vector_of({1, 2}), vector_of({2})}), (Dims1{1, 2, 1, 2}));
  EXPECT_EQ(fold("Expand", {scalar_of(kBatch), vector_of({3})}), (Dims1{kBatch, kBatch, kBatch}));
}

TEST(ShapeArithmetic, HugeResultsAreNotMade) {
  const KnownInts many{DataType::kI64, {4096}, Dims1(4096, Dim(1))};
  EXPECT_EQ(fold("Concat", {many, many}, {{"axis", int64_t{0}}}), std::nullopt);
  EXPECT_EQ(fold("Tile", {many, vector_of({1 << 20})}), std::nullopt);
  EXPECT_EQ(fold("Expand", {scalar_of(1), vector_of({int64_t{1} << 40, int64_t{1} << 40})}), std::nullopt);
}

}  // namespace
}  // namespace hai::onnx_import
