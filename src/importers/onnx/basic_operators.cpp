// Operators that become no core node of their own: constants, shapes, identities, and If with a known condition.
//
// Shape gives Dims, so that arithmetic on it folds with the batch still free (shape_arithmetic.h). What is neither
// known nor core (Where on data ...) has no converter and is refused by name.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "importers/onnx/import_registry.h"

namespace hai::onnx_import {
namespace {

OnnxTensor tensor_of(DataType dtype, std::vector<int64_t> dims, std::span<const std::byte> bytes) {
  return {dtype, std::move(dims), ir::ConstantData::copy_of(bytes)};
}

Status convert_constant(ImportContext& context) {
  if (context.has_attribute("value")) {
    const OnnxTensor* value = context.tensor_attribute("value");
    if (value == nullptr) return context.attribute_error();
    return context.set_output(0, context.constant(*value));
  }
  if (context.has_attribute("value_float")) {
    const auto value = static_cast<float>(context.float_attribute("value_float", 0.0));
    return context.set_output(0, context.constant_f32({value}, {}));
  }
  if (context.has_attribute("value_floats")) {
    const auto values = context.floats_attribute("value_floats");
    const auto count = static_cast<int64_t>(values.size());
    return context.set_output(0, context.constant_f32(std::vector<float>(values.begin(), values.end()), {count}));
  }
  const bool scalar = context.has_attribute("value_int");
  if (scalar || context.has_attribute("value_ints")) {
    std::vector<int64_t> values = context.ints_attribute("value_ints");
    if (scalar) values = {context.int_attribute("value_int", 0)};
    std::vector<int64_t> dims;
    if (!scalar) dims.push_back(static_cast<int64_t>(values.size()));
    const auto bytes = std::as_bytes(std::span<const int64_t>(values));
    return context.set_output(0, context.constant(tensor_of(DataType::kI64, std::move(dims), bytes)));
  }
  return context.unsupported("a constant of strings or a sparse constant is not supported");
}

Status convert_identity(ImportContext& context) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  return context.set_output(0, x);
}

// Inference: the input itself; the mask is all true.
Status convert_dropout(ImportContext& context) {
  if (context.output_used(1)) return context.unsupported("its output \"mask\" is not supported");
  if (context.has_input(2)) {
    HAI_TRY(const std::vector<int64_t> training, context.numbers(2, "training_mode"));
    if (training.size() != 1 || training[0] != 0) {
      return context.unsupported("training mode is not supported; export the model in evaluation mode (model.eval())");
    }
  }
  return convert_identity(context);
}

Status convert_shape(ImportContext& context) {
  HAI_TRY(const std::optional<KnownInts> known, context.known(0));
  Shape shape;
  if (known) {
    shape = to_shape(known->dims);
  } else {
    HAI_TRY(const ir::ValueId x, context.input(0));
    shape = context.shape(x);
  }
  const auto rank = static_cast<int64_t>(shape.size());
  const auto clamp = [&](int64_t at) {
    return std::clamp<int64_t>(at < 0 ? std::max<int64_t>(at, -rank) + rank : at, 0, rank);
  };
  const int64_t start = clamp(context.int_attribute("start", 0));
  const int64_t end = std::max(start, clamp(context.int_attribute("end", rank)));
  KnownInts out{DataType::kI64, {end - start}, {}};
  out.values.assign(shape.begin() + start, shape.begin() + end);
  return context.set_output_known(0, std::move(out));
}

Status convert_size(ImportContext& context) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  return context.set_output_known(0, {DataType::kI64, {}, {*element_count(context.shape(x))}});
}

Status convert_constant_of_shape(ImportContext& context) {
  HAI_TRY(const std::vector<int64_t> dims, context.numbers(0, "the shape"));
  OnnxTensor out{DataType::kF32, dims, nullptr};
  std::vector<std::byte> element(4, std::byte{0});
  if (context.has_attribute("value")) {
    const OnnxTensor* value = context.tensor_attribute("value");
    if (value == nullptr) return context.attribute_error();
    out.dtype = value->dtype;
    element.assign(value->data->bytes().begin(), value->data->bytes().end());
    if (bit_width(out.dtype) < 8 || static_cast<int64_t>(element.size()) * 8 != bit_width(out.dtype)) {
      return context.invalid("attribute \"value\" must hold one element of at least 8 bits");
    }
  }
  constexpr int64_t kMaxElements = int64_t{1} << 26;
  const auto count = dims.size() > size_t{kMaxRank} ? std::nullopt : element_count(to_shape(dims));
  if (!count || count->value > kMaxElements) {
    return context.invalid(fmt::format("a constant of shape {} is too large", to_string(to_shape(dims), {})));
  }
  auto data = ir::ConstantData::allocate(static_cast<size_t>(count->value) * element.size());
  for (size_t i = 0; i < static_cast<size_t>(count->value); ++i) {
    std::memcpy(data->mutable_bytes().data() + i * element.size(), element.data(), element.size());
  }
  out.data = std::move(data);
  return context.set_output(0, context.constant(out));
}

