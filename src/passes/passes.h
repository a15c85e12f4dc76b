// Every graph pass: one file, one sentence, one function. Their order is the compiler's business
// (compiler/pipeline.cpp).
//
// A pass keeps what a graph computes: integers bit for bit, floats up to rounding. It keeps inputs, outputs, their
// names and types. The graph is valid before and after (ops::verify runs between passes). Rounding points of integer
// graphs are fixed before the passes run, so leaving one out never changes an integer; the one exception is
// fuse_quantization, which gives an imported graph its integer operators in the first place.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"

namespace hai::passes {

struct PassStats {
  int64_t changes = 0;  // rewrites applied
};

// Computes nodes whose inputs are all constants, through the operators' references, unless the result is large.
Result<PassStats> fold_constants(ir::Graph& graph);
// Removes operators that change nothing, merges chains of reshapes, casts and clamps, and drops what no output needs.
Result<PassStats> simplify(ir::Graph& graph);
// Makes equal nodes and equal constants one.
Result<PassStats> merge_duplicates(ir::Graph& graph);
// Moves transposes towards the outputs through operators that can work in either layout, until they cancel.
Result<PassStats> cancel_transposes(ir::Graph& graph);
// Gives integer operators to imported graphs that surround float operators with dequantize and quantize.
Result<PassStats> fuse_quantization(ir::Graph& graph);
// Gives f32 convolutions and matrix products the integers of weights that stand behind a dequantize (part of
// fuse_quantization).
Result<PassStats> keep_integer_weights(ir::Graph& graph);
// Removes quantize after dequantize where both have the same type.
Result<PassStats> cancel_quantization(ir::Graph& graph);
// Finds silu, hard_swish, hard_sigmoid, gelu, mish, relu6 and relu in the operators that exporters spell them with.
Result<PassStats> recognise_activations(ir::Graph& graph);
// Finds layer_norm in the means, squares and roots that exporters spell it with.
Result<PassStats> recognise_layer_norm(ir::Graph& graph);
// Turns constant rows that are joined to a tensor, and a constant that is then added to all, into a pad and an
// addition.
Result<PassStats> join_constant_rows(ir::Graph& graph);
// Gives zero padding before a convolution to the convolution.
Result<PassStats> fold_pad(ir::Graph& graph);
// Folds batch norm, and multiplication by or addition of per-channel constants, into the float convolution or matrix
// product before it.
Result<PassStats> fold_batch_norm(ir::Graph& graph);
// What was folded into a node, in the order in which it was: the names that nodes and constants had.
struct Folding {
  ir::NodeId into = ir::kNone;
  std::string op;             // "batch_norm", "add", ...
  bool value_is_left = true;  // of an operator of two operands: the layer's result is the left one
  double epsilon = 0;         // of a batch norm
  std::vector<std::string> constants;
  std::string output;  // the value that the folded node made
};
// The same, but for these nodes (by node slot), which stay as they are; with a list of what was folded.
Result<PassStats> fold_batch_norm_but(ir::Graph& graph, const std::vector<bool>& kept,
                                      std::vector<Folding>* foldings = nullptr);
// Lets convolutions and matrix products apply the activation that alone reads their result.
Result<PassStats> fuse_conv_activation(ir::Graph& graph);
// Lets batch_norm_train apply the relu or relu6 behind it, and its gradient that of the activation.
Result<PassStats> fuse_batch_norm_activation(ir::Graph& graph);
// Lets convolutions and matrix products add the residual, and clamp the sum.
Result<PassStats> fuse_conv_residual(ir::Graph& graph);

}  // namespace hai::passes
