// ONNX Slice: bounds as attributes (before operator set 10) or constant operands, clamped as NumPy does.
//
// A free dimension can only be taken whole: from 0 to its end or past it. Axes taken whole are left out of the node.
#include <algorithm>
#include <numeric>

#include "importers/onnx/import_registry.h"

namespace hai::onnx_import {
namespace {

struct Bounds {
  std::vector<Dim> starts;
  std::vector<Dim> ends;
  std::vector<int64_t> axes;
  std::vector<int64_t> steps;
};

std::vector<Dim> as_dims(const std::vector<int64_t>& numbers) { return {numbers.begin(), numbers.end()}; }

Result<Bounds> read_bounds(ImportContext& context, size_t rank) {
  Bounds bounds;
  if (context.opset() < 10) {
    bounds.starts = as_dims(context.ints_attribute("starts"));
    bounds.ends = as_dims(context.ints_attribute("ends"));
    bounds.axes = context.ints_attribute("axes");
  } else {
    HAI_TRY(bounds.starts, context.known_dims(1, "the starts"));
    HAI_TRY(bounds.ends, context.known_dims(2, "the ends"));
    if (context.has_input(3)) {
      HAI_TRY(bounds.axes, context.numbers(3, "the axes"));
    }
    if (context.has_input(4)) {
      HAI_TRY(bounds.steps, context.numbers(4, "the steps"));
    }
  }
  const size_t count = bounds.starts.size();
  if (bounds.axes.empty()) {
    bounds.axes.resize(count);
    std::iota(bounds.axes.begin(), bounds.axes.end(), 0);
  }
  if (bounds.steps.empty()) bounds.steps.assign(count, 1);
  if (bounds.ends.size() != count || bounds.axes.size() != count || bounds.steps.size() != count) {
    return context.invalid("starts, ends, axes and steps must have as many entries");
  }
  for (int64_t& axis : bounds.axes) {
    HAI_TRY(axis, context.axis(axis, rank));
  }
  return bounds;
}

// A bound of NumPy -> [0, size] going up, [-1, size - 1] going down.
int64_t clamp_bound(int64_t bound, int64_t size, bool up) {
  const int64_t from_start = bound >= 0 ? bound : (bound < -size ? -1 : bound + size);
  return up ? std::clamp<int64_t>(from_start, 0, size) : std::clamp<int64_t>(from_start, -1, size - 1);
}

Status convert_slice(ImportContext& context) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  const Shape shape = context.shape(x);
  HAI_TRY(const Bounds bounds, read_bounds(context, shape.size()));
  std::vector<int64_t> starts;
  std::vector<int64_t> ends;
  std::vector<int64_t> axes;
  std::vector<int64_t> steps;
  for (size_t i = 0; i < bounds.axes.size(); ++i) {
    const Dim size = shape[static_cast<size_t>(bounds.axes[i])];
    const Dim start = bounds.starts[i];
    const Dim end = bounds.ends[i];
    const int64_t step = bounds.steps[i];
    const int64_t least_maximum = int64_t{1} << 31;  // exporters write INT32_MAX or INT64_MAX for "to the end"
    if (size.is_symbolic() || start.is_symbolic() || end.is_symbolic()) {
      const bool whole =
          step == 1 && start == Dim(0) && (end == size || (!end.is_symbolic() && end.value >= least_maximum - 1));
      if (whole) continue;
      return context.unsupported("a part of a free dimension is not supported; bind it with --dim");
    }
    if (step == 0 || step == INT64_MIN) return context.invalid("a step is 0 or out of range");
    const bool up = step > 0;
    int64_t first = clamp_bound(start.value, size.value, up);
    if (!up && start.value < -size.value) first = std::min<int64_t>(0, size.value - 1);
    const int64_t last = clamp_bound(end.value, size.value, up);
    if (up && step == 1 && first == 0 && last == size.value) continue;
    starts.push_back(first);
    ends.push_back(up ? std::max(first, last) : std::min(first, last));
    axes.push_back(bounds.axes[i]);
    // A step past the size takes one element, whatever its length.
    steps.push_back(std::clamp<int64_t>(step, -std::max<int64_t>(size.value, 1), std::max<int64_t>(size.value, 1)));
  }
  if (axes.empty()) return context.set_output(0, x);
  HAI_TRY(const ir::ValueId y,
          context.emit("slice", {x}, {{"starts", starts}, {"ends", ends}, {"axes", axes}, {"steps", steps}}));
  return context.set_output(0, y);
}

}  // namespace

void register_slice_onnx(ImportRegistry& registry);
void register_slice_onnx(ImportRegistry& registry) { registry.add("Slice", convert_slice); }

}  // namespace hai::onnx_import
