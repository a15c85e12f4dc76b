// Samples, views and the float model's answers, kept for many comparisons.
//
// Answers of the float model are computed once and kept in bounded memory like the samples; views are made from the
// samples again whenever they are wanted, which costs less than a layer. Only models of classes are shown views:
// elsewhere errors count, and those are steady on few samples.
#include "quantizer/mixed_judge.h"

#include <algorithm>
#include <cstring>

#include "quantizer/graph_pairing.h"
#include "quantizer/graph_runner.h"
#include "quantizer/plan.h"
#include "quantizer/sample_views.h"

namespace hai::quantizer {
namespace {

std::vector<api::Tensor> run_tensors(const SampleStore::Sample& sample) {
  std::vector<api::Tensor> tensors;
  for (const ops::Tensor& tensor : sample) {
    const auto dims = tensor.dims.view();
    tensors.emplace_back(static_cast<int32_t>(tensor.dtype), std::vector<int64_t>(dims.begin(), dims.end()));
    std::memcpy(tensors.back().data(), tensor.storage.data(),
                std::min(tensors.back().size_bytes(), tensor.storage.size()));
  }
  return tensors;
}

ops::Tensor stored_tensor(const api::Tensor& tensor) {
  ops::Tensor out = ops::Tensor::zeros(static_cast<DataType>(tensor.dtype()), Dims(tensor.dims()));
  std::memcpy(out.storage.data(), tensor.data(), std::min(tensor.size_bytes(), out.storage.size()));
  return out;
}

}  // namespace

MixedJudge::MixedJudge(const ir::Graph& graph, const QuantizeOptions& options)
    : graph_(graph), options_(options), samples_(options.sample_memory_bytes), answers_(options.sample_memory_bytes) {}

bool MixedJudge::classes() const {
  return std::any_of(scored_.begin(), scored_.end(),
                     [&](ir::ValueId id) { return holds_classes(reference_.value(id).type.shape); });
}

// Outputs of a quantized form stand in the float model's order.
std::vector<size_t> MixedJudge::scored_positions() const {
  std::vector<size_t> positions;
  for (size_t i = 0; i < reference_.outputs().size(); ++i) {
    if (reference_.value(reference_.outputs()[i]).type.dtype == DataType::kF32) positions.push_back(i);
  }
  return positions;
}

Status MixedJudge::read(const NextSample& next) {
  reference_ = graph_;
  HAI_TRY_STATUS(prepare_reference(reference_));
  HAI_TRY_STATUS(check_names(reference_, options_));
  HAI_TRY_STATUS(samples_.add_all(graph_, next));
  const std::vector<size_t> positions = scored_positions();
  for (const size_t position : positions) scored_.push_back(reference_.outputs()[position]);
  if (samples_.size() == 0) return {};
  HAI_TRY(const SampleStore::Sample first, samples_.read(0));
  views_ = classes() ? view_count(first) : 1;
  HAI_TRY(GraphRunner runner, GraphRunner::make(reference_, options_.threads));
  for (size_t i = 0; i < samples_.size(); ++i) {
    HAI_TRY(const SampleStore::Sample sample, samples_.read(i));
    for (int view = 0; view < views_; ++view) {
      const SampleStore::Sample shown = sample_view(sample, view);
      HAI_TRY(const auto outputs, runner.run(views_of(shown)));
      SampleStore::Sample answer;
      for (const size_t position : positions) answer.push_back(stored_tensor(outputs[position]));
      HAI_TRY_STATUS(answers_.add(std::move(answer)));
    }
  }
  return {};
}

std::vector<MixedJudge::Picture> MixedJudge::pictures(std::span<const size_t> samples) const {
  std::vector<Picture> out;
  for (int view = 0; view < views_; ++view) {
    for (const size_t sample : samples) out.push_back({sample, view});
  }
  return out;
}

Status MixedJudge::measure(ir::Graph quantized, std::span<const Picture> pictures, OutputScores& scores) const {
  const std::vector<size_t> positions = scored_positions();
  HAI_TRY(GraphRunner runner, GraphRunner::make(std::move(quantized), options_.threads));
  for (const Picture& picture : pictures) {
    HAI_TRY(const SampleStore::Sample sample, samples_.read(picture.sample));
    const SampleStore::Sample shown = sample_view(sample, picture.view);
    HAI_TRY(const auto outputs, runner.run(views_of(shown)));
    std::vector<api::Tensor> actual;
    for (const size_t position : positions) actual.push_back(outputs[position]);
    HAI_TRY(const SampleStore::Sample answer, answers_.read(answer_of(picture)));
    HAI_TRY_STATUS(scores.add(run_tensors(answer), actual, static_cast<int64_t>(picture.sample)));
  }
  return {};
}

}  // namespace hai::quantizer
