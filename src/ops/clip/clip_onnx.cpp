// ONNX Clip: bounds as attributes (operator set 6) or as constant operands (from 11 on), each optional.
//
// 0 to 6 stays a clip: whether it is fused as relu6 is a pass's business. Bounds computed from data become max and min.
#include <limits>

#include "importers/onnx/import_registry.h"

namespace hai::onnx_import {
namespace {

Status convert_clip(ImportContext& context) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  double bounds[2] = {context.float_attribute("min", -kInfinity), context.float_attribute("max", kInfinity)};
  bool constant = is_float(context.type(x).dtype);
  for (size_t i = 0; i < 2; ++i) {
    HAI_TRY(const ir::ValueId bound, context.optional_input(i + 1));
    if (bound == ir::kNone) continue;
    if (!context.graph().value(bound).is_constant() || !context.shape(bound).empty()) {
      constant = false;
      continue;
    }
    HAI_TRY(const std::vector<double> value, context.reals(i + 1, i == 0 ? "min" : "max"));
    bounds[i] = value[0];
  }
  // The upper bound wins where they cross, in ONNX as in the core.
  if (constant) {
    HAI_TRY(const ir::ValueId y, context.emit("clip", {x}, {{"min", bounds[0]}, {"max", bounds[1]}}));
    return context.set_output(0, y);
  }
  ir::ValueId y = x;
  for (size_t i = 0; i < 2; ++i) {
    HAI_TRY(const ir::ValueId bound, context.optional_input(i + 1));
    if (bound == ir::kNone) continue;
    HAI_TRY(y, context.emit(i == 0 ? "max" : "min", {y, bound}));
  }
  return context.set_output(0, y);
}

}  // namespace

void register_clip_onnx(ImportRegistry& registry);
void register_clip_onnx(ImportRegistry& registry) { registry.add("Clip", convert_clip); }

}  // namespace hai::onnx_import
