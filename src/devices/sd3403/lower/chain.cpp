// A chain of functions of an 8-bit tensor takes at most 256 values, whatever stands between: one table has them all.
//
// Every step of the chain rounds in the table as it does on its own (types/arithmetic.h, types/unary_functions.h), so
// the result has the same bits; what is skipped is memory.
#include "devices/sd3403/lower/chain.h"

#include <bit>

#include "types/arithmetic.h"
#include "types/unary_functions.h"

namespace hai::sd3403 {
namespace {

hai_output_range range_of(const ir::TensorType& type) {
  return {zero_point_of(type), static_cast<int32_t>(integer_min(type.dtype)),
          static_cast<int32_t>(integer_max(type.dtype))};
}

bool has_one_scale(const ir::TensorType& type) {
  return type.quantization && type.quantization->per_tensor() && type.quantization->scales.size() == 1;
}

// The node that makes `value` from one tensor by a function, or null.
const ir::Node* step_of(const ir::Graph& graph, ir::ValueId value) {
  const ir::NodeId producer = graph.value(value).producer;
  if (producer == ir::kNone) return nullptr;
  const ir::Node& node = graph.node(producer);
  const bool is_function = node.op == "rescale" || find_unary_function(node.op).has_value();
  if (!is_function || !has_one_scale(graph.value(value).type) || !has_one_scale(graph.value(node.inputs[0]).type))
    return nullptr;
  return &node;
}

int32_t value_of(const ir::Graph& graph, ir::ValueId value, ir::ValueId origin, int32_t q) {
  if (value == origin) return q;
  const ir::Node& node = *step_of(graph, value);
  const int32_t before = value_of(graph, node.inputs[0], origin, q);
  const ir::TensorType& x = graph.value(node.inputs[0]).type;
  const ir::TensorType& y = graph.value(value).type;
  if (const auto function = find_unary_function(node.op)) {
    const UnaryFunction& row = unary_functions()[static_cast<size_t>(*function)];
    return unary_integer(*function, node.float_attribute("alpha", row.alpha), node.float_attribute("beta", row.beta),
                         before, scale_of(x), zero_point_of(x), scale_of(y), range_of(y));
  }
  const float multiplier = hai_multiplier_ratio(scale_of(x), scale_of(y));
  const bool wide = bit_width(x.dtype) == 16 || bit_width(y.dtype) == 16;
  return wide ? hai_rescale_wide(before, zero_point_of(x), multiplier, range_of(y))
              : hai_rescale(before, zero_point_of(x), multiplier, range_of(y));
}

}  // namespace

void add_combine(SegmentBuilder& builder, const Slice& from, const Slice& to, Combine command,
                 std::vector<int16_t> table) {
  command.columns = to.columns;
  command.channels = to.channels;
  Layer layer;
  layer.body = command;
  layer.constants.table = std::move(table);
  layer.reads = {{from, {}}};
  layer.writes = to;
  layer.by_rows = !from.whole && !to.whole;
  builder.add(std::move(layer));
}

void add_rescale(SegmentBuilder& builder, const Slice& from, const ir::TensorType& x, const Slice& to,
                 const ir::TensorType& y) {
  Combine c;
  c.arithmetic = kRescale;
  c.left_zero_point = zero_point_of(x);
  c.left_multiplier = std::bit_cast<uint32_t>(hai_multiplier_ratio(scale_of(x), scale_of(y)));
  const hai_output_range range = range_of(y);
  c.zero_point = range.zero_point;
  c.least = range.lo;
  c.greatest = range.hi;
  add_combine(builder, from, to, c);
}

ir::ValueId origin_of_chain(const ir::Graph& graph, ir::ValueId value) {
  for (const ir::Node* node = step_of(graph, value); node != nullptr; node = step_of(graph, node->inputs[0])) {
    if (bit_width(graph.value(node->inputs[0]).type.dtype) == 8) return node->inputs[0];
  }
  return ir::kNone;
}

FunctionTable wide_table(const ir::Graph& graph, const ir::Node& node) {
  const ir::TensorType& x = graph.value(node.inputs[0]).type;
  const ir::TensorType& y = graph.value(node.outputs[0]).type;
  Activation activation;
  activation.function = *find_unary_function(node.op);
  const UnaryFunction& row = unary_functions()[static_cast<size_t>(activation.function)];
  activation.alpha = node.float_attribute("alpha", row.alpha);
  activation.beta = node.float_attribute("beta", row.beta);
  return make_function_table(activation, scale_of(x), range_of(x), scale_of(y), range_of(y));
}

bool lower_chain(SegmentBuilder& builder) {
  const ir::Graph& graph = builder.graph();
  const ir::ValueId value = builder.node().outputs[0];
  const ir::ValueId origin = origin_of_chain(graph, value);
  // A single rescale is cheaper without a table.
  if (origin == ir::kNone || (builder.node().op == "rescale" && builder.node().inputs[0] == origin)) return false;
  const ir::TensorType& x = graph.value(origin).type;
  Combine c;
  c.arithmetic = kLookUp;
  std::vector<int16_t> table;
  c.function_first = integer_min(x.dtype);
  c.function_entries = 256;
  for (int32_t q = 0; q < 256; ++q) {
    const int32_t entry = value_of(graph, value, origin, q + static_cast<int32_t>(integer_min(x.dtype)));
    table.push_back(static_cast<int16_t>(entry));
  }
  const Slice from = builder.operand(origin);
  add_combine(builder, from, builder.result(value), c, std::move(table));
  return true;
}

}  // namespace hai::sd3403
