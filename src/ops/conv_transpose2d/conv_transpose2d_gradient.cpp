// Gradients of conv_transpose2d: that of x is a conv2d of dy, that of the weights conv2d_weight_gradient with x and dy
// in each other's place; both have the weights the other way round, so they are transposed group by group.
//
// output_padding only says how many rows and columns there are at the end: they take part where a window sees them. As
// many as a stride or more (a dilation allows that) are places that the conv2d has and x does not: these are cut from
// its result, and x has zeros there.
#include <array>

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

// [O, KH, KW, I] with O outputs and I inputs a group to [groups I, KH, KW, O / groups].
Result<ValueId> turned(GradientContext& context, ValueId weights, int64_t groups) {
  const Shape w = context.shape(weights);
  const Dim outputs(w[0].value / groups);
  HAI_TRY(const ValueId split, context.reshape(weights, {Dim(groups), outputs, w[1], w[2], w[3]}));
  HAI_TRY(const ValueId moved, context.transpose(split, {0, 4, 2, 3, 1}));
  return context.reshape(moved, {Dim(groups * w[3].value), w[1], w[2], outputs});
}

// `x` and this many rows and columns of zeros at its end.
Result<ValueId> padded(GradientContext& context, ValueId x, const std::array<int64_t, 2>& more) {
  if (more[0] == 0 && more[1] == 0) return x;
  return context.append("pad", {x}, {{"pads", std::vector<int64_t>{0, 0, 0, 0, 0, more[0], more[1], 0}}});
}

// `y` without as many at its end.
Result<ValueId> cut(GradientContext& context, ValueId y, const std::array<int64_t, 2>& more) {
  if (more[0] == 0 && more[1] == 0) return y;
  const Shape shape = context.shape(y);
  return context.append("slice", {y},
                        {{"axes", std::vector<int64_t>{1, 2}},
                         {"starts", std::vector<int64_t>{0, 0}},
                         {"ends", std::vector<int64_t>{shape[1].value - more[0], shape[2].value - more[1]}}});
}

Result<std::vector<ValueId>> rule(GradientContext& context) {
  const ir::Node& node = context.node();
  if (node.string_attribute("activation", "none") != "none")
    return context.refuse("a fused activation has no gradient here; differentiate before fusing");
  const ValueId x = context.input(0);
  const ValueId weights = context.input(1);
  if (!is_float(context.type(x).dtype) || context.type(weights).dtype != context.type(x).dtype)
    return context.refuse("x and weights must be of one float type");
  const auto padding = node.ints_attribute("output_padding", {0, 0});
  const auto strides = node.ints_attribute("strides", {1, 1});
  const std::array<int64_t, 2> more = {padding[0] / strides[0], padding[1] / strides[1]};
  const int64_t groups = node.int_attribute("groups", 1);
  std::vector<ValueId> out(3, kNone);
  if (context.wants(0)) {
    HAI_TRY(const ValueId filter, turned(context, weights, groups));
    HAI_TRY(const ValueId seen, context.append("conv2d", {context.dy(), filter}, window_of(node)));
    HAI_TRY(out[0], cut(context, seen, more));
  }
  if (context.wants(1)) {
    ir::Attributes attributes = window_of(node);
    const Shape& w = context.shape(weights);
    attributes["kernel"] = std::vector<int64_t>{w[1].value, w[2].value};
    HAI_TRY(const ValueId fed, padded(context, x, more));
    HAI_TRY(const ValueId filter, context.append("conv2d_weight_gradient", {context.dy(), fed}, std::move(attributes)));
    HAI_TRY(out[1], turned(context, filter, groups));
  }
  if (context.wants(2)) {
    HAI_TRY(out[2], context.sum_to_input(context.dy(), 2));
  }
  return out;
}

}  // namespace

void register_conv_transpose2d_gradient(GradientRegistry& registry);
void register_conv_transpose2d_gradient(GradientRegistry& registry) { registry.add("conv_transpose2d", rule); }

}  // namespace hai::ops
