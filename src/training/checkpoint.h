// Checkpoints of a training: two generations in a folder of their own, each a file that is whole or not there.
//
// A checkpoint holds every state of the trainer (parameters, running statistics, the optimizer's moments), the counts
// of steps, what it was made with (model, instruction set, threads, version), and what the caller adds: the place in
// the data, the state of the random numbers, the schedule. It is a container (format/container.h) with two sections,
// every byte under a digest. save_checkpoint replaces the older of checkpoint.a and checkpoint.b and returns once the
// new one would be found after a power loss; load_checkpoint takes the newest valid one. docs/design/0020.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "format/program.h"
#include "training/trainer.h"

namespace hai::training {

// Numbers, strings of any bytes, lists of numbers, by name. Names are UTF-8 of 1..200 bytes.
using CheckpointExtra = format::Attributes;
inline constexpr int64_t kMaxCheckpointExtraBytes = 64 << 20;  // of all names and values together

struct SavedCheckpoint {
  std::string path;
  int64_t number = 0;  // one more than the newest there was
  int64_t size_bytes = 0;
};

struct LoadedCheckpoint {
  std::string path;
  int64_t number = 0;
  std::string version;  // of the HAI that wrote it
  std::string isa;
  int threads = 0;
  CheckpointExtra extra;
  std::vector<std::string> skipped;  // newer or equally named files that are no valid checkpoint, and why
};

struct LoadCheckpointOptions {
  // Kernels of another instruction set add in another order, so a run would not end in the same bits.
  bool any_isa = false;
};

// Success means that the checkpoint survives whatever happens next. After a failure the older generations are as they
// were, but where only the folder's sync failed: then the new one may be there as well. The folder is made where there
// is none (its parent must exist); one process at a time may save into it. What a killed process left half written is
// removed. Errors: E022 the folder belongs to another model, E026 another process saves into it, E027 `extra` has a
// malformed name or is too large, E028 the folder cannot be made or used; those of file.h.
Result<SavedCheckpoint> save_checkpoint(const std::string& folder, Trainer& trainer, const CheckpointExtra& extra = {},
                                        FileSystem& file_system = FileSystem::real());

// Sets the trainer to the newest valid checkpoint, or changes nothing. Errors: E020 there is none (code kNotFound),
// E021 none of those there is valid; and of the newest valid one: E022 it is of another model, E023 of another
// instruction set, E024 of other states.
Result<LoadedCheckpoint> load_checkpoint(const std::string& folder, Trainer& trainer,
                                         const LoadCheckpointOptions& options = {});

}  // namespace hai::training
