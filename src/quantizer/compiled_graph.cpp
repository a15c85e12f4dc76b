// Compiling and running a graph in memory.
//
// Method: compiled, serialized and loaded like a file, so that calibration, checks and searches see exactly the numbers
// that a saved model gives. Output buffers are reused from run to run.
#include "quantizer/compiled_graph.h"

#include <optional>

#include "compiler/compile.h"
#include "format/model.h"
#include "hai/hai.hpp"

namespace hai::quantizer {
namespace {

Error runtime_error(const api::Error& error) {
  return make_error(static_cast<StatusCode>(error.code), "Q020", "calibration run failed: {}", error.message);
}

}  // namespace

struct CompiledGraph::State {
  std::vector<std::byte> bytes;
  std::optional<api::Session> session;
  std::vector<api::Tensor> outputs;
};

CompiledGraph::CompiledGraph(std::unique_ptr<State> state) : state_(std::move(state)) {}
CompiledGraph::CompiledGraph(CompiledGraph&&) noexcept = default;
CompiledGraph& CompiledGraph::operator=(CompiledGraph&&) noexcept = default;
CompiledGraph::~CompiledGraph() = default;

Result<CompiledGraph> CompiledGraph::make(ir::Graph graph, int threads) {
  auto state = std::make_unique<State>();
  HAI_TRY(const compiler::CompiledModel compiled, compiler::compile(std::move(graph)));
  HAI_TRY(state->bytes, format::serialize(compiled.file));
  auto model = api::Model::load(state->bytes.data(), state->bytes.size());
  if (!model) return runtime_error(model.error());
  api::SessionOptions options;
  options.threads = threads;
  auto session = model->session(options);
  if (!session) return runtime_error(session.error());
  state->session.emplace(std::move(*session));
  return CompiledGraph(std::move(state));
}

Result<std::vector<TensorView>> CompiledGraph::run(std::span<const ops::Tensor> sample) {
  std::vector<hai_tensor> inputs;
  for (const ops::Tensor& tensor : sample) {
    const auto dims = tensor.dims.view();
    inputs.push_back(api::view(static_cast<int32_t>(tensor.dtype), {dims.begin(), dims.end()},
                               const_cast<std::byte*>(tensor.storage.data()), tensor.storage.size()));
  }
  auto outputs = state_->session->run(inputs);
  if (!outputs) return runtime_error(outputs.error());
  state_->outputs = std::move(*outputs);
  std::vector<TensorView> views;
  for (const api::Tensor& output : state_->outputs) {
    TensorView view;
    view.dtype = static_cast<DataType>(output.dtype());
    view.dims = Dims(output.dims());
    view.data = static_cast<const std::byte*>(output.data());
    views.push_back(view);
  }
  return views;
}

}  // namespace hai::quantizer
