// global_norm: the Euclidean norm of several tensors together, one number.
//
// What clipping by norm (Pascanu et al. 2013) compares with its limit, and what tells that a step is finite before
// anything is changed. Floats are squared and summed in f64 and rounded once.
#include "ops/inference.h"
#include "ops/reference.h"
#include "types/exact_math.h"

namespace hai::ops {
namespace {

InferResult infer(const OpSchema& schema, const InferContext& context) {
  HAI_TRY_STATUS(require_dtype(schema, context, 0, kFloatTypes));
  for (size_t i = 1; i < context.inputs.size(); ++i) HAI_TRY_STATUS(require_same_dtype(schema, context, i, 0));
  return std::vector<ir::TensorType>{{input_type(context, 0).dtype, {}, std::nullopt}};
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  double sum = 0;
  for (const TensorView& input : context.inputs) {
    for (const double number : load_all_f64(input)) sum += number * number;
  }
  store_f64(context.outputs[0], 0, hai_sqrt(sum));
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) {
  int64_t count = 0;
  for (const Dims& input : context.inputs) count += input.count();
  return {0, 2 * count};
}

std::vector<Sample> samples(const OpSchema&) {
  std::vector<Sample> out;
  const auto add = [&](const char* name, DataType dtype, const std::vector<Shape>& shapes) {
    Sample sample;
    sample.name = name;
    for (const Shape& shape : shapes) {
      SampleInput input;
      input.type = {dtype, shape, std::nullopt};
      sample.inputs.push_back(std::move(input));
    }
    sample.tolerance = dtype == DataType::kF64 ? 1e-14 : 2e-7;  // one rounding to f32
    out.push_back(std::move(sample));
  };
  add("one_f32", DataType::kF32, {{13, 19}});
  add("three_f32", DataType::kF32, {{127}, {2, 127, 313}, {}});
  add("with_empty_f32", DataType::kF32, {{0, 3}, {7}});
  add("f64", DataType::kF64, {{5}, {3, 3}});
  return out;
}

OpSchema make_schema() {
  OpSchema schema;
  schema.name = "global_norm";
  schema.doc = "norm = sqrt(sum of the squares of all elements of all operands). Floats only.";
  OperandSpec operand{"x", "any shape; one or more operands of one type"};
  operand.variadic = true;
  schema.inputs = {operand};
  schema.outputs = {{"norm", "[]"}};
  schema.infer = infer;
  schema.reference = reference;
  schema.cost = cost;
  schema.samples = samples;
  schema.explained_holes = {{"onnx", "made by compiling for training"},
                            {"sd3403", "training runs on the CPU"},
                            {"gradient", "second derivatives are not built"}};
  return schema;
}

}  // namespace

std::span<const OpSchema> global_norm_schemas();
std::span<const OpSchema> global_norm_schemas() {
  static const std::vector<OpSchema> schemas = {make_schema()};
  return schemas;
}

}  // namespace hai::ops
