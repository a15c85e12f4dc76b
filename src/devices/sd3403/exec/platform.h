// The board around the NPU: two A73 cores and a Mali as rooflines, so that a camera's whole pipeline has one modelled
// time. The A73 and the Mali run no code here; their figures are no better than machine.def's constants.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "devices/sd3403/machine/machine.h"
#include "format/program.h"

namespace hai::sd3403 {

enum class Engine : uint8_t { kHost, kGpu, kNpu };

struct Work {
  int64_t flops = 0;
  int64_t macs_i8 = 0;
  int64_t bytes = 0;      // read and written
  int64_t operators = 1;  // each with the time that it takes to start
};
// Precondition: the engine is the host or the GPU.
double seconds_of(const Machine& machine, Engine engine, const Work& work);
// What an instruction of the host computes and moves for so many samples.
Work work_of(const format::Program& program, const format::Instruction& instruction, int64_t batch = 1);

struct Stage {
  std::string name;
  Engine engine = Engine::kHost;
  double seconds = 0;
};

// A picture of a camera: scaled into the network's input, boxes chosen and drawn.
struct Camera {
  int64_t width = 1280, height = 720;
};

struct PlatformTime {
  std::vector<Stage> stages;     // in order, each engine's neighbours joined
  double latency_seconds = 0;    // one after the other
  double period_seconds = 0;     // frames follow each other: the busiest engine
  double host_only_seconds = 0;  // everything on the A73, the network in i8
};

// `npu_seconds` of each instruction "npu" in the program's order. Without a camera the pipeline is the program alone;
// with one, its outputs are taken for boxes with scores, which are filtered, suppressed and drawn.
PlatformTime platform_time(const format::Program& program, std::span<const double> npu_seconds, const Machine& machine,
                           const Camera* camera);

// As text; every figure says modelled.
std::string to_text(const PlatformTime& time, const Machine& machine);

}  // namespace hai::sd3403
