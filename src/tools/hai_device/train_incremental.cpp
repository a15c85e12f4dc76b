// Learning a batch of new pictures after others (`hai train --method`): their classes may be new, and the old pictures
// are gone, but for a few.
//
// Method: as hai_toolkit.Learner. Rows of the head that have no class yet are masked out of the loss, so they stay as
// they are. A step has new samples and as many kept ones, each part weighing as a mean of its own. A task ends by
// measuring what each parameter matters for it, and by keeping some samples (or what the frozen part makes of them).
// The last epoch is what is kept: held-out pictures are new ones, and would choose what has forgotten most.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "base/file.h"
#include "base/sha256.h"
#include "data/augment.h"
#include "data/batch_loader.h"
#include "data/labelled_pictures.h"
#include "data/random_stream.h"
#include "runtime/session.h"
#include "tools/hai_device/output_paths.h"
#include "tools/hai_device/print.h"
#include "tools/hai_device/progress.h"
#include "tools/hai_device/task_memory.h"
#include "tools/hai_device/train_task.h"
#include "tools/hai_device/train_tensor.h"
#include "training/elastic_weights.h"

namespace hai::tools {
namespace {

constexpr float kNoAnswer = -1e9F;  // in place of an old answer: the model of then did not have this class
constexpr uint64_t kFisherSeed = 0x4649534845520000U;  // label draws are none of the loader's

bool answers_old(const std::string& method) { return method == "der++" || method == "lwf"; }

// Columns of the target: shares, mask, for some methods answers of before with their weight, weight.
Result<int64_t> head_of(const TrainArguments& arguments, const runtime::Model& file, const training::Trainer& trainer) {
  const auto& metadata = file.file().metadata().entries;
  const auto found = metadata.find("target_layout");
  const format::ProgramTensor& target = trainer.input(trainer.input_count() - 1);
  const bool rows = target.shape.size() == 2 && !target.shape[1].is_symbolic();
  const bool old = answers_old(arguments.method);
  const int64_t width = rows ? target.shape[1].value : 0;
  const int64_t head = old ? (width - 2) / 3 : (width - 1) / 2;
  const std::string wanted = fmt::format("classes={},mask,{}weight", head, old ? "old," : "");
  if (found != metadata.end() && head >= 2 && found->second == wanted) return head;
  return make_error(StatusCode::kUnsupported, "L118",
                    "{}: --method {} needs a target of other columns; compile the model with --train "
                    "loss=cross_entropy,class_mask=1,sample_weights=1{}",
                    arguments.model, arguments.method,
                    arguments.method == "der++"                         ? ",distill=mse"
                    : arguments.method == "lwf"                         ? ",distill=kd"
                    : arguments.method.find("ewc") != std::string::npos ? ",ewc=1"
                                                                        : "");
}

class IncrementalTask final : public TrainTask {
 public:
  IncrementalTask(const TrainArguments& arguments, training::Trainer& trainer, int threads)
      : arguments_(arguments),
        trainer_(trainer),
        threads_(threads),
        pulls_(arguments.method.find("ewc") != std::string::npos),
        replays_(arguments.method.find("replay") != std::string::npos || arguments.method == "der++"),
        old_(answers_old(arguments.method)) {}

  Status prepare(const runtime::Model& file) {
    HAI_TRY(const data::Augmentation augmentation, data::parse_augmentation(arguments_.augment));
    if (augmentation.mixup || augmentation.cutmix || !arguments_.cache.empty() || arguments_.patience > 0 ||
        arguments_.head_epochs > 0) {
      return make_error(
          StatusCode::kUnsupported, "L119",
          "--method {}: mixup, cutmix, --cache, --patience and --head-epochs do not go with it; leave them "
          "out",
          arguments_.method);
    }
    if (arguments_.memory.empty() || pulls_ == arguments_.fisher.empty()) {
      return make_error(StatusCode::kInvalidArgument, "L120", "--method {}: give {}", arguments_.method,
                        arguments_.memory.empty() ? "--memory FOLDER, where it keeps what it needs from batch to batch"
                        : pulls_
                            ? "--fisher FILE, the same model compiled with --train optimizer=fisher,batch_norm=frozen"
                            : "no --fisher, which it does not need");
    }
    HAI_TRY(input_, picture_input_of(arguments_.model, file, trainer_));
    HAI_TRY(head_, head_of(arguments_, file, trainer_));
    if (pulls_) HAI_TRY_STATUS(open_fisher());
    HAI_TRY(memory_, TaskMemory::load(arguments_.memory, arguments_.method, trainer_));
    if (pulls_) HAI_TRY_STATUS(training::set_ewc_strength(trainer_, arguments_.ewc_strength));
    if (replays_ && !memory_.replay) {
      HAI_TRY(memory_.replay,
              training::ReplayBuffer::create(arguments_.replay_capacity, training::ReplayPolicy::kBalanced,
                                             static_cast<uint64_t>(arguments_.seed)));
    }
    classes_ = memory_.classes;
    if (arguments_.method == "lwf" && memory_.tasks > 0) {
      HAI_TRY(before_, session_now());
    }
    HAI_TRY_STATUS(read_pictures());
    return make_loaders(augmentation);
  }

