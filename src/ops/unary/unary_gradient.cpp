// Gradients of the unary functions: dx = dy f'(v), one unary_gradient node, with v the input or the output of the
// function (types/unary_gradient_table.h says which). neg is its own; functions of steps (floor, ceil, round) let
// nothing through.
#include "ops/gradient.h"
#include "types/unary_functions.h"

namespace hai::ops {
namespace {

Result<std::vector<ir::ValueId>> rule(GradientContext& context) {
  const ir::Node& node = context.node();
  const auto gradient = unary_gradient(*find_unary_function(node.op));
  ir::Attributes attributes = {{"function", node.op}};
  for (const char* parameter : {"alpha", "beta"}) {
    if (node.has_attribute(parameter)) attributes[parameter] = node.attributes.find(parameter)->second;
  }
  HAI_TRY(const ir::ValueId dx,
          context.append("unary_gradient", {gradient->of_output ? context.output() : context.input(0), context.dy()},
                         std::move(attributes)));
  return std::vector<ir::ValueId>{dx};
}

Result<std::vector<ir::ValueId>> neg_rule(GradientContext& context) {
  HAI_TRY(const ir::ValueId dx, context.append("neg", {context.dy()}));
  return std::vector<ir::ValueId>{dx};
}

}  // namespace

void register_unary_gradient(GradientRegistry& registry);
void register_unary_gradient(GradientRegistry& registry) {
  for (const UnaryFunction& function : unary_functions()) {
    if (unary_gradient(*find_unary_function(function.name))) {
      registry.add(std::string(function.name), rule);
    } else {
      registry.add_flat(std::string(function.name));
    }
  }
  registry.add("neg", neg_rule);
}

}  // namespace hai::ops
