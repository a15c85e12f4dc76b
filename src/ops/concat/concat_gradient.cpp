// The gradients of concat: each input's is its part of dy, a slice.
// Only the wanted parts are cut. Inputs have sizes that are numbers along the axis, unless there is one input alone,
// which may be symbolic there.
#include "ops/gradient.h"

namespace hai::ops {
namespace {

Result<std::vector<ir::ValueId>> rule(GradientContext& context) {
  const ir::Node& node = context.node();
  const auto rank = static_cast<int64_t>(context.shape(context.output()).size());
  const int64_t given = node.int_attribute("axis", 0);
  const int64_t axis = given < 0 ? given + rank : given;
  std::vector<ir::ValueId> out(node.inputs.size(), ir::kNone);
  int64_t start = 0;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const Dim size = context.shape(node.inputs[i])[static_cast<size_t>(axis)];
    if (size.is_symbolic()) {
      if (node.inputs.size() > 1)
        return context.refuse("it joins along a symbolic axis; bind that dimension to a number");
      out[i] = context.dy();
      break;
    }
    if (context.wants(i)) {
      HAI_TRY(out[i], context.append("slice", {context.dy()},
                                     {{"axes", std::vector<int64_t>{axis}},
                                      {"starts", std::vector<int64_t>{start}},
                                      {"ends", std::vector<int64_t>{start + size.value}}}));
    }
    start += size.value;
  }
  return out;
}

}  // namespace

void register_concat_gradient(GradientRegistry& registry);
void register_concat_gradient(GradientRegistry& registry) { registry.add("concat", rule); }

}  // namespace hai::ops
