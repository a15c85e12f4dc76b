// Gradients of matrix products: da = dy b^T, db = a^T dy, summed over broadcast leading axes; that of the bias is the
// sum of the rows, that of the residual is dy. A matrix b gets its gradient from matmul_weight_gradient, which sums
// over all rows, a free batch among them.
#include <algorithm>
#include <numeric>

#include "ops/gradient.h"

namespace hai::ops {
namespace {

using ir::kNone;
using ir::ValueId;

// The last two axes swapped.
Result<ValueId> transposed(GradientContext& context, ValueId matrix) {
  std::vector<int64_t> permutation(context.shape(matrix).size());
  std::iota(permutation.begin(), permutation.end(), int64_t{0});
  std::swap(permutation[permutation.size() - 1], permutation[permutation.size() - 2]);
  return context.transpose(matrix, std::move(permutation));
}

Result<ValueId> product(GradientContext& context, ValueId a, ValueId b, bool transpose_b) {
  ir::Attributes attributes;
  if (transpose_b) attributes["transpose_b"] = int64_t{1};
  return context.append("matmul", {a, b}, std::move(attributes));
}

// left^T right, for a b of [K, N] a^T dy, for one of [N, K] dy^T a. A matrix b is summed over all rows at once.
Result<ValueId> weights_gradient(GradientContext& context, ValueId left, ValueId right) {
  const Shape& of_left = context.shape(left);
  const Shape& of_right = context.shape(right);
  const bool same_rows =
      of_left.size() == of_right.size() && std::equal(of_left.begin(), of_left.end() - 1, of_right.begin());
  if (context.shape(context.input(1)).size() == 2 && same_rows)
    return context.append("matmul_weight_gradient", {left, right});
  HAI_TRY(const ValueId flipped, transposed(context, left));
  HAI_TRY(const ValueId full, product(context, flipped, right, false));
  return context.sum_to_input(full, 1);
}

Result<std::vector<ValueId>> rule(GradientContext& context) {
  const ir::Node& node = context.node();
  if (node.string_attribute("activation", "none") != "none" ||
      node.string_attribute("residual_activation", "none") != "none") {
    return context.refuse("a fused activation has no gradient here; differentiate before fusing");
  }
  const ValueId a = context.input(0);
  const ValueId b = context.input(1);
  const ValueId dy = context.dy();
  const bool transpose_b = node.int_attribute("transpose_b", 0) != 0;
  std::vector<ValueId> out(4, kNone);
  if (context.wants(0)) {
    HAI_TRY(const ValueId full, product(context, dy, b, !transpose_b));
    HAI_TRY(out[0], context.sum_to_input(full, 0));
  }
  if (context.wants(1)) {
    HAI_TRY(out[1], weights_gradient(context, transpose_b ? dy : a, transpose_b ? a : dy));
  }
  for (const size_t i : {size_t{2}, size_t{3}}) {  // bias and residual are added
    if (!context.wants(i)) continue;
    HAI_TRY(out[i], context.sum_to_input(dy, i));
  }
  return out;
}

}  // namespace

void register_matmul_gradient(GradientRegistry& registry);
void register_matmul_gradient(GradientRegistry& registry) { registry.add("matmul", rule); }

}  // namespace hai::ops