template <typename T>
Result<OnnxTensor> range_of(const ImportContext& context, double start, double limit, double delta, DataType dtype) {
  constexpr double kMaxElements = 1 << 26;
  const double count = delta == 0.0 ? -1.0 : std::max(0.0, std::ceil((limit - start) / delta));
  if (!(count >= 0.0 && count <= kMaxElements)) {
    return context.invalid(
        fmt::format("the range from {} to {} by {} does not end or is too long", start, limit, delta));
  }
  std::vector<T> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<T>(start + static_cast<double>(i) * delta);
  return tensor_of(dtype, {static_cast<int64_t>(values.size())}, std::as_bytes(std::span<const T>(values)));
}

Status convert_range(ImportContext& context) {
  double bounds[3] = {};
  DataType dtype = DataType::kF32;
  for (size_t i = 0; i < 3; ++i) {
    HAI_TRY(const std::vector<double> value, context.reals(i, "start, limit and delta"));
    if (value.size() != 1) return context.invalid("start, limit and delta must be scalars");
    bounds[i] = value[0];
    HAI_TRY(const ir::ValueId id, context.input(i));
    dtype = context.type(id).dtype;
  }
  switch (dtype) {
    case DataType::kF32: {
      HAI_TRY(const OnnxTensor range, range_of<float>(context, bounds[0], bounds[1], bounds[2], dtype));
      return context.set_output(0, context.constant(range));
    }
    case DataType::kF64: {
      HAI_TRY(const OnnxTensor range, range_of<double>(context, bounds[0], bounds[1], bounds[2], dtype));
      return context.set_output(0, context.constant(range));
    }
    case DataType::kI32: {
      HAI_TRY(const OnnxTensor range, range_of<int32_t>(context, bounds[0], bounds[1], bounds[2], dtype));
      return context.set_output(0, context.constant(range));
    }
    case DataType::kI64: {
      HAI_TRY(const OnnxTensor range, range_of<int64_t>(context, bounds[0], bounds[1], bounds[2], dtype));
      return context.set_output(0, context.constant(range));
    }
    default:
      return context.unsupported(fmt::format("a range of {} is not supported", data_type_name(dtype)));
  }
}

// The branch that a known condition chooses; a condition on data is refused.
Status convert_if(ImportContext& context) {
  auto condition = context.numbers(0, "the condition");
  if (!condition) {
    return context.unsupported("a condition computed from data is not supported; export the model for one case");
  }
  if (condition->size() != 1) return context.invalid("the condition must be one boolean");
  const auto branch = context.graph_attribute((*condition)[0] != 0 ? "then_branch" : "else_branch");
  if (branch == nullptr || branch->outputs.size() < context.node().outputs.size() || !branch->inputs.empty()) {
    return context.invalid("the chosen branch is missing, takes inputs or gives too few outputs");
  }
  ImportScope scope;
  scope.parent = &context.scope();
  HAI_TRY_STATUS(context.state().convert_graph(*branch, scope));
  for (size_t i = 0; i < context.node().outputs.size(); ++i) {
    const ImportedValue* value = scope.find(branch->outputs[i]);
    if (value == nullptr) return context.invalid(fmt::format("its branch does not write \"{}\"", branch->outputs[i]));
    if (!context.node().outputs[i].empty()) context.scope().values[context.node().outputs[i]] = *value;
  }
  return {};
}

}  // namespace

void register_basic_operators(ImportRegistry& registry) {
  registry.add("Constant", convert_constant);
  registry.add("ConstantOfShape", convert_constant_of_shape);
  registry.add("Dropout", convert_dropout);
  registry.add("Identity", convert_identity);
  registry.add("If", convert_if);
  registry.add("Range", convert_range);
  registry.add("Shape", convert_shape);
  registry.add("Size", convert_size);
}

}  // namespace hai::onnx_import
