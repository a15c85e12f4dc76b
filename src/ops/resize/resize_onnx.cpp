// ONNX Resize (operator sets 10 to 19) and Upsample: over height and width, nearest or linear.
//
// Scales or sizes must be known at import; batch and channels keep their size. An NHWC tensor resized in its middle
// axes is taken as it is. Cubic, cropping and anti-aliasing are refused by name.
#include <fmt/format.h>

#include <cmath>

#include "importers/onnx/import_registry.h"

namespace hai::onnx_import {
namespace {

struct Target {
  std::vector<double> scales;  // one per axis; empty when sizes are given
  std::vector<Dim> sizes;
};

Result<Target> read_target(ImportContext& context, const Shape& shape) {
  Target target;
  const bool upsample = context.node().op_type == "Upsample";
  const bool early = upsample || context.opset() < 11;
  const size_t scales_at = early ? 1 : 2;
  if (upsample && context.opset() < 9) {
    target.scales = context.floats_attribute("scales");
  } else if (context.has_input(scales_at)) {
    HAI_TRY(target.scales, context.reals(scales_at, "the scales"));
  }
  if (!early && context.has_input(3)) {
    HAI_TRY(target.sizes, context.known_dims(3, "the sizes"));
  }
  if (target.scales.empty() == target.sizes.empty()) return context.invalid("it must have either scales or sizes");
  if (!context.has_attribute("axes")) return target;
  const std::vector<int64_t> axes = context.ints_attribute("axes");
  std::vector<double> scales(shape.size(), 1.0);
  std::vector<Dim> sizes = shape;
  if (axes.size() != std::max(target.scales.size(), target.sizes.size())) {
    return context.invalid("scales or sizes must have one entry for each of the axes");
  }
  for (size_t i = 0; i < axes.size(); ++i) {
    HAI_TRY(const int64_t axis, context.axis(axes[i], shape.size()));
    if (!target.scales.empty()) scales[static_cast<size_t>(axis)] = target.scales[i];
    if (!target.sizes.empty()) sizes[static_cast<size_t>(axis)] = target.sizes[i];
  }
  return Target{target.scales.empty() ? std::vector<double>() : scales,
                target.sizes.empty() ? std::vector<Dim>() : sizes};
}

Result<ir::Attributes> read_modes(ImportContext& context) {
  const std::string mode = context.string_attribute("mode", "nearest");
  const bool early = context.node().op_type == "Upsample" || context.opset() < 11;
  const std::string coordinates =
      early ? "asymmetric" : context.string_attribute("coordinate_transformation_mode", "half_pixel");
  const std::string nearest = early ? "floor" : context.string_attribute("nearest_mode", "round_prefer_floor");
  if (mode != "nearest" && mode != "linear") {
    return context.unsupported("mode \"" + mode + "\" is not supported; nearest and linear are");
  }
  if (coordinates != "half_pixel" && coordinates != "pytorch_half_pixel" && coordinates != "asymmetric" &&
      coordinates != "align_corners") {
    return context.unsupported("coordinate_transformation_mode \"" + coordinates +
                               "\" is not supported; half_pixel, pytorch_half_pixel, asymmetric and align_corners are");
  }
  if (context.int_attribute("antialias", 0) != 0) return context.unsupported("anti-aliasing is not supported");
  if (context.int_attribute("exclude_outside", 0) != 0) return context.unsupported("exclude_outside is not supported");
  if (context.string_attribute("keep_aspect_ratio_policy", "stretch") != "stretch") {
    return context.unsupported("keep_aspect_ratio_policy is not supported; give the sizes");
  }
  return ir::Attributes{{"mode", mode}, {"coordinates", coordinates}, {"nearest", nearest}};
}

// Whether axis i keeps its size.
bool keeps(const Target& target, const Shape& shape, size_t i) {
  return target.sizes.empty() ? target.scales[i] == 1.0 : target.sizes[i] == shape[i];
}

Status convert_resize(ImportContext& context) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  const Shape shape = context.shape(x);
  HAI_TRY(Target target, read_target(context, shape));
  HAI_TRY(ir::Attributes attributes, read_modes(context));
  const size_t rank = shape.size();
  if (std::max(target.scales.size(), target.sizes.size()) != rank) {
    return context.invalid("scales or sizes must have one entry for each dimension");
  }
  bool nothing = true;
  for (size_t i = 0; i < rank; ++i) nothing = nothing && keeps(target, shape, i);
  if (nothing) return context.set_output(0, x);
  const bool channels_first = rank >= 3 && rank <= 4 && keeps(target, shape, 0) && keeps(target, shape, 1);
  const bool channels_last = rank == 4 && keeps(target, shape, 0) && keeps(target, shape, 3);
  if (!channels_first && !channels_last) {
    return context.unsupported(
        fmt::format("only height and width of [N, C, H, W], [N, C, L] or [N, H, W, C] can be "
                    "resized; its input has {} dimensions",
                    rank));
  }
  const size_t first = channels_first ? 2 : 1;
  std::vector<int64_t> sizes;
  std::vector<double> scales;
  if (rank == 3 && target.sizes.empty()) scales.push_back(1.0);
  if (rank == 3 && !target.sizes.empty()) sizes.push_back(1);
  for (size_t i = first; i < (channels_first ? rank : size_t{3}); ++i) {
    if (shape[i].is_symbolic() || (!target.sizes.empty() && target.sizes[i].is_symbolic())) {
      return context.unsupported("height and width must be numbers; bind them with --dim");
    }
    if (target.sizes.empty()) {
      scales.push_back(target.scales[i]);
    } else {
      sizes.push_back(target.sizes[i].value);
    }
  }
  if (sizes.empty()) attributes["scales"] = scales;
  if (scales.empty()) attributes["sizes"] = sizes;
  ir::ValueId operand = x;
  if (rank == 3) {
    HAI_TRY(operand, context.reshape(x, {shape[0], shape[1], Dim(1), shape[2]}));
  }
  if (channels_first) {
    HAI_TRY(operand, context.channels_last(operand));
  }
  HAI_TRY(ir::ValueId y, context.emit("resize", {operand}, std::move(attributes)));
  if (channels_first) {
    HAI_TRY(y, context.channels_first(y));
  }
  if (rank == 3) {
    HAI_TRY(y, context.reshape(y, {shape[0], shape[1], context.shape(y)[3]}));
  }
  return context.set_output(0, y);
}

}  // namespace

void register_resize_onnx(ImportRegistry& registry);
void register_resize_onnx(ImportRegistry& registry) {
  registry.add("Resize", convert_resize);
  registry.add("Upsample", convert_resize);
}

}  // namespace hai::onnx_import
