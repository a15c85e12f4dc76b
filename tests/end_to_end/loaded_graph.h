// For tests: a graph compiled, written, loaded from memory and run through the C interface, on any instruction set,
// with any number of threads.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "compiler/compile.h"
#include "devices/cpu/exec/isa.h"
#include "devices/sd3403/simulator/install.h"
#include "format/model.h"
#include "hai/hai.h"
#include "ops/interpreter.h"

namespace hai::testing {

// Programs of the sd3403 run in every test that includes this.
inline const bool kSimulatorInstalled = sd3403::install_simulator();

struct Setting {
  cpu::Isa isa = cpu::Isa::kScalar;
  int threads = 1;
  int64_t batch = 1;
};

struct ReleaseModel {
  void operator()(hai_model* model) const { hai_model_release(model); }
};
struct ReleaseSession {
  void operator()(hai_session* session) const { hai_session_release(session); }
};

inline hai_tensor describe(const TensorView& view) {
  hai_tensor tensor{};
  tensor.dtype = static_cast<int32_t>(view.dtype);
  tensor.rank = view.dims.rank;
  std::copy_n(view.dims.size.begin(), view.dims.rank, tensor.dims);
  tensor.data = const_cast<std::byte*>(view.data);
  tensor.size_bytes = static_cast<size_t>(view.size_bytes());
  return tensor;
}

// Tensors of the same types and shapes, full of what no result should be.
inline std::vector<ops::Tensor> garbage_like(const std::vector<ops::Tensor>& tensors) {
  std::vector<ops::Tensor> out = tensors;
  for (ops::Tensor& tensor : out) std::fill(tensor.storage.begin(), tensor.storage.end(), std::byte{0x5a});
  return out;
}

// Sessions of any setting run it. `error` is set where the graph does not compile or load.
class LoadedGraph {
 public:
  explicit LoadedGraph(const ir::Graph& graph, const compiler::CompileOptions& options = {}) {
    const auto compiled = compiler::compile(graph, options);
    if (!compiled) {
      error = compiled.error().to_string();
      return;
    }
    load(compiled->file);
  }
  // Of a graph that has been compiled.
  explicit LoadedGraph(const format::ModelFile& file) { load(file); }

  // Fills `outputs`; an error text, or nothing.
  std::string run(const Setting& setting, const std::vector<ops::Tensor>& inputs, std::vector<ops::Tensor>& outputs) {
    hai_session_options options = HAI_SESSION_OPTIONS_INIT;
    const std::string isa(cpu::isa_name(setting.isa));
    options.isa = isa.c_str();
    options.threads = setting.threads;
    hai_session* session = nullptr;
    if (hai_session_create(model_.get(), &options, &session) != HAI_OK) return hai_last_error();
    const std::unique_ptr<hai_session, ReleaseSession> held(session);
    std::vector<hai_tensor> in;
    std::vector<hai_tensor> out;
    for (const ops::Tensor& tensor : inputs) in.push_back(describe(tensor.view()));
    for (const ops::Tensor& tensor : outputs) out.push_back(describe(tensor.view()));
    const bool ran = hai_session_run(session, in.data(), in.size(), out.data(), out.size()) == HAI_OK;
    return ran ? "" : hai_last_error();
  }

  std::string error;

 private:
  void load(const format::ModelFile& file) {
    auto bytes = format::serialize(file);
    if (!bytes) {
      error = bytes.error().to_string();
      return;
    }
    bytes_ = std::move(*bytes);
    hai_model* model = nullptr;
    if (hai_model_load_memory(bytes_.data(), bytes_.size(), &model) != HAI_OK) error = hai_last_error();
    model_.reset(model);
  }

  std::vector<std::byte> bytes_;
  std::unique_ptr<hai_model, ReleaseModel> model_;
};

}  // namespace hai::testing
