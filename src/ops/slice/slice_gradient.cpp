// The gradient of slice: dx is dy set among zeros.
// Along each axis dy is reversed where the step is negative, spread out where it is longer than 1 (a pad between two
// reshapes), and padded to the size of x. Symbolic axes are taken whole and stay as they are.
#include "ops/gradient.h"

namespace hai::ops {
namespace {

using ir::ValueId;

// The elements of one axis that were taken, in ascending order: first + i * step, i < count.
struct Taken {
  int64_t axis;
  int64_t first;
  int64_t step;  // > 0
  int64_t count;
  bool reversed;
};

// `dy` with that axis as long as in x.
Result<ValueId> spread(GradientContext& context, ValueId dy, const Taken& taken, int64_t size) {
  const auto axis = static_cast<size_t>(taken.axis);
  if (taken.reversed) {
    HAI_TRY(dy, context.append("slice", {dy},
                               {{"axes", std::vector<int64_t>{taken.axis}},
                                {"starts", std::vector<int64_t>{taken.count - 1}},
                                {"ends", std::vector<int64_t>{-1}},
                                {"steps", std::vector<int64_t>{-1}}}));
  }
  Shape shape = context.shape(dy);
  if (taken.step > 1) {  // [.., count, ..] -> [.., count, 1, ..] -> [.., count, step, ..] -> [.., count * step, ..]
    if (shape.size() == static_cast<size_t>(kMaxRank)) return context.refuse("a step on a tensor of the highest rank");
    Shape wide = shape;
    wide.insert(wide.begin() + static_cast<std::ptrdiff_t>(axis) + 1, Dim(1));
    HAI_TRY(const ValueId column, context.reshape(dy, wide));
    std::vector<int64_t> pads(2 * wide.size(), 0);
    pads[wide.size() + axis + 1] = taken.step - 1;
    HAI_TRY(const ValueId padded, context.append("pad", {column}, {{"pads", std::move(pads)}}));
    shape[axis] = Dim(taken.count * taken.step);
    HAI_TRY(dy, context.reshape(padded, shape));
  }
  // The last step may reach past the end.
  const int64_t room = size - taken.first;
  if (taken.count * taken.step > room) {
    HAI_TRY(dy, context.append("slice", {dy},
                               {{"axes", std::vector<int64_t>{taken.axis}},
                                {"starts", std::vector<int64_t>{0}},
                                {"ends", std::vector<int64_t>{room}}}));
  }
  const int64_t behind = std::max<int64_t>(room - taken.count * taken.step, 0);
  if (taken.first == 0 && behind == 0) return dy;
  std::vector<int64_t> pads(2 * shape.size(), 0);
  pads[axis] = taken.first;
  pads[shape.size() + axis] = behind;
  return context.append("pad", {dy}, {{"pads", std::move(pads)}});
}

Result<std::vector<ValueId>> rule(GradientContext& context) {
  const ir::Node& node = context.node();
  const Shape x = context.shape(context.input(0));
  const Shape y = context.shape(context.output());
  const std::vector<int64_t> axes = node.ints_attribute("axes");
  const std::vector<int64_t> starts = node.ints_attribute("starts");
  const std::vector<int64_t> steps = node.ints_attribute("steps", std::vector<int64_t>(axes.size(), 1));
  ValueId dx = context.dy();
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t axis = axes[i] < 0 ? axes[i] + static_cast<int64_t>(x.size()) : axes[i];
    const Dim& size = x[static_cast<size_t>(axis)];
    if (size.is_symbolic()) continue;  // taken whole
    const int64_t count = y[static_cast<size_t>(axis)].value;
    const bool reversed = steps[i] < 0;
    const int64_t step = reversed ? -steps[i] : steps[i];
    const int64_t first = reversed ? starts[i] - (count - 1) * step : starts[i];
    HAI_TRY(dx, count == 0 ? context.zeros_like(context.input(0))
                           : spread(context, dx, {axis, first, step, count, reversed}, size.value));
    if (count == 0) break;
  }
  return std::vector<ValueId>{dx};
}

}  // namespace

void register_slice_gradient(GradientRegistry& registry);
void register_slice_gradient(GradientRegistry& registry) { registry.add("slice", rule); }

}  // namespace hai::ops
