// Time and energy of a model's NPU programs, modelled, for `hai run --device sd3403`, and what the simulation takes
// here.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "devices/sd3403/exec/npu_program.h"
#include "devices/sd3403/exec/run_order.h"
#include "format/model.h"
#include "tools/hai_device/simulation.h"

namespace hai::tools {

// The NPU's segments of a .hai file, read for timing; they belong to the file's programs, and keep them.
class NpuSegments {
 public:
  explicit NpuSegments(std::string model_path) : path_(std::move(model_path)) {}  // none

  // Errors: those of reading the file and its programs.
  static Result<NpuSegments> read(const std::string& model_path);

  struct OfProgram {
    const format::Program* program;
    std::vector<sd3403::NpuProgram> segments;  // at least one
  };
  bool empty() const { return programs_.empty(); }
  std::span<const OfProgram> programs() const { return programs_; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::shared_ptr<const format::ModelFile> model_;
  std::vector<OfProgram> programs_;
};

// What is wrong with the options themselves, before anything runs. Errors: L082 both a clock and a deadline, L083 a
// camera that cannot be, L084 options of the NPU for a model without a segment, N043 a clock that the machine lacks.
Status check_npu_options(const NpuSegments& segments, const SimulationOptions& options);

// Precondition: check_npu_options() has passed, also for trace_until_stopped(). Errors: those of timing.
Result<SimulationProfile> profile_npu(const NpuSegments& segments, const SimulationOptions& options);

// Where an injected fault has stopped a run.
struct StoppedSegment {
  std::string segment;
  sd3403::BrokenParts broken;        // what hangs
  std::optional<size_t> refused;     // the command at whose end a wrong bit was found
  bool before_all_commands = false;  // or it was found before the first
};
// The trace of what ran until then. Errors: those of timing.
Result<std::string> trace_until_stopped(const NpuSegments& segments, const SimulationOptions& options,
                                        const StoppedSegment& stopped);

// Of one pass of all segments.
Result<ModellingTime> measure_modelling(const NpuSegments& segments);

}  // namespace hai::tools
