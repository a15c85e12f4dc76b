// Energy of a timeline: counts times the machine's constants, leakage by time. Modelled, and no better than the
// constants (machine.def says where each comes from).
#pragma once

#include <vector>

#include "devices/sd3403/exec/timeline.h"

namespace hai::sd3403 {

// Picojoules of one layer, or of the whole program.
struct LayerEnergy {
  int64_t layer = 0;
  double products = 0;
  double values = 0;  // post-processing, and additions of transforms
  double sums = 0;    // accumulators
  double line = 0;    // line buffers
  double cache = 0;   // weight caches
  double sram = 0;    // scratchpad
  double leakage = 0;
  double ddr = 0;

  double npu() const { return products + values + sums + line + cache + sram + leakage; }
  double npu_and_ddr() const { return npu() + ddr; }
};

// What a frame costs, by what is counted: three denominators that are never mixed.
struct FrameEnergy {
  double joules = 0;
  double watts = 0;           // joules by the period
  double frames_a_joule = 0;  // frames a second and watt
};

struct Energy {
  std::vector<LayerEnergy> layers;  // as in the timeline
  LayerEnergy total;
  double period_seconds = 0;  // from frame to frame
  double frames_a_second = 0;
  FrameEnergy npu;
  FrameEnergy npu_and_ddr;
  FrameEnergy soc;
};

// Layers and total are of all passes of the timeline, the rest is of a frame, which is a pass. Frames follow each other
// every `period_seconds`, or as fast as they can where that is shorter than a pass: in the first case the NPU leaks
// until the next, which is in the total but in no layer.
Energy energy_of(const Timeline& timeline, double period_seconds = 0);

}  // namespace hai::sd3403
