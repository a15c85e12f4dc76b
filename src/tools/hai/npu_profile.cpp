// Tables, JSON and traces of the NPU programs of a file.
//
// Times follow from the commands alone, not from what they compute: a program is timed from the file, beside the run.
// Segments run one after the other; each is a process of the trace, in virtual time.
#include "tools/hai/npu_profile.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "devices/sd3403/exec/energy.h"
#include "devices/sd3403/exec/governor.h"
#include "devices/sd3403/exec/npu_program.h"
#include "devices/sd3403/exec/timeline_report.h"
#include "devices/sd3403/exec/timeline_trace.h"
#include "devices/sd3403/exec/timing.h"
#include "format/model.h"

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
  nlohmann::ordered_json segments = nlohmann::ordered_json::array();
  nlohmann::json events = nlohmann::json::array();
  for (const format::Program& program : model.programs) {
    for (const format::Instruction& instruction : program.instructions) {
      if (instruction.kernel != "npu") continue;
      HAI_TRY(const sd3403::NpuProgram npu, sd3403::read_npu_program(program, instruction, weights));
      auto timed = time_of(npu, options);
      if (!timed) return with_where(with_where(timed.error(), npu.name), model_path);
      const sd3403::Energy energy = sd3403::energy_of(*timed);
      out.text += fmt::format("{}\n{}", npu.name, sd3403::to_table(*timed, energy, npu.layer_names));
      nlohmann::ordered_json entry{{"segment", npu.name}};
      entry.update(nlohmann::ordered_json::parse(sd3403::to_json(*timed, energy, npu.layer_names)));
      segments.push_back(std::move(entry));
      const auto number = static_cast<int64_t>(segments.size());
      const auto trace = nlohmann::json::parse(sd3403::timeline_trace(npu.commands, *timed, npu.layer_names, number));
      for (const auto& event : trace.at("traceEvents")) events.push_back(event);
    }
  }
  out.json = segments.dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
  out.trace = nlohmann::json{{"traceEvents", std::move(events)}}.dump();
  return out;
}

}  // namespace hai::tools
