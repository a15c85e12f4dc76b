// ONNX Expand and Tile: repetition along axes of size 1 is expand, along others a concat of copies.
//
// The wanted shape must be known at import. A free dimension stays as it is, or, first in the wanted shape, is lent by
// an input of the graph that begins with it.
#include <fmt/format.h>

#include <algorithm>

#include "importers/onnx/import_registry.h"

namespace hai::onnx_import {
namespace {

// A graph input whose first dimension is `batch`; kNone.
ir::ValueId input_with_batch(ImportContext& context, Dim batch) {
  for (const ir::ValueId input : context.graph().inputs()) {
    const Shape& shape = context.graph().value(input).type.shape;
    if (!shape.empty() && shape[0] == batch) return input;
  }
  return ir::kNone;
}

Result<ir::ValueId> expand_to(ImportContext& context, ir::ValueId x, const Shape& target) {
  const Shape shape = context.shape(x);
  if (shape == target) return x;
  const bool over_batch = target[0].is_symbolic() && (shape.size() < target.size() || shape[0] == Dim(1));
  const ir::ValueId batch = over_batch ? input_with_batch(context, target[0]) : ir::kNone;
  std::vector<int64_t> sizes;
  for (size_t i = 0; i < target.size(); ++i) {
    const size_t added = target.size() - shape.size();
    const bool kept = (i >= added && shape[i - added] == target[i]) || (i == 0 && batch != ir::kNone);
    if (!kept && target[i].is_symbolic()) {
      return context.unsupported(
          fmt::format("expanding {} to {} repeats along a free dimension, which is not supported; "
                      "bind it with --dim",
                      to_string(shape, context.graph().symbols), to_string(target, context.graph().symbols)));
    }
    sizes.push_back(kept ? -1 : target[i].value);
  }
  std::vector<ir::ValueId> operands = {x};
  if (batch != ir::kNone) operands.push_back(batch);
  return context.emit("expand", std::move(operands), {{"shape", sizes}});
}

Status convert_expand(ImportContext& context) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  HAI_TRY(std::vector<Dim> target, context.known_dims(1, "the shape"));
  const Shape shape = context.shape(x);
  if (target.size() > size_t{kMaxRank}) return context.unsupported(fmt::format("more than {} dimensions", kMaxRank));
  // Both ways: a 1 in the wanted shape keeps the input's dimension.
  while (target.size() < shape.size()) target.insert(target.begin(), Dim(1));
  for (size_t i = 0; i < shape.size(); ++i) {
    Dim& wanted = target[target.size() - 1 - i];
    if (wanted == Dim(1)) wanted = shape[shape.size() - 1 - i];
  }
  HAI_TRY(const ir::ValueId y, expand_to(context, x, target));
  return context.set_output(0, y);
}

Status convert_tile(ImportContext& context) {
  HAI_TRY(ir::ValueId y, context.input(0));
  HAI_TRY(const std::vector<int64_t> repeats, context.numbers(1, "the repeats"));
  if (repeats.size() != context.rank(y)) return context.invalid("the repeats must have one entry for each dimension");
  constexpr int64_t kMaxCopies = 4096;
  for (size_t i = 0; i < repeats.size(); ++i) {
    const Shape shape = context.shape(y);
    if (repeats[i] == 1) continue;
    if (shape[i] == Dim(1) && repeats[i] > 0) {
      Shape target = shape;
      target[i] = Dim(repeats[i]);
      HAI_TRY(y, expand_to(context, y, target));
      continue;
    }
    if (repeats[i] < 1 || repeats[i] > kMaxCopies) {
      return context.unsupported(fmt::format("{} repeats are not supported, 1 to {} are", repeats[i], kMaxCopies));
    }
    HAI_TRY(y, context.emit("concat", std::vector<ir::ValueId>(static_cast<size_t>(repeats[i]), y),
                            {{"axis", static_cast<int64_t>(i)}}));
  }
  return context.set_output(0, y);
}

}  // namespace

void register_expand_onnx(ImportRegistry& registry);
void register_expand_onnx(ImportRegistry& registry) {
  registry.add("Expand", convert_expand);
  registry.add("Tile", convert_tile);
}

}  // namespace hai::onnx_import
