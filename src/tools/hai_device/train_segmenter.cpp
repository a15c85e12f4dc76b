// Training a segmenter: pictures with masks; the mean overlap (IoU) of the classes over all pixels that are held out.
//
// Method: as for detectors, what is measured is the file that would be written, opened like any other. Where the
// classes of its answer are, and whether that is probabilities, the compiler has written into the file.
#include <algorithm>
#include <utility>

#include "base/file.h"
#include "base/sha256.h"
#include "data/mask_loader.h"
#include "data/mask_pictures.h"
#include "runtime/session.h"
#include "tools/hai_device/output_paths.h"
#include "tools/hai_device/print.h"
#include "tools/hai_device/progress.h"
#include "tools/hai_device/train_task.h"
#include "tools/hai_device/train_tensor.h"

namespace hai::tools {
namespace {

constexpr int64_t kMostClasses = 256;  // a mask has a byte a pixel

struct MapOutput {
  data::ClassMap map;
  size_t output = 0;
  float threshold = 0;  // of a single number a pixel: above it is class 1
};

Result<MapOutput> map_output_of(const std::string& model, const runtime::Model& file,
                                const training::Trainer& trainer) {
  const auto& metadata = file.file().metadata().entries;
  const auto found = metadata.find("segmentation");
  const std::string text = found == metadata.end() ? std::string() : found->second;
  const format::ProgramTensor& target = trainer.input(trainer.input_count() - 1);
  MapOutput out;
  while (out.output < trainer.prediction_count() && trainer.session().output(out.output).shape != target.shape)
    ++out.output;
  const bool first = text.starts_with("class_axis=1,");
  const bool last = text.starts_with("class_axis=3,");
  const bool fits = (first || last) && target.dtype == DataType::kF32 && target.shape.size() == 4 &&
                    is_static(Shape(target.shape.begin() + 1, target.shape.end())) &&
                    out.output < trainer.prediction_count() && target.shape[first ? 1 : 3].value <= kMostClasses;
  if (!fits) {
    return make_error(StatusCode::kUnsupported, "L114",
                      "{}: its loss takes no maps of up to {} classes; compile the segmenter with --train "
                      "loss=dice_cross_entropy (class_axis=1 where it answers [N, C, H, W])",
                      model, kMostClasses);
  }
  out.map.classes_first = first;
  out.map.classes = target.shape[first ? 1 : 3].value;
  out.map.height = target.shape[first ? 2 : 1].value;
  out.map.width = target.shape[first ? 3 : 2].value;
  out.threshold = text.ends_with("answers=probabilities") ? 0.5F : 0.0F;
  return out;
}

class SegmenterTask final : public TrainTask {
 public:
  SegmenterTask(const TrainArguments& arguments, int threads) : arguments_(arguments), threads_(threads) {}

  Status prepare(const runtime::Model& file, const training::Trainer& trainer) {
    HAI_TRY(const data::Augmentation augmentation, data::parse_augmentation(arguments_.augment));
    if (augmentation.mixup || augmentation.cutmix || !arguments_.cache.empty() || arguments_.views > 0) {
      return make_error(
          StatusCode::kUnsupported, "L115",
          "--masks with --augment {}{}: mixup, cutmix, --cache and --views are for classifiers; leave them "
          "out",
          arguments_.augment, arguments_.cache.empty() && arguments_.views == 0 ? "" : " and kept views");
    }
    HAI_TRY(input_, picture_input_of(arguments_.model, file, trainer));
    HAI_TRY(output_, map_output_of(arguments_.model, file, trainer));
    for (int64_t i = 0; i < output_.map.class_count(); ++i) classes_.push_back(std::to_string(i));
    HAI_TRY_STATUS(read_pictures());
    const auto seed = static_cast<uint64_t>(arguments_.seed);
    HAI_TRY(data::Split split, data::split_masked(pairs_.size(), arguments_.held_out, seed));
    training_count_ = split.training.size();
    HAI_TRY(batch_, choose_batch(arguments_, input_, training_count_));
    data::MaskLoaderOptions options;
    options.batch = batch_;
    options.map = output_.map;
    options.augmentation = augmentation;
    options.seed = seed;
    options.threads = threads_;
    training_ = split.training;
    HAI_TRY(loader_, data::MaskLoader::create(pairs_, std::move(split.training), input_.rule, options));
    if (split.held_out.empty()) return {};
    for (const size_t i : split.held_out) held_out_paths_.push_back(pairs_[i].picture.string());
    options.augmentation = {};
    options.shuffle = false;
    HAI_TRY(held_out_, data::MaskLoader::create(pairs_, std::move(split.held_out), input_.rule, options));
    return {};
  }

