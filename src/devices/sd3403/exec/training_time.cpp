// Sums over the programs of a file that can be trained.
//
// Method: the time of one run of a program with its batch, from its instructions one after the other; then times the
// runs. Passes of the NPU keep weights that stay in its cache (passes.h), also from batch to batch. Nothing overlaps:
// neither the engines nor the pictures, so a board that prepares the next batch meanwhile is quicker.
#include "devices/sd3403/exec/training_time.h"

#include <algorithm>
#include <optional>

#include "devices/sd3403/exec/npu_program.h"
#include "devices/sd3403/exec/passes.h"
#include "devices/sd3403/exec/platform.h"
#include "devices/sd3403/exec/timing.h"

namespace hai::sd3403 {
namespace {

constexpr int64_t kMostSamples = int64_t{1} << 40;

// One run of a program.
struct RunTime {
  double npu_seconds = 0;
  double host_seconds = 0;
  int64_t npu_cycles = 0;
};

class Programs {
 public:
  explicit Programs(const format::ModelFile& model) : model_(model) {
    if (!model.weights.empty()) weights_ = model.weights[0].bytes;
  }

  // The machine that the NPU's parts were compiled for; nothing where there are none.
  Result<std::optional<Machine>> machine() const {
    for (const format::Program* program : all()) {
      for (const format::Instruction& instruction : program->instructions) {
        if (instruction.kernel != "npu") continue;
        HAI_TRY(Machine machine, read_machine(instruction));
        return std::optional<Machine>(std::move(machine));
      }
    }
    return std::optional<Machine>();
  }

  Result<RunTime> time_run(const format::Program& program, const Machine& machine, int64_t batch) const {
    RunTime out;
    for (const format::Instruction& instruction : program.instructions) {
      if (instruction.kernel != "npu") {
        out.host_seconds += seconds_of(machine, Engine::kHost, work_of(program, instruction, batch));
        continue;
      }
      HAI_TRY(const NpuProgram npu, read_npu_program(program, instruction, weights_));
      HAI_TRY(const Timeline first, time_program(npu.commands, npu.constants, npu.machine));
      HAI_TRY(const BatchTime passes, time_batch(npu.commands, npu.constants, first, batch));
      out.npu_seconds += passes.whole.seconds();
      out.npu_cycles += passes.whole.cycles();
    }
    return out;
  }

 private:
  std::vector<const format::Program*> all() const {
    std::vector<const format::Program*> out;
    if (model_.features) out.push_back(&*model_.features);
    for (const format::Program& program : model_.programs) out.push_back(&program);
    return out;
  }

  const format::ModelFile& model_;
  std::span<const std::byte> weights_;
};

Status check(const TrainingWork& work, const format::Program& training) {
  const int64_t most = training.symbols.empty() ? kMostSamples : training.symbols[0].max;
  const auto sound = [](int64_t number) { return number >= 0 && number <= kMostSamples; };
  if (sound(work.frozen_samples) && sound(work.steps) && sound(work.measured_samples) && work.batch >= 1 &&
      work.batch <= most)
    return {};
  return make_error(
      StatusCode::kOutOfRange, "N141",
      "a training of {} steps of {} samples, {} of them through the frozen part and {} measured, cannot be "
      "modelled: batches are 1..{}, and nothing is negative",
      work.steps, work.batch, work.frozen_samples, work.measured_samples, most);
}

}  // namespace

Result<TrainingTime> training_time(const format::ModelFile& model, const TrainingWork& work) {
  const Programs programs(model);
  HAI_TRY(std::optional<Machine> machine, programs.machine());
  if (!model.training || !machine) {
    return make_error(StatusCode::kInvalidArgument, "N140",
                      "the file holds no training whose frozen part is for the NPU; compile the model with --train, "
                      "--quantize int8 and --device sd3403");
  }
  HAI_TRY_STATUS(check(work, *model.training));
  TrainingTime out;
  out.machine = std::move(*machine);
  const auto batch = static_cast<double>(work.batch);
  if (model.features) {
    HAI_TRY(const RunTime run, programs.time_run(*model.features, out.machine, work.batch));
    const double runs = static_cast<double>(work.frozen_samples) / batch;
    out.frozen_npu_seconds = run.npu_seconds * runs;
    out.frozen_host_seconds = run.host_seconds * runs;
    out.frozen_npu_cycles = run.npu_cycles / work.batch;
  }
  HAI_TRY(const RunTime step, programs.time_run(*model.training, out.machine, work.batch));
  out.step_seconds = step.host_seconds * static_cast<double>(work.steps);
  const auto answers = std::find_if(model.programs.begin(), model.programs.end(),
                                    [](const format::Program& program) { return program.device == "sd3403"; });
  if (answers != model.programs.end()) {
    HAI_TRY(const RunTime run, programs.time_run(*answers, out.machine, work.batch));
    out.measuring_seconds = (run.npu_seconds + run.host_seconds) * static_cast<double>(work.measured_samples) / batch;
  }
  return out;
}

}  // namespace hai::sd3403
