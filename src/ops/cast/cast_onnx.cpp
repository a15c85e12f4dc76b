// ONNX Cast and CastLike between the core's element types.
//
// A cast to the type that a tensor has already makes no node. Which pairs a device computes is the operator's own
// check.
#include <fmt/format.h>

#include "importers/onnx/import_registry.h"

namespace hai::onnx_import {
namespace {

// TensorProto::DataType -> the core's type.
std::optional<DataType> element_type_of(int64_t number) {
  switch (number) {
    case 1:
      return DataType::kF32;
    case 2:
      return DataType::kU8;
    case 3:
      return DataType::kI8;
    case 4:
      return DataType::kU16;
    case 5:
      return DataType::kI16;
    case 6:
      return DataType::kI32;
    case 7:
      return DataType::kI64;
    case 9:
      return DataType::kBool;
    case 10:
      return DataType::kF16;
    case 11:
      return DataType::kF64;
    case 12:
      return DataType::kU32;
    case 13:
      return DataType::kU64;
    case 16:
      return DataType::kBF16;
    case 21:
      return DataType::kU4;
    case 22:
      return DataType::kI4;
    default:
      return std::nullopt;
  }
}

Status cast_to(ImportContext& context, DataType dtype) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  if (context.type(x).dtype == dtype) return context.set_output(0, x);
  HAI_TRY(const ir::ValueId y, context.emit("cast", {x}, {{"dtype", std::string(data_type_name(dtype))}}));
  return context.set_output(0, y);
}

Status convert_cast(ImportContext& context) {
  const int64_t to = context.int_attribute("to", 0);
  const auto dtype = element_type_of(to);
  if (!dtype) return context.unsupported(fmt::format("casting to element type {} is not supported", to));
  return cast_to(context, *dtype);
}

Status convert_cast_like(ImportContext& context) {
  HAI_TRY(const ir::ValueId like, context.input(1));
  return cast_to(context, context.type(like).dtype);
}

}  // namespace

void register_cast_onnx(ImportRegistry& registry);
void register_cast_onnx(ImportRegistry& registry) {
  registry.add("Cast", convert_cast);
  registry.add("CastLike", convert_cast_like);
}

}  // namespace hai::onnx_import
