// What the operators' infer() functions share: checks that answer with one good sentence, broadcasting, output types.
//
// Every check names the operand and what it should have been; infer_types() puts the node in front. Error ids O001-O099
// belong to this infrastructure; a folder's own checks take ids of their own (O1 convolutions and products, O2
// arithmetic, O3 and O4 movers and reductions).
#pragma once

#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ops/op_schema.h"

namespace hai::ops {

using InferResult = Result<std::vector<ir::TensorType>>;

// --- sets of element types ---
using DataTypeSet = uint32_t;
constexpr DataTypeSet set_of(std::initializer_list<DataType> types) {
  DataTypeSet set = 0;
  for (const DataType type : types) set |= 1U << static_cast<int>(type);
  return set;
}
constexpr bool contains(DataTypeSet set, DataType type) { return ((set >> static_cast<int>(type)) & 1U) != 0; }
inline constexpr DataTypeSet kFloatTypes = set_of({DataType::kF64, DataType::kF32, DataType::kF16, DataType::kBF16});
inline constexpr DataTypeSet kQuantized8 = set_of({DataType::kI8, DataType::kU8});
inline constexpr DataTypeSet kQuantizedTypes = kQuantized8 | set_of({DataType::kI16});  // activations of integer graphs
inline constexpr DataTypeSet kPlainIntegers = set_of({DataType::kI32, DataType::kI64});  // shape arithmetic and indices
inline constexpr DataTypeSet kAllTypes = (1U << kDataTypeCount) - 1U;

// "f32, i8 or u8"
std::string describe(DataTypeSet set);

// --- operands ---
inline bool has_input(const InferContext& context, size_t i) {
  return i < context.inputs.size() && context.inputs[i] != nullptr;
}
// Precondition: has_input (required operands are checked before infer runs).
inline const ir::TensorType& input_type(const InferContext& context, size_t i) { return *context.inputs[i]; }
inline int rank_of(const ir::TensorType& type) { return static_cast<int>(type.shape.size()); }

Status require_dtype(const OpSchema& schema, const InferContext& context, size_t i, DataTypeSet allowed);
Status require_same_dtype(const OpSchema& schema, const InferContext& context, size_t i, size_t j);
Status require_rank(const OpSchema& schema, const InferContext& context, size_t i, int min_rank, int max_rank);
// Shape of operand i must be exactly [size] (bias, scales, ...).
Status require_vector(const OpSchema& schema, const InferContext& context, size_t i, const Dim& size);
// Integers that stand for real numbers with one scale; plain integers pass when `plain_allowed`; floats pass.
Status require_per_tensor(const OpSchema& schema, const InferContext& context, size_t i, bool plain_allowed);

// --- attributes ---
// An axis in [-rank, rank) -> [0, rank).
Result<int> normalise_axis(int64_t axis, int rank, std::string_view attribute);
// The same for a list; sorted, no axis twice.
Result<std::vector<int>> normalise_axes(std::span<const int64_t> axes, int rank, std::string_view attribute);
// A list attribute with a fixed length and bounds for each entry; `fallback` when absent.
Result<std::vector<int64_t>> bounded_ints(const ir::Node& node, std::string_view attribute,
                                          std::vector<int64_t> fallback, int64_t min, int64_t max);
Result<int64_t> bounded_int(const ir::Node& node, std::string_view attribute, int64_t fallback, int64_t min,
                            int64_t max);
// One of a fixed choice of words.
Result<std::string> word_attribute(const ir::Node& node, std::string_view attribute, std::string_view fallback,
                                   std::initializer_list<std::string_view> choices);

// --- shapes ---
// NumPy broadcasting of two shapes; symbols meet only themselves or 1.
Result<Shape> broadcast_shapes(const Shape& a, const Shape& b, std::span<const Symbol> symbols);

// --- output types ---
// The dtype and quantization of output i as the graph declares them; null when it does not.
const ir::TensorType* declared_type(const InferContext& context, size_t i);
// The output of an arithmetic operator over operand i: floats keep their type; plain integers keep theirs; a quantized
// operand needs a declared output in `integer_outputs` with one scale. The declared shape is ignored.
Result<ir::TensorType> arithmetic_output(const OpSchema& schema, const InferContext& context, size_t operand,
                                         Shape shape, size_t output = 0, DataTypeSet integer_outputs = kQuantizedTypes);
// The output of an operator that only moves elements: type and quantization of operand i.
ir::TensorType moved_output(const InferContext& context, size_t operand, Shape shape);

// True for integer types with a quantization.
inline bool is_quantized(const ir::TensorType& type) { return is_integer(type.dtype) && type.quantization.has_value(); }

}  // namespace hai::ops
