// Calibration on the CPU device.
//
// Method: a copy of the graph gets every wanted value as an output more, is compiled and run through the public runtime
// interface: calibration sees exactly the float numbers that HAI computes. Samples stream: one is in memory at a time,
// and output buffers are reused. It chooses nothing: see observer.cpp and rewrite.cpp.
#include "quantizer/calibrate.h"

#include <fmt/format.h>

#include <cstring>
#include <vector>

#include "compiler/compile.h"
#include "format/model.h"
#include "hai/hai.hpp"

namespace hai::quantizer {
namespace {

Error runtime_error(const api::Error& error) {
  return make_error(static_cast<StatusCode>(error.code), "Q020", "calibration run failed: {}", error.message);
}

class Calibrator {
 public:
  Calibrator(const ir::Graph& graph, Observations& observations) : graph_(graph), observations_(observations) {}

  Status prepare(int threads) {
    ir::Graph instrumented = graph_;
    const size_t own_outputs = instrumented.outputs().size();
    for (auto& [value, observer] : observations_) {
      if (graph_.is_input(value)) {
        for (size_t i = 0; i < graph_.inputs().size(); ++i) {
          if (graph_.inputs()[i] == value) watched_inputs_.emplace_back(i, &observer);
        }
        continue;
      }
      size_t index = 0;
      while (index < own_outputs && instrumented.outputs()[index] != value) ++index;
      if (index == own_outputs) {
        index = instrumented.outputs().size();
        instrumented.add_output(value);
      }
      watched_outputs_.emplace_back(index, &observer);
      names_.push_back(graph_.value(value).name);
    }
    HAI_TRY(const compiler::CompiledModel compiled, compiler::compile(std::move(instrumented)));
    HAI_TRY(bytes_, format::serialize(compiled.file));
    auto model = api::Model::load(bytes_.data(), bytes_.size());
    if (!model) return runtime_error(model.error());
    api::SessionOptions options;
    options.threads = threads;
    auto session = model->session(options);
    if (!session) return runtime_error(session.error());
    session_.emplace(std::move(*session));
    return {};
  }

  Status observe(const std::vector<ops::Tensor>& sample, int64_t index) {
    if (sample.size() != graph_.inputs().size()) {
      return make_error(StatusCode::kInvalidArgument, "Q021",
                        "calibration sample {} has {} tensors, the model takes {}", index, sample.size(),
                        graph_.inputs().size());
    }
    std::vector<hai_tensor> inputs;
    for (const ops::Tensor& tensor : sample) {
      const auto dims = tensor.dims.view();
      inputs.push_back(api::view(static_cast<int32_t>(tensor.dtype), {dims.begin(), dims.end()},
                                 const_cast<std::byte*>(tensor.storage.data()), tensor.storage.size()));
    }
    const auto outputs = session_->run(inputs);
    if (!outputs) return with_where(runtime_error(outputs.error()), fmt::format("calibration sample {}", index));
    for (const auto& [input, observer] : watched_inputs_) {
      HAI_TRY_STATUS(feed(*observer, sample[input].storage.data(), sample[input].storage.size(),
                          graph_.value(graph_.inputs()[input]).name, index));
    }
    for (size_t i = 0; i < watched_outputs_.size(); ++i) {
      const api::Tensor& output = (*outputs)[watched_outputs_[i].first];
      HAI_TRY_STATUS(feed(*watched_outputs_[i].second, output.data(), output.size_bytes(), names_[i], index));
    }
    return {};
  }

 private:
  static Status feed(RangeObserver& observer, const void* data, size_t size_bytes, const std::string& name,
                     int64_t index) {
    if (observer.add(std::span(static_cast<const float*>(data), size_bytes / sizeof(float)))) return {};
    return make_error(
        StatusCode::kInvalidArgument, "Q022",
        "tensor \"{}\" is NaN or infinite on calibration sample {}; check that sample and the model's weights", name,
        index);
  }

  const ir::Graph& graph_;
  Observations& observations_;
  std::vector<std::pair<size_t, RangeObserver*>> watched_inputs_;
  std::vector<std::pair<size_t, RangeObserver*>> watched_outputs_;
  std::vector<std::string> names_;
  std::vector<std::byte> bytes_;
  std::optional<api::Session> session_;
};

}  // namespace

Result<int64_t> calibrate(const ir::Graph& graph, const NextSample& next, int threads, Observations& observations) {
  Calibrator calibrator(graph, observations);
  HAI_TRY_STATUS(calibrator.prepare(threads));
  int64_t count = 0;
  for (;;) {
    HAI_TRY(const auto sample, next());
    if (!sample) break;
    HAI_TRY_STATUS(calibrator.observe(*sample, count));
    ++count;
  }
  if (count == 0) {
    return make_error(StatusCode::kInvalidArgument, "Q023",
                      "no calibration samples; give at least one, better 16 to 500 like those the model will see");
  }
  return count;
}

}  // namespace hai::quantizer
