// ONNX Split: sizes as an attribute (before operator set 13), as a constant operand, or in equal parts.
//
// Equal parts are of the size rounded up, with a smaller last one. A free dimension is not split.
#include "base/checked.h"
#include "importers/onnx/import_registry.h"

namespace hai::onnx_import {
namespace {

Status convert_split(ImportContext& context) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  HAI_TRY(const int64_t axis, context.axis(context.int_attribute("axis", 0), context.rank(x)));
  const Dim size = context.shape(x)[static_cast<size_t>(axis)];
  if (size.is_symbolic()) return context.unsupported("splitting a free dimension is not supported");
  const auto parts = static_cast<int64_t>(context.node().outputs.size());
  std::vector<int64_t> sizes = context.ints_attribute("split");
  if (context.has_input(1)) {
    HAI_TRY(sizes, context.numbers(1, "the sizes"));
  }
  if (sizes.empty()) {  // equal parts, a smaller last one
    const int64_t chunk = ceil_div(size.value, parts);
    if (chunk * (parts - 1) > size.value) return context.invalid("more parts than elements");
    sizes.assign(static_cast<size_t>(parts), chunk);
    sizes.back() = size.value - chunk * (parts - 1);
  }
  if (static_cast<int64_t>(sizes.size()) != parts)
    return context.invalid("the number of sizes is not that of its outputs");
  HAI_TRY(const std::vector<ir::ValueId> y,
          context.emit_many("split", {x}, {{"axis", axis}, {"sizes", sizes}}, sizes.size()));
  for (size_t i = 0; i < y.size(); ++i) HAI_TRY_STATUS(context.set_output(i, y[i]));
  return {};
}

}  // namespace

void register_split_onnx(ImportRegistry& registry);
void register_split_onnx(ImportRegistry& registry) { registry.add("Split", convert_split); }

}  // namespace hai::onnx_import
