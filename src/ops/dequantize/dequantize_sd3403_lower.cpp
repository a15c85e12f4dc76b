// dequantize on the NPU: Combine, where layers of f16 follow a layer of integers.
//
// Where something else reads the real numbers, they are the CPU's: four bytes an element would leave the NPU.
#include <algorithm>
#include <bit>

#include "devices/sd3403/lower/chain.h"
#include "devices/sd3403/lower/half.h"

namespace hai::sd3403 {
namespace {

Status check_readers(const ir::Graph& graph, const ir::Node& node) {
  const ir::Value& y = graph.value(node.outputs[0]);
  const bool becomes_half = !y.uses.empty() && !graph.is_output(node.outputs[0]) &&
                            std::all_of(y.uses.begin(), y.uses.end(), [&](const ir::Use& use) {
                              const ir::Node& reader = graph.node(use.node);
                              return reader.op == "cast" && is_half(graph.value(reader.outputs[0]).type);
                            });
  return becomes_half ? Status() : refuse(node, "real numbers that do not become f16");
}

Legality legality() {
  return {{.rules = {takes(0, Types::kIntegers), takes(kResult, Types::kReals),
                     checked("only casts to f16 as readers", check_readers)}}};
}

Status lower(SegmentBuilder& builder) {
  const ir::Node& node = builder.node();
  const ir::TensorType& x = builder.type(node.inputs[0]);
  const Slice from = builder.operand(node.inputs[0]);
  const Slice to = builder.result(node.outputs[0]);
  Combine c;
  c.arithmetic = kRescale;
  c.left_multiplier = std::bit_cast<uint32_t>(scale_of(x));
  c.left_zero_point = zero_point_of(x);
  add_combine(builder, from, to, c);
  return {};
}

}  // namespace

void register_dequantize_lower(LowerRegistry& registry);
void register_dequantize_lower(LowerRegistry& registry) { registry.add("dequantize", {legality(), lower}); }

}  // namespace hai::sd3403
