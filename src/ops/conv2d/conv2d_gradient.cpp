// Gradients of conv2d: that of x by conv2d_input_gradient, that of the weights by conv2d_weight_gradient, that of the
// bias is the sum over images and pixels, that of the residual is dy.
// Floats of one type only: quantized weights are differentiated through dequantize.
#include "ops/gradient.h"

namespace hai::ops {
namespace {

using ir::kNone;
using ir::ValueId;

ir::Attributes window_of(const ir::Node& node) {
  ir::Attributes out;
  for (const char* name : {"strides", "pads", "dilations", "groups"}) {
    const auto it = node.attributes.find(name);
    if (it != node.attributes.end()) out[name] = it->second;
  }
  return out;
}

Result<std::vector<ValueId>> rule(GradientContext& context) {
  const ir::Node& node = context.node();
  if (node.string_attribute("activation", "none") != "none" ||
      node.string_attribute("residual_activation", "none") != "none") {
    return context.refuse("a fused activation has no gradient here; differentiate before fusing");
  }
  const ValueId x = context.input(0);
  const ValueId weights = context.input(1);
  if (!is_float(context.type(x).dtype) || context.type(weights).dtype != context.type(x).dtype) {
    return context.refuse("x and weights must be of one float type");
  }
  std::vector<ValueId> out(4, kNone);
  const auto sizes = [](const Shape& shape) { return std::vector<int64_t>{shape[1].value, shape[2].value}; };
  if (context.wants(0)) {
    ir::Attributes attributes = window_of(node);
    attributes["size"] = sizes(context.shape(x));
    HAI_TRY(out[0], context.append("conv2d_input_gradient", {context.dy(), weights}, std::move(attributes)));
  }
  if (context.wants(1)) {
    ir::Attributes attributes = window_of(node);
    attributes["kernel"] = sizes(context.shape(weights));
    HAI_TRY(out[1], context.append("conv2d_weight_gradient", {x, context.dy()}, std::move(attributes)));
  }
  for (const size_t i : {size_t{2}, size_t{3}}) {  // bias and residual are added
    if (!context.wants(i)) continue;
    HAI_TRY(out[i], context.sum_to_input(context.dy(), i));
  }
  return out;
}

}  // namespace

void register_conv2d_gradient(GradientRegistry& registry);
void register_conv2d_gradient(GradientRegistry& registry) { registry.add("conv2d", rule); }

}  // namespace hai::ops
