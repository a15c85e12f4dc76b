// Arithmetic on shapes at import: small integer tensors whose elements are ir Dims, numbers or number * symbol.
//
// Exporters compute shapes with ordinary operators (Shape, Gather, Concat, Mul ...). With a free batch dimension their
// values are not numbers, but as long as each stays a Dim they need not exist at run time.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "importers/onnx/onnx_model.h"
#include "types/data_type.h"
#include "types/shape.h"

namespace hai::onnx_import {

// Larger integer constants are data, not shapes.
inline constexpr int64_t kMaxKnownInts = 4096;

// An integer or boolean tensor known while importing. Unlike dimensions of a shape, elements may be negative.
struct KnownInts {
  DataType dtype = DataType::kI64;
  std::vector<int64_t> dims;  // of the tensor itself: empty for a scalar
  std::vector<Dim> values;    // row-major

  bool is_numeric() const { return is_static(values); }  // no symbol in it
};

// What an operator gives when all its operands are known; std::nullopt: not an operator on shapes, or the result is not
// a Dim (N + 1). An absent operand is null. `opset` is the standard operators' version.
std::optional<std::vector<KnownInts>> fold_known(const OnnxNode& node, std::span<const KnownInts* const> inputs,
                                                 int64_t opset, std::span<const Symbol> symbols);
bool is_shape_operator(std::string_view op_type);

}  // namespace hai::onnx_import
