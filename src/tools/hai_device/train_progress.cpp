// Checkpoints of `hai train`.
//
// Method: the extras of a checkpoint (training/checkpoint.h) carry the progress, each number under its name. The best
// model is written before the checkpoint that names its epoch, and stays as long as one of the two generations may name
// it, so whichever of them is found, its best model is there. Its output is written after that, and made again from it
// when a run goes on.
#include "tools/hai_device/train_progress.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "tools/hai_device/print.h"
#include "training/checkpoint.h"
#include "training/previous_model.h"

namespace hai::tools {
namespace {

constexpr std::string_view kBest = "best-";
constexpr double kNoTop1 = -1;

training::CheckpointExtra to_extra(const TrainProgress& progress, const std::string& settings) {
  std::vector<double> losses, top1, seconds;
  std::vector<int64_t> best;
  for (const EpochResult& epoch : progress.epochs) {
    losses.push_back(epoch.loss);
    top1.push_back(epoch.metric.value_or(kNoTop1));
    seconds.push_back(epoch.seconds);
    best.push_back(epoch.best ? 1 : 0);
  }
  return {{"settings", settings},
          {"epoch", progress.epoch},
          {"batches", progress.batches},
          {"applied", progress.applied},
          {"loss", progress.loss},
          {"epoch_seconds", progress.epoch_seconds},
          {"steps_taken", progress.steps},
          {"head_applied", progress.head_applied},
          {"seconds", progress.seconds},
          {"log_bytes", progress.log_bytes},
          {"original_digest", progress.original_digest},
          {"task_state", progress.task_state},
          {"losses", losses},
          {"top1", top1},
          {"epochs_seconds", seconds},
          {"epochs_best", best},
          {"best_epoch", progress.best ? progress.best->epoch : int64_t{0}},
          {"improved_epoch", progress.improved_epoch}};
}

template <typename T>
bool take(const training::CheckpointExtra& extra, const char* name, T& out) {
  const auto found = extra.find(name);
  const T* value = found == extra.end() ? nullptr : std::get_if<T>(&found->second);
  if (value != nullptr) out = *value;
  return value != nullptr;
}

// False: it is none of `hai train`.
bool from_extra(const training::CheckpointExtra& extra, TrainProgress& out) {
  std::vector<double> losses, top1, seconds;
  std::vector<int64_t> best;
  int64_t best_epoch = 0;
  const bool whole = take(extra, "epoch", out.epoch) && take(extra, "batches", out.batches) &&
                     take(extra, "applied", out.applied) && take(extra, "loss", out.loss) &&
                     take(extra, "epoch_seconds", out.epoch_seconds) && take(extra, "steps_taken", out.steps) &&
                     take(extra, "head_applied", out.head_applied) && take(extra, "seconds", out.seconds) &&
                     take(extra, "log_bytes", out.log_bytes) && take(extra, "original_digest", out.original_digest) &&
                     take(extra, "task_state", out.task_state) && take(extra, "losses", losses) &&
                     take(extra, "top1", top1) && take(extra, "epochs_seconds", seconds) &&
                     take(extra, "epochs_best", best) && take(extra, "best_epoch", best_epoch) &&
                     take(extra, "improved_epoch", out.improved_epoch);
  const auto count = static_cast<int64_t>(losses.size());
  if (!whole || top1.size() != losses.size() || seconds.size() != losses.size() || best.size() != losses.size() ||
      out.epoch != count + 1 || out.batches < 0 || out.applied < 0 || out.steps < 0 || out.log_bytes < 0 ||
      best_epoch < 0 || best_epoch > count || out.improved_epoch < 0 || out.improved_epoch > count) {
    return false;
  }
  for (size_t i = 0; i < losses.size(); ++i) {
    EpochResult epoch{static_cast<int64_t>(i) + 1, losses[i], {}, best[i] != 0, seconds[i]};
    if (top1[i] >= 0) epoch.metric = top1[i];
    out.epochs.push_back(epoch);
  }
  if (best_epoch > 0) out.best = out.epochs[static_cast<size_t>(best_epoch) - 1];
  return true;
}

// What a person can do about a checkpoint of another run: the settings that differ.
std::string differences(const std::string& then, const std::string& now) {
  const auto old = nlohmann::ordered_json::parse(then, nullptr, false);
  const auto wanted = nlohmann::ordered_json::parse(now, nullptr, false);
  std::string text;
  for (const auto& [key, value] : wanted.items()) {
    const bool same = old.is_object() && old.contains(key) && old[key] == value;
    if (same) continue;
    const auto was = old.is_object() && old.contains(key) ? old[key] : nlohmann::ordered_json();
    text += (text.empty() ? "" : "; ") + key + " was " + was.dump(-1, ' ', true) + ", is " + value.dump(-1, ' ', true);
  }
  return text.empty() ? "it has other settings" : text;
}

// "best-12.hai", and no file that a user called so.
bool is_best(std::string_view name) {
  constexpr std::string_view kEnd = ".hai";
  if (!name.starts_with(kBest) || !name.ends_with(kEnd) || name.size() <= kBest.size() + kEnd.size()) return false;
  name = name.substr(kBest.size(), name.size() - kBest.size() - kEnd.size());
  return name.find_first_not_of("0123456789") == std::string_view::npos;
}

}  // namespace

bool TrainCheckpoints::due() const {
  if (!enabled()) return false;
  const std::chrono::duration<double, std::ratio<60>> minutes = std::chrono::steady_clock::now() - saved_;
  return (every_steps_ > 0 && since_steps_ >= every_steps_) ||
         (every_minutes_ > 0 && minutes.count() >= every_minutes_);
}

Result<bool> TrainCheckpoints::resume(training::Trainer& trainer, TrainProgress& progress) {
  auto loaded = training::load_checkpoint(folder_, trainer);
  if (!loaded && loaded.error().code == StatusCode::kNotFound) return false;
  HAI_TRY(const training::LoadedCheckpoint checkpoint, std::move(loaded));
  training::remove_leftovers((std::filesystem::path(folder_) / kBest).string());
  for (const std::string& reason : checkpoint.skipped) note("passed over: {}", reason);
  std::string settings;
  TrainProgress found;
  if (!take(checkpoint.extra, "settings", settings) || !from_extra(checkpoint.extra, found)) {
    return make_error(StatusCode::kInvalidArgument, "L141",
                      "--checkpoint {}: its checkpoints are not of hai train; give another folder", folder_);
  }
  if (settings != settings_) {
    return make_error(StatusCode::kInvalidArgument, "L140",
                      "--checkpoint {}: it is of another training: {}; go on with the same data and flags, or give "
                      "another folder",
                      folder_, differences(settings, settings_));
  }
  progress = std::move(found);
  kept_best_ = progress.best ? progress.best->epoch : 0;
  return true;
}

Status TrainCheckpoints::make_folder() const {
  std::error_code failure;
  const std::filesystem::path folder(folder_);
  for (const char* name : {"checkpoint.a", "checkpoint.b"}) {
    if (!std::filesystem::exists(folder / name, failure)) continue;
    return make_error(StatusCode::kInvalidArgument, "L142",
                      "--checkpoint {}: a training's checkpoints lie there; add --resume to go on with it, or give "
                      "another folder",
                      folder_);
  }
  std::filesystem::create_directory(folder, failure);
  if (std::filesystem::is_directory(folder)) return {};
  return make_error(StatusCode::kIo, "L143", "--checkpoint {}: the folder cannot be made: {}", folder_,
                    failure.message());
}

Status TrainCheckpoints::save(training::Trainer& trainer, const TrainProgress& progress) {
  HAI_TRY_STATUS(training::save_checkpoint(folder_, trainer, to_extra(progress, settings_)));
  saved_ = std::chrono::steady_clock::now();
  since_steps_ = 0;
  const int64_t best = progress.best ? progress.best->epoch : 0;
  // This generation names `best`, the other one what the save before did.
  std::error_code failure;
  std::vector<std::filesystem::path> stale;
  for (std::filesystem::directory_iterator entry(folder_, failure), end; !failure && entry != end;
       entry.increment(failure)) {
    const std::string name = entry->path().filename().string();
    if (is_best(name) && entry->path() != best_path(best) && entry->path() != best_path(kept_best_))
      stale.push_back(entry->path());
  }
  for (const std::filesystem::path& path : stale) std::filesystem::remove(path, failure);
  kept_best_ = best;
  return {};
}

std::string TrainCheckpoints::best_path(int64_t epoch) const {
  return (std::filesystem::path(folder_) / (std::string(kBest) + std::to_string(epoch) + ".hai")).string();
}

Status TrainCheckpoints::keep_best(const format::ModelFile& model, int64_t epoch) const {
  HAI_TRY_STATUS(format::write_model_file(best_path(epoch), model));
  return {};
}

Status TrainCheckpoints::restore_best(const TrainProgress& progress, const std::string& output) const {
  if (!progress.best) return {};
  const std::string best = best_path(progress.best->epoch);
  const std::string digest = training::model_digest(best);
  if (!digest.empty() && digest == training::model_digest(output)) return {};
  HAI_TRY_STATUS(training::keep_previous(output, progress.original_digest));
  return training::copy_file(best, output);
}

}  // namespace hai::tools
