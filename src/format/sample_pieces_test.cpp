// samples_a_piece: what may be cut, and how finely; one reason against it at a time.
#include "format/sample_pieces.h"

#include <gtest/gtest.h>

#include "format/test_model.h"

namespace hai::format {
namespace {

TEST(SamplePieces, ArenaOfAPieceIsSmall) {
  Program program = testing::make_test_program(false);
  EXPECT_EQ(samples_a_piece(program), (int64_t{8} << 20) / 64);
  program.per_sample_bytes = int64_t{3} << 20;
  EXPECT_EQ(samples_a_piece(program), 2);
  program.per_sample_bytes = int64_t{1} << 40;
  EXPECT_EQ(samples_a_piece(program), 1);
}

TEST(SamplePieces, WhatMayMixSamplesIsNotCut) {
  const auto piece_after = [](auto&& change) {
    Program program = testing::make_test_program(false);
    change(program);
    return samples_a_piece(program);
  };
  EXPECT_EQ(piece_after([](Program& p) { p.symbols[0].min = 2; }), 0);
  EXPECT_EQ(piece_after([](Program& p) { p.symbols.clear(); }), 0);
  EXPECT_EQ(piece_after([](Program& p) { p.instructions[0].attributes["axis"] = int64_t{0}; }), 0);
  EXPECT_EQ(piece_after([](Program& p) { p.instructions[0].attributes["axis"] = int64_t{-2}; }), 0);
  EXPECT_GT(piece_after([](Program& p) { p.instructions[0].attributes["axis"] = int64_t{-1}; }), 0);
  EXPECT_EQ(piece_after([](Program& p) { p.instructions[1].attributes["axes"] = std::vector<int64_t>{1, 0}; }), 0);
  EXPECT_EQ(piece_after([](Program& p) { p.tensors[2].shape = {Dim(testing::kTestWidth)}; }), 0);
  EXPECT_EQ(piece_after([](Program& p) { p.tensors[0].shape = {Dim(testing::kTestWidth), Dim(1, 0)}; }), 0);
  EXPECT_EQ(piece_after([](Program& p) { p.tensors[3].dtype = DataType::kI4; }), 0);
}

}  // namespace
}  // namespace hai::format
