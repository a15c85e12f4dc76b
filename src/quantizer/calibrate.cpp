// Calibration on the CPU device.
//
// Method: a copy of the graph gets every wanted value as an output more, is compiled and run through the public runtime
// interface: calibration sees exactly the float numbers that HAI computes. Samples stream: one is in memory at a time,
// and output buffers are reused. It chooses nothing: see ranges.cpp and rewrite.cpp.
#include "quantizer/calibrate.h"

#include <fmt/format.h>

#include <cstring>

#include "quantizer/compiled_graph.h"

namespace hai::quantizer {
namespace {

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
    HAI_TRY(auto compiled, CompiledGraph::make(std::move(instrumented), threads));
    compiled_.emplace(std::move(compiled));
    return {};
  }

  Status observe(const std::vector<ops::Tensor>& sample, int64_t index) {
    HAI_TRY(const std::vector<TensorView> outputs, run(sample, index));
    for (const auto& [input, observer] : watched_inputs_) {
      HAI_TRY_STATUS(feed(*observer, sample[input].view(), graph_.value(graph_.inputs()[input]).name, index));
    }
    for (size_t i = 0; i < watched_outputs_.size(); ++i)
      HAI_TRY_STATUS(feed(*watched_outputs_[i].second, outputs[watched_outputs_[i].first], names_[i], index));
    return {};
  }

  Result<std::vector<ops::Tensor>> outputs_of(const std::vector<ops::Tensor>& sample, int64_t index) {
    HAI_TRY(const std::vector<TensorView> outputs, run(sample, index));
    std::vector<ops::Tensor> copies;
    for (size_t i = 0; i < graph_.outputs().size(); ++i) {
      copies.push_back(ops::Tensor::zeros(outputs[i].dtype, outputs[i].dims));
      std::memcpy(copies.back().storage.data(), outputs[i].data, copies.back().storage.size());
    }
    return copies;
  }

 private:
  Result<std::vector<TensorView>> run(const std::vector<ops::Tensor>& sample, int64_t index) {
    auto outputs = compiled_->run(sample);
    if (!outputs) return with_where(std::move(outputs).error(), fmt::format("calibration sample {}", index));
    return outputs;
  }

  static Status feed(RangeObserver& observer, const TensorView& tensor, const std::string& name, int64_t index) {
    if (observer.add(std::span(data_of<float>(tensor), static_cast<size_t>(tensor.count())))) return {};
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
  std::optional<CompiledGraph> compiled_;
};

}  // namespace

Result<Calibrated> calibrate(const ir::Graph& graph, const NextSample& next, const NextSample& held_back, int threads,
                             Observations& observations) {
  Calibrator calibrator(graph, observations);
  HAI_TRY_STATUS(calibrator.prepare(threads));
  Calibrated result;
  for (;;) {
    HAI_TRY(const auto sample, next());
    if (!sample) break;
    HAI_TRY_STATUS(calibrator.observe(*sample, result.sample_count));
    ++result.sample_count;
  }
  if (result.sample_count == 0) {
    return make_error(StatusCode::kInvalidArgument, "Q023",
                      "no calibration samples; give at least one, better 16 to 500 like those the model will see");
  }
  for (;;) {
    HAI_TRY(const auto sample, held_back());
    if (!sample) break;
    const auto index = result.sample_count + static_cast<int64_t>(result.held_back_outputs.size());
    HAI_TRY(auto outputs, calibrator.outputs_of(*sample, index));
    result.held_back_outputs.push_back(std::move(outputs));
  }
  return result;
}

}  // namespace hai::quantizer
