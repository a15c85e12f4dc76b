// ONNX Reshape, Flatten, Squeeze and Unsqueeze: all become reshape, with the batch free where it is.
//
// The target is worked out here as a shape with symbols, so that a -1 beside a free batch, or a shape computed from the
// input's own, still gives one core node.
#include <fmt/format.h>

#include <algorithm>

#include "base/checked.h"
#include "importers/onnx/import_registry.h"

namespace hai::onnx_import {
namespace {

// The dimension that -1 stands for.
Result<Dim> missing_dim(ImportContext& context, const Dim& have, const Dim& rest) {
  const bool symbols_fit = !rest.is_symbolic() || rest.symbol == have.symbol;
  if (rest.value == 0 || have.value % rest.value != 0 || !symbols_fit) {
    return context.invalid("the input's elements do not divide into the wanted shape");
  }
  return Dim(have.value / rest.value, rest.is_symbolic() ? -1 : have.symbol);
}

Status convert_reshape(ImportContext& context) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  HAI_TRY(std::vector<Dim> target, context.known_dims(1, "the shape"));
  const Shape shape = context.shape(x);
  if (target.size() > size_t{kMaxRank}) return context.unsupported(fmt::format("more than {} dimensions", kMaxRank));
  const bool allow_zero = context.int_attribute("allowzero", 0) != 0;
  const auto have = element_count(shape);
  std::optional<size_t> open;
  for (size_t i = 0; i < target.size(); ++i) {
    if (target[i] == Dim(0) && !allow_zero) {
      if (i >= shape.size()) return context.invalid("the shape copies a dimension that the input does not have");
      target[i] = shape[i];
    }
    if (target[i] == Dim(-1)) {
      if (open) return context.invalid("the shape has more than one -1");
      open = i;
      target[i] = Dim(1);
    }
    if (target[i].value < 0) return context.invalid("the shape has a negative dimension");
  }
  const auto rest = element_count(target);
  if (!have || !rest) return context.invalid("the shape has more than 2^63 elements or two free dimensions");
  if (open) {
    HAI_TRY(target[*open], missing_dim(context, *have, *rest));
  } else if (context.state().options.free_batch && have->is_symbolic() && !rest->is_symbolic() && !target.empty() &&
             target[0] == Dim(1) && have->value == rest->value) {
    target[0] = Dim(1, have->symbol);  // a batch of 1 that the exporter wrote down, now free
  }
  HAI_TRY(const ir::ValueId y, context.reshape(x, target));
  return context.set_output(0, y);
}

Status convert_flatten(ImportContext& context) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  const Shape shape = context.shape(x);
  const auto rank = static_cast<int64_t>(shape.size());
  int64_t axis = context.int_attribute("axis", 1);
  if (axis < -rank || axis > rank) return context.invalid("the axis is outside of the input's dimensions");
  if (axis < 0) axis += rank;
  const auto rows = element_count(std::span(shape).first(static_cast<size_t>(axis)));
  const auto columns = element_count(std::span(shape).subspan(static_cast<size_t>(axis)));
  if (!rows || !columns) return context.invalid("the shape has more than 2^63 elements");
  HAI_TRY(const ir::ValueId y, context.reshape(x, {*rows, *columns}));
  return context.set_output(0, y);
}

Result<std::vector<int64_t>> read_axes(ImportContext& context) {
  if (context.has_input(1)) return context.numbers(1, "the axes");
  return context.ints_attribute("axes");
}

Status convert_squeeze(ImportContext& context) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  const Shape shape = context.shape(x);
  HAI_TRY(std::vector<int64_t> axes, read_axes(context));
  HAI_TRY(axes, context.axes(std::move(axes), shape.size()));
  const bool all = !context.has_input(1) && !context.has_attribute("axes");
  Shape out;
  for (size_t i = 0; i < shape.size(); ++i) {
    const bool named = std::find(axes.begin(), axes.end(), static_cast<int64_t>(i)) != axes.end();
    if (named && shape[i] != Dim(1)) {
      return context.invalid(
          fmt::format("axis {} of {} is not 1 and cannot be removed", i, to_string(shape, context.graph().symbols)));
    }
    if (!named && !(all && shape[i] == Dim(1))) out.push_back(shape[i]);
  }
  HAI_TRY(const ir::ValueId y, context.reshape(x, out));
  return context.set_output(0, y);
}

Status convert_unsqueeze(ImportContext& context) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  const Shape shape = context.shape(x);
  HAI_TRY(std::vector<int64_t> axes, read_axes(context));
  const size_t rank = shape.size() + axes.size();
  if (rank > size_t{kMaxRank}) return context.unsupported(fmt::format("more than {} dimensions", kMaxRank));
  HAI_TRY(axes, context.axes(std::move(axes), rank));
  Shape out = shape;
  for (const int64_t axis : axes) out.insert(out.begin() + axis, Dim(1));  // ascending, so each lands where it should
  HAI_TRY(const ir::ValueId y, context.reshape(x, out));
  return context.set_output(0, y);
}

}  // namespace

void register_reshape_onnx(ImportRegistry& registry);
void register_reshape_onnx(ImportRegistry& registry) {
  registry.add("Reshape", convert_reshape);
  registry.add("Flatten", convert_flatten);
  registry.add("Squeeze", convert_squeeze);
  registry.add("Unsqueeze", convert_unsqueeze);
}

}  // namespace hai::onnx_import
