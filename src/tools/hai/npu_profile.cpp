// Tables, JSON and traces of the NPU programs of a file.
//
// Times follow from the commands alone, not from what they compute: a program is timed from the file, beside the run.
// Segments run one after the other; each is a process of the trace, in virtual time.
#include "tools/hai/npu_profile.h"

#include <fmt/format.h>

#include <cinttypes>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "devices/sd3403/exec/energy.h"
#include "devices/sd3403/exec/governor.h"
#include "devices/sd3403/exec/npu_program.h"
#include "devices/sd3403/exec/passes.h"
#include "devices/sd3403/exec/platform.h"
#include "devices/sd3403/exec/timeline_report.h"
#include "devices/sd3403/exec/timeline_trace.h"
#include "devices/sd3403/exec/timing.h"
#include "format/model.h"
#include "tools/hai/table.h"

namespace hai::tools {
namespace {

Result<sd3403::Timeline> time_of(const sd3403::NpuProgram& program, const NpuProfileOptions& options) {
  if (options.deadline_ms > 0) {
    return sd3403::slowest_in_time(program.commands, program.constants, program.machine, options.deadline_ms / 1e3);
  }
  sd3403::Machine machine = program.machine;
  if (options.clock_mhz > 0) {
    HAI_TRY(machine, sd3403::at_clock(machine, options.clock_mhz));
  }
  return sd3403::time_program(program.commands, program.constants, machine);
}

Result<sd3403::Camera> parse_camera(const std::string& text) {
  constexpr int64_t kMostPixels = 16384;
  sd3403::Camera camera;
  int end = 0;
  const int found = std::sscanf(text.c_str(), "%" SCNd64 "x%" SCNd64 "%n", &camera.width, &camera.height, &end);
  const bool sound = found == 2 && static_cast<size_t>(end) == text.size() && camera.width >= 1 &&
                     camera.width <= kMostPixels && camera.height >= 1 && camera.height <= kMostPixels;
  if (sound) return camera;
  return make_error(StatusCode::kInvalidArgument, "L083",
                    "--camera {}: write width and height, each from 1 to {}, as in 1280x720", text, kMostPixels);
}

nlohmann::ordered_json board_json(const sd3403::PlatformTime& time) {
  nlohmann::ordered_json stages = nlohmann::ordered_json::array();
  constexpr const char* kEngines[] = {"host", "gpu", "npu"};
  for (const sd3403::Stage& stage : time.stages) {
    stages.push_back({{"name", stage.name},
                      {"engine", kEngines[static_cast<size_t>(stage.engine)]},
                      {"modelled_seconds", stage.seconds}});
  }
  return {{"stages", stages},
          {"modelled_host_only_seconds", time.host_only_seconds},
          {"modelled_latency_seconds", time.latency_seconds},
          {"modelled_period_seconds", time.period_seconds}};
}

std::string batch_text(const sd3403::BatchTime& batch) {
  return fmt::format(
      "batch of {}: {:.1f} fps, {:.3f} mJ a sample of NPU + DRAM, {} of weights stay in the cache (modelled)\n",
      batch.samples, batch.frames_a_second(), batch.npu_and_ddr_joules * 1e3 / static_cast<double>(batch.samples),
      format_bytes(batch.resident_bytes));
}

nlohmann::ordered_json batch_json(const sd3403::BatchTime& batch) {
  return {{"samples", batch.samples},
          {"modelled_seconds", batch.seconds},
          {"modelled_npu_and_ddr_joules", batch.npu_and_ddr_joules},
          {"resident_weight_bytes", batch.resident_bytes}};
}

}  // namespace

Result<NpuProfile> profile_npu(const std::string& model_path, const NpuProfileOptions& options) {
  if (options.clock_mhz > 0 && options.deadline_ms > 0) {
    return make_error(StatusCode::kInvalidArgument, "L082",
                      "--clock and --deadline both choose an operating point; give one of them");
  }
  HAI_TRY(const format::ModelFile model, format::read_model_file(model_path));
  std::span<const std::byte> weights;
  if (!model.weights.empty()) weights = model.weights[0].bytes;
  NpuProfile out;
  nlohmann::ordered_json board;
  nlohmann::ordered_json segments = nlohmann::ordered_json::array();
  nlohmann::json events = nlohmann::json::array();
  std::optional<sd3403::Camera> camera;
  if (!options.camera.empty()) {
    HAI_TRY(camera, parse_camera(options.camera));
  }
  for (const format::Program& program : model.programs) {
    if (program.device != "sd3403") continue;
    std::vector<double> npu_seconds;
    std::optional<sd3403::Machine> machine;
    for (const format::Instruction& instruction : program.instructions) {
      if (instruction.kernel != "npu") continue;
      HAI_TRY(const sd3403::NpuProgram npu, sd3403::read_npu_program(program, instruction, weights));
      auto timed = time_of(npu, options);
      if (!timed) return with_where(with_where(timed.error(), npu.name), model_path);
      const sd3403::Energy energy = sd3403::energy_of(*timed);
      npu_seconds.push_back(timed->seconds());
      machine = timed->machine;
      out.text += fmt::format("{}\n{}", npu.name, sd3403::to_table(*timed, energy, npu.layer_names));
      nlohmann::ordered_json entry{{"segment", npu.name}};
      if (options.batch > 1) {
        HAI_TRY(const sd3403::BatchTime batch, sd3403::time_batch(npu.commands, npu.constants, *timed, options.batch));
        out.text += batch_text(batch);
        entry["batch"] = batch_json(batch);
      }
      entry.update(nlohmann::ordered_json::parse(sd3403::to_json(*timed, energy, npu.layer_names)));
      segments.push_back(std::move(entry));
      const auto number = static_cast<int64_t>(segments.size());
      const auto trace = nlohmann::json::parse(sd3403::timeline_trace(npu.commands, *timed, npu.layer_names, number));
      for (const auto& event : trace.at("traceEvents")) events.push_back(event);
    }
    if (!machine) continue;
    const sd3403::PlatformTime time =
        sd3403::platform_time(program, npu_seconds, *machine, camera ? &*camera : nullptr);
    out.text += fmt::format("board{}\n{}", camera ? fmt::format(", pictures of {}", options.camera) : "",
                            sd3403::to_text(time, *machine));
    board = board_json(time);
  }
  out.json = nlohmann::ordered_json{{"segments", segments}, {"board", board}}.dump(
      2, ' ', false, nlohmann::json::error_handler_t::replace);
  out.trace = nlohmann::json{{"traceEvents", std::move(events)}}.dump();
  return out;
}

}  // namespace hai::tools
