// Functions of one tensor: rescaling, look-ups, and chains of them as one table.
#pragma once

#include <cstdint>
#include <vector>

#include "devices/sd3403/lower/segment_builder.h"
#include "types/function_table.h"

namespace hai::sd3403 {

// A layer of one tensor: `command` with the sizes of its result.
void add_combine(SegmentBuilder& builder, const Slice& from, const Slice& to, Combine command,
                 std::vector<int16_t> table = {});

// `to` gets `from` with another scale or type.
void add_rescale(SegmentBuilder& builder, const Slice& from, const ir::TensorType& x, const Slice& to,
                 const ir::TensorType& y);

// The nearest 8-bit tensor of which `value` is made by rescale and unary functions alone (itself one of them), or
// kNone.
ir::ValueId origin_of_chain(const ir::Graph& graph, ir::ValueId value);

// The table of a unary function of a 16-bit tensor without its constant ends (types/function_table.h).
FunctionTable wide_table(const ir::Graph& graph, const ir::Node& node);

// The node's result as a table of the 8-bit tensor that it comes from; false where there is none. What stood between is
// left without readers, and is not emitted.
bool lower_chain(SegmentBuilder& builder);

}  // namespace hai::sd3403
