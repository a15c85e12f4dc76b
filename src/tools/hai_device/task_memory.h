// What `hai train --method` keeps between batches of samples: a folder with a checkpoint of the trainer's states
// (Fisher informations and anchors are among them), classes in the order of their rows, and samples for replay.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "training/replay_buffer.h"
#include "training/trainer.h"

namespace hai::tools {

struct TaskMemory {
  int64_t tasks = 0;  // that were learnt
  std::vector<std::string> classes;
  std::optional<training::ReplayBuffer> replay;

  // Sets `trainer` to where the last task ended, with an optimizer that has forgotten it; a folder without a checkpoint
  // is a beginning. Errors: L117 it is none of `hai train --method`, or of another method; those of load_checkpoint().
  static Result<TaskMemory> load(const std::string& folder, const std::string& method, training::Trainer& trainer);
  // Errors: those of save_checkpoint().
  Status save(const std::string& folder, const std::string& method, training::Trainer& trainer) const;
};

}  // namespace hai::tools
