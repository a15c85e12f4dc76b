// Operators that become several core nodes and belong to no one folder: the normalizations.
//
// All are (x - mean) / sqrt(variance + epsilon) over some axes, then scale and bias; RMSNormalization leaves the mean
// out. Statistics are computed as ONNX states them: the variance is the mean of squared differences. A
// LayerNormalization over the last axis alone, of which nothing but the result is used, is layer_norm.
#include <fmt/format.h>

#include <numeric>

#include "importers/onnx/import_registry.h"

namespace hai::onnx_import {
namespace {

Result<ir::ValueId> mean_over(ImportContext& context, ir::ValueId x, const std::vector<int64_t>& axes) {
  return context.emit("reduce_mean", {x}, {{"axes", axes}, {"keep_dims", int64_t{1}}});
}

struct Normalised {
  ir::ValueId y;
  ir::ValueId mean = ir::kNone;
  ir::ValueId deviation = ir::kNone;
};

Result<Normalised> normalise(ImportContext& context, ir::ValueId x, const std::vector<int64_t>& axes, double epsilon,
                             bool centre) {
  Normalised out{x};
  ir::ValueId centred = x;
  if (centre) {
    HAI_TRY(out.mean, mean_over(context, x, axes));
    HAI_TRY(centred, context.emit("sub", {x, out.mean}));
  }
  HAI_TRY(const ir::ValueId squared, context.emit("square", {centred}));
  HAI_TRY(const ir::ValueId variance, mean_over(context, squared, axes));
  HAI_TRY(const ir::ValueId shifted, context.emit("add", {variance, context.scalar_like(variance, epsilon)}));
  HAI_TRY(out.deviation, context.emit("sqrt", {shifted}));
  HAI_TRY(out.y, context.emit("div", {centred, out.deviation}));
  return out;
}

Result<ir::ValueId> normalised(ImportContext& context, ir::ValueId x, const std::vector<int64_t>& axes,
                               double epsilon) {
  HAI_TRY(const Normalised out, normalise(context, x, axes, epsilon, true));
  return out.y;
}

// x * scale + bias, each where present.
Result<ir::ValueId> affine(ImportContext& context, ir::ValueId x, ir::ValueId scale, ir::ValueId bias) {
  ir::ValueId y = x;
  if (scale != ir::kNone) {
    HAI_TRY(y, context.emit("mul", {y, scale}));
  }
  if (bias != ir::kNone) {
    HAI_TRY(y, context.emit("add", {y, bias}));
  }
  return y;
}

std::vector<int64_t> range(size_t first, size_t end) {
  std::vector<int64_t> out(end > first ? end - first : 0);
  std::iota(out.begin(), out.end(), static_cast<int64_t>(first));
  return out;
}

Status convert_layer_norm(ImportContext& context, bool centre) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  HAI_TRY(const ir::ValueId scale, context.input(1));
  HAI_TRY(const ir::ValueId bias, context.optional_input(2));
  HAI_TRY(const int64_t axis, context.axis(context.int_attribute("axis", -1), context.rank(x)));
  const Dim channels = context.shape(x).back();
  const bool last = axis + 1 == static_cast<int64_t>(context.rank(x)) && !channels.is_symbolic();
  const auto is_vector = [&](ir::ValueId operand) { return context.shape(operand) == Shape{channels}; };
  if (centre && last && is_vector(scale) && (bias == ir::kNone || is_vector(bias)) && !context.output_used(1) &&
      !context.output_used(2)) {
    std::vector<ir::ValueId> inputs = {x, scale};
    if (bias != ir::kNone) inputs.push_back(bias);
    HAI_TRY(const ir::ValueId y,
            context.emit("layer_norm", std::move(inputs), {{"epsilon", context.float_attribute("epsilon", 1e-5)}}));
    return context.set_output(0, y);
  }
  const std::vector<int64_t> axes = range(static_cast<size_t>(axis), context.rank(x));
  HAI_TRY(const Normalised unit, normalise(context, x, axes, context.float_attribute("epsilon", 1e-5), centre));
  HAI_TRY(const ir::ValueId y, affine(context, unit.y, scale, bias));
  HAI_TRY_STATUS(context.set_output(0, y));
  if (context.output_used(1)) HAI_TRY_STATUS(context.set_output(1, unit.mean));
  if (!context.output_used(2)) return {};
  HAI_TRY(const ir::ValueId inverse, context.emit("reciprocal", {unit.deviation}));
  return context.set_output(2, inverse);
}

Status convert_instance_norm(ImportContext& context) {
  HAI_TRY(ir::ValueId x, context.input(0));
  HAI_TRY(const ir::ValueId scale, context.input(1));
  HAI_TRY(const ir::ValueId bias, context.input(2));
  if (context.rank(x) < 3) return context.invalid("its input has no spatial dimensions");
  HAI_TRY(x, context.channels_last(x));
  const std::vector<int64_t> axes = range(1, context.rank(x) - 1);
  HAI_TRY(const ir::ValueId unit, normalised(context, x, axes, context.float_attribute("epsilon", 1e-5)));
  HAI_TRY(const ir::ValueId y, affine(context, unit, scale, bias));
  HAI_TRY(const ir::ValueId out, context.channels_first(y));
  return context.set_output(0, out);
}

Status convert_group_norm(ImportContext& context) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  HAI_TRY(ir::ValueId scale, context.input(1));
  HAI_TRY(ir::ValueId bias, context.input(2));
  const Shape shape = context.shape(x);
  const int64_t groups = context.int_attribute("num_groups", 0);
  const auto pictures = shape.size() < 2 ? std::nullopt : element_count(std::span(shape).subspan(1));
  if (!pictures || pictures->is_symbolic() || shape[1].is_symbolic() || groups < 1 || shape[1].value % groups != 0) {
    return context.invalid(fmt::format("the channels do not divide into {} groups, or are free", groups));
  }
  HAI_TRY(const ir::ValueId parts, context.reshape(x, {shape[0], Dim(groups), Dim(pictures->value / groups)}));
  HAI_TRY(ir::ValueId y, normalised(context, parts, {2}, context.float_attribute("epsilon", 1e-5)));
  if (context.opset() < 21) {  // one scale and bias a group
    HAI_TRY(scale, context.reshape(scale, {Dim(groups), Dim(1)}));
    HAI_TRY(bias, context.reshape(bias, {Dim(groups), Dim(1)}));
    HAI_TRY(y, affine(context, y, scale, bias));
    HAI_TRY(y, context.reshape(y, shape));
    return context.set_output(0, y);
  }
  HAI_TRY(y, context.reshape(y, shape));
  HAI_TRY(y, context.channels_last(y));
  HAI_TRY(y, affine(context, y, scale, bias));
  HAI_TRY(y, context.channels_first(y));
  return context.set_output(0, y);
}

Status convert_mean_variance_norm(ImportContext& context) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  HAI_TRY(const std::vector<int64_t> axes, context.axes(context.ints_attribute("axes", {0, 2, 3}), context.rank(x)));
  HAI_TRY(const ir::ValueId y, normalised(context, x, axes, 1e-9));
  return context.set_output(0, y);
}

}  // namespace

void register_composed_operators(ImportRegistry& registry) {
  registry.add("GroupNormalization", convert_group_norm);
  registry.add("InstanceNormalization", convert_instance_norm);
  registry.add("LayerNormalization", [](ImportContext& context) { return convert_layer_norm(context, true); });
  registry.add("MeanVarianceNormalization", convert_mean_variance_norm);
  registry.add("RMSNormalization", [](ImportContext& context) {
    if (context.output_used(1)) return Status(context.invalid("it has one output"));
    return convert_layer_norm(context, false);
  });
}

}  // namespace hai::onnx_import
