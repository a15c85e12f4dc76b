// Training a classifier: a folder with a subfolder a class, or a list of pictures and labels; top-1 of what is held
// out.
//
// The rooms data and training do the work; here is what a classifier's model must look like, and what both kinds of
// tasks share.
#include <algorithm>
#include <utility>

#include "base/sha256.h"
#include "data/augment.h"
#include "data/batch_loader.h"
#include "data/labelled_pictures.h"
#include "tools/hai_device/kept_features.h"
#include "tools/hai_device/output_paths.h"
#include "tools/hai_device/print.h"
#include "tools/hai_device/progress.h"
#include "tools/hai_device/train_task.h"
#include "tools/hai_device/train_validation.h"

namespace hai::tools {
namespace {

constexpr int64_t kDefaultBatch = 32;
constexpr size_t kMostNamed = 20;  // skipped pictures on standard error; --json has them all

// Where the model answers its classes, and how many there are.
struct ClassOutput {
  int64_t classes = 0;
  size_t output = 0;
};

Result<ClassOutput> class_output_of(const std::string& model, const PictureInput& input,
                                    const training::Trainer& trainer) {
  const format::ProgramTensor& target = trainer.input(trainer.input_count() - 1);
  const int64_t one = input.least_batch;
  const Dims shares = resolve(target.shape, std::span(&one, 1));
  const bool rows = shares.rank >= 2 && shares.size[0] == one && target.dtype == DataType::kF32;
  size_t output = 0;
  while (output < trainer.prediction_count() && trainer.session().output(output).shape != target.shape) ++output;
  if (!rows || output == trainer.prediction_count()) {
    return make_error(
        StatusCode::kUnsupported, "L102",
        "{}: its loss takes {}{}; hai train gives a row of class shares in f32 for each picture. Give --labels for a "
        "detector, or train it from Python",
        model, data_type_name(target.dtype), to_string(shares));
  }
  return ClassOutput{shares.count() / one, output};
}

class ClassifierTask final : public TrainTask {
 public:
  ClassifierTask(const TrainArguments& arguments, int threads) : arguments_(arguments), threads_(threads) {}

  Status prepare(const runtime::Model& file, training::Trainer& trainer) {
    HAI_TRY(const data::Augmentation augmentation, data::parse_augmentation(arguments_.augment));
    HAI_TRY(input_, picture_input_of(arguments_.model, file, trainer));
    HAI_TRY(output_, class_output_of(arguments_.model, input_, trainer));
    HAI_TRY_STATUS(read_pictures());
    const auto seed = static_cast<uint64_t>(arguments_.seed);
    HAI_TRY(data::Split split, data::split_by_class(set_, arguments_.held_out, seed));
    training_count_ = split.training.size();
    HAI_TRY(batch_, choose_batch(arguments_, input_, training_count_));
    data::LoaderOptions options;
    options.batch = batch_;
    options.seed = seed;
    options.threads = threads_;
    options.augmentation = augmentation;
    options.views = arguments_.views;
    if (!arguments_.cache.empty()) {
      HAI_TRY(kept_, KeptFeatures::create(arguments_, trainer, set_, augmentation, batch_));
      options.views = kept_->views();
      options.known = [this](size_t picture, int64_t view) { return kept_->contains(picture, view); };
    }
    training_ = split.training;
    HAI_TRY(loader_, data::BatchLoader::create(set_, std::move(split.training), input_.rule, options));
    if (split.held_out.empty()) return {};
    HAI_TRY(held_out_, HeldOut::create(set_, std::move(split.held_out), input_.rule, batch_, threads_));
    held_out_paths_ = held_out_->paths();
    return {};
  }

  std::string_view metric_key() const override { return "top1"; }
  std::string_view metric_name() const override { return "top-1"; }
  const std::vector<std::string>& classes() const override { return set_.classes; }
  bool numbered() const override { return set_.numbered; }
  const data::PictureReport& report() const override { return report_; }
  size_t training_count() const override { return training_count_; }
  const std::vector<std::string>& held_out() const override { return held_out_paths_; }
  int64_t batch() const override { return batch_; }
  int64_t batches() const override { return loader_->batches(); }
  std::string data_digest() const override {
    Sha256 pictures;
    for (const data::LabelledPicture& picture : set_.pictures) {
      const std::string line =
          fmt::format("{}\n{}\n{}\n", picture.path.string(), picture.label, size_of_file(picture.path));
      pictures.update(std::as_bytes(std::span(line)));
    }
    return to_hex(pictures.finish());
  }
  void start(int64_t epoch, int64_t first) override { loader_->start(epoch, first); }
  Result<std::optional<TrainBatch>> next() override {
    HAI_TRY(const data::Batch* batch, loader_->next());
    batch_at_hand_ = batch;
    return batch == nullptr ? std::nullopt : std::optional(TrainBatch{batch->pixels, batch->targets});
  }
  Result<training::StepResult> step(training::Trainer& trainer, std::span<const hai_tensor> inputs,
                                    double learning_rate) override {
    return kept_ ? kept_->step(*batch_at_hand_, inputs[1], learning_rate) : trainer.step(inputs, learning_rate);
  }
  void end_epoch() override {
    if (kept_) kept_->save();
  }
  int64_t frozen_samples(int64_t steps) const override {
    return kept_ ? kept_->made_samples() : TrainTask::frozen_samples(steps);
  }
  std::vector<ExamplePrediction> examples() const override {
    return held_out_ ? held_out_->examples() : std::vector<ExamplePrediction>();
  }
  bool shows_pictures() const override { return true; }
  Status each_training_picture(const UsePixels& use) override {
    data::LoaderOptions options;
    options.batch = batch_;
    options.shuffle = false;
    options.threads = threads_;
    HAI_TRY(const auto plain,
            data::BatchLoader::create(set_, every_few(training_, kMostObserved), input_.rule, options));
    plain->start(1, 0);
    for (;;) {
      HAI_TRY(const data::Batch* batch, plain->next());
      if (batch == nullptr) return {};
      HAI_TRY_STATUS(use(batch->pixels));
    }
  }
  Result<double> measure(format::ModelFile model) override { return held_out_->top1(std::move(model), output_.output); }

