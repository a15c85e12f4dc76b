// ONNX Concat: the core's own operator.
//
// Joining shape vectors, free dimensions included, never gets here: see shape_arithmetic.cpp.
#include "importers/onnx/import_registry.h"

namespace hai::onnx_import {
namespace {

Status convert_concat(ImportContext& context) {
  std::vector<ir::ValueId> operands;
  for (size_t i = 0; i < context.input_count(); ++i) {
    HAI_TRY(const ir::ValueId operand, context.input(i));
    operands.push_back(operand);
  }
  if (operands.empty()) return context.invalid("it has no operands");
  HAI_TRY(const int64_t axis, context.axis(context.int_attribute("axis", 1), context.rank(operands[0])));
  HAI_TRY(const ir::ValueId y, context.emit("concat", std::move(operands), {{"axis", axis}}));
  return context.set_output(0, y);
}

}  // namespace

void register_concat_onnx(ImportRegistry& registry);
void register_concat_onnx(ImportRegistry& registry) { registry.add("Concat", convert_concat); }

}  // namespace hai::onnx_import
