// cast on the CPU between f32, i64, i32, i8, u8 and bool, from f16, bf16 and f64 to f32, and from f32 to f16. One
// instruction as it is.
//
// What else there is occurs in constants, which are folded at compile time.
#include "devices/cpu/lower/supports.h"

namespace hai::cpu {
namespace {

constexpr ops::DataTypeSet kTypes =
    ops::set_of({DataType::kF32, DataType::kI64, DataType::kI32, DataType::kI8, DataType::kU8, DataType::kBool});
constexpr ops::DataTypeSet kOtherFloats = ops::set_of({DataType::kF16, DataType::kBF16, DataType::kF64});

Status supports(const ir::Graph& graph, const ir::Node& node) {
  const DataType from = graph.value(node.inputs[0]).type.dtype;
  const DataType to = graph.value(node.outputs[0]).type.dtype;
  if (ops::contains(kTypes, from) && ops::contains(kTypes, to)) return {};
  if (ops::contains(kOtherFloats, from) && to == DataType::kF32) return {};
  if (from == DataType::kF32 && to == DataType::kF16) return {};
  return make_error(StatusCode::kUnsupported, "C038", "cast from {} to {} is not supported on cpu",
                    data_type_name(from), data_type_name(to));
}

}  // namespace

void register_cast_lower(LowerRegistry& registry);
void register_cast_lower(LowerRegistry& registry) { registry.add("cast", {supports, lower_as_is}); }

}  // namespace hai::cpu
