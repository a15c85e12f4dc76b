// ONNX Softmax and LogSoftmax.
//
// Before operator set 13 they work on a matrix made of everything before and everything from the axis on. LogSoftmax is
// x - max - log(sum(exp(x - max))), which keeps the precision that the logarithm of a softmax would lose.
#include "importers/onnx/import_registry.h"

namespace hai::onnx_import {
namespace {

Result<ir::ValueId> log_softmax(ImportContext& context, ir::ValueId x, int64_t axis) {
  const ir::Attributes reduction = {{"axes", std::vector<int64_t>{axis}}, {"keep_dims", int64_t{1}}};
  HAI_TRY(const ir::ValueId largest, context.emit("reduce_max", {x}, reduction));
  HAI_TRY(const ir::ValueId shifted, context.emit("sub", {x, largest}));
  HAI_TRY(const ir::ValueId powers, context.emit("exp", {shifted}));
  HAI_TRY(const ir::ValueId sum, context.emit("reduce_sum", {powers}, reduction));
  HAI_TRY(const ir::ValueId logarithm, context.emit("log", {sum}));
  return context.emit("sub", {shifted, logarithm});
}

Status convert(ImportContext& context, bool logarithmic) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  const Shape shape = context.shape(x);
  const bool as_matrix = context.opset() < 13;
  HAI_TRY(int64_t axis, context.axis(context.int_attribute("axis", as_matrix ? 1 : -1), shape.size()));
  ir::ValueId operand = x;
  if (as_matrix && static_cast<size_t>(axis) + 1 != shape.size()) {
    const auto rows = element_count(std::span(shape).first(static_cast<size_t>(axis)));
    const auto columns = element_count(std::span(shape).subspan(static_cast<size_t>(axis)));
    HAI_TRY(operand, context.reshape(x, {*rows, *columns}));
    axis = 1;
  }
  HAI_TRY(const ir::ValueId y,
          logarithmic ? log_softmax(context, operand, axis) : context.emit("softmax", {operand}, {{"axis", axis}}));
  HAI_TRY(const ir::ValueId out, context.reshape(y, shape));
  return context.set_output(0, out);
}

}  // namespace

void register_softmax_onnx(ImportRegistry& registry);
void register_softmax_onnx(ImportRegistry& registry) {
  registry.add("Softmax", [](ImportContext& context) { return convert(context, false); });
  registry.add("LogSoftmax", [](ImportContext& context) { return convert(context, true); });
}

}  // namespace hai::onnx_import
