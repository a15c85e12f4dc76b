// `hai train`: trains a classifier on a folder of pictures with the training program of its file.
//
// Method: pictures are tried first, split by class, and loaded ahead by the room data; steps are the trainer's; after
// each epoch the model as it is then answers the pictures that are held out, and is written when it is the best so far.
// So the output is whole at any time, and an interrupt or an error later on loses nothing that was the best. Not here:
// decoding and augmentation (data/), the step itself (training/), how the held-out pictures are answered
// (train_validation.cpp).
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/sha256.h"
#include "data/augment.h"
#include "data/batch_loader.h"
#include "data/labelled_pictures.h"
#include "tools/hai_device/device_commands.h"
#include "tools/hai_device/output_paths.h"
#include "tools/hai_device/print.h"
#include "tools/hai_device/progress.h"
#include "tools/hai_device/stopwatch.h"
#include "tools/hai_device/train_log.h"
#include "tools/hai_device/train_progress.h"
#include "tools/hai_device/train_tensor.h"
#include "tools/hai_device/train_validation.h"
#include "training/previous_model.h"
#include "training/schedule.h"
#include "training/trainer.h"

namespace hai::tools {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kDefaultBatch = 32;
constexpr size_t kMostNamed = 20;  // skipped pictures on standard error; --json has them all

volatile std::sig_atomic_t interrupted = 0;

// While it lives, the first interrupt is noted; the second one ends the process as ever.
class InterruptNotice {
 public:
  InterruptNotice() {
    interrupted = 0;
    struct sigaction action = {};
    action.sa_handler = [](int) { interrupted = 1; };
    action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
    ::sigaction(SIGINT, &action, &old_interrupt_);
    ::sigaction(SIGTERM, &action, &old_terminate_);
  }
  ~InterruptNotice() {
    ::sigaction(SIGINT, &old_interrupt_, nullptr);
    ::sigaction(SIGTERM, &old_terminate_, nullptr);
  }
  InterruptNotice(const InterruptNotice&) = delete;
  InterruptNotice& operator=(const InterruptNotice&) = delete;

 private:
  struct sigaction old_interrupt_ = {};
  struct sigaction old_terminate_ = {};
};

// What the model takes and answers.
struct Interface {
  Preprocessing rule;
  int64_t classes = 0;
  size_t output = 0;  // that the classes are taken from
  int64_t least_batch = 1;
  int64_t most_batch = 1;
};

// Programs that measure (optimizer=fisher) have the parts of a step and leave the parameters as they are.
Status check_trains(const std::string& model, const training::Trainer& trainer) {
  bool parameters = false;
  bool measures = false;
  bool pulls = false;
  for (size_t i = 0; i < trainer.state_count(); ++i) {
    const std::string& name = trainer.state_tensor(i).name;
    parameters = parameters || trainer.is_parameter(i);
    measures = measures || name.ends_with("/fisher");
    pulls = pulls || name == "ewc_strength";
  }
  if (parameters && (!measures || pulls)) return {};
  return make_error(StatusCode::kInvalidArgument, "L108",
                    "{}: its training program measures and trains nothing; compile the model with --train "
                    "optimizer=adamw, adam or sgd",
                    model);
}

Result<Interface> interface_of(const std::string& model, const runtime::Model& file, const training::Trainer& trainer) {
  Interface out;
  if (!file.file().preprocessing()) {
    return make_error(StatusCode::kInvalidArgument, "L100",
                      "{}: it says nothing of how pictures become its input; compile it with --resize, --mean or --std",
                      model);
  }
  out.rule = *file.file().preprocessing();
  const format::Program& program = trainer.session().program();
  const format::ProgramTensor& input = trainer.input(0);
  const format::ProgramTensor& target = trainer.input(trainer.input_count() - 1);
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
  const int64_t one = out.least_batch;
  const Dims shares = resolve(target.shape, std::span(&one, 1));
  const bool rows = shares.rank >= 2 && shares.size[0] == one && target.dtype == DataType::kF32;
  size_t output = 0;
  while (output < trainer.prediction_count() && trainer.session().output(output).shape != target.shape) ++output;
  if (!rows || output == trainer.prediction_count()) {
    return make_error(
        StatusCode::kUnsupported, "L102",
        "{}: its loss takes {}{}; hai train gives a row of class shares in f32 for each picture. Train it "
        "from Python",
        model, data_type_name(target.dtype), to_string(shares));
  }
  out.output = output;
  out.classes = shares.count() / one;
  return out;
}

Result<int64_t> choose_batch(const TrainArguments& arguments, const Interface& model, size_t pictures) {
  const int64_t wanted = arguments.batch;
  if (wanted != 0 && (wanted < model.least_batch || wanted > model.most_batch)) {
    return make_error(StatusCode::kOutOfRange, "L103", "--batch {}: {} was compiled for batches of {}..{}", wanted,
                      arguments.model, model.least_batch, model.most_batch);
  }
  const int64_t most = std::min(model.most_batch, static_cast<int64_t>(pictures));
  return std::max(std::min(wanted == 0 ? kDefaultBatch : wanted, most), model.least_batch);
}

std::string clock_text(double seconds) {
  const auto whole = static_cast<int64_t>(seconds);
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string one_line(const Json& json) { return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace); }

class Training {
 public:
  explicit Training(const TrainArguments& arguments) : arguments_(arguments) {}

