// accumulation_phase: where a step lies among those whose gradients are added up before one update.
//
// Gradient accumulation without branches: `keep` drops the old sum at the first step of a group, `gate` is added to the
// guard of the updates and refuses them before the last (types/optimizer_step.h), `update` counts the updates for Adam.
#include <algorithm>

#include "ops/inference.h"
#include "ops/reference.h"
#include "types/optimizer_step.h"

namespace hai::ops {
namespace {

const auto kNumberTypes = set_of({DataType::kF32, DataType::kF64});

InferResult infer(const OpSchema& schema, const InferContext& context) {
  HAI_TRY_STATUS(require_dtype(schema, context, 0, set_of({DataType::kI64})));
  HAI_TRY_STATUS(require_dtype(schema, context, 1, kNumberTypes));
  for (const size_t i : {size_t{0}, size_t{1}}) HAI_TRY_STATUS(require_rank(schema, context, i, 0, 0));
  const int64_t every = context.node.int_attribute("every", 1);
  if (every < 1 || every > HAI_MOST_ACCUMULATED) {
    return make_error(StatusCode::kInvalidArgument, "O546", "every is {}: it must be from 1 to {}", every,
                      int64_t{HAI_MOST_ACCUMULATED});
  }
  const ir::TensorType number{input_type(context, 1).dtype, {}, std::nullopt};
  return std::vector<ir::TensorType>{number, number, {DataType::kI64, {}, std::nullopt}};
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  const hai_accumulation at =
      hai_accumulation_at(load_integer(context.inputs[0], 0), context.node.int_attribute("every", 1));
  store_f64(context.outputs[0], 0, at.keep);
  store_f64(context.outputs[1], 0, at.gate);
  store_integer(context.outputs[2], 0, at.update);
  return {};
}

Cost cost(const OpSchema&, const CostContext&) { return {0, 4}; }

std::vector<Sample> samples(const OpSchema&) {
  std::vector<Sample> out;
  const auto add = [&](const char* name, DataType dtype, double step, int64_t every) {
    Sample sample;
    sample.name = name;
    SampleInput number;
    number.type = {DataType::kI64, {}, std::nullopt};
    number.integers_in_bounds = true;
    number.low = number.high = step;
    SampleInput rate;
    rate.type = {dtype, {}, std::nullopt};
    sample.inputs = {number, rate};
    sample.attributes = {{"every", every}};
    sample.tolerance = 0;  // zeros, ones and a power of two
    out.push_back(std::move(sample));
  };
  add("first_f32", DataType::kF32, 5, 4);
  add("between_f32", DataType::kF32, 7, 4);
  add("last_f32", DataType::kF32, 8, 4);
  add("every_f32", DataType::kF32, 3, 1);
  add("before_the_first_f32", DataType::kF32, 0, 3);
  add("f64", DataType::kF64, 9, 3);
  return out;
}

OpSchema make_schema() {
  OpSchema schema;
  schema.name = "accumulation_phase";
  schema.doc =
      "Where step s = max(step, 1) lies among groups of `every` steps: keep = 0 in a group's first step, else 1; gate "
      "= "
      "0 in its last, else 2^100, which no guard of an update lets through; update = ceil(s / every).";
  schema.inputs = {{"step", "[], i64: number of this step, from 1"},
                   {"number", "[]: its float type is that of keep and gate; its value is not read"}};
  schema.outputs = {{"keep", "[]"}, {"gate", "[]"}, {"update", "[], i64"}};
  schema.attributes = {{"every", AttributeKind::kInt, "steps in a group, at most 2^20; 1 by default"}};
  schema.infer = infer;
  schema.reference = reference;
  schema.cost = cost;
  schema.samples = samples;
  schema.explained_holes = {{"onnx", "made by compiling for training"},
                            {"sd3403", "training runs on the CPU"},
                            {"gradient", "nothing is trained through the number of a step"}};
  return schema;
}

}  // namespace

std::span<const OpSchema> accumulation_phase_schemas();
std::span<const OpSchema> accumulation_phase_schemas() {
  static const std::vector<OpSchema> schemas = {make_schema()};
  return schemas;
}

}  // namespace hai::ops
