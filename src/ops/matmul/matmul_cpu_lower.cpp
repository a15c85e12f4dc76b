// matmul on the CPU: f32 with any b; i8 and u8 with a constant matrix b of i8 or i4; i16 with one of i16 too; i8, u8
// and i16 with an i8 or u8 b that varies, or with a batch of constants, under one scale.
//
// One instruction as it is.
#include "devices/cpu/lower/lower_registry.h"
#include "devices/cpu/lower/product_supports.h"

namespace hai::cpu {
namespace {

Status supports(const ir::Graph& graph, const ir::Node& node) {
  const ir::Value& b = graph.value(node.inputs[1]);
  const bool floats = graph.value(node.inputs[0]).type.dtype == DataType::kF32;
  if (floats && !b.is_constant()) {
    const bool has_bias = node.inputs.size() > 2 && node.inputs[2] != ir::kNone;
    if (!has_bias || graph.value(node.inputs[2]).is_constant()) return {};
    return make_error(StatusCode::kUnsupported, "C051", "matmul on cpu: the bias must be a constant");
  }
  if (!floats && (!b.is_constant() || b.type.shape.size() != 2)) return supports_varying_product(graph, node);
  const int rank = static_cast<int>(b.type.shape.size());
  return supports_product(graph, node, rank - (node.int_attribute("transpose_b", 0) != 0 ? 2 : 1));
}

}  // namespace

void register_matmul_lower(LowerRegistry& registry);
void register_matmul_lower(LowerRegistry& registry) { registry.add("matmul", {supports, lower_as_is}); }

}  // namespace hai::cpu
