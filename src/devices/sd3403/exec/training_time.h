// How long a training would take on the board: the frozen part on the NPU, what is trained on the two A73. Modelled.
//
// The frozen part takes the NPU's cycles (timing.h), one sample after the other, and the rooflines of what stands
// around them on the host; a step and what measures the model are those rooflines too (platform.h). Reading and
// changing pictures is not in it, nor are checkpoints.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "devices/sd3403/machine/machine.h"
#include "format/model.h"

namespace hai::sd3403 {

// What a training does.
struct TrainingWork {
  int64_t frozen_samples = 0;  // that go through the frozen part: pictures times views where features are kept
  int64_t steps = 0;
  int64_t batch = 1;             // samples of a step, and of a run of the frozen part
  int64_t measured_samples = 0;  // that the model answers to tell the better epoch
};

// Each of the whole training.
struct TrainingTime {
  Machine machine;
  double frozen_npu_seconds = 0;
  double frozen_host_seconds = 0;  // quantizing pictures, and what the NPU has not taken
  double step_seconds = 0;         // on the host: forward and backward part of what is trained, updates
  double measuring_seconds = 0;    // NPU and host
  int64_t frozen_npu_cycles = 0;   // of one sample, in a batch

  double seconds() const { return frozen_npu_seconds + frozen_host_seconds + step_seconds + measuring_seconds; }
};

// Precondition: the weights are one piece, as of a file that was read (format::read_model_file).
// Errors: N140 the model has no training program, or nothing of it is for the NPU; N141 work
// that cannot be; those of reading and timing the NPU's programs.
Result<TrainingTime> training_time(const format::ModelFile& model, const TrainingWork& work);

}  // namespace hai::sd3403
