// Time and energy of a model's NPU programs, modelled, for `hai run --device sd3403`.
#pragma once

#include <string>

#include "base/result.h"

namespace hai::tools {

struct NpuProfileOptions {
  double clock_mhz = 0;    // an operating point of the machine; 0: its own clock
  double deadline_ms = 0;  // the slowest point that makes a frame in time; 0: none
  std::string camera;      // "1280x720": the pipeline around the network, too
  int64_t batch = 1;       // samples of a run
};

struct NpuProfile {
  std::string text;   // tables of all segments
  std::string json;   // an object: segments, and the board's stages
  std::string trace;  // trace events of all segments
};

// Errors: those of reading the file, its programs and of timing them; L082 both a clock and a deadline.
Result<NpuProfile> profile_npu(const std::string& model_path, const NpuProfileOptions& options);

}  // namespace hai::tools
