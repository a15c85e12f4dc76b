// Tables, JSON and traces of the NPU programs of a file.
//
// Times follow from the commands alone, not from what they compute: a program is timed from the file, beside the run.
// Segments run one after the other; each is a process of the trace, in virtual time.
#include "tools/hai/npu_profile.h"

#include <fmt/format.h>

#include <cinttypes>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "devices/sd3403/exec/energy.h"
#include "devices/sd3403/exec/governor.h"
#include "devices/sd3403/exec/passes.h"
#include "devices/sd3403/exec/platform.h"
#include "devices/sd3403/exec/timeline_report.h"
#include "devices/sd3403/exec/timeline_trace.h"
#include "devices/sd3403/exec/timing.h"
#include "tools/hai_device/stopwatch.h"
#include "tools/hai_device/table.h"

namespace hai::tools {
namespace {

Result<sd3403::Timeline> time_of(const sd3403::NpuProgram& program, const SimulationOptions& options) {
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

std::string batch_text(const sd3403::BatchTime& batch, const sd3403::Energy& energy) {
  return fmt::format(
      "batch of {}: {:.1f} fps, {:.3f} mJ a sample of NPU + DRAM, {} of weights stay in the cache (modelled)\n",
      batch.whole.passes, batch.whole.frames_a_second(), energy.npu_and_ddr.joules * 1e3,
      format_bytes(batch.pass.resident_bytes));
}

nlohmann::ordered_json batch_json(const sd3403::BatchTime& batch, const sd3403::Energy& energy) {
  return {{"samples", batch.whole.passes},
          {"modelled_seconds", batch.whole.seconds()},
          {"modelled_npu_and_ddr_joules", energy.total.npu_and_ddr() * 1e-12},
          {"resident_weight_bytes", batch.pass.resident_bytes}};
}

void add_events(nlohmann::json& events, std::span<const sd3403::TracedPasses> passes, const sd3403::NpuProgram& npu,
                int64_t process) {
  auto trace = nlohmann::json::parse(sd3403::timeline_trace(passes, npu.layer_names, process));
  for (auto& event : trace.at("traceEvents")) events.push_back(std::move(event));
}

std::string trace_document(nlohmann::json events) {
  return nlohmann::json{{"traceEvents", std::move(events)}}.dump(-1, ' ', false,
                                                                 nlohmann::json::error_handler_t::replace);
}

// What profile_npu() gathers, segment by segment.
class Profiler {
 public:
  Profiler(const NpuSegments& segments, const SimulationOptions& options) : segments_(segments), options_(options) {}

  Result<SimulationProfile> run() {
    std::optional<sd3403::Camera> camera;
    if (options_.camera) {
      HAI_TRY(camera, parse_camera(*options_.camera));
    }
    for (const NpuSegments::OfProgram& of : segments_.programs()) {
      std::vector<double> npu_seconds;
      std::optional<sd3403::Machine> machine;
      for (const sd3403::NpuProgram& npu : of.segments) {
        HAI_TRY(const sd3403::Timeline one, add_segment(npu));
        npu_seconds.push_back(one.seconds());
        machine = one.machine;
      }
      const sd3403::PlatformTime time =
          sd3403::platform_time(*of.program, npu_seconds, *machine, camera ? &*camera : nullptr);
      out_.text += fmt::format("board{}\n{}", camera ? fmt::format(", pictures of {}", *options_.camera) : "",
                               sd3403::to_text(time, *machine));
      board_ = board_json(time);
    }
    out_.json = nlohmann::ordered_json{{"segments", json_}, {"board", board_}}.dump(
        2, ' ', false, nlohmann::json::error_handler_t::replace);
    out_.trace = trace_document(std::move(events_));
    return std::move(out_);
  }

 private:
  // The time of its first pass.
  Result<sd3403::Timeline> add_segment(const sd3403::NpuProgram& npu) {
    const Clock::time_point begin = Clock::now();
    auto timed = time_of(npu, options_);
    if (!timed) return with_where(with_where(timed.error(), npu.name), segments_.path());
    HAI_TRY(const sd3403::BatchTime batch, sd3403::time_batch(npu.commands, npu.constants, *timed, options_.batch));
    out_.cycles_ms += milliseconds_since(begin);
    const Clock::time_point timing_done = Clock::now();
    const sd3403::Energy energy = sd3403::energy_of(batch.whole);
    out_.energy_ms += milliseconds_since(timing_done);
    out_.text += fmt::format("{}\n{}", printable(npu.name), sd3403::to_table(batch.whole, energy, npu.layer_names));
    nlohmann::ordered_json entry{{"segment", npu.name}};
    std::vector<sd3403::TracedPasses> passes = {{npu.commands, *timed}};
    if (options_.batch > 1) {
      out_.text += batch_text(batch, energy);
      entry["batch"] = batch_json(batch, energy);
      passes.push_back({batch.pass.commands, batch.later, timed->end_ticks, options_.batch - 1, batch.pass.numbers});
    }
    entry.update(nlohmann::ordered_json::parse(sd3403::to_json(batch.whole, energy, npu.layer_names)));
    json_.push_back(std::move(entry));
    add_events(events_, passes, npu, static_cast<int64_t>(json_.size()));
    return std::move(*timed);
  }

  const NpuSegments& segments_;
  const SimulationOptions& options_;
  SimulationProfile out_;
  nlohmann::ordered_json board_;
  nlohmann::ordered_json json_ = nlohmann::ordered_json::array();
  nlohmann::json events_ = nlohmann::json::array();
};

// As far as a segment gets in which a fault stops the run.
Result<sd3403::Timeline> time_until_stopped(const sd3403::NpuProgram& npu, const SimulationOptions& options,
                                            const StoppedSegment& stopped) {
  HAI_TRY(sd3403::Timeline timeline, time_of(npu, options));
  std::optional<int64_t> found;
  if (stopped.refused) found = timeline.commands.at(*stopped.refused).end;
  if (stopped.before_all_commands) found = 0;
  if (stopped.broken.any()) {
    HAI_TRY(timeline, sd3403::time_until_stopped(npu.commands, npu.constants, timeline.machine, stopped.broken));
  }
  if (found) sd3403::stop_at(timeline, *found);
  return timeline;
}

}  // namespace

Result<NpuSegments> NpuSegments::read(const std::string& model_path) {
  NpuSegments out(model_path);
  HAI_TRY(format::ModelFile model, format::read_model_file(model_path));
  out.model_ = std::make_shared<const format::ModelFile>(std::move(model));
  std::span<const std::byte> weights;
  if (!out.model_->weights.empty()) weights = out.model_->weights[0].bytes;
  for (const format::Program& program : out.model_->programs) {
    if (program.device != "sd3403") continue;
    OfProgram of{&program, {}};
    for (const format::Instruction& instruction : program.instructions) {
      if (instruction.kernel != "npu") continue;
      auto npu = sd3403::read_npu_program(program, instruction, weights);
      if (!npu) return with_where(npu.error(), model_path);
      of.segments.push_back(std::move(*npu));
    }
    if (!of.segments.empty()) out.programs_.push_back(std::move(of));
  }
  return out;
}

Status check_npu_options(const NpuSegments& segments, const SimulationOptions& options) {
  const char* flag = options.clock_mhz > 0 ? "--clock" : options.deadline_ms > 0 ? "--deadline" : "--camera";
  const bool any = options.clock_mhz > 0 || options.deadline_ms > 0 || options.camera.has_value();
  if (any && segments.empty()) {
    return make_error(StatusCode::kInvalidArgument, "L084",
                      "{} is for what runs on the NPU, and of {} nothing does; leave it out, or compile the model with "
                      "--device sd3403 and --quantize int8",
                      flag, segments.path());
  }
  if (options.clock_mhz > 0 && options.deadline_ms > 0) {
    return make_error(StatusCode::kInvalidArgument, "L082",
                      "--clock and --deadline both choose an operating point; give one of them");
  }
  if (options.camera) HAI_TRY_STATUS(parse_camera(*options.camera));
  for (const NpuSegments::OfProgram& of : segments.programs()) {
    if (options.clock_mhz > 0) HAI_TRY_STATUS(sd3403::at_clock(of.segments[0].machine, options.clock_mhz));
  }
  return {};
}

Result<SimulationProfile> profile_npu(const NpuSegments& segments, const SimulationOptions& options) {
  return Profiler(segments, options).run();
}

Result<std::string> trace_until_stopped(const NpuSegments& segments, const SimulationOptions& options,
                                        const StoppedSegment& stopped) {
  nlohmann::json events = nlohmann::json::array();
  int64_t process = 0;
  for (const NpuSegments::OfProgram& of : segments.programs()) {
    for (const sd3403::NpuProgram& npu : of.segments) {
      const bool last = npu.name == stopped.segment;
      auto timed = last ? time_until_stopped(npu, options, stopped) : time_of(npu, options);
      if (!timed) return with_where(with_where(timed.error(), npu.name), segments.path());
      const sd3403::TracedPasses pass{npu.commands, *timed};
      add_events(events, {&pass, 1}, npu, ++process);
      if (last) return trace_document(std::move(events));
    }
  }
  return trace_document(std::move(events));
}

Result<ModellingTime> measure_modelling(const NpuSegments& segments) {
  ModellingTime out;
  for (const NpuSegments::OfProgram& of : segments.programs()) {
    for (const sd3403::NpuProgram& npu : of.segments) {
      const Clock::time_point begin = Clock::now();
      HAI_TRY(const sd3403::Timeline timed, time_of(npu, {}));
      out.cycles_ms += milliseconds_since(begin);
      const Clock::time_point timing_done = Clock::now();
      const sd3403::Energy energy = sd3403::energy_of(timed);
      out.energy_ms += energy.layers.empty() ? 0.0 : milliseconds_since(timing_done);
    }
  }
  return out;
}

}  // namespace hai::tools
