// The NPU's model of time and energy, as what `hai run` and `hai bench` ask of a simulation.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "tools/hai_device/simulation.h"

namespace hai::tools {

// `simulated` false: of no segments. Errors: those of reading the file and its programs.
Result<std::unique_ptr<Simulation>> make_npu_simulation(const std::string& model, bool simulated);

}  // namespace hai::tools
