// ONNX Gather: constant indices are made positive and checked here.
//
// One constant index is a slice (and loses its axis), which passes understand better than a look-up.
#include <fmt/format.h>

#include "importers/onnx/import_registry.h"
#include "ops/build.h"

namespace hai::onnx_import {
namespace {

// A known index, made positive; an error when it is out of range.
Result<int64_t> positive_index(ImportContext& context, int64_t index, const Dim& size) {
  if (size.is_symbolic() ? index != 0 : (index < -size.value || index >= size.value)) {
    return context.unsupported(fmt::format("index {} is out of range, or not 0 in a free dimension", index));
  }
  return index < 0 ? index + size.value : index;
}

Status convert_gather(ImportContext& context) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  HAI_TRY(const int64_t axis, context.axis(context.int_attribute("axis", 0), context.rank(x)));
  const auto at = static_cast<size_t>(axis);
  const Shape shape = context.shape(x);
  HAI_TRY(const std::optional<KnownInts> known, context.known(1));
  if (!known || !known->is_numeric()) {
    HAI_TRY(const ir::ValueId indices, context.input(1));
    HAI_TRY(const ir::ValueId y, context.emit("gather", {x, indices}, {{"axis", axis}}));
    return context.set_output(0, y);
  }
  std::vector<int64_t> indices;
  for (const Dim& index : known->values) {
    HAI_TRY(const int64_t positive, positive_index(context, index.value, shape[at]));
    indices.push_back(positive);
  }
  if (known->dims.empty() && !shape[at].is_symbolic()) {
    HAI_TRY(const ir::ValueId part, context.emit("slice", {x},
                                                 {{"starts", std::vector<int64_t>{indices[0]}},
                                                  {"ends", std::vector<int64_t>{indices[0] + 1}},
                                                  {"axes", std::vector<int64_t>{axis}},
                                                  {"steps", std::vector<int64_t>{1}}}));
    Shape out = shape;
    out.erase(out.begin() + axis);
    HAI_TRY(const ir::ValueId y, context.reshape(part, out));
    return context.set_output(0, y);
  }
  const ir::ValueId constant =
      ops::add_constant_i64(context.graph(), context.node().label() + ".indices", known->dims, indices);
  HAI_TRY(const ir::ValueId y, context.emit("gather", {x, constant}, {{"axis", axis}}));
  return context.set_output(0, y);
}

}  // namespace

void register_gather_onnx(ImportRegistry& registry);
void register_gather_onnx(ImportRegistry& registry) { registry.add("Gather", convert_gather); }

}  // namespace hai::onnx_import
