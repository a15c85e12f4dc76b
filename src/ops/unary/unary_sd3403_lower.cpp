// Unary functions of quantized tensors on the NPU: a table of all integers of a tensor.
//
// A tensor of 16 bits that comes from 8 bits by functions alone has a table over those (lower/chain.h); else its table
// leaves out its constant ends, and a function that has none stays on the CPU.
#include <fmt/format.h>

#include "devices/sd3403/lower/chain.h"
#include "devices/sd3403/lower/constants.h"
#include "types/unary_functions.h"

namespace hai::sd3403 {
namespace {

// Half of a core's weight cache, so that something else may be there.
constexpr int64_t kMostTableBytes = 65536;

Status supports(const ir::Graph& graph, const ir::Node& node) {
  HAI_TRY_STATUS(require_integers(graph, node, node.inputs[0]));
  HAI_TRY_STATUS(require_integers(graph, node, node.outputs[0]));
  if (comes_from_bytes(graph, node.outputs[0])) return {};
  const int64_t entry = bit_width(graph.value(node.outputs[0]).type.dtype) / 8;
  int64_t form = 0;
  const int64_t bytes = choose_table_form(wide_table(graph, node).entries, entry, kLookUp, kLookUpCurve, form);
  if (bytes > kMostTableBytes) return refuse(node, fmt::format("a table of {} bytes; {} fit", bytes, kMostTableBytes));
  return {};
}

Status lower(SegmentBuilder& builder) {
  if (lower_chain(builder)) return {};
  const ir::Node& node = builder.node();
  const FunctionTable table = wide_table(builder.graph(), node);
  Combine c;
  choose_table_form(table.entries, element_bytes(*element_of(builder.type(node.outputs[0]).dtype)), kLookUp,
                    kLookUpCurve, c.arithmetic);
  c.function_first = table.first;
  c.function_entries = static_cast<int64_t>(table.entries.size());
  Layer layer;
  layer.constants.table = table.entries;
  const Slice from = builder.operand(node.inputs[0]);
  layer.writes = builder.result(node.outputs[0]);
  c.columns = layer.writes.columns;
  c.channels = layer.writes.channels;
  layer.body = c;
  layer.reads = {{from, {}}};
  layer.by_rows = !from.whole && !layer.writes.whole;
  builder.add(std::move(layer));
  return {};
}

}  // namespace

void register_unary_lower(LowerRegistry& registry);
void register_unary_lower(LowerRegistry& registry) {
  for (const UnaryFunction& function : unary_functions()) registry.add(std::string(function.name), {supports, lower});
}

}  // namespace hai::sd3403
