// Measuring a model in training.
//
// Method: the file that would be written is made in memory, without its training program, opened like any other, and
// run: what is measured is what a user of the file would see. The last batch is filled up, since a model may have a
// fixed one; what fills it is not counted.
#include "tools/hai_device/train_validation.h"

#include <algorithm>
#include <cmath>

#include "base/file.h"
#include "data/metrics.h"
#include "runtime/session.h"
#include "tools/hai_device/train_task.h"
#include "tools/hai_device/train_tensor.h"

namespace hai::tools {

Result<std::unique_ptr<HeldOut>> HeldOut::create(const data::LabelledSet& set, std::vector<size_t> indices,
                                                 const Preprocessing& rule, int64_t batch, int threads) {
  std::unique_ptr<HeldOut> out(new HeldOut);
  out->set_ = &set;
  out->count_ = static_cast<int64_t>(indices.size());
  for (const size_t i : indices) out->paths_.push_back(set.pictures[i].path.string());
  out->batch_ = batch;
  out->threads_ = threads;
  data::LoaderOptions options;
  options.batch = batch;
  options.shuffle = false;
  options.threads = threads;
  HAI_TRY(out->loader_, data::BatchLoader::create(set, std::move(indices), rule, options));
  return out;
}

void HeldOut::add_example(size_t picture, std::span<const float> row, bool right) {
  const auto best = std::max_element(row.begin(), row.end());
  double sum = 0;
  for (const float value : row) sum += std::exp(static_cast<double>(value) - static_cast<double>(*best));
  const data::LabelledPicture& labelled = set_->pictures[picture];
  examples_.push_back({labelled.path.string(), set_->classes[static_cast<size_t>(labelled.label)],
                       set_->classes[static_cast<size_t>(best - row.begin())], sum > 0 ? 1 / sum : 0, right});
}

Result<double> HeldOut::top1(format::ModelFile model, size_t output) {
  keep_inference(model);
  HAI_TRY(const std::vector<std::byte> bytes, format::serialize(model, {format::Compression::kNever}));
  HAI_TRY(std::shared_ptr<runtime::Model> loaded, runtime::Model::load(memory_source(bytes), "the model in training"));
  const std::vector<std::string>& devices = loaded->file().devices();
  runtime::SessionOptions options;
  if (std::find(devices.begin(), devices.end(), "cpu") != devices.end()) options.device = "cpu";
  options.threads = threads_;
  HAI_TRY(const auto session, runtime::Session::create(loaded, options));
  std::vector<std::vector<float>> answers(session->output_count());
  std::vector<hai_tensor> outputs;
  for (size_t i = 0; i < answers.size(); ++i) outputs.push_back(tensor_of(session->output(i), batch_, answers[i]));
  loader_->start(0);
  int64_t hits = 0;
  int64_t seen = 0;
  const int64_t every = std::max<int64_t>(1, (count_ + kMostExamples - 1) / kMostExamples);
  examples_.clear();
  for (;;) {
    HAI_TRY(const data::Batch* batch, loader_->next());
    if (batch == nullptr) return static_cast<double>(hits) / static_cast<double>(count_);
    const format::Program& program = session->program();
    const hai_tensor input = view_of(program.tensors[program.inputs[0]], batch_, batch->pixels);
    HAI_TRY_STATUS(session->run(std::span(&input, 1), outputs));
    const auto fresh = static_cast<size_t>(batch->fresh);
    const auto classes = static_cast<int64_t>(set_->classes.size());
    std::vector<int64_t> labels(fresh);
    for (size_t i = 0; i < fresh; ++i) labels[i] = set_->pictures[batch->pictures[i]].label;
    const auto rows = std::span<const float>(answers[output]).first(fresh * static_cast<size_t>(classes));
    HAI_TRY(const std::vector<uint8_t> hit, data::top_k_hits({rows, classes}, labels, 1));
    hits += std::count(hit.begin(), hit.end(), uint8_t{1});
    for (size_t i = 0; i < fresh; ++i) {
      if (seen++ % every != 0) continue;
      const auto width = static_cast<size_t>(classes);
      add_example(batch->pictures[i], rows.subspan(i * width, width), hit[i] != 0);
    }
  }
}

}  // namespace hai::tools
