// The limit of each layer on this machine: its multiply-accumulates over the measured peak, or its bytes over the
// measured bandwidth, whichever takes longer; and how far the layer is from it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "devices/cpu/exec/machine_peak.h"

namespace hai::tools {

enum class Arithmetic { kFloat, kInt8, kInt16 };

struct LayerWork {
  std::string name;
  std::string kernel;
  Arithmetic arithmetic = Arithmetic::kFloat;
  int64_t macs = 0;
  int64_t bytes = 0;       // read and written, weights included
  double measured_ms = 0;  // the least of its runs, since the limit is the least that is possible
};

struct MachineLimits {
  std::vector<cpu::ArithmeticPeak> peaks;      // one an instruction set, in their order
  cpu::ArithmeticPeak used;                    // of the session's
  std::vector<cpu::ReadBandwidth> bandwidths;  // ascending working sets
};

struct LayerLimit {
  LayerWork work;
  double compute_ms = 0;
  double memory_ms = 0;
  double limit_ms = 0;  // the longer of the two
  double gap_ms = 0;    // measured less limit, 0 at least
};

// Sums of 16-bit products run at half the rate of bytes.
double macs_per_second(const MachineLimits& limits, Arithmetic arithmetic);
// Of the largest working set not larger than `bytes`: bytes that could have been in a nearer memory are not charged for
// a farther one, so that the limit stays one.
double bytes_per_second(const MachineLimits& limits, int64_t bytes);
LayerLimit limit_of(LayerWork work, const MachineLimits& limits);
// By gap, largest first; equal ones by name.
std::vector<LayerLimit> by_gap(std::vector<LayerWork> layers, const MachineLimits& limits);

Result<MachineLimits> measure_limits(cpu::Isa used, int threads);
// In the order of the program's instructions: what the operands of each say.
Result<std::vector<Arithmetic>> arithmetic_of_layers(const std::string& model, const std::string& device);

void print_roofline(const std::vector<LayerLimit>& layers, const MachineLimits& limits, size_t shown);
// A JSON object.
std::string roofline_json(const std::vector<LayerLimit>& layers, const MachineLimits& limits);

}  // namespace hai::tools
