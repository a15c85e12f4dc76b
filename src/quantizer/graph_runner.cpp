// Compiles a graph in memory and runs it.
//
// Measuring goes through the same door as every user: what is compared is exactly what HAI computes. Output memory is
// kept between runs while the shapes stay the same, so that a stream of samples allocates once.
#include "quantizer/graph_runner.h"

#include <array>

#include "compiler/compile.h"
#include "format/model.h"

namespace hai::quantizer {
namespace {

Error runtime_error(const api::Error& error) {
  return make_error(static_cast<StatusCode>(error.code), "Q060", "measuring run failed: {}", error.message);
}

}  // namespace

Result<GraphRunner> GraphRunner::make(ir::Graph graph, int threads) {
  HAI_TRY(const compiler::CompiledModel compiled, compiler::compile(std::move(graph)));
  HAI_TRY(std::vector<std::byte> bytes, format::serialize(compiled.file));
  auto model = api::Model::load(bytes.data(), bytes.size());
  if (!model) return runtime_error(model.error());
  api::SessionOptions options;
  options.threads = threads;
  auto session = model->session(options);
  if (!session) return runtime_error(session.error());
  return GraphRunner(std::move(bytes), std::move(*session));
}

Result<std::span<const api::Tensor>> GraphRunner::run(std::span<const hai_tensor> inputs) {
  const std::vector<hai_tensor> given(inputs.begin(), inputs.end());
  const size_t count = hai_session_output_count(session_.handle());
  outputs_.resize(count);
  std::vector<hai_tensor> views;
  for (size_t i = 0; i < count; ++i) {
    std::array<int64_t, HAI_MAX_RANK> dims{};
    int32_t rank = 0;
    int32_t dtype = 0;
    const hai_status code =
        hai_session_output_type(session_.handle(), given.data(), given.size(), i, &dtype, dims.data(), &rank);
    if (code != HAI_OK) return runtime_error(api::last_error(code));
    const std::vector<int64_t> shape(dims.begin(), dims.begin() + rank);
    if (outputs_[i].dtype() != dtype || outputs_[i].dims() != shape || outputs_[i].size_bytes() == 0)
      outputs_[i] = api::Tensor(dtype, shape);
    views.push_back(api::view(outputs_[i]));
  }
  if (const auto status = session_.run_into(given, views); !status) return runtime_error(status.error());
  return std::span<const api::Tensor>(outputs_);
}

std::vector<hai_tensor> views_of(std::span<const ops::Tensor> sample) {
  std::vector<hai_tensor> views;
  for (const ops::Tensor& tensor : sample) {
    const auto dims = tensor.dims.view();
    views.push_back(api::view(static_cast<int32_t>(tensor.dtype), {dims.begin(), dims.end()},
                              const_cast<std::byte*>(tensor.storage.data()), tensor.storage.size()));
  }
  return views;
}

}  // namespace hai::quantizer
