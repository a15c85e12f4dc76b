// The gradient of pad: dx is dy without the border, to which a border that copies elements (reflect, edge) gives its
// part back. Axis by axis: a border of several axes is one of borders. A symbolic axis may stay as it is, but not be
// padded.
#include "ops/gradient.h"

namespace hai::ops {
namespace {

using ir::ValueId;

struct Axis {
  int64_t axis;
  int64_t size;   // of x
  int64_t begin;  // elements of border in front
  int64_t end;    // and behind
};

Result<ValueId> cut(GradientContext& context, ValueId value, int64_t axis, int64_t start, int64_t end,
                    int64_t step = 1) {
  return context.append("slice", {value},
                        {{"axes", std::vector<int64_t>{axis}},
                         {"starts", std::vector<int64_t>{start}},
                         {"ends", std::vector<int64_t>{end}},
                         {"steps", std::vector<int64_t>{step}}});
}

// Adds `part`, which is shorter than x along the axis, to dx at `offset`.
Result<ValueId> add_at(GradientContext& context, ValueId dx, ValueId part, const Axis& a, int64_t offset) {
  const Shape shape = context.shape(part);
  const int64_t length = shape[static_cast<size_t>(a.axis)].value;
  std::vector<int64_t> pads(2 * shape.size(), 0);
  pads[static_cast<size_t>(a.axis)] = offset;
  pads[shape.size() + static_cast<size_t>(a.axis)] = a.size - offset - length;
  HAI_TRY(const ValueId placed, context.append("pad", {part}, {{"pads", std::move(pads)}}));
  return context.add(dx, placed);
}

// reflect: border element i in front is x[begin - i]; behind, element i is x[size - 2 - i]. edge: all are the edge
// element.
Result<ValueId> give_back(GradientContext& context, ValueId dx, ValueId border, const Axis& a, bool front,
                          bool reflect) {
  const int64_t count = front ? a.begin : a.end;
  if (!reflect) {
    HAI_TRY(const ValueId sum, context.sum_along(border, {a.axis}));
    return add_at(context, dx, sum, a, front ? 0 : a.size - 1);
  }
  HAI_TRY(const ValueId mirrored, cut(context, border, a.axis, count - 1, -1, -1));
  return add_at(context, dx, mirrored, a, front ? 1 : a.size - 1 - count);
}

Result<ValueId> along(GradientContext& context, ValueId dy, const Axis& a, const std::string& mode) {
  HAI_TRY(ValueId dx, cut(context, dy, a.axis, a.begin, a.begin + a.size));
  if (mode == "constant") return dx;
  for (const bool front : {true, false}) {
    if ((front ? a.begin : a.end) == 0) continue;
    HAI_TRY(const ValueId border, front ? cut(context, dy, a.axis, 0, a.begin)
                                        : cut(context, dy, a.axis, a.begin + a.size, a.begin + a.size + a.end));
    HAI_TRY(dx, give_back(context, dx, border, a, front, mode == "reflect"));
  }
  return dx;
}

Result<std::vector<ValueId>> rule(GradientContext& context) {
  const std::vector<int64_t> pads = context.node().ints_attribute("pads");
  const std::string mode = context.node().string_attribute("mode", "constant");
  const Shape shape = context.shape(context.input(0));
  ValueId dx = context.dy();
  for (size_t i = 0; i < shape.size(); ++i) {
    const Axis axis{static_cast<int64_t>(i), shape[i].value, pads[i], pads[i + shape.size()]};
    if (axis.begin == 0 && axis.end == 0) continue;
    if (shape[i].is_symbolic()) return context.refuse("it pads a symbolic axis; bind that dimension to a number");
    HAI_TRY(dx, along(context, dx, axis, mode));
  }
  return std::vector<ValueId>{dx};
}

}  // namespace

void register_pad_gradient(GradientRegistry& registry);
void register_pad_gradient(GradientRegistry& registry) { registry.add("pad", rule); }

}  // namespace hai::ops
