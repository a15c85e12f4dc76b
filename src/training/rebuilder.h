// Rebuilder: makes the INT8 of a trained model on the device, without a compiler (docs/design/0021).
//
// The observers of the model file run on training samples with the parameters as the trainer has them; rebuild() then
// chooses scales, folds and rounds as the compiler does (rebuild/rebuild.h), and gives a model file that runs in INT8.
// A thin layer over a session, for one caller at a time; the trainer must outlive it and is not changed.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "format/model.h"
#include "rebuild/lines.h"
#include "rebuild/rebuild.h"
#include "runtime/session.h"
#include "training/trainer.h"

namespace hai::training {

// Whether the file that is trained holds what INT8 is rebuilt from.
bool can_rebuild(const Trainer& trainer);

class Rebuilder {
 public:
  // Takes the trainer's parameters as they are now, or their averages. Errors: E114 the model was compiled without;
  // E110 and E113 what it holds is malformed, or newer than this version; E016 no averages; those of sessions.
  static Result<std::unique_ptr<Rebuilder>> create(Trainer& trainer, SavedWeights weights = SavedWeights::kLast);

  // A batch of samples, as inputs of the model or as features that the trainer gave for them.
  Status observe(std::span<const hai_tensor> inputs);
  Status observe_features(std::span<const hai_tensor> features);
  // What was seen so far, for each range that is chosen anew.
  std::vector<rebuild::Observed> seen();

  // The trained model, running in INT8. Errors: E115 nothing was observed; E111, E112.
  Result<format::ModelFile> rebuild();
  // The same with these ranges instead of those that were observed.
  Result<format::ModelFile> rebuild_with(std::span<const rebuild::Observed> seen);

 private:
  Rebuilder() = default;
  Status take_parameters();

  Trainer* trainer_ = nullptr;
  SavedWeights weights_ = SavedWeights::kLast;
  std::unique_ptr<runtime::Session> observers_;
  rebuild::Lines lines_;
  std::vector<size_t> low_;  // states of each range
  std::vector<size_t> high_;
  int64_t observed_ = 0;
  std::vector<std::vector<std::byte>> features_;
  std::vector<std::vector<std::byte>> answers_;  // of the model, which nobody wants here
};

// Which of its two forms the first program of a model file is; nothing where it has one. The other one is in standby.
void run_form(format::ModelFile& file, bool integer);

}  // namespace hai::training
