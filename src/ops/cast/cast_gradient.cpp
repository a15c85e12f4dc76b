// The gradient of cast between float types is dy, cast back.
// Integers and bool let none through: what is computed from them does not depend on x where a derivative exists.
// The rounding of a narrower type counts as the identity, as everywhere.
#include "ops/gradient.h"

namespace hai::ops {
namespace {

Result<std::vector<ir::ValueId>> rule(GradientContext& context) {
  const DataType from = context.type(context.input(0)).dtype;
  if (!is_float(from) || !is_float(context.type(context.output()).dtype)) return std::vector<ir::ValueId>{ir::kNone};
  HAI_TRY(const ir::ValueId dx, context.append("cast", {context.dy()}, {{"dtype", std::string(data_type_name(from))}}));
  return std::vector<ir::ValueId>{dx};
}

}  // namespace

void register_cast_gradient(GradientRegistry& registry);
void register_cast_gradient(GradientRegistry& registry) { registry.add("cast", rule); }

}  // namespace hai::ops
