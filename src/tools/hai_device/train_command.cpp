// `hai train`: trains a classifier or a detector on pictures with the training program of its file.
//
// Method: pictures are tried first, split, and loaded ahead by the room data; steps are the trainer's; after each epoch
// the model as it is then answers the pictures that are held out, and is written when it is the best so far.
// So the output is whole at any time, and an interrupt or an error later on loses nothing that was the best. Not here:
// decoding and augmentation (data/), the step itself (training/), what tells classifiers from detectors (train_task.h).
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/file.h"
#include "tools/hai_device/device_commands.h"
#include "tools/hai_device/output_paths.h"
#include "tools/hai_device/print.h"
#include "tools/hai_device/progress.h"
#include "tools/hai_device/stopwatch.h"
#include "tools/hai_device/train_limits.h"
#include "tools/hai_device/train_log.h"
#include "tools/hai_device/train_progress.h"
#include "tools/hai_device/train_promotion.h"
#include "tools/hai_device/train_report.h"
#include "tools/hai_device/train_task.h"
#include "tools/hai_device/train_tensor.h"
#include "training/held_states.h"
#include "training/inference_model.h"
#include "training/previous_model.h"
#include "training/rebuilder.h"
#include "training/schedule.h"
#include "training/trainer.h"

namespace hai::tools {
namespace {

using Json = nlohmann::ordered_json;

volatile std::sig_atomic_t interrupted = 0;

// While it lives, the first interrupt is noted; the second one ends the process as ever. A terminal that is closed and
// a reader of the output that went away (`| head -1`) are interrupts too; the latter's every write tells so again.
class InterruptNotice {
 public:
  InterruptNotice() {
    interrupted = 0;
    for (size_t i = 0; i < kSignals.size(); ++i) {
      ::sigaction(kSignals[i], nullptr, &old_[i]);
      if (kSignals[i] == SIGHUP && old_[i].sa_handler == SIG_IGN) continue;  // nohup
      struct sigaction action = {};
      action.sa_handler = [](int) { interrupted = 1; };
      action.sa_flags = SA_RESTART;
      if (kSignals[i] != SIGPIPE) action.sa_flags |= static_cast<int>(SA_RESETHAND);
      ::sigaction(kSignals[i], &action, nullptr);
    }
  }
  ~InterruptNotice() {
    for (size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &old_[i], nullptr);
  }
  InterruptNotice(const InterruptNotice&) = delete;
  InterruptNotice& operator=(const InterruptNotice&) = delete;

 private:
  static constexpr std::array<int, 4> kSignals = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
  std::array<struct sigaction, kSignals.size()> old_ = {};
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
  Json promotion_json() const;
  Status prepare_schedule();
  Status prepare_head();
  void begin_phase();
  double rate() const;
  Status write_start();
  Status run_epoch();
  Status take_step(const TrainBatch& batch);
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
  Status promote();
  Result<format::ModelFile> old_model() const;
  Status write_report() const;
  std::optional<ModelledTraining> modelled() const;
  // Averages, where the program keeps them, are what is measured and written.
  training::SavedWeights saved_weights() const {
    return trainer_->has_averages() ? training::SavedWeights::kAverage : training::SavedWeights::kLast;
  }
  int64_t steps() const { return at_.head_applied + trainer_->steps(); }  // applied
  double pictures_per_second() const {
    const double seconds = milliseconds_since(begin_) / 1000;
    return seconds > 0 ? static_cast<double>((at_.steps - first_step_) * batch_) / seconds : 0;
  }