 private:
  Status read_pictures() {
    HAI_TRY(set_, data::list_labelled(arguments_.data, output_.classes));
    std::vector<std::string> paths;  // those of a list may lie anywhere
    for (const data::LabelledPicture& picture : set_.pictures) paths.push_back(picture.path.string());
    HAI_TRY_STATUS(check_outputs(
        {{"--out", arguments_.output}, {"--log", arguments_.log}, {"--report", arguments_.report}}, paths));
    show_progress(fmt::format("reading {} pictures of {} classes", set_.pictures.size(), set_.classes.size()));
    HAI_TRY(report_, data::drop_unreadable(set_, input_.rule, threads_));
    end_progress();
    note_skipped(report_);
    return {};
  }

  const TrainArguments& arguments_;
  int threads_;
  PictureInput input_;
  ClassOutput output_;
  data::LabelledSet set_;
  data::PictureReport report_;
  size_t training_count_ = 0;
  std::vector<size_t> training_;
  int64_t batch_ = 0;
  std::unique_ptr<KeptFeatures> kept_;  // outlives the loader, which asks it
  std::unique_ptr<data::BatchLoader> loader_;
  const data::Batch* batch_at_hand_ = nullptr;
  std::unique_ptr<HeldOut> held_out_;
  std::vector<std::string> held_out_paths_;
};

}  // namespace

Result<PictureInput> picture_input_of(const std::string& model, const runtime::Model& file,
                                      const training::Trainer& trainer) {
  PictureInput out;
  if (!file.file().preprocessing()) {
    return make_error(StatusCode::kInvalidArgument, "L100",
                      "{}: it says nothing of how pictures become its input; compile it with --resize, --mean or --std",
                      model);
  }
  out.rule = *file.file().preprocessing();
  const format::Program& program = trainer.session().program();
  const format::ProgramTensor& input = trainer.input(0);
  const bool free = !input.shape.empty() && input.shape[0].is_symbolic();
  if (trainer.input_count() != 2 || input.dtype != DataType::kF32 || input.shape.empty() ||
      (free && input.shape[0].value != 1)) {
    return make_error(StatusCode::kUnsupported, "L101",
                      "{}: hai train takes models with one input of pictures in f32; this one has {} inputs, the first "
                      "of {}. Train it from Python",
                      model, trainer.input_count() - 1, data_type_name(input.dtype));
  }
  out.least_batch = free ? program.symbols[0].min : input.shape[0].value;
  out.most_batch = free ? program.symbols[0].max : input.shape[0].value;
  return out;
}

Result<int64_t> choose_batch(const TrainArguments& arguments, const PictureInput& input, size_t pictures) {
  const int64_t wanted = arguments.batch;
  if (wanted != 0 && (wanted < input.least_batch || wanted > input.most_batch)) {
    return make_error(StatusCode::kOutOfRange, "L103", "--batch {}: {} was compiled for batches of {}..{}", wanted,
                      arguments.model, input.least_batch, input.most_batch);
  }
  const int64_t most = std::min(input.most_batch, static_cast<int64_t>(pictures));
  return std::max(std::min(wanted == 0 ? kDefaultBatch : wanted, most), input.least_batch);
}

void note_skipped(const data::PictureReport& report) {
  for (size_t i = 0; i < std::min(report.skipped.size(), kMostNamed); ++i)
    note("skipped: {}", report.skipped[i].error.to_string());
  if (!report.skipped.empty()) note("{} of {} pictures skipped", report.skipped.size(), report.wanted_count);
}

std::vector<size_t> every_few(const std::vector<size_t>& all, int64_t most) {
  const auto count = std::min<size_t>(all.size(), static_cast<size_t>(most));
  std::vector<size_t> out;
  for (size_t i = 0; i < count; ++i) out.push_back(all[i * all.size() / count]);
  return out;
}

void keep_inference(format::ModelFile& model) {
  for (std::optional<format::Program>* part :
       {&model.training, &model.features, &model.standby, &model.observers, &model.rebuild})
    part->reset();
}

int64_t size_of_file(const std::filesystem::path& path) {
  std::error_code unknown;
  const auto size = static_cast<int64_t>(std::filesystem::file_size(path, unknown));
  return unknown ? -1 : size;
}

Result<std::unique_ptr<TrainTask>> make_classifier_task(const TrainArguments& arguments, const runtime::Model& file,
                                                        training::Trainer& trainer, int threads) {
  auto task = std::make_unique<ClassifierTask>(arguments, threads);
  HAI_TRY_STATUS(task->prepare(file, trainer));
  return std::unique_ptr<TrainTask>(std::move(task));
}

}  // namespace hai::tools
