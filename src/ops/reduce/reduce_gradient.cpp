// Gradients of the reductions: dy repeated along the reduced axes, for the mean divided by their size.
// The extrema give dy in equal shares to all elements that reach them, as PyTorch's amax and amin do.
// A mean over a free batch divides by what the batch is when the graph runs.
#include <algorithm>

#include "ops/gradient.h"
#include "types/shape_rules.h"

namespace hai::ops {
namespace {

using Gradients = Result<std::vector<ir::ValueId>>;
using ir::ValueId;

struct Reduced {
  std::vector<int64_t> axes;
  Shape kept;  // shape of the result with the reduced axes as 1
};

Result<Reduced> reduced(GradientContext& context) {
  const Shape& x = context.shape(context.input(0));
  const Rule<std::vector<int>> axes = shape_rules::axes(context.node().ints_attribute("axes"), x.size());
  if (!axes) return context.refuse(axes.reason());
  Reduced out{{axes->begin(), axes->end()}, x};
  for (size_t i = 0; i < x.size() && axes->empty(); ++i) out.axes.push_back(static_cast<int64_t>(i));
  for (const int64_t axis : out.axes) out.kept[static_cast<size_t>(axis)] = Dim(1);
  return out;
}

Gradients sum_rule(GradientContext& context) {
  HAI_TRY(const Reduced r, reduced(context));
  HAI_TRY(const ValueId dy, context.reshape(context.dy(), r.kept));
  HAI_TRY(const ValueId dx, context.broadcast_like(dy, context.input(0)));
  return std::vector<ValueId>{dx};
}

// 1 / n for means of n elements. With a free batch n is known when the graph runs: the sum of that many ones.
Result<ValueId> share(GradientContext& context, const Reduced& r) {
  const ValueId x = context.input(0);
  const Shape shape = context.shape(x);
  double count = 1.0;
  ValueId free = ir::kNone;
  for (const int64_t axis : r.axes) {
    const Dim& dim = shape[static_cast<size_t>(axis)];
    count *= static_cast<double>(dim.value);
    if (!dim.is_symbolic()) continue;
    if (axis != 0) return context.refuse("a mean along a symbolic axis that is not the first; bind it to a number");
    HAI_TRY(const ValueId ones,
            context.append("expand", {context.scalar(1.0, x), x}, {{"shape", std::vector<int64_t>{-1}}}));
    HAI_TRY(const ValueId total, context.sum_along(ones, {0}));
    HAI_TRY(const ValueId scalar, context.reshape(total, {}));
    HAI_TRY(free, context.append("reciprocal", {scalar}));
    count /= static_cast<double>(dim.value);
  }
  if (free == ir::kNone) return context.scalar(1.0 / count, x);
  return context.scale(free, 1.0 / count);
}

Gradients mean_rule(GradientContext& context) {
  HAI_TRY(const Reduced r, reduced(context));
  HAI_TRY(const ValueId factor, share(context, r));
  HAI_TRY(const ValueId scaled, context.mul(context.dy(), factor));
  HAI_TRY(const ValueId dy, context.reshape(scaled, r.kept));
  HAI_TRY(const ValueId dx, context.broadcast_like(dy, context.input(0)));
  return std::vector<ValueId>{dx};
}

// mask = 1 - [x is behind y]; dx = mask dy / (sum of mask)
Gradients extremum_rule(GradientContext& context) {
  HAI_TRY(const Reduced r, reduced(context));
  const ValueId x = context.input(0);
  HAI_TRY(const ValueId y, context.reshape(context.output(), r.kept));
  HAI_TRY(const ValueId dy, context.reshape(context.dy(), r.kept));
  const bool is_max = context.node().op == "reduce_max";
  HAI_TRY(const ValueId behind, is_max ? context.sub(y, x) : context.sub(x, y));
  HAI_TRY(const ValueId ones, context.broadcast_like(context.scalar(1.0, x), x));
  HAI_TRY(const ValueId others, context.where_positive(behind, ones));
  HAI_TRY(const ValueId mask, context.sub(ones, others));
  HAI_TRY(const ValueId count, context.sum_along(mask, r.axes));
  HAI_TRY(const ValueId part, context.div(dy, count));
  HAI_TRY(const ValueId dx, context.mul(mask, part));
  return std::vector<ValueId>{dx};
}

}  // namespace

void register_reduce_gradient(GradientRegistry& registry);
void register_reduce_gradient(GradientRegistry& registry) {
  registry.add("reduce_sum", sum_rule);
  registry.add("reduce_mean", mean_rule);
  registry.add("reduce_max", extremum_rule);
  registry.add("reduce_min", extremum_rule);
}

}  // namespace hai::ops
