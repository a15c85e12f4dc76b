// Training a detector: pictures with boxes from COCO's JSON; mAP at an overlap of 0.5 of what is held out.
//
// Method: what is measured is the file that would be written, opened like any other and without its training program;
// its answers are decoded, suppressed and matched by the same code as in `hai_toolkit.evaluate`. The last batch is
// filled up; what fills it is not counted.
#include <algorithm>
#include <utility>

#include "base/file.h"
#include "base/sha256.h"
#include "data/box_augment.h"
#include "data/box_labels.h"
#include "data/box_loader.h"
#include "data/detections.h"
#include "data/metrics.h"
#include "runtime/session.h"
#include "tools/hai_device/output_paths.h"
#include "tools/hai_device/print.h"
#include "tools/hai_device/progress.h"
#include "tools/hai_device/train_task.h"
#include "tools/hai_device/train_tensor.h"

namespace hai::tools {
namespace {

constexpr int64_t kLabelFields = 5;
constexpr int64_t kKeptBytes = int64_t{512} << 20;  // of decoded pictures

// What the model takes for labels and answers.
struct BoxOutput {
  int64_t classes = 0;
  int64_t max_boxes = 0;
  size_t output = 0;
};

Result<BoxOutput> box_output_of(const std::string& model, const training::Trainer& trainer) {
  const format::ProgramTensor& target = trainer.input(trainer.input_count() - 1);
  const auto number = [](const format::ProgramTensor& tensor, size_t axis) {
    return tensor.shape[axis].is_symbolic() ? int64_t{0} : tensor.shape[axis].value;
  };
  BoxOutput out;
  const bool labels = target.dtype == DataType::kF32 && target.shape.size() == 3 && number(target, 2) == kLabelFields;
  while (labels && out.output < trainer.prediction_count()) {
    const format::ProgramTensor& boxes = trainer.session().output(out.output);
    if (boxes.dtype == DataType::kF32 && boxes.shape.size() == 3 && number(boxes, 2) > kLabelFields) {
      out.classes = number(boxes, 2) - kLabelFields;
      out.max_boxes = number(target, 1);
      return out;
    }
    ++out.output;
  }
  return make_error(StatusCode::kUnsupported, "L109",
                    "{}: its loss takes no boxes; compile the detector with --train loss=yolov5, or leave --labels out "
                    "to train a classifier",
                    model);
}

class DetectorTask final : public TrainTask {
 public:
  DetectorTask(const TrainArguments& arguments, int threads) : arguments_(arguments), threads_(threads) {}

  Status prepare(const runtime::Model& file, const training::Trainer& trainer) {
    HAI_TRY(const data::BoxAugmentation augmentation, data::parse_box_augmentation(arguments_.augment));
    if (!arguments_.cache.empty() || arguments_.views > 0) {
      return make_error(
          StatusCode::kUnsupported, "L154",
          "--cache and --views are for classifiers; a detector's pictures are new in each epoch: leave them out");
    }
    HAI_TRY(input_, picture_input_of(arguments_.model, file, trainer));
    HAI_TRY(output_, box_output_of(arguments_.model, trainer));
    HAI_TRY_STATUS(read_pictures());
    const auto seed = static_cast<uint64_t>(arguments_.seed);
    HAI_TRY(data::BoxSplit split, data::split_pictures(set_, arguments_.held_out, seed));
    training_count_ = split.training.size();
    HAI_TRY(batch_, choose_batch(arguments_, input_, training_count_));
    data::BoxLoaderOptions options;
    options.batch = batch_;
    options.max_boxes = output_.max_boxes;
    options.augmentation = augmentation;
    options.plain_from = arguments_.plain_epochs > 0 ? arguments_.epochs - arguments_.plain_epochs + 1 : 0;
    options.seed = seed;
    options.threads = threads_;
    training_ = split.training;
    HAI_TRY(loader_, data::BoxLoader::create(set_, std::move(split.training), input_.rule, options));
    if (split.held_out.empty()) return {};
    for (const size_t i : split.held_out) held_out_paths_.push_back(set_.pictures[i].path.string());
    options.augmentation = {};
    options.shuffle = false;
    HAI_TRY(held_out_, data::BoxLoader::create(set_, std::move(split.held_out), input_.rule, options));
    return {};
  }

  std::string_view metric_key() const override { return "map50"; }
  std::string_view metric_name() const override { return "mAP50"; }
  const std::vector<std::string>& classes() const override { return set_.classes; }
  bool numbered() const override { return false; }
  const data::PictureReport& report() const override { return report_; }
  size_t training_count() const override { return training_count_; }
  const std::vector<std::string>& held_out() const override { return held_out_paths_; }
  int64_t batch() const override { return batch_; }
  int64_t batches() const override { return loader_->batches(); }
  std::string data_digest() const override {
    Sha256 pictures;
    for (const data::BoxedPicture& picture : set_.pictures) {
      std::string line = fmt::format("{}\n{}\n", picture.path.string(), size_of_file(picture.path));
      for (const data::LabelledBox& box : picture.boxes) {
        line +=
            fmt::format("{} {} {} {} {} {}\n", box.category, box.x, box.y, box.width, box.height, box.crowd ? 1 : 0);
      }
      pictures.update(std::as_bytes(std::span(line)));
    }
    return to_hex(pictures.finish());
  }
  void start(int64_t epoch, int64_t first) override { loader_->start(epoch, first); }
  Result<std::optional<TrainBatch>> next() override {
    HAI_TRY(const data::BoxBatch* batch, loader_->next());
    return batch == nullptr ? std::nullopt : std::optional(TrainBatch{batch->pixels, batch->labels});
  }

