// guarded_update: the new value of a state, or the old one where the guard says that the step is refused.
//
// For states that no optimizer changes: running statistics, averages of weights. The optimizers' own updates have the
// guard built in (optimizer_update).
#include "ops/inference.h"
#include "ops/reference.h"
#include "types/optimizer_step.h"

namespace hai::ops {
namespace {

InferResult infer(const OpSchema& schema, const InferContext& context) {
  HAI_TRY_STATUS(require_dtype(schema, context, 0, kFloatTypes));
  HAI_TRY_STATUS(require_same_dtype(schema, context, 1, 0));
  HAI_TRY_STATUS(require_same_dtype(schema, context, 2, 0));
  HAI_TRY_STATUS(require_rank(schema, context, 2, 0, 0));
  if (input_type(context, 0).shape != input_type(context, 1).shape) {
    return make_error(StatusCode::kInvalidArgument, "O545", "old is {} and new {}: shapes must be equal",
                      to_string(input_type(context, 0).shape, context.symbols),
                      to_string(input_type(context, 1).shape, context.symbols));
  }
  return std::vector<ir::TensorType>{{input_type(context, 0).dtype, input_type(context, 0).shape, std::nullopt}};
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  const bool sound = hai_step_is_sound(load_f64(context.inputs[2], 0)) != 0;
  store_all_f64(context.outputs[0], load_all_f64(context.inputs[sound ? 1 : 0]));
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) { return {0, context.outputs[0].count()}; }

std::vector<Sample> samples(const OpSchema&) {
  std::vector<Sample> out;
  const auto add = [&](const char* name, DataType dtype, const Shape& shape, double guard) {
    Sample sample;
    sample.name = name;
    SampleInput tensor;
    tensor.type = {dtype, shape, std::nullopt};
    SampleInput number = tensor;
    number.type.shape = {};
    number.low = number.high = guard;
    sample.inputs = {tensor, tensor, number};
    sample.tolerance = 0;  // a copy
    out.push_back(std::move(sample));
  };
  add("new_f32", DataType::kF32, {13, 7}, 3.0);
  add("old_f32", DataType::kF32, {127}, 1e30);
  add("large_f32", DataType::kF32, {129, 257}, 0.0);
  add("empty_f32", DataType::kF32, {0, 3}, 0.0);
  add("f64", DataType::kF64, {5}, 1.0);
  return out;
}

OpSchema make_schema() {
  OpSchema schema;
  schema.name = "guarded_update";
  schema.doc =
      "y = new where guard is finite and at most 2^63 in magnitude, else old: what a state that no optimizer "
      "changes holds after a step. Floats only.";
  schema.inputs = {{"old", "any static shape"},
                   {"new", "shape of old"},
                   {"guard", "[]: the norm of all gradients, or another number that is finite when all is well"}};
  schema.outputs = {{"y", "shape of old"}};
  schema.infer = infer;
  schema.reference = reference;
  schema.cost = cost;
  schema.samples = samples;
  schema.explained_holes = {{"onnx", "made by compiling for training"},
                            {"sd3403", "training runs on the CPU"},
                            {"gradient", "nothing is trained through the update of a state"}};
  return schema;
}

}  // namespace

std::span<const OpSchema> guarded_update_schemas();
std::span<const OpSchema> guarded_update_schemas() {
  static const std::vector<OpSchema> schemas = {make_schema()};
  return schemas;
}

}  // namespace hai::ops