  std::string_view metric_key() const override { return "top1"; }
  std::string_view metric_name() const override { return "top-1"; }
  const std::vector<std::string>& classes() const override { return classes_; }
  bool numbered() const override { return set_.numbered; }
  const data::PictureReport& report() const override { return report_; }
  size_t training_count() const override { return training_.size(); }
  const std::vector<std::string>& held_out() const override { return held_out_paths_; }
  int64_t batch() const override { return batch_; }
  int64_t batches() const override { return loader_->batches(); }
  std::string data_digest() const override {
    Sha256 pictures;
    std::string line = fmt::format("{} {} {} {} {}\n", arguments_.method, memory_.tasks, arguments_.alpha,
                                   arguments_.ewc_strength, arguments_.replay_capacity);
    pictures.update(std::as_bytes(std::span(line)));
    for (const data::LabelledPicture& picture : set_.pictures) {
      line = fmt::format("{}\n{}\n{}\n", picture.path.string(), picture.label, size_of_file(picture.path));
      pictures.update(std::as_bytes(std::span(line)));
    }
    return to_hex(pictures.finish());
  }
  bool keeps_last() const override { return true; }
  std::string state() const override { return memory_.replay ? memory_.replay->serialize() : std::string(); }
  Status restore(const std::string& state) override {
    if (!memory_.replay) return {};
    HAI_TRY(memory_.replay, training::ReplayBuffer::parse(state));
    return {};
  }
  void start(int64_t epoch, int64_t first) override { loader_->start(epoch, first); }
  Result<std::optional<TrainBatch>> next() override {
    HAI_TRY(batch_at_hand_, loader_->next());
    return batch_at_hand_ == nullptr ? std::nullopt
                                     : std::optional(TrainBatch{batch_at_hand_->pixels, batch_at_hand_->targets});
  }
  Result<training::StepResult> step(training::Trainer& trainer, std::span<const hai_tensor>, double rate) override;
  Result<double> measure(format::ModelFile model) override;
  Status finish() override;

 private:
  Status open_fisher();
  Status read_pictures();
  Status make_loaders(const data::Augmentation& augmentation);
  Status measure_fisher();
  Status keep_samples();
  Status sample_rows(const data::Batch& batch, int64_t rows);
  // Answers of before, and how much each part of a row weighs.
  struct Old {
    const float* answers = nullptr;  // of the head's rows; null: none
    size_t known = 0;                // of them, in the order of the classes
    float weight = 0;
  };
  void set_target(size_t row, std::span<const float> shares, float weight, const Old& old);
  Status put_kept(size_t first_row, size_t count, float label_weight, float answer_weight);
  Result<const float*> logits(runtime::Session& session, const data::Batch& batch);
  Result<std::unique_ptr<runtime::Session>> session_now() const;
  // Inputs of a step but the target: features, or the model's input.
  size_t parts() const { return trainer_.has_features() ? trainer_.feature_count() : 1; }
  const format::ProgramTensor& part(size_t i) const {
    return trainer_.has_features() ? trainer_.feature(i) : trainer_.input(0);
  }
  // Draws of kept samples in a step: DER++ learns one by its answers, another by its labels.
  int64_t draws() const { return !replays_ ? 0 : old_ ? 2 : 1; }
  static int64_t bytes_of(const format::ProgramTensor& tensor, int64_t rows) {
    return bytes_for(tensor.dtype, resolve(tensor.shape, std::span(&rows, 1)).count());
  }
  int64_t width() const { return old_ ? 3 * head_ + 2 : 2 * head_ + 1; }  // columns of a target
  static hai_tensor view_rows(const format::ProgramTensor& tensor, int64_t rows, std::vector<std::byte>& bytes);

