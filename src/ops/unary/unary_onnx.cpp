// ONNX's element-wise functions: those of the unary table by their names there, and combinations for the rest.
//
// A line of types/unary_table.h with an ONNX name imports without a change here. Gelu's tanh form, Softsign, Selu,
// Celu, ThresholdedRelu and Swish with a factor are written with table functions and arithmetic.
#include <cmath>

#include "importers/onnx/import_registry.h"
#include "types/unary_functions.h"

namespace hai::onnx_import {
namespace {

Status convert_unary(ImportContext& context, const UnaryFunction& function) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  ir::Attributes attributes;
  // ONNX's defaults are the table's, except where a model says otherwise.
  if (function.parameter_count > 0) attributes["alpha"] = context.float_attribute("alpha", function.alpha);
  if (function.parameter_count > 1) attributes["beta"] = context.float_attribute("beta", function.beta);
  HAI_TRY(const ir::ValueId y, context.emit(function.name, {x}, std::move(attributes)));
  return context.set_output(0, y);
}

// x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
Result<ir::ValueId> tanh_gelu(ImportContext& context, ir::ValueId x) {
  HAI_TRY(const ir::ValueId squared, context.emit("square", {x}));
  HAI_TRY(const ir::ValueId cubic, context.emit("mul", {squared, context.scalar_like(x, 0.044715)}));
  HAI_TRY(const ir::ValueId factor, context.emit("add", {cubic, context.scalar_like(x, 1.0)}));
  HAI_TRY(const ir::ValueId scaled,
          context.emit("mul", {x, context.scalar_like(x, std::sqrt(2.0 / 3.14159265358979323846))}));
  HAI_TRY(const ir::ValueId inner, context.emit("mul", {scaled, factor}));
  HAI_TRY(const ir::ValueId curve, context.emit("tanh", {inner}));
  HAI_TRY(const ir::ValueId shifted, context.emit("add", {curve, context.scalar_like(x, 1.0)}));
  HAI_TRY(const ir::ValueId half, context.emit("mul", {x, context.scalar_like(x, 0.5)}));
  return context.emit("mul", {half, shifted});
}

Status convert_gelu(ImportContext& context) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  const std::string approximate = context.string_attribute("approximate", "none");
  if (approximate != "none" && approximate != "tanh")
    return context.invalid("attribute \"approximate\" is none of none, tanh");
  HAI_TRY(const ir::ValueId y, approximate == "tanh" ? tanh_gelu(context, x) : context.emit("gelu", {x}));
  return context.set_output(0, y);
}

// x / (1 + |x|)
Status convert_softsign(ImportContext& context) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  HAI_TRY(const ir::ValueId size, context.emit("abs", {x}));
  HAI_TRY(const ir::ValueId divisor, context.emit("add", {size, context.scalar_like(x, 1.0)}));
  HAI_TRY(const ir::ValueId y, context.emit("div", {x, divisor}));
  return context.set_output(0, y);
}

// gamma * elu(x, alpha)
Status convert_selu(ImportContext& context) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  const double alpha = context.float_attribute("alpha", 1.67326319217681884765625);
  const double gamma = context.float_attribute("gamma", 1.05070102214813232421875);
  HAI_TRY(const ir::ValueId curve, context.emit("elu", {x}, {{"alpha", alpha}}));
  HAI_TRY(const ir::ValueId y, context.emit("mul", {curve, context.scalar_like(x, gamma)}));
  return context.set_output(0, y);
}

// alpha * elu(x / alpha)
Status convert_celu(ImportContext& context) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  const double alpha = context.float_attribute("alpha", 1.0);
  HAI_TRY(const ir::ValueId scaled, context.emit("div", {x, context.scalar_like(x, alpha)}));
  HAI_TRY(const ir::ValueId curve, context.emit("elu", {scaled}, {{"alpha", 1.0}}));
  HAI_TRY(const ir::ValueId y, context.emit("mul", {curve, context.scalar_like(x, alpha)}));
  return context.set_output(0, y);
}

// x sigmoid(alpha x)
Status convert_swish(ImportContext& context) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  const double alpha = context.float_attribute("alpha", 1.0);
  if (alpha == 1.0) {
    HAI_TRY(const ir::ValueId y, context.emit("silu", {x}));
    return context.set_output(0, y);
  }
  HAI_TRY(const ir::ValueId scaled, context.emit("mul", {x, context.scalar_like(x, alpha)}));
  HAI_TRY(const ir::ValueId gate, context.emit("sigmoid", {scaled}));
  HAI_TRY(const ir::ValueId y, context.emit("mul", {x, gate}));
  return context.set_output(0, y);
}

}  // namespace

void register_unary_onnx(ImportRegistry& registry);
void register_unary_onnx(ImportRegistry& registry) {
  for (const UnaryFunction& function : unary_functions()) {
    if (function.onnx_name.empty() || function.onnx_name == "Gelu") continue;
    registry.add(function.onnx_name, [&function](ImportContext& context) { return convert_unary(context, function); });
  }
  registry.add("Gelu", convert_gelu);
  registry.add("Gelu", convert_gelu, "com.microsoft");
  registry.add("Softsign", convert_softsign);
  registry.add("Selu", convert_selu);
  registry.add("Celu", convert_celu);
  registry.add("Swish", convert_swish);
}

}  // namespace hai::onnx_import
