// Steps of `hai train --cache`: the frozen part runs for pictures and views that are new, the rest on what is kept.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "data/augment.h"
#include "data/batch_loader.h"
#include "data/labelled_pictures.h"
#include "tools/hai_device/device_commands.h"
#include "training/feature_cache.h"
#include "training/trainer.h"

namespace hai::tools {

class KeptFeatures {
 public:
  // `trainer` and `set` must outlive this. A damaged cache is noted on standard error and made anew. Errors: L150
  // nothing of the model is frozen; L151 features that are none of single pictures; L152 an augmentation that has none
  // to keep; L153 a picture that can no longer be read.
  static Result<std::unique_ptr<KeptFeatures>> create(const TrainArguments& arguments, training::Trainer& trainer,
                                                      const data::LabelledSet& set,
                                                      const data::Augmentation& augmentation, int64_t batch);

  int64_t views() const { return views_; }
  bool contains(size_t picture, int64_t view) const { return cache_->contains(view, digests_[picture]); }
  // One step; what the batch lacks in pixels is kept.
  Result<training::StepResult> step(const data::Batch& batch, const hai_tensor& target, double learning_rate);
  // That went through the frozen part, those that the folder had among them.
  int64_t made_samples() const { return made_samples_; }
  // To the folder; a failure is noted once, and the training goes on without.
  void save();

 private:
  KeptFeatures() = default;
  Status compute(const data::Batch& batch, const std::vector<size_t>& slots);
  // The part of feature `index` in a batch from `sample` on.
  std::span<std::byte> part(std::vector<std::vector<std::byte>>& of, size_t index, size_t sample) const;

  training::Trainer* trainer_ = nullptr;
  std::unique_ptr<training::FeatureCache> cache_;
  std::vector<Sha256Digest> digests_;  // of the pictures' files
  std::vector<size_t> sizes_;          // bytes of each feature of one picture
  int64_t batch_ = 0;
  int64_t least_batch_ = 1;
  int64_t views_ = 1;
  bool noted_ = false;
  int64_t made_samples_ = 0;
  std::vector<std::vector<std::byte>> features_;  // of a batch
  std::vector<std::vector<std::byte>> made_;      // of the pictures that were new
  std::vector<float> pixels_;
};

}  // namespace hai::tools
