// How far `hai train` has come, and its checkpoints: what a run needs to go on so that it ends in the same bits.
//
// Beside the trainer's states a checkpoint has the place in the data (all randomness follows from the seed and that
// place), the results of the epochs so far, what early stopping knows, how long the log was, and what the run was asked
// for. The best model so far lies in the folder too, as best-EPOCH.hai.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "format/model.h"
#include "training/trainer.h"

namespace hai::tools {

struct EpochResult {
  int64_t epoch = 0;
  double loss = 0;               // mean of its applied steps
  std::optional<double> metric;  // of what is held out
  bool best = false;
  double seconds = 0;
};

struct TrainProgress {
  int64_t epoch = 1;            // at work, from 1; one more than there are when all are done
  int64_t batches = 0;          // of it that are done
  int64_t applied = 0;          // steps of it
  double loss = 0;              // their mean
  double epoch_seconds = 0;     // that it took
  int64_t steps = 0;            // taken, applied or not
  int64_t head_applied = 0;     // steps that trained the last layer alone
  double seconds = 0;           // of the whole training
  int64_t log_bytes = 0;        // of the log up to here
  std::string task_state;       // TrainTask::state()
  std::string original_digest;  // of the model that lay at the output path before the training
  std::vector<EpochResult> epochs;
  std::optional<EpochResult> best;  // by its metric; of equal ones, that of the lower loss
  int64_t improved_epoch = 0;       // that had a higher metric than all before
};

class TrainCheckpoints {
 public:
  TrainCheckpoints() = default;  // none are written
  // `settings`: a JSON object of all that decides the bits of the run. `every_steps` 0: not by steps; `every_minutes`
  // 0: not by time.
  TrainCheckpoints(std::string folder, std::string settings, int64_t every_steps, double every_minutes)
      : folder_(std::move(folder)),
        settings_(std::move(settings)),
        every_steps_(every_steps),
        every_minutes_(every_minutes) {}

  bool enabled() const { return !folder_.empty(); }
  const std::string& folder() const { return folder_; }
  // Whether one is due after so many steps since the last save.
  bool due() const;
  void count_step() { ++since_steps_; }

  // Sets trainer and progress to what the newest checkpoint says; false, where the folder has none. What was skipped is
  // noted on standard error. Errors: L140 it is of a run with other settings; L141 it is none of `hai train`; those of
  // load_checkpoint().
  Result<bool> resume(training::Trainer& trainer, TrainProgress& progress);
  // For a new training. Errors: L142 another one's checkpoints lie there, and may not be replaced; L143 it cannot be
  // made.
  Status make_folder() const;
  Status save(training::Trainer& trainer, const TrainProgress& progress);

  // The model of epoch `epoch`, the best so far; those of others that no checkpoint needs any more are removed at the
  // save after the next.
  Status keep_best(const format::ModelFile& model, int64_t epoch) const;
  // Makes `output` the best model that `progress` knows, where it is not. Errors: those of files.
  Status restore_best(const TrainProgress& progress, const std::string& output) const;

 private:
  std::string best_path(int64_t epoch) const;

  std::string folder_;
  std::string settings_;
  int64_t every_steps_ = 0;
  double every_minutes_ = 0;
  int64_t since_steps_ = 0;
  std::chrono::steady_clock::time_point saved_ = std::chrono::steady_clock::now();
  int64_t kept_best_ = 0;  // of the last save
};

}  // namespace hai::tools
