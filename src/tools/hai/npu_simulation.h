// The NPU's model of time and energy, as what `hai run` and `hai bench` ask of a simulation.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "tools/hai_device/simulation.h"

namespace hai::tools {

// `simulated` false: of no segments. Errors: those of reading the file and its programs.
Result<std::unique_ptr<Simulation>> make_npu_simulation(const std::string& model, bool simulated);

// How long a training of this file would take on the board. Errors: as training_time().
Result<std::optional<ModelledTraining>> model_npu_training(const std::string& model, const TrainingAmount& amount);

}  // namespace hai::tools
