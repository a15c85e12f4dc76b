// ONNX's element-wise arithmetic of two or more operands.
//
// Add, Sub, Mul, Div and Pow are the core's; Min, Max, Sum and Mean take any number of operands and become chains. All
// broadcast as NumPy does (operator sets from 7 on).
#include "importers/onnx/import_registry.h"

namespace hai::onnx_import {
namespace {

Status convert_binary(ImportContext& context, std::string_view op) {
  HAI_TRY(const ir::ValueId a, context.input(0));
  HAI_TRY(ir::ValueId b, context.input(1));
  const DataType left = context.type(a).dtype;
  const DataType right = context.type(b).dtype;
  if (op == "pow" && left != right) {  // Pow alone may mix types: the result has that of the base
    if (!is_float(left))
      return context.unsupported("a power of integers with an exponent of another type is not supported");
    HAI_TRY(b, context.emit("cast", {b}, {{"dtype", std::string(data_type_name(left))}}));
  }
  HAI_TRY(const ir::ValueId y, context.emit(op, {a, b}));
  return context.set_output(0, y);
}

Result<ir::ValueId> chain(ImportContext& context, std::string_view op) {
  HAI_TRY(ir::ValueId y, context.input(0));
  for (size_t i = 1; i < context.input_count(); ++i) {
    HAI_TRY(const ir::ValueId next, context.input(i));
    HAI_TRY(y, context.emit(op, {y, next}));
  }
  return y;
}

Status convert_chain(ImportContext& context, std::string_view op) {
  HAI_TRY(const ir::ValueId y, chain(context, op));
  return context.set_output(0, y);
}

Status convert_mean(ImportContext& context) {
  HAI_TRY(const ir::ValueId sum, chain(context, "add"));
  const auto count = static_cast<double>(context.input_count());
  HAI_TRY(const ir::ValueId y, context.emit("div", {sum, context.scalar_like(sum, count)}));
  return context.set_output(0, y);
}

}  // namespace

void register_binary_onnx(ImportRegistry& registry);
void register_binary_onnx(ImportRegistry& registry) {
  const auto add_binary = [&](std::string_view name, std::string_view op) {
    registry.add(name, [op](ImportContext& context) { return convert_binary(context, op); });
  };
  add_binary("Add", "add");
  add_binary("Sub", "sub");
  add_binary("Mul", "mul");
  add_binary("Div", "div");
  add_binary("Pow", "pow");
  add_binary("PRelu", "prelu");  // the slope broadcasts to x from the right
  registry.add("Min", [](ImportContext& context) { return convert_chain(context, "min"); });
  registry.add("Max", [](ImportContext& context) { return convert_chain(context, "max"); });
  registry.add("Sum", [](ImportContext& context) { return convert_chain(context, "add"); });
  registry.add("Mean", convert_mean);
}

}  // namespace hai::onnx_import