  Status prepare();
  // All epochs, or until patience or an interrupt ends them.
  Status run();
  bool was_interrupted() const { return end_ == "interrupted"; }
  void print_result() const;

 private:
  Status prepare_pictures();
  Status prepare_steps();
  Status write_start();
  Status run_epoch();
  Status take_step(const data::Batch& batch);
  Status finish_epoch();
  Status keep_epoch(const EpochResult& epoch);
  Result<format::ModelFile> model_now();
  Status pause();
  Status log_line(const Json& line) { return log_.write(one_line(line)); }
  Status epochs();
  void show(int64_t epoch, double loss) const;
  std::string settings() const;
  Status resume();
  Status save_checkpoint();
  Status write_output(const format::ModelFile& model);
  double pictures_per_second() const {
    const double seconds = milliseconds_since(begin_) / 1000;
    return seconds > 0 ? static_cast<double>((at_.steps - first_step_) * batch_) / seconds : 0;
  }

  const TrainArguments& arguments_;
  int threads_ = 1;
  std::unique_ptr<training::Trainer> trainer_;
  Interface model_;
  data::LabelledSet set_;
  data::PictureReport report_;
  size_t training_count_ = 0;
  int64_t batch_ = 0;
  std::unique_ptr<data::BatchLoader> loader_;
  std::unique_ptr<HeldOut> held_out_;
  training::Schedule schedule_;
  TrainLog log_;
  Clock::time_point begin_;
  TrainProgress at_;
  TrainCheckpoints checkpoints_;
  int64_t first_step_ = 0;    // steps that were taken before this process
  double first_seconds_ = 0;  // and the time that they took
  bool resumed_ = false;
  bool written_ = false;
  std::string end_ = "epochs";
};

Status Training::prepare_pictures() {
  HAI_TRY(set_, data::list_labelled(arguments_.data, model_.classes));
  std::vector<std::string> paths;  // those of a list may lie anywhere
  for (const data::LabelledPicture& picture : set_.pictures) paths.push_back(picture.path.string());
  HAI_TRY_STATUS(check_outputs({{"--out", arguments_.output}, {"--log", arguments_.log}}, paths));
  show_progress(fmt::format("reading {} pictures of {} classes", set_.pictures.size(), set_.classes.size()));
  HAI_TRY(report_, data::drop_unreadable(set_, model_.rule, threads_));
  end_progress();
  for (size_t i = 0; i < std::min(report_.skipped.size(), kMostNamed); ++i)
    note("skipped: {}", report_.skipped[i].error.to_string());
  if (!report_.skipped.empty()) note("{} of {} pictures skipped", report_.skipped.size(), report_.wanted_count);
  return {};
}

Status Training::prepare_steps() {
  const auto seed = static_cast<uint64_t>(arguments_.seed);
  HAI_TRY(data::Split split, data::split_by_class(set_, arguments_.held_out, seed));
  training_count_ = split.training.size();
  HAI_TRY(batch_, choose_batch(arguments_, model_, training_count_));
  data::LoaderOptions options;
  options.batch = batch_;
  options.seed = seed;
  options.threads = threads_;
  HAI_TRY(options.augmentation, data::parse_augmentation(arguments_.augment));
  HAI_TRY(loader_, data::BatchLoader::create(set_, std::move(split.training), model_.rule, options));
  if (!split.held_out.empty()) {
    HAI_TRY(held_out_, HeldOut::create(set_, std::move(split.held_out), model_.rule, batch_, threads_));
  }
  schedule_.kind = arguments_.schedule;
  schedule_.learning_rate = arguments_.learning_rate;
  schedule_.total_steps = arguments_.epochs * loader_->batches();
  schedule_.warmup_steps = arguments_.warmup;
  schedule_.decay = arguments_.decay;
  const int64_t epochs =
      arguments_.decay_every > 0 ? arguments_.decay_every : std::max<int64_t>(arguments_.epochs / 3, 1);
  schedule_.every = epochs * loader_->batches();
  return training::check_schedule(schedule_);
}

Status Training::write_start() {
  return log_line({{"kind", resumed_ ? "resume" : "start"},
                   {"model", arguments_.model},
                   {"classes", set_.classes},
                   {"training_pictures", training_count_},
                   {"held_out_pictures", held_out_ ? held_out_->count() : 0},
                   {"skipped_pictures", report_.skipped.size()},
                   {"batch", batch_},
                   {"steps_per_epoch", loader_->batches()},
                   {"epochs", arguments_.epochs},
                   {"seed", arguments_.seed},
                   {"resumed_steps", first_step_},
                   {"held_out", held_out_ ? Json(held_out_->paths()) : Json::array()}});
}

Status Training::prepare() {
  if (arguments_.patience > 0 && arguments_.held_out == 0) {
    return make_error(StatusCode::kInvalidArgument, "L106",
                      "--patience {} needs pictures that tell the better epoch; give --held-out 0.1, or leave it out",
                      arguments_.patience);
  }
  HAI_TRY_STATUS(data::parse_augmentation(arguments_.augment));
  HAI_TRY_STATUS(
      check_outputs({{"--out", arguments_.output}, {"--log", arguments_.log}}, {arguments_.model, arguments_.data}));
  HAI_TRY_STATUS(AtomicFileWriter::create(arguments_.output));  // what cannot be written in the end is said now
  threads_ =
      arguments_.threads > 0 ? arguments_.threads : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  HAI_TRY(std::shared_ptr<runtime::Model> file, runtime::Model::load_file(arguments_.model));
  training::TrainerOptions options;
  options.threads = threads_;
  HAI_TRY(trainer_, training::Trainer::create(file, options));
  HAI_TRY_STATUS(check_trains(arguments_.model, *trainer_));
  HAI_TRY(model_, interface_of(arguments_.model, *file, *trainer_));
  HAI_TRY_STATUS(prepare_pictures());
  HAI_TRY_STATUS(prepare_steps());
  at_.original_digest = training::model_digest(arguments_.output);
  HAI_TRY_STATUS(resume());
  HAI_TRY(log_, TrainLog::open(arguments_.log, at_.log_bytes));
  return write_start();
}

// All that decides the bits of the run, for checkpoints. Of a picture its name and size are: its content is not read
// again.
std::string Training::settings() const {
  Sha256 pictures;
  for (const data::LabelledPicture& picture : set_.pictures) {
    std::error_code unknown;
    const std::string line = fmt::format("{}\n{}\n{}\n", picture.path.string(), picture.label,
                                         std::filesystem::file_size(picture.path, unknown));
    pictures.update(std::as_bytes(std::span(line)));
  }
  return one_line({{"pictures", to_hex(pictures.finish())},
                   {"classes", set_.classes.size()},
                   {"batch", batch_},
                   {"epochs", arguments_.epochs},
                   {"learning_rate", arguments_.learning_rate},
                   {"schedule", arguments_.schedule},
                   {"warmup", arguments_.warmup},
                   {"decay", arguments_.decay},
                   {"decay_every", arguments_.decay_every},
                   {"held_out", arguments_.held_out},
                   {"patience", arguments_.patience},
                   {"augment", arguments_.augment},
                   {"seed", arguments_.seed}});
}

Status Training::resume() {
  if (arguments_.checkpoint.empty()) return {};
  checkpoints_ =
      TrainCheckpoints(arguments_.checkpoint, settings(), arguments_.checkpoint_steps, arguments_.checkpoint_minutes);
  if (!arguments_.resume) return checkpoints_.make_folder();
  HAI_TRY(resumed_, checkpoints_.resume(*trainer_, at_));
  if (!resumed_) {
    note("{}: there is no checkpoint yet; training begins", arguments_.checkpoint);
    return checkpoints_.make_folder();
  }
  first_step_ = at_.steps;
  first_seconds_ = at_.seconds;
  note("{}: goes on at epoch {}, after {} steps", arguments_.checkpoint, at_.epoch, at_.steps);
  written_ = at_.best.has_value();
  return checkpoints_.restore_best(at_, arguments_.output);
}

Status Training::save_checkpoint() {
  at_.seconds = first_seconds_ + milliseconds_since(begin_) / 1000;
  at_.log_bytes = log_.size_bytes();
  return checkpoints_.save(*trainer_, at_);
}

void Training::show(int64_t epoch, double loss) const {
  const double seconds = milliseconds_since(begin_) / 1000;
  const int64_t all = schedule_.total_steps;
  const double left = seconds / static_cast<double>(at_.steps - first_step_) * static_cast<double>(all - at_.steps);
  const std::string metric =
      at_.best && at_.best->top1 ? fmt::format(", top-1 {:.1f} % at best", *at_.best->top1 * 100) : "";
  show_progress(fmt::format("epoch {}/{}, step {}/{}: loss {:.4f}{}, {:.0f} images/s, {} left", epoch,
                            arguments_.epochs, at_.steps, all, loss, metric, pictures_per_second(), clock_text(left)));
}

Status Training::take_step(const data::Batch& batch) {
  const hai_tensor inputs[] = {view_of(trainer_->input(0), batch_, batch.pixels),
                               view_of(trainer_->input(1), batch_, batch.targets)};
  const double rate = training::learning_rate_at(schedule_, ++at_.steps);
  HAI_TRY(const training::StepResult step, trainer_->step(inputs, rate));
  if (step.applied) {
    ++at_.applied;
    at_.loss += (step.loss - at_.loss) / static_cast<double>(at_.applied);
  }
  ++at_.batches;
  checkpoints_.count_step();
  show(at_.epoch, step.loss);
  return log_line({{"kind", "step"},
                   {"epoch", at_.epoch},
                   {"step", at_.steps},
                   {"loss", step.loss},
                   {"gradient_norm", step.gradient_norm},
                   {"learning_rate", rate},
                   {"applied", step.applied},
                   {"images_per_second", pictures_per_second()}});
}

// Ends early at an interrupt, and then what is done of the epoch is known to at_.
Status Training::run_epoch() {
  const Clock::time_point begin = Clock::now();
  const double before = at_.epoch_seconds;
  loader_->start(at_.epoch, at_.batches);
  while (interrupted == 0) {
    HAI_TRY(const data::Batch* batch, loader_->next());
    if (batch == nullptr) break;
    HAI_TRY_STATUS(take_step(*batch));
    at_.epoch_seconds = before + milliseconds_since(begin) / 1000;
    if (checkpoints_.due()) HAI_TRY_STATUS(save_checkpoint());
  }
  if (at_.applied == 0 && interrupted == 0) {
    return make_error(StatusCode::kOutOfRange, "L107",
                      "no step of epoch {} could be applied: loss or gradients are no finite numbers; lower "
                      "--learning-rate (it is {}), or add --warmup",
                      at_.epoch, arguments_.learning_rate);
  }
  return {};
}

// The model as it is now, as it is written.
Result<format::ModelFile> Training::model_now() {
  HAI_TRY(format::ModelFile now, trainer_->trained_model());
  if (!set_.numbered) now.metadata["labels"] = one_line(set_.classes);  // else names that the file has stay true
  return now;
}

Status Training::write_output(const format::ModelFile& model) {
  HAI_TRY_STATUS(training::keep_previous(arguments_.output, at_.original_digest));
  HAI_TRY_STATUS(format::write_model_file(arguments_.output, model));
  written_ = true;
  return {};
}

// The checkpoint that knows of the best model comes before the output is replaced, so that a run that is killed in
// between makes the output again.
Status Training::keep_epoch(const EpochResult& epoch) {
  std::optional<format::ModelFile> model;
  if (epoch.best) {
    HAI_TRY(model, model_now());
    if (checkpoints_.enabled()) HAI_TRY_STATUS(checkpoints_.keep_best(*model, epoch.epoch));
    at_.best = epoch;
  }
  at_.epochs.push_back(epoch);
  ++at_.epoch;
  at_.batches = at_.applied = 0;
  at_.loss = at_.epoch_seconds = 0;
  HAI_TRY_STATUS(log_line({{"kind", "epoch"},
                           {"epoch", epoch.epoch},
                           {"loss", epoch.loss},
                           {"top1", epoch.top1 ? Json(*epoch.top1) : Json()},
                           {"best", epoch.best},
                           {"seconds", epoch.seconds}}));
  if (checkpoints_.enabled()) HAI_TRY_STATUS(save_checkpoint());
  if (model) HAI_TRY_STATUS(write_output(*model));
  return {};
}

Status Training::finish_epoch() {
  EpochResult epoch{at_.epoch, at_.loss, {}, false, at_.epoch_seconds};
  if (held_out_) {
    HAI_TRY(format::ModelFile now, trainer_->trained_model());
    HAI_TRY(epoch.top1, held_out_->top1(std::move(now), model_.output));
  }
  const bool improved = !at_.best || !epoch.top1 || *epoch.top1 > *at_.best->top1;
  epoch.best = improved || (*epoch.top1 == *at_.best->top1 && epoch.loss < at_.best->loss);
  if (improved) at_.improved_epoch = epoch.epoch;
  show_progress(fmt::format(
      "epoch {}/{}: loss {:.4f}{}{}", epoch.epoch, arguments_.epochs, epoch.loss,
      epoch.top1 ? fmt::format(", top-1 {:.2f} % of {} held out", *epoch.top1 * 100, held_out_->count()) : "",
      epoch.top1 && epoch.best ? ", the best so far" : ""));
  end_progress();
  return keep_epoch(epoch);
}

Status Training::epochs() {
  while (at_.epoch <= arguments_.epochs) {
    if (arguments_.patience > 0 && at_.epoch - 1 - at_.improved_epoch >= arguments_.patience) {
      end_ = "patience";
      return {};
    }
    HAI_TRY_STATUS(run_epoch());
    if (interrupted != 0) {
      end_ = "interrupted";
      return {};
    }
    HAI_TRY_STATUS(finish_epoch());
  }
  return {};
}

// After an interrupt. With checkpoints the output stays the best of whole epochs.
Status Training::pause() {
  HAI_TRY_STATUS(save_checkpoint());
  note("{}: paused after {} steps; the same command with --resume goes on", arguments_.checkpoint, at_.steps);
  return {};
}

Status Training::run() {
  const InterruptNotice notice;
  begin_ = Clock::now();
  const Status status = epochs();
  end_progress();
  // Where pictures are held out, the best epoch is what is kept, once there is one.
  const bool newer = !status || end_ == "interrupted";
  if (checkpoints_.enabled()) {
    if (status && end_ == "interrupted") HAI_TRY_STATUS(pause());
  } else if (newer && (!written_ || (!held_out_ && end_ == "interrupted")) && trainer_->steps() > 0) {
    HAI_TRY(const format::ModelFile model, model_now());
    HAI_TRY_STATUS(write_output(model));
    note("{}: the parameters after {} steps were written", arguments_.output, trainer_->steps());
  }
  HAI_TRY_STATUS(status);
  return log_line({{"kind", "end"},
                   {"ended", end_},
                   {"epochs", at_.epochs.size()},
                   {"steps", trainer_->steps()},
                   {"best_epoch", at_.best ? Json(at_.best->epoch) : Json()},
                   {"best_top1", at_.best && at_.best->top1 ? Json(*at_.best->top1) : Json()}});
}

void Training::print_result() const {
  const double seconds = first_seconds_ + milliseconds_since(begin_) / 1000;
  if (!arguments_.json) {
    print("{}: {} epochs, {} steps of {} pictures, {} refused, in {}\n", arguments_.model, at_.epochs.size(),
          trainer_->steps(), batch_, trainer_->refused_steps(), clock_text(seconds));
    if (at_.best && at_.best->top1)
      print("best epoch {}: top-1 {:.2f} % of {} held-out pictures\n", at_.best->epoch, *at_.best->top1 * 100,
            held_out_->count());
    if (end_ != "epochs") print("ended early: {}\n", end_);
    print("{}\n", written_ ? "written: " + arguments_.output : "nothing was written: no step was taken");
    return;
  }
  Json skipped = Json::array();
  for (const data::SkippedPicture& picture : report_.skipped)
    skipped.push_back({{"path", picture.path.string()}, {"error", picture.error.to_string()}});
  Json epochs = Json::array();
  for (const EpochResult& epoch : at_.epochs) {
    epochs.push_back({{"epoch", epoch.epoch},
                      {"loss", epoch.loss},
                      {"top1", epoch.top1 ? Json(*epoch.top1) : Json()},
                      {"seconds", epoch.seconds}});
  }
  const Json document{
      {"model", arguments_.model},
      {"out", written_ ? Json(arguments_.output) : Json()},
      {"classes", set_.classes},
      {"pictures",
       {{"training", training_count_}, {"held_out", held_out_ ? held_out_->count() : 0}, {"skipped", skipped}}},
      {"batch", batch_},
      {"steps", trainer_->steps()},
      {"resumed_steps", first_step_},
      {"refused_steps", trainer_->refused_steps()},
      {"epochs", epochs},
      {"best_epoch", at_.best ? Json(at_.best->epoch) : Json()},
      {"best_top1", at_.best && at_.best->top1 ? Json(*at_.best->top1) : Json()},
      {"ended", end_},
      {"seconds", seconds},
      {"images_per_second", pictures_per_second()}};
  fmt::print("{}\n", document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace

Result<TrainEnd> train_command(const TrainArguments& arguments) {
  Training training(arguments);
  HAI_TRY_STATUS(training.prepare());
  HAI_TRY_STATUS(training.run());
  training.print_result();
  return training.was_interrupted() ? TrainEnd::kInterrupted : TrainEnd::kDone;
}

}  // namespace hai::tools
