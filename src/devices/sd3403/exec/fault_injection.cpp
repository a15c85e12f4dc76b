// Which segment each fault is meant for, and what became of it.
//
// Kernels and session share one FaultState: kernels write verdicts while they run, the session reads them afterwards.
// A segment without faults has the kernel that it always has.
#include "devices/sd3403/exec/fault_injection.h"

#include <fmt/format.h>

#include "devices/sd3403/exec/faulty_kernel.h"

namespace hai::sd3403 {
namespace {

class NpuFaults final : public cpu::FaultInjection {
 public:
  explicit NpuFaults(std::vector<FaultSpec> faults) : faults_(std::move(faults)) {
    for (const FaultSpec& fault : faults_) {
      state_->outcomes.emplace_back();
      state_->outcomes.back().fault = fault.text;
      state_->outcomes.back().segment = fault.segment;
    }
    begin_run();
  }

  Result<std::unique_ptr<cpu::CpuKernel>> make_kernel(const cpu::KernelContext& context,
                                                      cpu::MakeKernel make) override {
    std::vector<NumberedFault> own;
    for (size_t i = 0; i < faults_.size() && context.instruction.kernel == "npu"; ++i) {
      if (faults_[i].segment == context.instruction.name) own.push_back({i, faults_[i]});
    }
    if (own.empty()) return make(context);
    return make_faulty_kernel(context, std::move(own), state_);
  }

  void begin_run() override {
    state_->stopped.reset();
    for (FaultOutcome& outcome : state_->outcomes) {
      outcome.verdict = FaultVerdict::kNotReached;
      outcome.detail = "the run ended before";
    }
  }
  Status status() const override { return state_->stopped ? Status(*state_->stopped) : Status(); }
  std::string report() const override { return to_json(state_->outcomes); }

 private:
  std::vector<FaultSpec> faults_;
  std::shared_ptr<FaultState> state_ = std::make_shared<FaultState>();
};

}  // namespace

Result<std::shared_ptr<cpu::FaultInjection>> inject_faults(std::string_view text, const format::Program& program) {
  HAI_TRY(std::vector<FaultSpec> faults, parse_faults(text));
  std::vector<std::string> segments;
  std::string names;
  for (const format::Instruction& instruction : program.instructions) {
    if (instruction.kernel != "npu") continue;
    segments.push_back(instruction.name);
    names += fmt::format("{}{}", names.empty() ? "" : ", ", instruction.name);
  }
  for (FaultSpec& fault : faults) {
    if (fault.segment.empty() && !segments.empty()) fault.segment = segments[0];
    if (std::find(segments.begin(), segments.end(), fault.segment) != segments.end()) continue;
    return make_error(StatusCode::kNotFound, "N091", "fault \"{}\": the program has {}", fault.text,
                      segments.empty() ? "nothing on the NPU" : "the segments " + names);
  }
  return std::shared_ptr<cpu::FaultInjection>(std::make_shared<NpuFaults>(std::move(faults)));
}

}  // namespace hai::sd3403