  const TrainArguments& arguments_;
  int threads_ = 1;
  std::unique_ptr<training::Trainer> trainer_;
  std::unique_ptr<TrainTask> task_;
  int64_t batch_ = 0;
  training::Schedule schedule_;
  TrainLog log_;
  TrainLimits limits_;
  LossCurve losses_;
  std::set<std::string> head_;  // parameters of the last layer
  int64_t head_epochs_ = 0;     // that train these alone
  std::unique_ptr<training::HeldStates> held_;
  Clock::time_point begin_;
  TrainProgress at_;
  TrainCheckpoints checkpoints_;
  int64_t first_step_ = 0;    // steps that were taken before this process
  double first_seconds_ = 0;  // and the time that they took
  std::string written_path_;  // the output; where INT8 is rebuilt, what its gate decides on
  bool rebuilds_ = false;
  std::optional<Promotion> promotion_;
  bool resumed_ = false;
  bool written_ = false;
  std::string end_ = "epochs";
};

Status Training::prepare_schedule() {
  schedule_.kind = arguments_.schedule;
  schedule_.learning_rate = arguments_.learning_rate;
  schedule_.total_steps = (arguments_.epochs - head_epochs_) * task_->batches();
  schedule_.warmup_steps = arguments_.warmup;
  schedule_.decay = arguments_.decay;
  const int64_t epochs = arguments_.decay_every > 0 ? arguments_.decay_every
                                                    : std::max<int64_t>((arguments_.epochs - head_epochs_) / 3, 1);
  schedule_.every = epochs * task_->batches();
  if (Status status = training::check_schedule(schedule_); !status) {
    return with_where(
        std::move(status).error(),
        fmt::format("--epochs {} of {} steps with --warmup {}{}", arguments_.epochs - head_epochs_, task_->batches(),
                    arguments_.warmup, arguments_.recipe.empty() ? "" : " (of the recipe, where it is not given)"));
  }
  return {};
}

// What the model's file says of its last layer. A recipe does without where there is nothing else to train.
Status Training::prepare_head() {
  if (arguments_.head_epochs == 0) return {};
  if (arguments_.head_epochs >= arguments_.epochs) {
    return make_error(StatusCode::kOutOfRange, "L112",
                      "--head-epochs {} of --epochs {}: the last layer alone is trained in the first ones, and one at "
                      "least must be left for the rest",
                      arguments_.head_epochs, arguments_.epochs);
  }
  const auto& metadata = trainer_->session().model().file().metadata().entries;
  const auto found = metadata.find("head_parameters");
  const Json names = found == metadata.end() ? Json() : Json::parse(found->second, nullptr, false);
  if (names.is_array()) {
    for (const Json& name : names) {
      if (name.is_string()) head_.insert(name.get<std::string>());
    }
  }
  bool other = false;
  for (size_t i = 0; i < trainer_->state_count(); ++i)
    other = other || (trainer_->is_parameter(i) && !head_.contains(trainer_->state_tensor(i).name));
  if (!head_.empty() && other) {
    head_epochs_ = arguments_.head_epochs;
    return {};
  }
  if (!arguments_.head_asked) return {};
  return make_error(StatusCode::kInvalidArgument, "L113",
                    "--head-epochs: {} {}; compile it with --train trainable=last:8 or the like, or leave it out",
                    arguments_.model,
                    head_.empty() ? "does not say which layer is its last" : "trains its last layer alone");
}

// What moves in the epoch at hand; at the start of the second part the optimizer forgets the first.
void Training::begin_phase() {
  if (at_.epoch <= head_epochs_) {
    if (!held_) held_ = std::make_unique<training::HeldStates>(*trainer_, head_);
    return;
  }
  held_.reset();
  if (head_epochs_ == 0 || at_.epoch != head_epochs_ + 1 || at_.batches != 0) return;
  at_.head_applied += trainer_->steps();
  trainer_->forget_optimizer();
}

double Training::rate() const {
  const int64_t first = head_epochs_ * task_->batches();
  if (at_.steps <= first) return arguments_.head_rate > 0 ? arguments_.head_rate : arguments_.learning_rate;
  return training::learning_rate_at(schedule_, at_.steps - first);
}

Status Training::write_start() {
  return log_line({{"kind", resumed_ ? "resume" : "start"},
                   {"model", arguments_.model},
                   {"classes", task_->classes()},
                   {"training_pictures", task_->training_count()},
                   {"held_out_pictures", task_->held_out().size()},
                   {"skipped_pictures", task_->report().skipped.size()},
                   {"batch", batch_},
                   {"steps_per_epoch", task_->batches()},
                   {"epochs", arguments_.epochs},
                   {"seed", arguments_.seed},
                   {"resumed_steps", first_step_},
                   {"held_out", task_->held_out()}});
}

Status Training::prepare() {
  if (arguments_.patience > 0 && arguments_.held_out == 0) {
    return make_error(StatusCode::kInvalidArgument, "L106",
                      "--patience {} needs pictures that tell the better epoch; give --held-out 0.1, or leave it out",
                      arguments_.patience);
  }
  if (arguments_.recipe == "detect" && arguments_.labels.empty()) {
    return make_error(StatusCode::kInvalidArgument, "L110",
                      "--recipe detect needs boxes; give --labels coco.json, or --recipe classify");
  }
  if (arguments_.recipe == "segment" && arguments_.masks.empty()) {
    return make_error(StatusCode::kInvalidArgument, "L116",
                      "--recipe segment needs masks; give --masks FOLDER, or --recipe classify");
  }
  HAI_TRY_STATUS(
      check_outputs({{"--out", arguments_.output},
                     {"--log", arguments_.log},
                     {"--report", arguments_.report},
                     {"--deploy", arguments_.deploy}},
                    {arguments_.model, arguments_.data, arguments_.labels, arguments_.masks, arguments_.fisher}));
  for (const std::string& path : {arguments_.output, arguments_.report})
    if (!path.empty()) training::remove_leftovers(path);
  // What cannot be written in the end is said now.
  HAI_TRY_STATUS(AtomicFileWriter::create(arguments_.output));
  if (!arguments_.report.empty()) {
    HAI_TRY_STATUS(AtomicFileWriter::create(arguments_.report));
  }
  threads_ =
      arguments_.threads > 0 ? arguments_.threads : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  limits_ = TrainLimits(arguments_.cpu_share, threads_, arguments_.max_temperature, arguments_.thermal_folder);
  HAI_TRY_STATUS(limits_.check());
  HAI_TRY(std::shared_ptr<runtime::Model> file, runtime::Model::load_file(arguments_.model));
  training::TrainerOptions options;
  options.threads = threads_;
  HAI_TRY(trainer_, training::Trainer::create(file, options));
  HAI_TRY_STATUS(check_trains(arguments_.model, *trainer_));
  HAI_TRY(task_, !arguments_.method.empty()  ? make_incremental_task(arguments_, *file, *trainer_, threads_)
                 : !arguments_.masks.empty() ? make_segmenter_task(arguments_, *file, *trainer_, threads_)
                 : arguments_.labels.empty() ? make_classifier_task(arguments_, *file, *trainer_, threads_)
                                             : make_detector_task(arguments_, *file, *trainer_, threads_));
  batch_ = task_->batch();
  const bool possible = arguments_.rebuild && training::can_rebuild(*trainer_);
  rebuilds_ = possible && task_->shows_pictures() && !task_->held_out().empty();
  written_path_ = rebuilds_ ? arguments_.output + ".candidate" : arguments_.output;
  if (possible && !rebuilds_) {
    note("{}, so {} will run what is trained in f32",
         task_->held_out().empty() ? "nothing is held out to judge INT8 by"
                                   : "INT8 is not rebuilt where samples arrive bit by bit",
         arguments_.output);
  }
  HAI_TRY_STATUS(prepare_head());
  HAI_TRY_STATUS(prepare_schedule());
  at_.original_digest = training::model_digest(arguments_.output);
  HAI_TRY_STATUS(resume());
  HAI_TRY(log_, TrainLog::open(arguments_.log, at_.log_bytes));
  return write_start();
}

// All that decides the bits of the run, for checkpoints.
std::string Training::settings() const {
  return one_line({{"pictures", task_->data_digest()},
                   {"classes", task_->classes().size()},
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
                   {"plain_epochs", arguments_.plain_epochs},
                   {"head_epochs", head_epochs_},
                   {"head_rate", head_epochs_ > 0 ? arguments_.head_rate : 0},
                   {"views", arguments_.views},
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
  HAI_TRY_STATUS(task_->restore(at_.task_state));
  first_step_ = at_.steps;
  first_seconds_ = at_.seconds;
  note("{}: goes on at epoch {}, after {} steps", arguments_.checkpoint, at_.epoch, at_.steps);
  written_ = at_.best.has_value();
  return checkpoints_.restore_best(at_, written_path_);
}

Status Training::save_checkpoint() {
  at_.seconds = first_seconds_ + milliseconds_since(begin_) / 1000;
  at_.log_bytes = log_.size_bytes();
  at_.task_state = task_->state();
  return checkpoints_.save(*trainer_, at_);
}

void Training::show(int64_t epoch, double loss) const {
  const double seconds = milliseconds_since(begin_) / 1000;
  const int64_t all = arguments_.epochs * task_->batches();
  const double left = seconds / static_cast<double>(at_.steps - first_step_) * static_cast<double>(all - at_.steps);
  const std::string metric = at_.best && at_.best->metric
                                 ? fmt::format(", {} {:.1f} % at best", task_->metric_name(), *at_.best->metric * 100)
                                 : "";
  const auto done = static_cast<size_t>(20 * at_.steps / std::max<int64_t>(all, 1));
  const std::string bar =
      std::string(std::min<size_t>(done, 20), '#') + std::string(20 - std::min<size_t>(done, 20), '.');
  show_progress(fmt::format("[{}] epoch {}/{}, step {}/{}: loss {:.4f}{}, {:.0f} images/s, {} left", bar, epoch,
                            arguments_.epochs, at_.steps, all, loss, metric, pictures_per_second(), clock_text(left)));
}

Status Training::take_step(const TrainBatch& batch) {
  const hai_tensor inputs[] = {view_of(trainer_->input(0), batch_, batch.pixels),
                               view_of(trainer_->input(1), batch_, batch.targets)};
  ++at_.steps;
  const double rate = this->rate();
  HAI_TRY(const training::StepResult step, task_->step(*trainer_, inputs, rate));
  if (held_) held_->put_back();
  if (step.applied) {
    ++at_.applied;
    at_.loss += (step.loss - at_.loss) / static_cast<double>(at_.applied);
  }
  ++at_.batches;
  checkpoints_.count_step();
  losses_.add(at_.steps, step.loss);
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
  begin_phase();
  task_->start(at_.epoch, at_.batches);
  while (interrupted == 0) {
    HAI_TRY(const std::optional<TrainBatch> batch, task_->next());
    if (!batch) break;
    HAI_TRY_STATUS(take_step(*batch));
    at_.epoch_seconds = before + milliseconds_since(begin) / 1000;
    if (checkpoints_.due()) HAI_TRY_STATUS(save_checkpoint());
    limits_.rest([] { return interrupted != 0; }, [](const std::string& why) { show_progress(why); });
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
  HAI_TRY(format::ModelFile now, trainer_->trained_model(saved_weights()));
  if (at_.head_applied > 0) now.metadata["trained_steps"] = std::to_string(steps());
  if (!task_->numbered())
    now.metadata["labels"] = one_line(task_->classes());  // else names that the file has stay true
  return now;
}

Status Training::write_output(const format::ModelFile& model) {
  if (!rebuilds_) HAI_TRY_STATUS(training::keep_previous(arguments_.output, at_.original_digest));
  HAI_TRY_STATUS(format::write_model_file(written_path_, model));
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
                           {task_->metric_key(), epoch.metric ? Json(*epoch.metric) : Json()},
                           {"best", epoch.best},
                           {"seconds", epoch.seconds}}));
  if (checkpoints_.enabled()) HAI_TRY_STATUS(save_checkpoint());
  if (model) HAI_TRY_STATUS(write_output(*model));
  return write_report();
}

// What the training so far would have taken on the board, where the model is for one.
std::optional<ModelledTraining> Training::modelled() const {
  if (arguments_.modelled == nullptr) return std::nullopt;
  const auto held_out = static_cast<int64_t>(task_->held_out().size());
  auto time = arguments_.modelled(arguments_.model, {task_->frozen_samples(at_.steps), at_.steps, batch_,
                                                     held_out * static_cast<int64_t>(at_.epochs.size())});
  if (time) return std::move(*time);
  note("the time on the board is unknown: {}", time.error().to_string());
  return std::nullopt;
}

std::string board_text(const ModelledTraining& time) {
  return fmt::format(
      "{:.1f} s (modelled, profile {}): frozen part {:.1f} s on the NPU and {:.1f} s beside it, steps {:.1f} s on two "
      "A73, measuring {:.1f} s; without reading pictures",
      time.seconds, time.profile, time.frozen_npu_seconds, time.frozen_host_seconds, time.step_seconds,
      time.measuring_seconds);
}

Json board_json(const ModelledTraining& time) {
  return {{"profile", time.profile},
          {"modelled_seconds", time.seconds},
          {"modelled_frozen_npu_seconds", time.frozen_npu_seconds},
          {"modelled_frozen_host_seconds", time.frozen_host_seconds},
          {"modelled_step_seconds", time.step_seconds},
          {"modelled_measuring_seconds", time.measuring_seconds}};
}

Status Training::write_report() const {
  if (arguments_.report.empty()) return {};
  TrainReport report;
  report.title = "Training of " + arguments_.model;
  report.metric_name = task_->metric_name();
  report.epochs = &at_.epochs;
  report.losses = &losses_;
  report.examples = task_->examples();
  report.facts = {{"data", arguments_.data},
                  {"output", arguments_.output},
                  {"pictures", fmt::format("{} to train, {} held out, {} skipped", task_->training_count(),
                                           task_->held_out().size(), task_->report().skipped.size())},
                  {"classes", fmt::format("{}", fmt::join(task_->classes(), ", "))},
                  {"steps", fmt::format("{} of {} pictures, {} refused", steps(), batch_, trainer_->refused_steps())},
                  {"best epoch", at_.best ? std::to_string(at_.best->epoch) : "none"},
                  {"INT8", !promotion_              ? "not rebuilt"
                           : promotion_->promoted() ? "promoted"
                                                    : "not promoted: " + promotion_->reason()},
                  {"pictures a second", fmt::format("{:.0f}", pictures_per_second())},
                  {"rested", fmt::format("{:.0f} s for --cpu-share and --max-temperature", limits_.rested_seconds())}};
  if (const auto time = modelled()) report.facts.emplace_back("the same on the board", board_text(*time));
  const std::string page = report_page(report);
  return write_file_atomically(arguments_.report, std::as_bytes(std::span(page)));
}

Status Training::finish_epoch() {
  task_->end_epoch();
  EpochResult epoch{at_.epoch, at_.loss, {}, false, at_.epoch_seconds};
  if (!task_->held_out().empty()) {
    HAI_TRY(format::ModelFile now, trainer_->trained_model(saved_weights()));
    HAI_TRY(epoch.metric, task_->measure(std::move(now)));
  }
  const bool improved = !at_.best || !epoch.metric || *epoch.metric > *at_.best->metric;
  epoch.best = improved || task_->keeps_last() || (*epoch.metric == *at_.best->metric && epoch.loss < at_.best->loss);
  if (improved) at_.improved_epoch = epoch.epoch;
  show_progress(fmt::format("epoch {}/{}: loss {:.4f}{}{}", epoch.epoch, arguments_.epochs, epoch.loss,
                            epoch.metric ? fmt::format(", {} {:.2f} % of {} held out", task_->metric_name(),
                                                       *epoch.metric * 100, task_->held_out().size())
                                         : "",
                            epoch.metric && epoch.best && !task_->keeps_last() ? ", the best so far" : ""));
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

// What lies at the output, where it answers like this model; else the model that is trained on.
Result<format::ModelFile> Training::old_model() const {
  if (!at_.original_digest.empty()) {
    auto there = format::read_model_file(arguments_.output);
    if (there && !there->programs.empty()) {
      const format::Program& now = trainer_->session().program();
      const auto outputs = there->programs[0].outputs;
      bool same = outputs.size() <= now.outputs.size();
      for (size_t i = 0; same && i < outputs.size(); ++i)
        same = there->programs[0].tensors[outputs[i]].shape == now.tensors[now.outputs[i]].shape;
      if (same) return there;
    }
  }
  return format::read_model_file(arguments_.model);
}

// The best epoch's model in INT8, and whether it replaces the one in use.
Status Training::promote() {
  HAI_TRY(const std::shared_ptr<runtime::Model> best, runtime::Model::load_file(written_path_));
  HAI_TRY_STATUS(trainer_->take_parameters(best->shared_file()));
  HAI_TRY(const format::ModelFile old, old_model());
  HAI_TRY(Promoted result, rebuild_and_judge(*trainer_, *task_, old));
  end_progress();
  promotion_ = result.promotion;
  if (result.model) {
    result.model->metadata = best->file().metadata().entries;
    HAI_TRY_STATUS(training::keep_previous(arguments_.output, at_.original_digest));
    HAI_TRY_STATUS(format::write_model_file(arguments_.output, *result.model));
    if (!arguments_.deploy.empty()) {
      HAI_TRY_STATUS(format::write_model_file(arguments_.deploy, training::inference_model(*result.model)));
    }
    HAI_TRY_STATUS(FileSystem::real().remove(written_path_));
    written_path_ = arguments_.output;
  }
  const std::string key(task_->metric_key());
  return log_line({{"kind", "promotion"},
                   {"promoted", promotion_->promoted()},
                   {"reason", promotion_->reason()},
                   {"old_" + key, promotion_->old_metric},
                   {"float_" + key, promotion_->float_metric},
                   {"int8_" + key, promotion_->rebuilt_metric}});
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
  } else if (newer && (!written_ || (task_->held_out().empty() && end_ == "interrupted")) && steps() > 0) {
    HAI_TRY(const format::ModelFile model, model_now());
    HAI_TRY_STATUS(write_output(model));
    note("{}: the parameters after {} steps were written", written_path_, steps());
  }
  HAI_TRY_STATUS(status);
  if (end_ == "epochs") HAI_TRY_STATUS(task_->finish());
  if (rebuilds_ && written_ && end_ != "interrupted") {
    HAI_TRY_STATUS(promote());
    HAI_TRY_STATUS(write_report());
  }
  return log_line(
      {{"kind", "end"},
       {"ended", end_},
       {"epochs", at_.epochs.size()},
       {"steps", steps()},
       {"best_epoch", at_.best ? Json(at_.best->epoch) : Json()},
       {"best_" + std::string(task_->metric_key()), at_.best && at_.best->metric ? Json(*at_.best->metric) : Json()}});
}

Json Training::promotion_json() const {
  if (!promotion_) return {};
  return {{"promoted", promotion_->promoted()},
          {"reason", promotion_->reason()},
          {"old", promotion_->old_metric},
          {"float", promotion_->float_metric},
          {"int8", promotion_->rebuilt_metric}};
}

void Training::print_result() const {
  const double seconds = first_seconds_ + milliseconds_since(begin_) / 1000;
  const std::optional<ModelledTraining> board = modelled();
  if (!arguments_.json) {
    print("{}: {} epochs, {} steps of {} pictures, {} refused, in {}\n", arguments_.model, at_.epochs.size(), steps(),
          batch_, trainer_->refused_steps(), clock_text(seconds));
    if (at_.best && at_.best->metric)
      print("best epoch {}: {} {:.2f} % of {} held-out pictures\n", at_.best->epoch, task_->metric_name(),
            *at_.best->metric * 100, task_->held_out().size());
    if (end_ != "epochs") print("ended early: {}\n", end_);
    if (board) print("on the board: {}\n", board_text(*board));
    if (promotion_) {
      print("INT8: {} {:.2f} %, f32 {:.2f} %, the old model {:.2f} %: {}\n", task_->metric_name(),
            100 * promotion_->rebuilt_metric, 100 * promotion_->float_metric, 100 * promotion_->old_metric,
            promotion_->promoted() ? "promoted" : "not promoted, " + promotion_->reason());
    }
    print("{}\n", written_ ? "written: " + written_path_ : "nothing was written: no step was taken");
    return;
  }
  Json skipped = Json::array();
  for (const data::SkippedPicture& picture : task_->report().skipped)
    skipped.push_back({{"path", picture.path.string()}, {"error", picture.error.to_string()}});
  Json epochs = Json::array();
  for (const EpochResult& epoch : at_.epochs) {
    epochs.push_back({{"epoch", epoch.epoch},
                      {"loss", epoch.loss},
                      {task_->metric_key(), epoch.metric ? Json(*epoch.metric) : Json()},
                      {"seconds", epoch.seconds}});
  }
  Json document{
      {"model", arguments_.model},
      {"out", written_ ? Json(written_path_) : Json()},
      {"promotion", promotion_json()},
      {"classes", task_->classes()},
      {"pictures",
       {{"training", task_->training_count()}, {"held_out", task_->held_out().size()}, {"skipped", skipped}}},
      {"batch", batch_},
      {"steps", steps()},
      {"resumed_steps", first_step_},
      {"refused_steps", trainer_->refused_steps()},
      {"epochs", epochs},
      {"best_epoch", at_.best ? Json(at_.best->epoch) : Json()},
      {"best_" + std::string(task_->metric_key()), at_.best && at_.best->metric ? Json(*at_.best->metric) : Json()},
      {"ended", end_},
      {"seconds", seconds},
      {"images_per_second", pictures_per_second()}};
  if (board) document["board"] = board_json(*board);
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