  bool shows_pictures() const override { return true; }
  Status each_training_picture(const UsePixels& use) override {
    data::BoxLoaderOptions options;
    options.batch = batch_;
    options.max_boxes = output_.max_boxes;
    options.shuffle = false;
    options.threads = threads_;
    HAI_TRY(const auto plain, data::BoxLoader::create(set_, every_few(training_, kMostObserved), input_.rule, options));
    plain->start(1, 0);
    for (;;) {
      HAI_TRY(const data::BoxBatch* batch, plain->next());
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
    std::vector<data::TrueBox> truth;
    std::vector<data::ScoredBox> scored;
    int64_t picture = 0;
    held_out_->start(0);
    for (;;) {
      HAI_TRY(const data::BoxBatch* batch, held_out_->next());
      if (batch == nullptr) break;
      const format::Program& program = session->program();
      const hai_tensor input = view_of(program.tensors[program.inputs[0]], batch_, batch->pixels);
      HAI_TRY_STATUS(session->run(std::span(&input, 1), outputs));
      for (size_t i = 0; i < static_cast<size_t>(batch->fresh); ++i)
        HAI_TRY_STATUS(collect(*batch, i, answers[output_.output], picture++, truth, scored));
    }
    HAI_TRY(const data::BoxMatches matches, data::BoxMatches::match(picture, truth, scored, {}));
    return std::max(matches.average_precision().map50, 0.0);
  }

 private:
  Status read_pictures() {
    HAI_TRY(set_, data::read_coco(arguments_.labels, arguments_.data, output_.classes));
    std::vector<std::string> paths = {arguments_.labels};
    for (const data::BoxedPicture& picture : set_.pictures) paths.push_back(picture.path.string());
    HAI_TRY_STATUS(check_outputs(
        {{"--out", arguments_.output}, {"--log", arguments_.log}, {"--report", arguments_.report}}, paths));
    show_progress(fmt::format("reading {} pictures with {} boxes", set_.pictures.size(), set_.boxes.count));
    HAI_TRY(report_, data::read_pictures(set_, input_.rule, output_.max_boxes, kKeptBytes, threads_));
    end_progress();
    note_skipped(report_);
    const data::BoxReport& boxes = set_.boxes;
    for (const std::string& line : boxes.named) note("{}", line);
    if (boxes.clipped + boxes.outside + boxes.empty + boxes.crowds > 0) {
      note("of {} boxes {} clipped, {} outside and {} without an area dropped, {} crowds not trained on", boxes.count,
           boxes.clipped, boxes.outside, boxes.empty, boxes.crowds);
    }
    const bool any = std::any_of(set_.pictures.begin(), set_.pictures.end(), [](const data::BoxedPicture& picture) {
      return std::any_of(picture.boxes.begin(), picture.boxes.end(), [](const auto& box) { return !box.crowd; });
    });
    if (!any) {
      return make_error(StatusCode::kNotFound, "L111",
                        "{}: no picture that could be read has a box to train on; add boxes to \"annotations\"",
                        arguments_.labels);
    }
    if (boxes.other_size > 0) {
      note(
          "{} of {} pictures are not of the size that {} gives them, so their boxes may lie elsewhere; label the "
          "pictures that are trained on",
          boxes.other_size, report_.read_count, arguments_.labels);
    }
    return {};
  }

  // Truth and answers of one picture of a batch.
  Status collect(const data::BoxBatch& batch, size_t slot, std::span<const float> rows, int64_t picture,
                 std::vector<data::TrueBox>& truth, std::vector<data::ScoredBox>& scored) const {
    for (const data::LabelledBox& box : set_.pictures[batch.pictures[slot]].boxes) {
      truth.push_back({picture, box.category, {box.x, box.y, box.width, box.height}, box.area, box.crowd});
    }
    data::DecodeRule rule;
    rule.width = input_.rule.width;
    rule.height = input_.rule.height;
    const size_t numbers = rows.size() / batch.pictures.size();
    const int64_t fields = output_.classes + kLabelFields;
    int64_t cells = 0;  // of YOLOX, which has a row for each
    for (const int32_t stride : {8, 16, 32}) cells += int64_t{rule.width / stride} * (rule.height / stride);
    if (static_cast<int64_t>(numbers) == cells * fields) rule.family = data::DetectorFamily::kYolox;
    const int64_t shape[] = {static_cast<int64_t>(numbers) / fields, fields};
    const auto [width, height] = batch.sizes[slot];
    HAI_TRY(const std::vector<data::Detection> found,
            data::decode_detections(rows.subspan(slot * numbers, numbers), shape, rule, batch.transforms[slot], width,
                                    height));
    for (const data::Detection& one : found) {
      scored.push_back({picture, one.category, {one.x0, one.y0, one.x1 - one.x0, one.y1 - one.y0}, one.score});
    }
    return {};
  }

  const TrainArguments& arguments_;
  int threads_;
  PictureInput input_;
  BoxOutput output_;
  data::BoxSet set_;
  data::PictureReport report_;
  size_t training_count_ = 0;
  int64_t batch_ = 0;
  std::vector<size_t> training_;
  std::unique_ptr<data::BoxLoader> loader_;
  std::unique_ptr<data::BoxLoader> held_out_;
  std::vector<std::string> held_out_paths_;
};

}  // namespace

Result<std::unique_ptr<TrainTask>> make_detector_task(const TrainArguments& arguments, const runtime::Model& file,
                                                      const training::Trainer& trainer, int threads) {
  auto task = std::make_unique<DetectorTask>(arguments, threads);
  HAI_TRY_STATUS(task->prepare(file, trainer));
  return std::unique_ptr<TrainTask>(std::move(task));
}

}  // namespace hai::tools
