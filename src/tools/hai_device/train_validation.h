// HeldOut: how well a model in training answers pictures that it is not trained on.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "data/batch_loader.h"
#include "data/labelled_pictures.h"
#include "format/model.h"
#include "tools/hai_device/train_report.h"
#include "types/preprocessing.h"

namespace hai::tools {

class HeldOut {
 public:
  static constexpr int64_t kMostExamples = 24;

  // `set` must outlive it. `batch`: samples a run.
  static Result<std::unique_ptr<HeldOut>> create(const data::LabelledSet& set, std::vector<size_t> indices,
                                                 const Preprocessing& rule, int64_t batch, int threads);

  // The share of pictures whose best class is theirs, answered by the program for inference of `model` in output
  // `output`, and so with running statistics and no augmentation. Nothing of a trainer is touched.
  Result<double> top1(format::ModelFile model, size_t output);
  int64_t count() const { return count_; }
  // Of the last top1(): up to kMostExamples, spread over the pictures.
  const std::vector<ExamplePrediction>& examples() const { return examples_; }
  const std::vector<std::string>& paths() const { return paths_; }

 private:
  HeldOut() = default;
  void add_example(size_t picture, std::span<const float> row, bool right);

  const data::LabelledSet* set_ = nullptr;
  std::unique_ptr<data::BatchLoader> loader_;
  int64_t count_ = 0;
  std::vector<std::string> paths_;
  int64_t batch_ = 0;
  int threads_ = 1;
  std::vector<ExamplePrediction> examples_;
};

}  // namespace hai::tools
