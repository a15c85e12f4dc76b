// ONNX Pad: amounts as an attribute (before operator set 11) or a constant operand.
//
// Negative amounts cut and become a slice. Mode wrap is refused by name.
#include <algorithm>
#include <numeric>

#include "importers/onnx/import_registry.h"

namespace hai::onnx_import {
namespace {

// Amounts for every axis, befores then afters.
Result<std::vector<int64_t>> read_pads(ImportContext& context, size_t rank) {
  std::vector<int64_t> given = context.ints_attribute("pads");
  if (context.has_input(1)) {
    HAI_TRY(given, context.numbers(1, "the pads"));
  }
  std::vector<int64_t> axes(rank);
  std::iota(axes.begin(), axes.end(), 0);
  if (context.has_input(3)) {
    HAI_TRY(axes, context.numbers(3, "the axes"));
  }
  if (given.size() != 2 * axes.size()) return context.invalid("pads must have two numbers for each axis");
  std::vector<int64_t> pads(2 * rank, 0);
  for (size_t i = 0; i < axes.size(); ++i) {
    HAI_TRY(const int64_t axis, context.axis(axes[i], rank));
    pads[static_cast<size_t>(axis)] = given[i];
    pads[static_cast<size_t>(axis) + rank] = given[i + axes.size()];
  }
  return pads;
}

// Cuts off what negative amounts say, and sets them to 0.
Result<ir::ValueId> cut(ImportContext& context, ir::ValueId x, std::vector<int64_t>& pads) {
  const size_t rank = context.rank(x);
  std::vector<int64_t> starts;
  std::vector<int64_t> ends;
  std::vector<int64_t> axes;
  for (size_t i = 0; i < rank; ++i) {
    if (pads[i] >= 0 && pads[i + rank] >= 0) continue;
    const Dim size = context.shape(x)[i];
    const int64_t before = std::max<int64_t>(0, pads[i] == INT64_MIN ? INT64_MAX : -pads[i]);
    const int64_t after = std::max<int64_t>(0, pads[i + rank] == INT64_MIN ? INT64_MAX : -pads[i + rank]);
    if (size.is_symbolic() || before > size.value || after > size.value - before) {
      return context.invalid("it cuts more than there is");
    }
    starts.push_back(before);
    ends.push_back(size.value - after);
    axes.push_back(static_cast<int64_t>(i));
    pads[i] = std::max<int64_t>(0, pads[i]);
    pads[i + rank] = std::max<int64_t>(0, pads[i + rank]);
  }
  if (axes.empty()) return x;
  return context.emit(
      "slice", {x},
      {{"starts", starts}, {"ends", ends}, {"axes", axes}, {"steps", std::vector<int64_t>(axes.size(), 1)}});
}

Status convert_pad(ImportContext& context) {
  HAI_TRY(ir::ValueId x, context.input(0));
  HAI_TRY(std::vector<int64_t> pads, read_pads(context, context.rank(x)));
  const std::string mode = context.string_attribute("mode", "constant");
  if (mode != "constant" && mode != "reflect" && mode != "edge") {
    return context.unsupported("mode \"" + mode + "\" is not supported; constant, reflect and edge are");
  }
  double value = context.float_attribute("value", 0.0);
  if (context.has_input(2) && mode == "constant") {
    HAI_TRY(const std::vector<double> given, context.reals(2, "the value"));
    if (given.size() != 1) return context.invalid("the value must be one number");
    value = given[0];
  }
  HAI_TRY(x, cut(context, x, pads));
  ir::ValueId y = x;
  if (std::any_of(pads.begin(), pads.end(), [](int64_t amount) { return amount != 0; })) {
    HAI_TRY(y, context.emit("pad", {x}, {{"pads", pads}, {"mode", mode}, {"value", value}}));
  }
  return context.set_output(0, y);
}

}  // namespace

void register_pad_onnx(ImportRegistry& registry);
void register_pad_onnx(ImportRegistry& registry) { registry.add("Pad", convert_pad); }

}  // namespace hai::onnx_import
