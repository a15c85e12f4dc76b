// What a program that can simulate a device adds to runs on it: time and energy, modelled. `hai` gives it to the
// commands (tools/hai/npu_simulation.h); `hai-device` has none, since it runs where the device is.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"

namespace hai::tools {

struct SimulationOptions {
  double clock_mhz = 0;               // an operating point of the machine; 0: its own clock
  double deadline_ms = 0;             // the slowest point that makes a frame in time; 0: none
  std::optional<std::string> camera;  // "1280x720": the pipeline around the network, too
  int64_t batch = 1;                  // samples of a run, a pass each
};

struct SimulationProfile {
  std::string text;      // tables
  std::string json;      // an object
  std::string trace;     // trace events in virtual time
  double cycles_ms = 0;  // measured: what modelling of time took,
  double energy_ms = 0;  // and of energy
};

// What modelling time and energy of one run takes here, in milliseconds.
struct ModellingTime {
  double cycles_ms = 0;
  double energy_ms = 0;
};

// Of one model file.
class Simulation {
 public:
  virtual ~Simulation() = default;
  // What is wrong with the options themselves, before anything runs. To be called before what is below.
  virtual Status check(const SimulationOptions& options) const = 0;
  virtual Result<SimulationProfile> profile(const SimulationOptions& options) const = 0;
  // The trace of what ran until a fault stopped the run; `faults`: hai_session_fault_report().
  virtual Result<std::string> trace_until_stopped(const SimulationOptions& options,
                                                  const std::string& faults) const = 0;
  virtual Result<ModellingTime> measure() const = 0;
};

// What a training does, and how long it would take on the board: seconds of the whole training.
struct TrainingAmount {
  int64_t frozen_samples = 0;  // that go through the frozen part
  int64_t steps = 0;
  int64_t batch = 1;
  int64_t measured_samples = 0;  // answers of the model to what is held out
};
struct ModelledTraining {
  std::string profile;
  double seconds = 0;  // the sum of what follows
  double frozen_npu_seconds = 0;
  double frozen_host_seconds = 0;
  double step_seconds = 0;
  double measuring_seconds = 0;
};
// Nothing for a model whose frozen part is not for the simulated device.
using ModelTraining = Result<std::optional<ModelledTraining>> (*)(const std::string& model,
                                                                  const TrainingAmount& amount);

// `simulated`: whether the session is on a simulated device; of another one every option is refused by check().
using MakeSimulation = Result<std::unique_ptr<Simulation>> (*)(const std::string& model, bool simulated);

}  // namespace hai::tools
