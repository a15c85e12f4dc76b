// The cache of features in `hai train`.
//
// Method: pictures are known by the SHA-256 of their files, so a cache survives pictures that come, go or are renamed;
// what else features follow from is in the cache's key. Pictures of a batch that are new go through the frozen part as
// a batch of their own: its kernels give each sample the same bits in every batch (trainer tests).
#include "tools/hai_device/kept_features.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/file.h"
#include "tools/hai_device/print.h"
#include "tools/hai_device/train_tensor.h"

namespace hai::tools {
namespace {

constexpr int64_t kLargestPicture = int64_t{1} << 31;

// The numbers of one sample, whose tensors lie one after the other in a batch.
Result<size_t> bytes_of_one(const format::ProgramTensor& feature, int64_t batch) {
  const bool free = !feature.shape.empty() && feature.shape[0].is_symbolic() && feature.shape[0].value == 1;
  if (!free && (feature.shape.empty() || feature.shape[0] != Dim(batch))) {
    return make_error(
        StatusCode::kUnsupported, "L151",
        "feature \"{}\" of the frozen part does not lie picture by picture, so none can be kept; leave out "
        "--cache",
        feature.name);
  }
  const Dims dims = resolve(feature.shape, std::span(&batch, 1));
  return static_cast<size_t>(bytes_for(feature.dtype, dims.count()) / batch);
}

hai_tensor view_of_bytes(const format::ProgramTensor& tensor, int64_t batch, std::vector<std::byte>& bytes) {
  const Dims dims = resolve(tensor.shape, std::span(&batch, 1));
  hai_tensor view = {};
  view.dtype = static_cast<int32_t>(tensor.dtype);
  view.rank = dims.rank;
  std::copy_n(dims.size.begin(), dims.rank, view.dims);
  view.data = bytes.data();
  view.size_bytes = static_cast<size_t>(bytes_for(tensor.dtype, dims.count()));
  return view;
}

Result<std::vector<Sha256Digest>> digests_of(const data::LabelledSet& set) {
  std::vector<Sha256Digest> digests;
  for (const data::LabelledPicture& picture : set.pictures) {
    const Result<std::string> bytes = read_file(picture.path.string(), kLargestPicture);
    if (!bytes) {
      return make_error(StatusCode::kIo, "L153", "{}: it was there and can no longer be read: {}",
                        picture.path.string(), bytes.error().message);
    }
    digests.push_back(sha256(std::as_bytes(std::span(*bytes))));
  }
  return digests;
}

}  // namespace

Result<std::unique_ptr<KeptFeatures>> KeptFeatures::create(const TrainArguments& arguments, training::Trainer& trainer,
                                                           const data::LabelledSet& set,
                                                           const data::Augmentation& augmentation, int64_t batch) {
  if (!trainer.has_features()) {
    return make_error(StatusCode::kInvalidArgument, "L150",
                      "--cache: {} trains all of its layers, so nothing is the same from step to step; compile it with "
                      "--train trainable=last:2, or leave out --cache",
                      arguments.model);
  }
  const bool drawn = augmentation.flip || augmentation.crop || augmentation.color;
  if (augmentation.mixup || augmentation.cutmix || (drawn && arguments.views == 0)) {
    return make_error(
        StatusCode::kInvalidArgument, "L152", "--cache with --augment {}: {}", arguments.augment,
        augmentation.mixup || augmentation.cutmix
            ? "mixed pictures are new in each epoch, and so are their features; leave out mixup and cutmix"
            : "pictures that are new in each epoch have no features to keep; add --views 4");
  }
  std::unique_ptr<KeptFeatures> out(new KeptFeatures);
  out->trainer_ = &trainer;
  out->batch_ = batch;
  const format::Program& frozen = trainer.features_session()->program();
  out->least_batch_ = frozen.symbols.empty() ? batch : frozen.symbols[0].min;
  out->views_ = std::max<int64_t>(arguments.views, 1);
  size_t record = 0;
  for (size_t i = 0; i < trainer.feature_count(); ++i) {
    HAI_TRY(const size_t bytes, bytes_of_one(trainer.feature(i), batch));
    out->sizes_.push_back(bytes);
    record += bytes;
  }
  HAI_TRY(out->digests_, digests_of(set));
  const std::string key = fmt::format("{} {} {} {} {} {}", to_hex(trainer.session().model().file().container().digest),
                                      cpu::isa_name(trainer.session().isa()), augmentation.flip, augmentation.crop,
                                      augmentation.color, arguments.seed);
  training::FeatureCacheOptions options{arguments.cache == "memory" ? "" : arguments.cache, arguments.cache_bytes};
  out->cache_ = std::make_unique<training::FeatureCache>(std::move(options), sha256(std::as_bytes(std::span(key))),
                                                         static_cast<int64_t>(record));
  if (const std::string why = out->cache_->load(); !why.empty())
    note("{}: passed over, its features are made again: {}", out->cache_->path(), why);
  out->made_samples_ = out->cache_->count();
  out->features_.resize(out->sizes_.size());
  out->made_.resize(out->sizes_.size());
  for (size_t i = 0; i < out->sizes_.size(); ++i) out->features_[i].resize(out->sizes_[i] * static_cast<size_t>(batch));
  return out;
}

std::span<std::byte> KeptFeatures::part(std::vector<std::vector<std::byte>>& of, size_t index, size_t sample) const {
  return std::span(of[index]).subspan(sample * sizes_[index], sizes_[index]);
}

// Features of these pictures of the batch, into features_ and the cache.
Status KeptFeatures::compute(const data::Batch& batch, const std::vector<size_t>& slots) {
  const size_t picture = batch.pixels.size() / static_cast<size_t>(batch_);
  const int64_t count = std::max(static_cast<int64_t>(slots.size()), least_batch_);
  pixels_.resize(picture * static_cast<size_t>(count));
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    const size_t slot = slots[std::min(i, slots.size() - 1)];  // the last one fills a batch of a least size up
    std::copy_n(batch.pixels.begin() + static_cast<ptrdiff_t>(slot * picture), picture,
                pixels_.begin() + static_cast<ptrdiff_t>(i * picture));
  }
  const hai_tensor input = view_of(trainer_->input(0), count, pixels_);
  std::vector<hai_tensor> outputs;
  for (size_t f = 0; f < sizes_.size(); ++f) {
    made_[f].resize(std::max(made_[f].size(), sizes_[f] * static_cast<size_t>(count)));
    outputs.push_back(view_of_bytes(trainer_->feature(f), count, made_[f]));
  }
  HAI_TRY_STATUS(trainer_->features(std::span(&input, 1), outputs));
  made_samples_ += count;
  std::vector<std::byte> record;
  for (size_t i = 0; i < slots.size(); ++i) {
    record.clear();
    for (size_t f = 0; f < sizes_.size(); ++f) {
      const std::span<const std::byte> bytes = part(made_, f, i);
      std::copy(bytes.begin(), bytes.end(), part(features_, f, slots[i]).begin());
      record.insert(record.end(), bytes.begin(), bytes.end());
    }
    cache_->put(batch.view, digests_[batch.pictures[slots[i]]], record);
  }
  return {};
}

Result<training::StepResult> KeptFeatures::step(const data::Batch& batch, const hai_tensor& target,
                                                double learning_rate) {
  std::vector<size_t> missing;
  for (size_t i = 0; i < batch.pictures.size(); ++i) {
    std::span<const std::byte> record = cache_->find(batch.view, digests_[batch.pictures[i]]);
    if (record.empty()) {
      missing.push_back(i);
      continue;
    }
    for (size_t f = 0; f < sizes_.size(); ++f) {
      std::copy_n(record.begin(), sizes_[f], part(features_, f, i).begin());
      record = record.subspan(sizes_[f]);
    }
  }
  if (!missing.empty()) HAI_TRY_STATUS(compute(batch, missing));
  std::vector<hai_tensor> inputs;
  for (size_t f = 0; f < sizes_.size(); ++f)
    inputs.push_back(view_of_bytes(trainer_->feature(f), batch_, features_[f]));
  inputs.push_back(target);
  return trainer_->step_from_features(inputs, learning_rate);
}

void KeptFeatures::save() {
  const Status status = cache_->save();
  if (status || noted_) return;
  noted_ = true;
  note("the features are kept in memory alone: {}", status.error().to_string());
}

}  // namespace hai::tools
