// Gives the commands of a device what only `hai` knows: how long the NPU would have taken.
//
// The segments are read once, from the file; which of them a fault stopped follows from the session's report. Where
// several faults were found it is the first segment that did. Tables, JSON and traces: npu_profile.cpp.
#include "tools/hai/npu_simulation.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "devices/sd3403/exec/training_time.h"
#include "format/model.h"
#include "tools/hai/npu_profile.h"

namespace hai::tools {
namespace {

// Which segment stopped, and at what. Where several faults were found it is the first segment that did.
StoppedSegment stopped_segment(const NpuSegments& segments, const nlohmann::json& faults) {
  StoppedSegment out;
  for (const NpuSegments::OfProgram& of : segments.programs()) {
    for (const sd3403::NpuProgram& npu : of.segments) {
      for (const auto& fault : faults) {
        if (fault.at("verdict") != "detected" || fault.at("segment") != npu.name) continue;
        out.segment = npu.name;
        const bool placed = fault.contains("command");
        const size_t command = placed ? fault.at("command").get<size_t>() : 0;
        if (fault.contains("semaphore")) {
          out.broken.stuck_semaphores.push_back(fault.at("semaphore").get<int64_t>());
        } else if (fault.contains("channel")) {
          out.broken.hung_commands.push_back(command);
        } else if (placed && fault.contains("modelled_cycle")) {
          out.refused = std::min(out.refused.value_or(command), command);
        } else {
          out.before_all_commands = true;  // decoder or verifier
        }
      }
      if (!out.segment.empty()) return out;
    }
  }
  return out;
}

class NpuSimulation final : public Simulation {
 public:
  explicit NpuSimulation(NpuSegments segments) : segments_(std::move(segments)) {}
  Status check(const SimulationOptions& options) const override { return check_npu_options(segments_, options); }
  Result<SimulationProfile> profile(const SimulationOptions& options) const override {
    return profile_npu(segments_, options);
  }
  Result<std::string> trace_until_stopped(const SimulationOptions& options, const std::string& faults) const override {
    return tools::trace_until_stopped(segments_, options, stopped_segment(segments_, nlohmann::json::parse(faults)));
  }
  Result<ModellingTime> measure() const override { return measure_modelling(segments_); }

 private:
  NpuSegments segments_;
};

}  // namespace

Result<std::unique_ptr<Simulation>> make_npu_simulation(const std::string& model, bool simulated) {
  NpuSegments segments(model);
  if (simulated) {
    HAI_TRY(segments, NpuSegments::read(model));
  }
  return std::unique_ptr<Simulation>(new NpuSimulation(std::move(segments)));
}

Result<std::optional<ModelledTraining>> model_npu_training(const std::string& model, const TrainingAmount& amount) {
  HAI_TRY(const format::ModelFile file, format::read_model_file(model));
  if (!file.features || file.features->device != "sd3403") return std::optional<ModelledTraining>();
  auto time = sd3403::training_time(file, {amount.frozen_samples, amount.steps, amount.batch, amount.measured_samples});
  if (!time) return with_where(time.error(), model);
  return std::optional(ModelledTraining{time->machine.name, time->seconds(), time->frozen_npu_seconds,
                                        time->frozen_host_seconds, time->step_seconds, time->measuring_seconds});
}

}  // namespace hai::tools
