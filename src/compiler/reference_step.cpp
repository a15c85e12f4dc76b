// The graph that compile_training starts from, before anything is fused, run node by node.
//
// Constants of f32 become f64 as they are, so a peer that starts from the same f32 weights computes the same function.
// Nothing is read from the compiled program: this and the program agree only where both are right.
#include "compiler/reference_step.h"

#include <cstring>

#include "compiler/portable_graph.h"
#include "compiler/training.h"
#include "ops/build.h"
#include "ops/reference.h"
#include "ops/verify.h"

namespace hai::compiler {
namespace {

Status unfit(const std::string& what) {
  return make_error(StatusCode::kInvalidArgument, "K035", "a reference step cannot be made: {}", what);
}

std::shared_ptr<const ir::ConstantData> widened(std::span<const std::byte> bytes) {
  const size_t count = bytes.size() / sizeof(float);
  std::shared_ptr<ir::ConstantData> out = ir::ConstantData::allocate(count * sizeof(double));
  for (size_t i = 0; i < count; ++i) {
    float value = 0;
    std::memcpy(&value, bytes.data() + i * sizeof(float), sizeof(float));
    const double wide = value;
    std::memcpy(out->mutable_bytes().data() + i * sizeof(double), &wide, sizeof(double));
  }
  return out;
}

Status widen(ir::Graph& graph) {
  for (ir::ValueId id = 0; id < graph.value_slots(); ++id) {
    ir::Value& value = graph.value(id);
    if (!value.alive || !is_float(value.type.dtype)) continue;
    if (value.type.dtype != DataType::kF32)
      return unfit(fmt::format("value \"{}\" is {}", value.name, data_type_name(value.type.dtype)));
    value.type.dtype = DataType::kF64;
    if (value.is_constant()) value.constant = widened(value.constant->bytes());
  }
  return ops::verify(graph);
}

Result<ops::Tensor> tensor_of(const ir::Graph& graph, ir::ValueId id, int64_t batch, std::span<const double> values) {
  const ir::TensorType& type = graph.value(id).type;
  const std::vector<int64_t> symbols(graph.symbols.size(), batch);
  ops::Tensor tensor = ops::Tensor::zeros(type.dtype, resolve(type.shape, symbols));
  if (tensor.dims.count() != static_cast<int64_t>(values.size())) {
    return make_error(StatusCode::kInvalidArgument, "K036", "input \"{}\" has {} elements at batch {}; {} were given",
                      graph.value(id).name, tensor.dims.count(), batch, values.size());
  }
  ops::store_all_f64(tensor.mutable_view(), values);
  return tensor;
}

}  // namespace

Result<ReferenceStep> reference_step(const format::ModelFile& model, const passes::TrainingOptions& options,
                                     DataType dtype, int64_t batch, std::span<const std::vector<double>> inputs,
                                     double learning_rate) {
  if (dtype != DataType::kF64 && dtype != DataType::kF32) return unfit("its type must be f64 or f32").error();
  HAI_TRY(ir::Graph graph, from_portable(model));
  const size_t data = graph.inputs().size() + 1;
  const size_t loss = graph.outputs().size();
  HAI_TRY(const std::vector<passes::Parameter> parameters,
          choose_parameters(graph, options));  // f32, as they are trained
  if (dtype == DataType::kF64) HAI_TRY_STATUS(widen(graph));
  HAI_TRY_STATUS(passes::make_training_graph(graph, options, parameters));
  graph.erase_dead();
  if (inputs.size() != data)
    return unfit(fmt::format("it takes {} inputs, {} were given", data, inputs.size())).error();
  std::vector<ops::Tensor> given(graph.inputs().size());
  for (size_t i = 0; i < given.size(); ++i) {
    const ir::ValueId id = graph.inputs()[i];
    if (i < data) {
      HAI_TRY(given[i], tensor_of(graph, id, batch, inputs[i]));
    } else {
      const ir::TensorType& type = graph.value(id).type;
      given[i] = ops::Tensor::zeros(type.dtype, resolve(type.shape, {}));
      if (graph.value(id).name == "learning_rate") ops::store_f64(given[i].mutable_view(), 0, learning_rate);
      if (graph.value(id).name == "step") ops::store_integer(given[i].mutable_view(), 0, 1);
    }
  }
  for (const ir::State& state : graph.states) {
    const std::span<const std::byte> initial = state.initial ? state.initial->bytes() : std::span<const std::byte>();
    if (!initial.empty()) std::memcpy(given[state.input].mutable_view().data, initial.data(), initial.size());
  }
  HAI_TRY(ops::InterpretResult result, ops::interpret(graph, given));
  ReferenceStep step;
  step.loss = ops::load_f64(result.outputs[loss].view(), 0);
  step.gradient_norm = ops::load_f64(result.outputs[loss + 1].view(), 0);
  for (const ir::State& state : graph.states) {
    if (state.output == ir::State::kKept) continue;
    step.states.push_back({graph.value(graph.inputs()[state.input]).name, std::move(given[state.input]),
                           std::move(result.outputs[state.output])});
  }
  return step;
}

}  // namespace hai::compiler
