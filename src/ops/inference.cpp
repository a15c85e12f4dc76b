// Shared checks of shape inference.
//
// Each returns an error with its own id; the text names the operand by the schema's word for it, the value found and
// what would be right. Not here: anything that only one operator needs.
#include "ops/inference.h"

#include <fmt/format.h>

#include <algorithm>

namespace hai::ops {
namespace {

std::string_view operand_name(const OpSchema& schema, size_t i) {
  if (schema.inputs.empty()) return "operand";
  return schema.inputs[std::min(i, schema.inputs.size() - 1)].name;
}

}  // namespace

std::string describe(DataTypeSet set) {
  std::vector<std::string_view> names;
  for (int i = 0; i < kDataTypeCount; ++i) {
    if (contains(set, static_cast<DataType>(i))) names.push_back(data_type_name(static_cast<DataType>(i)));
  }
  std::string text;
  for (size_t i = 0; i < names.size(); ++i) {
    if (i > 0) text += i + 1 == names.size() ? " or " : ", ";
    text += names[i];
  }
  return text;
}

Status require_dtype(const OpSchema& schema, const InferContext& context, size_t i, DataTypeSet allowed) {
  const DataType dtype = input_type(context, i).dtype;
  if (contains(allowed, dtype)) return {};
  return make_error(StatusCode::kUnsupported, "O010", "operand {} (\"{}\") is {}, allowed: {}; insert a cast", i,
                    operand_name(schema, i), data_type_name(dtype), describe(allowed));
}

Status require_same_dtype(const OpSchema& schema, const InferContext& context, size_t i, size_t j) {
  const DataType a = input_type(context, i).dtype;
  const DataType b = input_type(context, j).dtype;
  if (a == b) return {};
  return make_error(StatusCode::kInvalidArgument, "O011",
                    "operands \"{}\" and \"{}\" must have one element type, got {} and {}; insert a cast",
                    operand_name(schema, i), operand_name(schema, j), data_type_name(a), data_type_name(b));
}

Status require_rank(const OpSchema& schema, const InferContext& context, size_t i, int min_rank, int max_rank) {
  const ir::TensorType& type = input_type(context, i);
  if (rank_of(type) >= min_rank && rank_of(type) <= max_rank) return {};
  const std::string wanted =
      min_rank == max_rank ? fmt::format("{}", min_rank) : fmt::format("{} to {}", min_rank, max_rank);
  return make_error(StatusCode::kInvalidArgument, "O012", "operand {} (\"{}\") has rank {} {}, must have rank {}", i,
                    operand_name(schema, i), rank_of(type), to_string(type.shape, context.symbols), wanted);
}

Status require_vector(const OpSchema& schema, const InferContext& context, size_t i, const Dim& size) {
  const ir::TensorType& type = input_type(context, i);
  if (type.shape.size() == 1 && type.shape[0] == size) return {};
  return make_error(StatusCode::kInvalidArgument, "O013", "operand {} (\"{}\") has shape {}, must be {}", i,
                    operand_name(schema, i), to_string(type.shape, context.symbols),
                    to_string(Shape{size}, context.symbols));
}

Status require_per_tensor(const OpSchema& schema, const InferContext& context, size_t i, bool plain_allowed) {
  const ir::TensorType& type = input_type(context, i);
  if (!is_integer(type.dtype) || (!type.quantization && plain_allowed)) return {};
  if (type.quantization && type.quantization->per_tensor() && type.quantization->scales.size() == 1) return {};
  return make_error(StatusCode::kUnsupported, "O014",
                    "operand {} (\"{}\") is {} with {}, this operator needs one scale for the whole tensor", i,
                    operand_name(schema, i), data_type_name(type.dtype),
                    type.quantization ? "a scale per slice" : "no scale");
}

Result<int> normalise_axis(int64_t axis, int rank, std::string_view attribute) {
  if (axis >= -rank && axis < rank) return static_cast<int>(axis < 0 ? axis + rank : axis);
  return make_error(StatusCode::kInvalidArgument, "O015", "attribute \"{}\": axis {} is outside [{}, {}) for rank {}",
                    attribute, axis, -rank, rank, rank);
}

Result<std::vector<int>> normalise_axes(std::span<const int64_t> axes, int rank, std::string_view attribute) {
  std::vector<int> out;
  for (const int64_t axis : axes) {
    HAI_TRY(const int normal, normalise_axis(axis, rank, attribute));
    out.push_back(normal);
  }
  std::sort(out.begin(), out.end());
  if (std::adjacent_find(out.begin(), out.end()) != out.end()) {
    return make_error(StatusCode::kInvalidArgument, "O016", "attribute \"{}\" names an axis twice", attribute);
  }
  return out;
}

Result<std::vector<int64_t>> bounded_ints(const ir::Node& node, std::string_view attribute,
                                          std::vector<int64_t> fallback, int64_t min, int64_t max) {
  const size_t length = fallback.size();
  std::vector<int64_t> values = node.ints_attribute(attribute, std::move(fallback));
  if (values.size() != length) {
    return make_error(StatusCode::kInvalidArgument, "O017", "attribute \"{}\" has {} entries, must have {}", attribute,
                      values.size(), length);
  }
  for (const int64_t value : values) {
    if (value < min || value > max) {
      return make_error(StatusCode::kOutOfRange, "O018", "attribute \"{}\" holds {}, outside [{}, {}]", attribute,
                        value, min, max);
    }
  }
  return values;
}

Result<int64_t> bounded_int(const ir::Node& node, std::string_view attribute, int64_t fallback, int64_t min,
                            int64_t max) {
  const int64_t value = node.int_attribute(attribute, fallback);
  if (value >= min && value <= max) return value;
  return make_error(StatusCode::kOutOfRange, "O019", "attribute \"{}\" is {}, outside [{}, {}]", attribute, value, min,
                    max);
}

Result<std::string> word_attribute(const ir::Node& node, std::string_view attribute, std::string_view fallback,
                                   std::initializer_list<std::string_view> choices) {
  std::string value = node.string_attribute(attribute, fallback);
  std::string list;
  for (const std::string_view choice : choices) {
    if (value == choice) return value;
    list += list.empty() ? "" : ", ";
    list += choice;
  }
  return make_error(StatusCode::kInvalidArgument, "O020", "attribute \"{}\" is \"{}\", must be one of: {}", attribute,
                    value, list);
}

Result<Shape> broadcast_shapes(const Shape& a, const Shape& b, std::span<const Symbol> symbols) {
  const size_t rank = std::max(a.size(), b.size());
  Shape out(rank);
  for (size_t i = 0; i < rank; ++i) {  // i counts from the last axis
    const Dim left = i < a.size() ? a[a.size() - 1 - i] : Dim(1);
    const Dim right = i < b.size() ? b[b.size() - 1 - i] : Dim(1);
    if (left != right && left != Dim(1) && right != Dim(1)) {
      return make_error(StatusCode::kInvalidArgument, "O021",
                        "shapes {} and {} cannot be broadcast together: axis -{} has neither equal sizes nor a 1",
                        to_string(a, symbols), to_string(b, symbols), i + 1);
    }
    out[rank - 1 - i] = left == Dim(1) ? right : left;
  }
  return out;
}

const ir::TensorType* declared_type(const InferContext& context, size_t i) {
  return i < context.declared.size() && context.declared[i] ? &*context.declared[i] : nullptr;
}

Result<ir::TensorType> arithmetic_output(const OpSchema& schema, const InferContext& context, size_t operand,
                                         Shape shape, size_t output, DataTypeSet integer_outputs) {
  const ir::TensorType& source = input_type(context, operand);
  if (!is_quantized(source)) return ir::TensorType{source.dtype, std::move(shape), std::nullopt};
  const ir::TensorType* declared = declared_type(context, output);
  if (declared == nullptr || !declared->quantization || !declared->quantization->per_tensor()) {
    return make_error(StatusCode::kInvalidArgument, "O022",
                      "{} of a quantized tensor needs a declared output type with one scale and zero point",
                      schema.name);
  }
  if (!contains(integer_outputs, declared->dtype)) {
    return make_error(StatusCode::kUnsupported, "O023", "{} of a quantized tensor gives {}, not {}", schema.name,
                      describe(integer_outputs), data_type_name(declared->dtype));
  }
  return ir::TensorType{declared->dtype, std::move(shape), declared->quantization};
}

ir::TensorType moved_output(const InferContext& context, size_t operand, Shape shape) {
  const ir::TensorType& source = input_type(context, operand);
  return {source.dtype, std::move(shape), source.quantization};
}

}  // namespace hai::ops
