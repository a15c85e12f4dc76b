// Gradients of the element-wise functions of two operands. What was broadcast is summed again.
//
// At ties min and max give each operand half, as PyTorch's minimum and maximum do. prelu at 0 counts as negative. pow's
// gradient of the exponent exists for positive bases.
#include "ops/gradient.h"

namespace hai::ops {
namespace {

using Gradients = Result<std::vector<ir::ValueId>>;
using ir::kNone;
using ir::ValueId;

// Sums the wanted ones of two full gradients down to the operands' shapes.
Gradients summed(GradientContext& context, ValueId da, ValueId db) {
  std::vector<ValueId> out = {kNone, kNone};
  const ValueId full[] = {da, db};
  for (size_t i = 0; i < 2; ++i) {
    if (!context.wants(i) || full[i] == kNone) continue;
    HAI_TRY(out[i], context.sum_to_input(full[i], i));
  }
  return out;
}

Gradients add_rule(GradientContext& context) { return summed(context, context.dy(), context.dy()); }

Gradients sub_rule(GradientContext& context) {
  ValueId db = kNone;
  if (context.wants(1)) {
    HAI_TRY(db, context.append("neg", {context.dy()}));
  }
  return summed(context, context.dy(), db);
}

Gradients mul_rule(GradientContext& context) {
  ValueId da = kNone;
  ValueId db = kNone;
  if (context.wants(0)) {
    HAI_TRY(da, context.mul(context.dy(), context.input(1)));
  }
  if (context.wants(1)) {
    HAI_TRY(db, context.mul(context.dy(), context.input(0)));
  }
  return summed(context, da, db);
}

// da = dy / b, db = -y da
Gradients div_rule(GradientContext& context) {
  HAI_TRY(const ValueId da, context.div(context.dy(), context.input(1)));
  ValueId db = kNone;
  if (context.wants(1)) {
    HAI_TRY(const ValueId product, context.mul(da, context.output()));
    HAI_TRY(db, context.append("neg", {product}));
  }
  return summed(context, da, db);
}

// da = dy (1 + [a > b] - [b > a]) / 2 for max; min swaps the operands.
Gradients extremum_rule(GradientContext& context) {
  const bool is_max = context.node().op == "max";
  const size_t greater = is_max ? 0 : 1;
  HAI_TRY(const ValueId ahead, context.sub(context.input(greater), context.input(1 - greater)));
  HAI_TRY(const ValueId behind, context.sub(context.input(1 - greater), context.input(greater)));
  HAI_TRY(const ValueId first, context.where_positive(ahead, context.dy()));
  HAI_TRY(const ValueId second, context.where_positive(behind, context.dy()));
  HAI_TRY(const ValueId difference, context.sub(first, second));
  HAI_TRY(const ValueId twice, context.add(context.dy(), difference));
  HAI_TRY(const ValueId da, context.scale(twice, 0.5));
  HAI_TRY(const ValueId db, context.sub(context.dy(), da));
  return summed(context, da, db);
}

// da = dy b a^(b - 1), db = dy y log(a)
Gradients pow_rule(GradientContext& context) {
  const ValueId a = context.input(0);
  const ValueId b = context.input(1);
  ValueId da = kNone;
  ValueId db = kNone;
  if (context.wants(0)) {
    HAI_TRY(const ValueId exponent, context.sub(b, context.scalar(1.0, b)));
    HAI_TRY(const ValueId power, context.append("pow", {a, exponent}));
    HAI_TRY(const ValueId slope, context.mul(b, power));
    HAI_TRY(da, context.mul(context.dy(), slope));
  }
  if (context.wants(1)) {
    HAI_TRY(const ValueId logarithm, context.append("log", {a}));
    HAI_TRY(const ValueId slope, context.mul(context.output(), logarithm));
    HAI_TRY(db, context.mul(context.dy(), slope));
  }
  return summed(context, da, db);
}

// y = max(a, 0) + b min(a, 0)
Gradients prelu_rule(GradientContext& context) {
  const ValueId a = context.input(0);
  ValueId da = kNone;
  ValueId db = kNone;
  if (context.wants(0)) {
    HAI_TRY(const ValueId positive, context.where_positive(a, context.dy()));
    HAI_TRY(const ValueId rest, context.sub(context.dy(), positive));
    HAI_TRY(const ValueId sloped, context.mul(rest, context.input(1)));
    HAI_TRY(da, context.add(positive, sloped));
  }
  if (context.wants(1)) {
    HAI_TRY(const ValueId negative, context.append("min", {a, context.scalar(0.0, a)}));
    HAI_TRY(db, context.mul(context.dy(), negative));
  }
  return summed(context, da, db);
}

}  // namespace

void register_binary_gradient(GradientRegistry& registry);
void register_binary_gradient(GradientRegistry& registry) {
  registry.add("add", add_rule);
  registry.add("sub", sub_rule);
  registry.add("mul", mul_rule);
  registry.add("div", div_rule);
  registry.add("min", extremum_rule);
  registry.add("max", extremum_rule);
  registry.add("pow", pow_rule);
  registry.add("prelu", prelu_rule);
}

}  // namespace hai::ops
