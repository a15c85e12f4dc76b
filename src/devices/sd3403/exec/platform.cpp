// Stages of a frame, and who is busiest.
//
// Method: an operator takes the longer of its arithmetic and its memory at the engine's efficiency (Williams, Waterman,
// Patterson, "Roofline", CACM 2009), and the time to start it. Latency adds the stages up; in a pipeline over frames
// the engine with the most work sets the period. Pre-processing stands on the GPU where that is quicker, as the board
// would have it. Not here: contention of engines for external memory.
#include "devices/sd3403/exec/platform.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/utf8.h"

namespace hai::sd3403 {
namespace {

constexpr int64_t kFunctionFlops = 20;  // of a sigmoid and its like, by polynomial
constexpr int64_t kScalingFlops = 8;    // a channel of a bilinear pixel, with its normalisation
constexpr int64_t kCandidateFlops = 4;  // a value of a box: comparison, index
constexpr int64_t kKeptBoxes = 100;     // drawn: 4 sides, 3 pixels wide
constexpr int64_t kSuppressed = 300;    // candidates that are compared with each other
constexpr int64_t kOverlapFlops = 16;
constexpr int64_t kPixelBytes = 3;

int64_t elements_of(const format::ProgramTensor& tensor, int64_t batch = 1) {
  int64_t count = 1;
  for (const Dim& dim : tensor.shape) count *= std::max<int64_t>(dim.value, 1) * (dim.is_symbolic() ? batch : 1);
  return count;
}

bool is_function(std::string_view kernel) {
  constexpr std::array<std::string_view, 12> kFunctions = {"sigmoid", "silu", "exp",      "log",     "tanh", "erf",
                                                           "gelu",    "mish", "softplus", "softmax", "pow",  "elu"};
  return std::find(kFunctions.begin(), kFunctions.end(), kernel) != kFunctions.end();
}

bool only_moves(std::string_view kernel) {
  constexpr std::array<std::string_view, 9> kMovers = {"reshape", "transpose", "concat", "split", "slice",
                                                       "gather",  "expand",    "pad",    "resize"};
  return std::find(kMovers.begin(), kMovers.end(), kernel) != kMovers.end();
}

const char* engine_name(Engine engine) {
  return engine == Engine::kNpu ? "NPU" : engine == Engine::kGpu ? "Mali-G52" : "2x A73";
}

void add_stage(PlatformTime& out, std::string name, Engine engine, double seconds) {
  if (!out.stages.empty() && out.stages.back().engine == engine && out.stages.back().name == name) {
    out.stages.back().seconds += seconds;
  } else {
    out.stages.push_back({std::move(name), engine, seconds});
  }
}

Work scaling_of(const format::Program& program, const Camera& camera) {
  const format::ProgramTensor& input = program.tensors[program.inputs[0]];
  const int64_t values = elements_of(input);
  return {values * kScalingFlops, 0, camera.width * camera.height * kPixelBytes + bytes_for(input.dtype, values), 1};
}

Work boxes_of(const format::Program& program, const Camera& camera) {
  int64_t values = 0;
  int64_t bytes = 0;
  for (const uint32_t output : program.outputs) {
    values += elements_of(program.tensors[output]);
    bytes += bytes_for(program.tensors[output].dtype, elements_of(program.tensors[output]));
  }
  const int64_t drawn = kKeptBoxes * 3 * 2 * (camera.width + camera.height) / 4 * kPixelBytes;
  return {values * kCandidateFlops + kSuppressed * kSuppressed * kOverlapFlops, 0, bytes + 2 * drawn, 2};
}

}  // namespace

double seconds_of(const Machine& machine, Engine engine, const Work& work) {
  const bool gpu = engine == Engine::kGpu;
  const double flops = (gpu ? machine.gpu_f32_gigaflops : machine.host_f32_gigaflops) * 1e9 * machine.host_efficiency;
  const double macs = machine.host_i8_gigamacs * 1e9 * machine.host_efficiency;
  const double bytes = (gpu ? machine.gpu_gigabytes : machine.host_gigabytes) * 1e9 * machine.host_efficiency;
  const double arithmetic = static_cast<double>(work.flops) / flops + static_cast<double>(work.macs_i8) / macs;
  const double start = (gpu ? machine.gpu_operator_us : machine.host_operator_us) * 1e-6;
  return std::max(arithmetic, static_cast<double>(work.bytes) / bytes) + start * static_cast<double>(work.operators);
}

Work work_of(const format::Program& program, const format::Instruction& instruction, int64_t batch) {
  Work work;
  int64_t results = 0;
  bool free_batch = false;
  for (const auto* operands : {&instruction.inputs, &instruction.outputs}) {
    for (const uint32_t number : *operands) {
      if (number == format::kNoTensor) continue;
      const format::ProgramTensor& tensor = program.tensors[number];
      work.bytes += bytes_for(tensor.dtype, elements_of(tensor, batch));
      if (operands == &instruction.outputs) results += elements_of(tensor, batch);
      free_batch = free_batch || !is_static(tensor.shape);
    }
  }
  const bool integer = !instruction.inputs.empty() && instruction.inputs[0] != format::kNoTensor &&
                       is_integer(program.tensors[instruction.inputs[0]].dtype);
  if (instruction.macs > 0) {
    const int64_t macs = instruction.macs * (free_batch ? batch : 1);
    (integer ? work.macs_i8 : work.flops) = integer ? macs : 2 * macs;
  } else if (!only_moves(instruction.kernel)) {
    work.flops = results * (is_function(instruction.kernel) ? kFunctionFlops : 2);
  }
  return work;
}

PlatformTime platform_time(const format::Program& program, std::span<const double> npu_seconds, const Machine& machine,
                           const Camera* camera) {
  PlatformTime out;
  if (camera != nullptr) {
    const Work scaling = scaling_of(program, *camera);
    const double host = seconds_of(machine, Engine::kHost, scaling);
    const double gpu = seconds_of(machine, Engine::kGpu, scaling);
    out.host_only_seconds += host;
    add_stage(out, "pre-processing", gpu < host ? Engine::kGpu : Engine::kHost, std::min(gpu, host));
  }
  size_t segment = 0;
  for (const format::Instruction& instruction : program.instructions) {
    if (instruction.kernel == "npu" && segment < npu_seconds.size()) {
      add_stage(out, instruction.name, Engine::kNpu, npu_seconds[segment++]);
      out.host_only_seconds += seconds_of(machine, Engine::kHost, {0, instruction.macs, 0, 1});
      continue;
    }
    const double seconds = seconds_of(machine, Engine::kHost, work_of(program, instruction));
    add_stage(out, segment == 0 ? "before the NPU" : "behind it", Engine::kHost, seconds);
    out.host_only_seconds += seconds;
  }
  if (camera != nullptr) {
    const double seconds = seconds_of(machine, Engine::kHost, boxes_of(program, *camera));
    add_stage(out, "boxes and drawing", Engine::kHost, seconds);
    out.host_only_seconds += seconds;
  }
  std::array<double, 3> busy{};
  for (const Stage& stage : out.stages) {
    out.latency_seconds += stage.seconds;
    busy[static_cast<size_t>(stage.engine)] += stage.seconds;
  }
  out.period_seconds = *std::max_element(busy.begin(), busy.end());
  return out;
}

std::string to_text(const PlatformTime& time, const Machine& machine) {
  std::string text;
  for (const Stage& stage : time.stages) {
    text += fmt::format("  {:<18} {:<9} {:>9.3f} ms\n", printable(stage.name), engine_name(stage.engine),
                        stage.seconds * 1e3);
  }
  const auto line = [&](const char* what, double seconds) {
    text += fmt::format("{:<29}{:>10.3f} ms {:>9.1f} fps (modelled, profile {})\n", what, seconds * 1e3,
                        seconds > 0 ? 1.0 / seconds : 0.0, machine.name);
  };
  line("A73 only", time.host_only_seconds);
  line("one after the other", time.latency_seconds);
  line("pipelined over frames, period", time.period_seconds);
  return text;
}

}  // namespace hai::sd3403