  std::string_view metric_key() const override { return "miou"; }
  std::string_view metric_name() const override { return "mean IoU"; }
  const std::vector<std::string>& classes() const override { return classes_; }
  bool numbered() const override { return true; }
  const data::PictureReport& report() const override { return report_; }
  size_t training_count() const override { return training_count_; }
  const std::vector<std::string>& held_out() const override { return held_out_paths_; }
  int64_t batch() const override { return batch_; }
  int64_t batches() const override { return loader_->batches(); }
  std::string data_digest() const override {
    Sha256 pictures;
    for (const data::MaskedPicture& pair : pairs_) {
      const std::string line = fmt::format("{}\n{}\n{}\n{}\n", pair.picture.string(), size_of_file(pair.picture),
                                           pair.mask.string(), size_of_file(pair.mask));
      pictures.update(std::as_bytes(std::span(line)));
    }
    return to_hex(pictures.finish());
  }
  void start(int64_t epoch, int64_t first) override { loader_->start(epoch, first); }
  Result<std::optional<TrainBatch>> next() override {
    HAI_TRY(const data::MaskBatch* batch, loader_->next());
    return batch == nullptr ? std::nullopt : std::optional(TrainBatch{batch->pixels, batch->targets});
  }

  bool shows_pictures() const override { return true; }
  Status each_training_picture(const UsePixels& use) override {
    data::MaskLoaderOptions options;
    options.batch = batch_;
    options.map = output_.map;
    options.shuffle = false;
    options.threads = threads_;
    const std::vector<size_t> few = every_few(training_, kMostObserved);
    HAI_TRY(const auto plain, data::MaskLoader::create(pairs_, few, input_.rule, options));
    plain->start(1, 0);
    for (;;) {
      HAI_TRY(const data::MaskBatch* batch, plain->next());
      if (batch == nullptr) return {};
      HAI_TRY_STATUS(use(batch->pixels));
    }
  }

  Result<double> measure(format::ModelFile model) override {
    keep_inference(model);
    HAI_TRY(const std::vector<std::byte> bytes, format::serialize(model, {format::Compression::kNever}));
    HAI_TRY(std::shared_ptr<runtime::Model> loaded,
            runtime::Model::load(memory_source(bytes), "the model in training"));
    const std::vector<std::string>& devices = loaded->file().devices();
    runtime::SessionOptions options;
    if (std::find(devices.begin(), devices.end(), "cpu") != devices.end()) options.device = "cpu";
    options.threads = threads_;
    HAI_TRY(const auto session, runtime::Session::create(loaded, options));
    std::vector<std::vector<float>> answers(session->output_count());
    std::vector<hai_tensor> outputs;
    for (size_t i = 0; i < answers.size(); ++i) outputs.push_back(tensor_of(session->output(i), batch_, answers[i]));
    data::MaskScore score(output_.map.class_count());
    const auto numbers = static_cast<size_t>(output_.map.numbers());
    const auto area = static_cast<size_t>(output_.map.height * output_.map.width);
    held_out_->start(0);
    for (;;) {
      HAI_TRY(const data::MaskBatch* batch, held_out_->next());
      if (batch == nullptr) return score.mean_iou();
      const format::Program& program = session->program();
      const hai_tensor input = view_of(program.tensors[program.inputs[0]], batch_, batch->pixels);
      HAI_TRY_STATUS(session->run(std::span(&input, 1), outputs));
      for (size_t i = 0; i < static_cast<size_t>(batch->fresh); ++i) {
        score.add(output_.map, std::span<const float>(answers[output_.output]).subspan(i * numbers, numbers),
                  output_.threshold, std::span(batch->classes).subspan(i * area, area));
      }
    }
  }

 private:
  Status read_pictures() {
    HAI_TRY(pairs_, data::list_masked(arguments_.data, arguments_.masks));
    std::vector<std::string> paths;
    for (const data::MaskedPicture& pair : pairs_) {
      paths.push_back(pair.picture.string());
      paths.push_back(pair.mask.string());
    }
    HAI_TRY_STATUS(check_outputs(
        {{"--out", arguments_.output}, {"--log", arguments_.log}, {"--report", arguments_.report}}, paths));
    show_progress(fmt::format("reading {} pictures with masks", pairs_.size()));
    HAI_TRY(report_, data::drop_unusable(pairs_, output_.map.class_count(), input_.rule, threads_));
    end_progress();
    note_skipped(report_);
    return {};
  }

  const TrainArguments& arguments_;
  int threads_;
  PictureInput input_;
  MapOutput output_;
  std::vector<std::string> classes_;
  std::vector<data::MaskedPicture> pairs_;
  data::PictureReport report_;
  size_t training_count_ = 0;
  std::vector<size_t> training_;
  int64_t batch_ = 0;
  std::unique_ptr<data::MaskLoader> loader_;
  std::unique_ptr<data::MaskLoader> held_out_;
  std::vector<std::string> held_out_paths_;
};

}  // namespace

Result<std::unique_ptr<TrainTask>> make_segmenter_task(const TrainArguments& arguments, const runtime::Model& file,
                                                       const training::Trainer& trainer, int threads) {
  auto task = std::make_unique<SegmenterTask>(arguments, threads);
  HAI_TRY_STATUS(task->prepare(file, trainer));
  return std::unique_ptr<TrainTask>(std::move(task));
}

}  // namespace hai::tools
