// Gradient of resize, which is linear and separable: dx = R_rows^T dy R_columns, with a constant matrix for each axis
// that holds what every output takes from every input (one 1 a row for nearest, two weights for linear).
//
// Two matrix products and no operator of its own: dense, so some of the work multiplies by zero, but on kernels that
// are fast everywhere.
#include "ops/gradient.h"
#include "types/resize_map.h"

namespace hai::ops {
namespace {

using ir::ValueId;

ResizeAxis axis_of(const GradientContext& context, size_t d) {
  const ir::Node& node = context.node();
  const auto scales = node.floats_attribute("scales");
  ResizeAxis axis;
  axis.in = context.shape(context.input(0))[d + 1].value;
  axis.out = context.shape(context.output())[d + 1].value;
  axis.scale = scales.empty() ? static_cast<double>(axis.out) / static_cast<double>(axis.in) : scales[d];
  axis.coordinates = *resize_coordinates_from(node.string_attribute("coordinates", "half_pixel"));
  return axis;
}

// [in, out]: what input i gives to output o.
std::vector<double> transposed_matrix(const ResizeAxis& axis, bool linear, ResizeNearest rounding) {
  std::vector<double> out(static_cast<size_t>(axis.in * axis.out), 0.0);
  const auto at = [&](int64_t in, int64_t o) -> double& { return out[static_cast<size_t>(in * axis.out + o)]; };
  for (int64_t o = 0; o < axis.out; ++o) {
    if (linear) {
      const ResizeTap tap = resize_linear_tap(axis, o);
      at(tap.first, o) += 1.0 - tap.fraction;
      at(tap.second, o) += tap.fraction;
    } else {
      at(resize_nearest_index(axis, rounding, o), o) += 1.0;
    }
  }
  return out;
}

// Sums over axis 1 of [batch, out, inner]: [batch, in, inner].
Result<ValueId> along(GradientContext& context, ValueId a, const std::vector<double>& matrix, int64_t in) {
  const int64_t out = static_cast<int64_t>(matrix.size()) / in;
  const ValueId constant = context.constant({context.type(a).dtype, {Dim(in), Dim(out)}, std::nullopt}, matrix);
  return context.append("matmul", {constant, a});
}

Result<std::vector<ValueId>> rule(GradientContext& context) {
  const ir::Node& node = context.node();
  const Shape x = context.shape(context.input(0));
  const Shape y = context.shape(context.output());
  if (x[1].is_symbolic() || x[2].is_symbolic() || x[3].is_symbolic() || !is_float(context.type(context.input(0)).dtype))
    return context.refuse("x must be of a float type, and its height, width and channels numbers");
  const bool linear = node.string_attribute("mode", "nearest") == "linear";
  const ResizeNearest rounding = *resize_nearest_from(node.string_attribute("nearest", "round_prefer_floor"));
  const int64_t row = y[2].value * x[3].value;
  HAI_TRY(const ValueId rows_last, context.reshape(context.dy(), {y[0], y[1], Dim(row)}));
  HAI_TRY(const ValueId of_rows,
          along(context, rows_last, transposed_matrix(axis_of(context, 0), linear, rounding), x[1].value));
  const Dim all_rows = x[0].is_symbolic() ? Dim(x[0].value * x[1].value, x[0].symbol) : Dim(x[0].value * x[1].value);
  HAI_TRY(const ValueId columns, context.reshape(of_rows, {all_rows, y[2], x[3]}));
  HAI_TRY(const ValueId of_columns,
          along(context, columns, transposed_matrix(axis_of(context, 1), linear, rounding), x[2].value));
  HAI_TRY(const ValueId dx, context.reshape(of_columns, x));
  return std::vector<ValueId>{dx};
}

}  // namespace

void register_resize_gradient(GradientRegistry& registry);
void register_resize_gradient(GradientRegistry& registry) { registry.add("resize", rule); }

}  // namespace hai::ops