  const TrainArguments& arguments_;
  training::Trainer& trainer_;
  const int threads_;
  const bool pulls_, replays_, old_;
  std::unique_ptr<training::Trainer> fisher_;
  PictureInput input_;
  int64_t head_ = 0;  // rows of it
  TaskMemory memory_;
  std::vector<std::string> classes_;  // those of the memory and new ones
  data::LabelledSet set_;
  data::PictureReport report_;
  std::vector<size_t> training_;
  int64_t batch_ = 0;
  std::unique_ptr<data::BatchLoader> loader_;
  std::unique_ptr<data::BatchLoader> plain_;  // the same pictures without augmentation
  std::unique_ptr<data::BatchLoader> held_out_;
  std::vector<std::string> held_out_paths_;
  const data::Batch* batch_at_hand_ = nullptr;
  std::vector<std::vector<std::byte>> rows_;  // of each part
  std::vector<float> target_;
  std::vector<std::vector<float>> answers_;
  std::unique_ptr<runtime::Session> before_;  // the model as it was when the task began
};

Status IncrementalTask::open_fisher() {
  HAI_TRY(std::shared_ptr<runtime::Model> file, runtime::Model::load_file(arguments_.fisher));
  training::TrainerOptions options;
  options.threads = threads_;
  HAI_TRY(fisher_, training::Trainer::create(file, options));
  if (auto status = training::begin_fisher(trainer_, *fisher_); !status)
    return with_where(std::move(status).error(), arguments_.fisher);
  const format::ProgramTensor& target = fisher_->input(fisher_->input_count() - 1);
  const bool masked = target.shape.size() == 2 && target.shape[1] == Dim(2 * head_);
  const std::vector<Symbol>& symbols = fisher_->session().program().symbols;
  if (masked && (symbols.empty() || symbols[0].min == 1)) return {};
  return make_error(StatusCode::kUnsupported, "L121",
                    "{}: Fisher informations are measured sample by sample, with a mask of classes; compile it with "
                    "--dim batch=1..1 or the like, and --train optimizer=fisher,class_mask=1",
                    arguments_.fisher);
}

Status IncrementalTask::read_pictures() {
  HAI_TRY(set_, data::list_growing(arguments_.data, head_, classes_));
  std::vector<std::string> paths;
  for (const data::LabelledPicture& picture : set_.pictures) paths.push_back(picture.path.string());
  HAI_TRY_STATUS(
      check_outputs({{"--out", arguments_.output}, {"--log", arguments_.log}, {"--report", arguments_.report}}, paths));
  show_progress(fmt::format("reading {} pictures", set_.pictures.size()));
  HAI_TRY(report_, data::drop_unreadable(set_, input_.rule, threads_));
  end_progress();
  note_skipped(report_);
  return {};
}

Status IncrementalTask::make_loaders(const data::Augmentation& augmentation) {
  const auto seed = static_cast<uint64_t>(arguments_.seed);
  HAI_TRY(data::Split split, data::split_by_class(set_, arguments_.held_out, seed));
  training_ = split.training;
  HAI_TRY(batch_, choose_batch(arguments_, input_, training_.size()));
  if (replays_) batch_ = std::min(batch_, input_.most_batch / (draws() + 1));
  if (batch_ < 1 || input_.least_batch > 1) {
    return make_error(
        StatusCode::kOutOfRange, "L122",
        "--method {}: {} takes batches of {}..{}; compile it with a free batch that has room for new samples "
        "and as many that are kept, as in --dim batch=1..64",
        arguments_.method, arguments_.model, input_.least_batch, input_.most_batch);
  }
  data::LoaderOptions options;
  options.batch = batch_;
  options.seed = seed;
  options.threads = threads_;
  options.augmentation = augmentation;
  HAI_TRY(loader_, data::BatchLoader::create(set_, training_, input_.rule, options));
  options.augmentation = {};
  HAI_TRY(plain_, data::BatchLoader::create(set_, training_, input_.rule, options));
  if (split.held_out.empty()) return {};
  for (const size_t i : split.held_out) held_out_paths_.push_back(set_.pictures[i].path.string());
  options.shuffle = false;
  HAI_TRY(held_out_, data::BatchLoader::create(set_, std::move(split.held_out), input_.rule, options));
  return {};
}

hai_tensor IncrementalTask::view_rows(const format::ProgramTensor& tensor, int64_t rows,
                                      std::vector<std::byte>& bytes) {
  const Dims dims = resolve(tensor.shape, std::span(&rows, 1));
  hai_tensor view = {};
  view.dtype = static_cast<int32_t>(tensor.dtype);
  view.rank = dims.rank;
  std::copy_n(dims.size.begin(), dims.rank, view.dims);
  view.data = bytes.data();
  view.size_bytes = static_cast<size_t>(bytes_for(tensor.dtype, dims.count()));
  return view;
}

// What a step takes of the pictures of a batch, in front of room for `rows` in all.
Status IncrementalTask::sample_rows(const data::Batch& batch, int64_t rows) {
  rows_.resize(parts());
  for (size_t i = 0; i < parts(); ++i) rows_[i].resize(static_cast<size_t>(bytes_of(part(i), rows)));
  if (!trainer_.has_features()) {
    std::memcpy(rows_[0].data(), batch.pixels.data(), batch.pixels.size() * sizeof(float));
    return {};
  }
  const hai_tensor input = view_of(trainer_.input(0), batch_, batch.pixels);
  std::vector<hai_tensor> outputs;
  for (size_t i = 0; i < parts(); ++i) outputs.push_back(view_rows(part(i), batch_, rows_[i]));
  return trainer_.features(std::span(&input, 1), outputs);
}

void IncrementalTask::set_target(size_t row, std::span<const float> shares, float weight, const Old& old) {
  const auto head = static_cast<size_t>(head_);
  float* to = target_.data() + row * static_cast<size_t>(width());
  std::copy(shares.begin(), shares.end(), to);
  for (size_t k = 0; k < head; ++k) to[head + k] = k < classes_.size() ? 1.0F : 0.0F;
  if (old_) {
    for (size_t k = 0; k < head; ++k)
      to[2 * head + k] = old.answers != nullptr && k < old.known ? old.answers[k] : kNoAnswer;
    to[3 * head] = old.weight;
  }
  to[width() - 1] = weight;
}

// Kept samples behind the new ones.
Status IncrementalTask::put_kept(size_t first_row, size_t count, float label_weight, float answer_weight) {
  std::vector<float> shares(static_cast<size_t>(head_));
  const std::vector<size_t> drawn = memory_.replay->draw(count);
  for (size_t i = 0; i < drawn.size(); ++i) {
    const training::ReplaySample& sample = memory_.replay->sample(drawn[i]);
    size_t at = 0;
    for (size_t p = 0; p < parts(); ++p) {
      const auto size = static_cast<size_t>(bytes_of(part(p), 1));
      if (at + size > sample.bytes.size()) {
        return make_error(StatusCode::kCorrupt, "L123", "--memory {}: its samples are not of this model",
                          arguments_.memory);
      }
      std::copy_n(sample.bytes.begin() + static_cast<ptrdiff_t>(at), size,
                  rows_[p].begin() + static_cast<ptrdiff_t>((first_row + i) * size));
      at += size;
    }
    std::fill(shares.begin(), shares.end(), 0.0F);
    shares[static_cast<size_t>(sample.label)] = 1;
    set_target(first_row + i, shares, label_weight,
               {sample.answers.empty() ? nullptr : sample.answers.data(), sample.answers.size(), answer_weight});
  }
  return {};
}

Result<training::StepResult> IncrementalTask::step(training::Trainer& trainer, std::span<const hai_tensor>,
                                                   double rate) {
  const auto head = static_cast<size_t>(head_);
  const auto fresh = static_cast<size_t>(batch_);
  const size_t kept = memory_.replay ? std::min(memory_.replay->size(), fresh) : 0;
  const size_t rows = fresh + (kept > 0 ? static_cast<size_t>(draws()) * kept : 0);
  HAI_TRY_STATUS(sample_rows(*batch_at_hand_, static_cast<int64_t>(rows)));
  target_.resize(rows * static_cast<size_t>(width()));
  // A mean over all rows, of weights that make each part a mean of its own.
  const float scale = static_cast<float>(rows) / static_cast<float>(fresh);
  const float* before = nullptr;
  if (before_) {
    HAI_TRY(before, logits(*before_, *batch_at_hand_));
  }
  for (size_t i = 0; i < fresh; ++i) {
    set_target(i, std::span<const float>(batch_at_hand_->targets).subspan(i * head, head), scale,
               {before == nullptr ? nullptr : before + i * head, memory_.classes.size(),
                before == nullptr ? 0.0F : scale * static_cast<float>(arguments_.alpha)});
  }
  const float share = kept > 0 ? scale * static_cast<float>(fresh) / static_cast<float>(kept) : 0;
  if (kept > 0 && old_) {
    HAI_TRY_STATUS(put_kept(fresh, kept, 0, share * static_cast<float>(arguments_.alpha)));
    HAI_TRY_STATUS(put_kept(fresh + kept, kept, share, 0));
  } else if (kept > 0) {
    HAI_TRY_STATUS(put_kept(fresh, kept, share, 0));
  }
  std::vector<hai_tensor> inputs;
  const auto all = static_cast<int64_t>(rows);
  for (size_t i = 0; i < parts(); ++i) inputs.push_back(view_rows(part(i), all, rows_[i]));
  inputs.push_back(view_of(trainer.input(trainer.input_count() - 1), all, target_));
  return trainer.has_features() ? trainer.step_from_features(inputs, rate) : trainer.step(inputs, rate);
}

Result<std::unique_ptr<runtime::Session>> IncrementalTask::session_now() const {
  HAI_TRY(format::ModelFile model, trainer_.trained_model());
  model.training.reset();
  model.features.reset();
  HAI_TRY(const std::vector<std::byte> bytes, format::serialize(model, {format::Compression::kNever}));
  HAI_TRY(std::shared_ptr<runtime::Model> loaded, runtime::Model::load(memory_source(bytes), "the model in training"));
  const std::vector<std::string>& devices = loaded->file().devices();
  runtime::SessionOptions options;
  if (std::find(devices.begin(), devices.end(), "cpu") != devices.end()) options.device = "cpu";
  options.threads = threads_;
  return runtime::Session::create(loaded, options);
}

// Of the head's rows for each picture of the batch: the first output with as many numbers.
Result<const float*> IncrementalTask::logits(runtime::Session& session, const data::Batch& batch) {
  answers_.resize(session.output_count());
  std::vector<hai_tensor> outputs;
  const float* found = nullptr;
  for (size_t i = 0; i < answers_.size(); ++i) {
    outputs.push_back(tensor_of(session.output(i), batch_, answers_[i]));
    const bool rows =
        session.output(i).dtype == DataType::kF32 && static_cast<int64_t>(answers_[i].size()) == batch_ * head_;
    if (rows && found == nullptr) found = answers_[i].data();
  }
  const format::Program& program = session.program();
  const hai_tensor input = view_of(program.tensors[program.inputs[0]], batch_, batch.pixels);
  HAI_TRY_STATUS(session.run(std::span(&input, 1), outputs));
  HAI_CHECK(found != nullptr);  // the target has these rows
  return found;
}

Result<double> IncrementalTask::measure(format::ModelFile) {
  HAI_TRY(const auto session, session_now());
  int64_t hits = 0;
  int64_t seen = 0;
  held_out_->start(0);
  for (;;) {
    HAI_TRY(const data::Batch* batch, held_out_->next());
    if (batch == nullptr) return static_cast<double>(hits) / static_cast<double>(std::max<int64_t>(seen, 1));
    HAI_TRY(const float* rows, logits(*session, *batch));
    for (int64_t i = 0; i < batch->fresh; ++i) {
      const float* row = rows + i * head_;
      const auto best = std::max_element(row, row + classes_.size()) - row;
      hits += best == set_.pictures[batch->pictures[static_cast<size_t>(i)]].label ? 1 : 0;
      ++seen;
    }
  }
}

// Labels are drawn from the model's own answers, as the definition of the Fisher information asks.
Status IncrementalTask::measure_fisher() {
  HAI_TRY_STATUS(training::begin_fisher(trainer_, *fisher_));
  HAI_TRY(const auto session, session_now());
  const auto head = static_cast<size_t>(head_);
  const size_t picture = static_cast<size_t>(bytes_of(trainer_.input(0), 1)) / sizeof(float);
  int64_t samples = 0;
  plain_->start(memory_.tasks + 1);
  while (samples < arguments_.fisher_samples) {
    HAI_TRY(const data::Batch* batch, plain_->next());
    if (batch == nullptr) break;
    HAI_TRY(const float* rows, logits(*session, *batch));
    for (int64_t i = 0; i < batch->fresh && samples < arguments_.fisher_samples; ++i) {
      const float* row = rows + i * head_;
      const float most = *std::max_element(row, row + classes_.size());
      std::vector<double> until(classes_.size());
      double sum = 0;
      for (size_t k = 0; k < until.size(); ++k)
        until[k] = sum += std::exp(static_cast<double>(row[k]) - static_cast<double>(most));
      data::RandomStream random(static_cast<uint64_t>(arguments_.seed) ^ kFisherSeed,
                                data::RandomStream::Purpose::kPicture, static_cast<uint64_t>(memory_.tasks),
                                static_cast<uint64_t>(samples));
      const double drawn = random.unit() * sum;
      const auto label = static_cast<size_t>(std::upper_bound(until.begin(), until.end() - 1, drawn) - until.begin());
      std::vector<float> target(2 * head, 0.0F);
      target[label] = 1;
      std::fill_n(target.begin() + static_cast<ptrdiff_t>(head), classes_.size(), 1.0F);
      const std::span<const float> pixels =
          std::span<const float>(batch->pixels).subspan(static_cast<size_t>(i) * picture, picture);
      const hai_tensor inputs[] = {view_of(fisher_->input(0), 1, pixels), view_of(fisher_->input(1), 1, target)};
      if (const auto step = fisher_->step(inputs, 0.0); !step) return step.error();
      ++samples;
    }
  }
  training::consolidate(trainer_, *fisher_, std::max<int64_t>(samples, 1), arguments_.ewc_decay);
  return {};
}

Status IncrementalTask::keep_samples() {
  std::unique_ptr<runtime::Session> session;
  if (old_) {
    HAI_TRY(session, session_now());
  }
  plain_->start(memory_.tasks + 1);
  int64_t number = 0;
  for (;;) {
    HAI_TRY(const data::Batch* batch, plain_->next());
    if (batch == nullptr) return {};
    HAI_TRY_STATUS(sample_rows(*batch, batch_));
    const float* answers = nullptr;
    if (session) {
      HAI_TRY(answers, logits(*session, *batch));
    }
    for (size_t i = 0; i < static_cast<size_t>(batch->fresh); ++i) {
      training::ReplaySample sample;
      sample.key = (memory_.tasks << 32) + number++;
      sample.label = set_.pictures[batch->pictures[i]].label;
      for (size_t p = 0; p < parts(); ++p) {
        const auto size = static_cast<size_t>(bytes_of(part(p), 1));
        const auto from = rows_[p].begin() + static_cast<ptrdiff_t>(i * size);
        sample.bytes.insert(sample.bytes.end(), from, from + static_cast<ptrdiff_t>(size));
      }
      if (answers != nullptr) {
        const float* row = answers + i * static_cast<size_t>(head_);
        sample.answers.assign(row, row + classes_.size());
      }
      memory_.replay->offer(std::move(sample));
    }
  }
}

Status IncrementalTask::finish() {
  show_progress("keeping what the next pictures must not undo");
  if (pulls_) HAI_TRY_STATUS(measure_fisher());
  if (replays_) HAI_TRY_STATUS(keep_samples());
  memory_.classes = classes_;
  ++memory_.tasks;
  end_progress();
  return memory_.save(arguments_.memory, arguments_.method, trainer_);
}

}  // namespace

Result<std::unique_ptr<TrainTask>> make_incremental_task(const TrainArguments& arguments, const runtime::Model& file,
                                                         training::Trainer& trainer, int threads) {
  auto task = std::make_unique<IncrementalTask>(arguments, trainer, threads);
  HAI_TRY_STATUS(task->prepare(file));
  return std::unique_ptr<TrainTask>(std::move(task));
}

}  // namespace hai::tools
