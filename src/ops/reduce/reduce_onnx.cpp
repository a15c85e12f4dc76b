// ONNX's reductions and global pools.
//
// Axes are an attribute or (ReduceSum from operator set 13, the others from 18) an operand. Reductions over exactly the
// picture of an NCHW tensor, and the global pools, run on NHWC, so that no transpose is left between a convolution and
// its pool. ReduceL1, L2, SumSquare, LogSum and LogSumExp are written with sum, max and element-wise functions.
#include <numeric>

#include "importers/onnx/import_registry.h"

namespace hai::onnx_import {
namespace {

using Ids = Result<ir::ValueId>;

Ids reduce(ImportContext& context, std::string_view op, ir::ValueId x, const std::vector<int64_t>& axes, bool keep) {
  if (axes.empty()) return x;
  const std::vector<int64_t> picture = {2, 3};
  if (context.rank(x) == 4 && axes == picture) {
    HAI_TRY(const ir::ValueId pictures, context.channels_last(x));
    HAI_TRY(const ir::ValueId y,
            context.emit(op, {pictures}, {{"axes", std::vector<int64_t>{1, 2}}, {"keep_dims", int64_t{keep ? 1 : 0}}}));
    return keep ? context.channels_first(y) : Ids(y);
  }
  return context.emit(op, {x}, {{"axes", axes}, {"keep_dims", int64_t{keep ? 1 : 0}}});
}

// The axes to reduce; empty: none (noop_with_empty_axes).
Result<std::vector<int64_t>> reduced_axes(ImportContext& context, size_t rank) {
  std::vector<int64_t> axes = context.ints_attribute("axes");
  if (context.has_input(1)) {
    HAI_TRY(axes, context.numbers(1, "the axes"));
  }
  if (axes.empty() && context.int_attribute("noop_with_empty_axes", 0) == 0) {
    axes.resize(rank);
    std::iota(axes.begin(), axes.end(), 0);
  }
  return context.axes(std::move(axes), rank);
}

Ids log_sum_exp(ImportContext& context, ir::ValueId x, const std::vector<int64_t>& axes, bool keep) {
  HAI_TRY(const ir::ValueId largest, reduce(context, "reduce_max", x, axes, true));
  HAI_TRY(const ir::ValueId shifted, context.emit("sub", {x, largest}));
  HAI_TRY(const ir::ValueId powers, context.emit("exp", {shifted}));
  HAI_TRY(const ir::ValueId sum, reduce(context, "reduce_sum", powers, axes, keep));
  HAI_TRY(const ir::ValueId logarithm, context.emit("log", {sum}));
  HAI_TRY(const ir::ValueId offset, context.reshape(largest, context.shape(logarithm)));
  return context.emit("add", {logarithm, offset});
}

Ids composed(ImportContext& context, std::string_view before, std::string_view after, ir::ValueId x,
             const std::vector<int64_t>& axes, bool keep) {
  ir::ValueId y = x;
  if (!before.empty()) {
    HAI_TRY(y, context.emit(before, {y}));
  }
  HAI_TRY(y, reduce(context, "reduce_sum", y, axes, keep));
  return after.empty() ? Ids(y) : context.emit(after, {y});
}

using Convert = Ids (*)(ImportContext&, ir::ValueId, const std::vector<int64_t>&, bool);

Status convert(ImportContext& context, Convert make) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  HAI_TRY(const std::vector<int64_t> axes, reduced_axes(context, context.rank(x)));
  const bool keep = context.int_attribute("keepdims", 1) != 0;
  HAI_TRY(const ir::ValueId y, make(context, x, axes, keep));
  return context.set_output(0, y);
}

Status convert_global_pool(ImportContext& context, std::string_view op) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  if (context.rank(x) < 3) return context.invalid("its input has no spatial dimensions");
  std::vector<int64_t> axes(context.rank(x) - 2);
  std::iota(axes.begin(), axes.end(), 2);
  HAI_TRY(const ir::ValueId y, reduce(context, op, x, axes, true));
  return context.set_output(0, y);
}

}  // namespace

void register_reduce_onnx(ImportRegistry& registry);
void register_reduce_onnx(ImportRegistry& registry) {
  const auto add = [&](std::string_view name, Convert make) {
    registry.add(name, [make](ImportContext& context) { return convert(context, make); });
  };
  using Axes = std::vector<int64_t>;
  add("ReduceMean",
      [](ImportContext& c, ir::ValueId x, const Axes& a, bool k) { return reduce(c, "reduce_mean", x, a, k); });
  add("ReduceSum",
      [](ImportContext& c, ir::ValueId x, const Axes& a, bool k) { return reduce(c, "reduce_sum", x, a, k); });
  add("ReduceMax",
      [](ImportContext& c, ir::ValueId x, const Axes& a, bool k) { return reduce(c, "reduce_max", x, a, k); });
  add("ReduceMin",
      [](ImportContext& c, ir::ValueId x, const Axes& a, bool k) { return reduce(c, "reduce_min", x, a, k); });
  add("ReduceL1",
      [](ImportContext& c, ir::ValueId x, const Axes& a, bool k) { return composed(c, "abs", "", x, a, k); });
  add("ReduceL2",
      [](ImportContext& c, ir::ValueId x, const Axes& a, bool k) { return composed(c, "square", "sqrt", x, a, k); });
  add("ReduceSumSquare",
      [](ImportContext& c, ir::ValueId x, const Axes& a, bool k) { return composed(c, "square", "", x, a, k); });
  add("ReduceLogSum",
      [](ImportContext& c, ir::ValueId x, const Axes& a, bool k) { return composed(c, "", "log", x, a, k); });
  add("ReduceLogSumExp", log_sum_exp);
  registry.add("GlobalAveragePool", [](ImportContext& context) { return convert_global_pool(context, "reduce_mean"); });
  registry.add("GlobalMaxPool", [](ImportContext& context) { return convert_global_pool(context, "reduce_max"); });
}

}  // namespace hai::onnx_import
