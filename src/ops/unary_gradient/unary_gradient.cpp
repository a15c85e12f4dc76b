// unary_gradient: dx[i] = dy[i] f'(v[i]), the backward step of the unary functions, in one sweep.
//
// One operator for all of them: the function is an attribute. v is x or y = f(x), whichever
// types/unary_gradient_table.h writes the derivative in. Made by differentiation (ops/gradient.h), never by importers.
// Floats are computed in f64 and rounded once.
#include <fmt/format.h>

#include <algorithm>

#include "ops/inference.h"
#include "ops/reference.h"
#include "types/unary_functions.h"

namespace hai::ops {
namespace {

struct Function {
  int32_t number;
  double alpha;
  double beta;
};

Result<Function> function_of(const ir::Node& node) {
  const std::string name = node.string_attribute("function", "");
  const auto number = find_unary_function(name);
  if (!number || !unary_gradient(*number)) {
    std::string known;
    for (const UnaryFunction& row : unary_functions()) {
      if (unary_gradient(*find_unary_function(row.name))) known += (known.empty() ? "" : ", ") + std::string(row.name);
    }
    return make_error(StatusCode::kInvalidArgument, "O501", "no derivative of function '{}'; known: {}", name, known);
  }
  const UnaryFunction& row = unary_functions()[static_cast<size_t>(*number)];
  return Function{*number, node.float_attribute("alpha", row.alpha), node.float_attribute("beta", row.beta)};
}

InferResult infer(const OpSchema& schema, const InferContext& context) {
  HAI_TRY_STATUS(require_dtype(schema, context, 0, kFloatTypes));
  HAI_TRY_STATUS(require_same_dtype(schema, context, 1, 0));
  HAI_TRY_STATUS(function_of(context.node));
  if (input_type(context, 0).shape != input_type(context, 1).shape) {
    return make_error(StatusCode::kInvalidArgument, "O502", "v {} and dy {} have different shapes",
                      to_string(input_type(context, 0).shape, context.symbols),
                      to_string(input_type(context, 1).shape, context.symbols));
  }
  return std::vector<ir::TensorType>{{input_type(context, 0).dtype, input_type(context, 0).shape, std::nullopt}};
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  HAI_TRY(const Function function, function_of(context.node));
  const TensorView& v = context.inputs[0];
  for (int64_t i = 0; i < v.count(); ++i) {
    store_f64(context.outputs[0], i,
              load_f64(context.inputs[1], i) *
                  unary_gradient_f64(function.number, load_f64(v, i), function.alpha, function.beta));
  }
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) { return {0, 2 * context.outputs[0].count()}; }

std::vector<Sample> samples(const OpSchema&) {
  std::vector<Sample> out;
  const auto add = [&](const UnaryFunction& row, const char* what, DataType dtype, const Shape& shape) {
    const int32_t number = *find_unary_function(row.name);
    Sample sample;
    sample.name = fmt::format("{}_{}", row.name, what);
    SampleInput v;
    v.type = {dtype, shape, std::nullopt};
    v.low = row.sample_low;
    v.high = row.sample_high;
    if (unary_gradient(number)->of_output) {  // v is a value of the function
      const double ends[] = {unary_f64(number, row.sample_low, row.alpha, row.beta),
                             unary_f64(number, row.sample_high, row.alpha, row.beta)};
      v.low = std::max(std::min(ends[0], ends[1]), row.name == "sqrt" ? 0.01 : -1e9);
      v.high = std::max(ends[0], ends[1]);
    }
    SampleInput dy;
    dy.type = v.type;
    sample.inputs = {v, dy};
    sample.attributes["function"] = std::string(row.name);
    if (row.parameter_count > 0) sample.attributes["alpha"] = 0.3;
    sample.tolerance = dtype == DataType::kF64 ? 1e-14 : 4e-6;
    out.push_back(std::move(sample));
  };
  for (const UnaryFunction& row : unary_functions()) {
    if (!unary_gradient(*find_unary_function(row.name))) continue;
    add(row, "odd_f32", DataType::kF32, {1, 13, 19, 3});
    add(row, "large_f32", DataType::kF32, {2, 127, 313});
    add(row, "f64", DataType::kF64, {13});
  }
  add(unary_functions()[0], "empty_f32", DataType::kF32, {0, 3});
  add(unary_functions()[0], "scalar_f32", DataType::kF32, {});
  return out;
}

OpSchema make_schema() {
  OpSchema schema;
  schema.name = "unary_gradient";
  std::string formulas;
  for (const UnaryFunction& row : unary_functions()) {
    const auto gradient = unary_gradient(*find_unary_function(row.name));
    if (gradient) formulas += fmt::format(" {}: {}.", row.name, gradient->formula);
  }
  schema.doc =
      "dx = dy f'(v), element by element: the backward step of a unary function, where v is its input x or its output "
      "y, "
      "whichever the derivative is written in. Floats only." +
      formulas;
  schema.inputs = {{"v", "any shape: x or y of the function"}, {"dy", "shape of v: the gradient of y"}};
  schema.outputs = {{"dx", "shape of v: the gradient of x"}};
  schema.attributes = {{"function", AttributeKind::kString, "name of the unary operator", true},
                       {"alpha", AttributeKind::kFloat, "first parameter of the function"},
                       {"beta", AttributeKind::kFloat, "second parameter of the function"}};
  schema.infer = infer;
  schema.reference = reference;
  schema.cost = cost;
  schema.samples = samples;
  schema.explained_holes = {{"onnx", "made by differentiation only"},
                            {"sd3403", "training runs on the CPU"},
                            {"gradient", "second derivatives are not built"}};
  return schema;
}

}  // namespace

std::span<const OpSchema> unary_gradient_schemas();
std::span<const OpSchema> unary_gradient_schemas() {
  static const std::vector<OpSchema> schemas = {make_schema()};
  return schemas;
}

}  // namespace hai::ops
