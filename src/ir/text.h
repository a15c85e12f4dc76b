// The text form of a graph: prints and parses back to an equal graph.
//
//   graph "mobilenet" (N in 1..16) {
//     input %image: f32[N, 224, 224, 3]
//     const %w: i8[32, 3, 3, 3] quant(axis 0, scales [0.01, ...], zero_points [0, ...]) = hex"01ff..."
//     %y: i8[N, 112, 112, 32] quant(0.02, -3) = conv2d(%image, %w, none) {strides = [2, 2]} @ "features.0.0"
//     output %y
//     state %momentum -> output 1 = zeros       # graphs of training alone; `parameter` before `=` where it is one
//   }
//
// Values print as %name (quoted where needed: %"a b"); an absent operand is `none`; metadata lines read
// `metadata "key" = "text"`; a state names the input that holds it and the position of the output it is afterwards
// (or `kept`), and stands after the outputs; comments run from # to the end of the line. Floats print
// shortest-round-trip. Constants of more than `max_constant_bytes` print as `elided <bytes> fnv1a:<hash>` and then do
// not parse back; the default prints everything. parse(print(g)) equals g.compact(). Errors name line and column.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "ir/graph.h"

namespace hai::ir {

struct PrintOptions {
  int64_t max_constant_bytes = INT64_MAX;
};

std::string print(const Graph& graph, const PrintOptions& options = {});
Result<Graph> parse(std::string_view text);

}  // namespace hai::ir
