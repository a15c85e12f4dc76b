// Making a program with faults, and telling detected, contained and masked ones apart.
//
// A flip in words or constants is detected where decoder, verifier or processor refuse what it makes of them: each is
// tried by itself. A stuck semaphore or a DMA that is never done holds a queue at a command that follows from the
// program alone (run_order.h); the cycle comes from the model of time. Up to there values are computed like any; then
// the run ends with an error. Where nothing stops the program, the outputs are compared with those of the program
// without faults, bit for bit. Words with a flip that are accepted have been verified like any program, so that
// whatever they do stays within the segment's images.
#include "devices/sd3403/exec/faulty_kernel.h"

#include <fmt/format.h>

#include <algorithm>

#include "devices/cpu/exec/kernel_place.h"
#include "devices/sd3403/exec/fault_place.h"
#include "devices/sd3403/exec/npu_kernel.h"
#include "devices/sd3403/exec/npu_operands.h"
#include "devices/sd3403/exec/npu_program.h"
#include "devices/sd3403/exec/processor.h"
#include "devices/sd3403/exec/timing.h"

namespace hai::sd3403 {
namespace {

using Bytes = std::vector<std::byte>;

void turn(Bytes& bytes, const BitPlace& place) { bytes[static_cast<size_t>(place.byte)] ^= std::byte{1} << place.bit; }

// What a kernel with faults is made of.
struct FaultyProgram {
  NpuOperands operands;  // its spans are gone
  std::vector<std::string> output_names;
  std::optional<Processor> clean, faulty;  // no faulty one: its words are no program
  Bytes constants;                         // with their flips
  std::vector<BitPlace> input_flips;
  std::vector<MemoryFlip> flips;  // of scratch and outputs
  std::vector<size_t> compared;   // faults whose verdict the outputs decide
  std::vector<std::pair<size_t, FaultOutcome>> known;
  std::optional<Error> stop;
};

class FaultyKernel final : public cpu::CpuKernel {
 public:
  FaultyKernel(FaultyProgram program, std::shared_ptr<FaultState> state)
      : p_(std::move(program)), state_(std::move(state)) {}

  int64_t scratch_bytes(int64_t, int threads) const override {
    return std::max(p_.clean->scratch_bytes(threads), p_.faulty ? p_.faulty->scratch_bytes(threads) : 0);
  }
  int64_t packed_bytes() const override {
    return p_.clean->packed_bytes() + (p_.faulty ? p_.faulty->packed_bytes() : 0) +
           static_cast<int64_t>(p_.constants.size());
  }
  bool needs_constant(size_t input) const override {
    return input >= kFirstInput || (input == kConstantsOperand && p_.clean->reads_constants());
  }

  void run(const cpu::RunContext& context) const override {
    if (state_->stopped) return;  // a segment before
    for (const auto& [number, outcome] : p_.known) state_->outcomes[number] = outcome;
    std::vector<int64_t> wrong(p_.operands.outputs.size());
    for (int64_t sample = 0; sample < context.batch; ++sample) {
      run_sample(context, sample, wrong);
      if (!p_.stop) continue;
      state_->stopped = p_.stop;
      return;
    }
    std::string detail;
    for (size_t i = 0; i < wrong.size(); ++i) {
      if (wrong[i] != 0)
        detail += fmt::format("{}{} bytes of {} are wrong", detail.empty() ? "" : ", ", wrong[i], p_.output_names[i]);
    }
    for (const size_t number : p_.compared) {
      state_->outcomes[number].verdict = detail.empty() ? FaultVerdict::kMasked : FaultVerdict::kContained;
      state_->outcomes[number].detail = detail.empty() ? "the outputs of the segment are right" : detail;
    }
  }

 private:
  // Adds the bytes that differ, by output.
  void run_sample(const cpu::RunContext& context, int64_t sample, std::vector<int64_t>& wrong) const {
    const auto images = images_of_sample(p_.operands, context, sample);
    const auto first_output = static_cast<size_t>(p_.operands.first_output());
    std::vector<Bytes> right;
    if (!p_.stop) {
      auto clean_images = images;
      for (size_t i = 0; i < wrong.size(); ++i) {
        ImageBytes& image = clean_images[first_output + i];
        right.emplace_back(image.read, image.read + p_.operands.outputs[i].bytes);
        image = {right[i].data(), right[i].data()};
      }
      p_.clean->run(clean_images, context.scratch, context.threads);
    }
    if (!p_.faulty) return;
    auto faulty_images = images;
    faulty_images[0].read = p_.constants.data();
    std::vector<Bytes> inputs(p_.operands.inputs.size());
    for (const BitPlace& place : p_.input_flips) {
      if (sample != 0) break;
      const size_t input = static_cast<size_t>(place.image) - kFirstInput;
      ImageBytes& image = faulty_images[static_cast<size_t>(place.image)];
      if (inputs[input].empty()) inputs[input].assign(image.read, image.read + p_.operands.inputs[input].bytes);
      turn(inputs[input], place);
      image.read = inputs[input].data();
    }
    const auto flips = sample == 0 ? std::span<const MemoryFlip>(p_.flips) : std::span<const MemoryFlip>();
    p_.faulty->run(faulty_images, context.scratch, context.threads, flips);
    for (size_t i = 0; i < right.size(); ++i) {
      const std::byte* found = images[first_output + i].read;
      for (size_t k = 0; k < right[i].size(); ++k) wrong[i] += found[k] != right[i][k] ? 1 : 0;
    }
  }

  FaultyProgram p_;
  std::shared_ptr<FaultState> state_;
};

class FaultyMaker {
 public:
  FaultyMaker(const cpu::KernelContext& context, std::vector<NumberedFault> faults)
      : context_(context), faults_(std::move(faults)) {}

  Result<FaultyProgram> run() {
    HAI_TRY(out_.operands, read_operands(context_));
    HAI_TRY(commands_, decode_words(out_.operands.words));
    HAI_TRY(out_.clean, processor(commands_, out_.operands.constants, {}, nullptr));
    HAI_TRY_STATUS(look_around());
    words_.assign(out_.operands.words.begin(), out_.operands.words.end());
    out_.constants.assign(out_.operands.constants.begin(), out_.operands.constants.end());
    for (const NumberedFault& fault : faults_) HAI_TRY_STATUS(place(fault));
    make_faulty();
    finish_broken();
    out_.operands.words = out_.operands.constants = {};
    return std::move(out_);
  }

 private:
  struct Placed {
    size_t number;
    BitPlace place;
    FaultOutcome outcome;
  };
  struct Broken {
    size_t number;
    FaultSpec spec;
    FaultOutcome outcome;
    size_t part;  // among the semaphores, or among the commands
  };

  Result<Processor> processor(std::span<const Command> commands, std::span<const std::byte> constants,
                              const BrokenParts& broken, std::optional<size_t>* refused) const {
    return Processor::make(commands, out_.operands.memory, out_.operands.first_output(), constants, context_.isa,
                           broken, refused);
  }

  // Names, and times without faults.
  Status look_around() {
    size_t layers = 0;
    for (const Command& command : commands_) layers = std::max(layers, size_t{command.layer} + 1);
    HAI_TRY(layers_, read_layer_names(context_.instruction, layers));
    HAI_TRY(machine_, read_machine(context_.instruction));
    if (auto timed = time_program(commands_, out_.operands.constants, machine_)) timeline_ = std::move(*timed);
    const std::vector<int64_t>& sizes = out_.operands.memory.image_bytes;
    images_ = {{kCommandsImage, "commands", static_cast<int64_t>(out_.operands.words.size())},
               {0, "constants", sizes[0]},
               {1, "scratch", sizes[1]}};
    for (size_t i = kFirstInput; i < context_.inputs.size(); ++i)
      images_.push_back({static_cast<int64_t>(i), context_.inputs[i]->name, sizes[i]});
    for (size_t i = 0; i < context_.outputs.size(); ++i) {
      const size_t image = context_.inputs.size() + i;
      images_.push_back({static_cast<int64_t>(image), context_.outputs[i]->name, sizes[image]});
      out_.output_names.push_back(context_.outputs[i]->name);
    }
    return {};
  }

  FaultOutcome outcome_of(const FaultSpec& spec, std::string what) const {
    FaultOutcome out;
    out.fault = spec.text;
    out.segment = context_.instruction.name;
    out.what = std::move(what);
    out.detail = "another fault has stopped the machine before";
    return out;
  }

  Status place(const NumberedFault& fault) {
    const FaultSpec& spec = fault.spec;
    if (spec.kind == FaultKind::kSemaphore) {
      broken_.push_back({fault.number, spec, outcome_of(spec, fmt::format("semaphore {}", spec.semaphore)),
                         parts_.stuck_semaphores.size()});
      parts_.stuck_semaphores.push_back(spec.semaphore);
      return {};
    }
    if (spec.kind == FaultKind::kDma) {
      HAI_TRY(const size_t command, transfer(spec));
      const std::string what = fmt::format("transfer {} of channel {} of core {}: {}", spec.transfer, spec.channel,
                                           spec.core, command_text(commands_[command], command));
      broken_.push_back({fault.number, spec, outcome_of(spec, what), parts_.hung_commands.size()});
      parts_.hung_commands.push_back(command);
      return {};
    }
    HAI_TRY(const BitPlace at, place_of(spec, images_));
    FaultOutcome outcome = outcome_of(spec, describe(at, commands_, out_.operands.constants));
    if (at.image == 0 || at.image == kCommandsImage) {
      turn(at.image == 0 ? out_.constants : words_, at);
      in_program_.push_back({fault.number, at, std::move(outcome)});
      return {};
    }
    in_memory_.push_back({fault.number, at, std::move(outcome)});
    return {};
  }

  // The transfers of a channel in the order in which it does them, which only the model of time knows.
  Result<size_t> transfer(const FaultSpec& spec) const {
    if (!timeline_) return time_program(commands_, out_.operands.constants, machine_).error();
    std::vector<std::pair<int64_t, size_t>> transfers;
    for (size_t i = 0; i < commands_.size(); ++i) {
      const CommandTime& time = timeline_->commands[i];
      if (commands_[i].core == spec.core && time.channel == spec.channel) transfers.push_back({time.start, i});
    }
    std::sort(transfers.begin(), transfers.end());
    if (spec.transfer < static_cast<int64_t>(transfers.size()))
      return transfers[static_cast<size_t>(spec.transfer)].second;
    return make_error(StatusCode::kOutOfRange, "N092",
                      "fault \"{}\": channel {} of core {} has {} transfers; give one from 0 to {}", spec.text,
                      spec.channel, spec.core, transfers.size(), static_cast<int64_t>(transfers.size()) - 1);
  }

  // What refuses this program, with the number of the command where one is to blame.
  struct Refusal {
    Error error;
    std::optional<size_t> command;
  };
  std::optional<Refusal> refusal_of(const Bytes& words, const Bytes& constants) const {
    const auto commands = decode_words(words);
    if (!commands) return Refusal{commands.error(), {}};
    std::optional<size_t> command;
    const auto made = processor(*commands, constants, {}, &command);
    return made ? std::nullopt : std::optional(Refusal{made.error(), command});
  }

  void detect(FaultOutcome& outcome, const Error& error, std::optional<size_t> command,
              std::span<const Command> commands, std::optional<int64_t> cycle) {
    outcome.verdict = FaultVerdict::kDetected;
    outcome.detail = error.to_string();
    outcome.cycle = cycle;
    if (command) {
      const Command& at = commands[*command];
      outcome.command = static_cast<int64_t>(*command);
      outcome.core = at.core;
      outcome.queue = queue_name(queue_of(at.body));
      outcome.layer = at.layer < layers_.size() ? layers_[at.layer] : fmt::format("layer {}", at.layer);
    }
    if (!out_.stop)
      out_.stop = with_where(error, fmt::format("injected fault, {}", cpu::place_of(context_.instruction)));
  }

  // Words and constants with all their flips as a processor that runs as far as it gets.
  void make_faulty() {
    for (Placed& flip : in_program_) {
      Bytes words(out_.operands.words.begin(), out_.operands.words.end());
      Bytes constants(out_.operands.constants.begin(), out_.operands.constants.end());
      turn(flip.place.image == 0 ? constants : words, flip.place);
      const auto refusal = refusal_of(words, constants);
      if (!refusal) {
        out_.compared.push_back(flip.number);
      } else {
        std::optional<int64_t> cycle;
        if (refusal->command && timeline_ && flip.place.image == 0)
          cycle = (timeline_->commands[*refusal->command].end + kTicksPerCycle - 1) / kTicksPerCycle;
        const Error error = make_error(StatusCode::kCorrupt, "N058", "a wrong bit was found ({}): {}",
                                       flip.outcome.what, refusal->error.to_string());
        detect(flip.outcome, error, refusal->command, commands_, cycle);
      }
      out_.known.emplace_back(flip.number, std::move(flip.outcome));
    }
    auto decoded = decode_words(words_);
    if (!decoded) return;
    faulty_commands_ = std::move(*decoded);
    run_parts_ = parts_;
    // A queue stands at a command that is refused; there are six.
    for (int attempt = 0; attempt < 8 && !out_.faulty; ++attempt) {
      std::optional<size_t> refused;
      auto made = processor(faulty_commands_, out_.constants, run_parts_, &refused);
      if (made) {
        out_.faulty = std::move(*made);
      } else if (refused) {
        run_parts_.hung_commands.push_back(*refused);
      } else {
        break;
      }
    }
  }

  // What semaphores and channels come to, and where flips of memory go.
  void finish_broken() {
    const bool runs = out_.faulty.has_value();
    const RunOrder order = runs ? run_order(faulty_commands_, run_parts_) : RunOrder();
    const auto still = time_standstill(faulty_commands_, out_.operands.constants, machine_, run_parts_);
    for (Broken& fault : broken_) {
      const bool semaphore = fault.spec.kind == FaultKind::kSemaphore;
      const size_t part = fault.part + (semaphore ? 0 : parts_.stuck_semaphores.size());
      const auto stands = runs ? order.stands[part] : std::nullopt;
      if (stands) {
        // Of a channel that two queues use only time knows what was before; it is asked for the cycle alone.
        const auto at = still ? still->places[part] : std::nullopt;
        fault.outcome.semaphore = semaphore ? std::optional(fault.spec.semaphore) : std::nullopt;
        fault.outcome.channel = semaphore ? std::nullopt : std::optional(fault.spec.channel);
        const auto since = at ? std::optional(at->since_cycle) : std::nullopt;
        detect(fault.outcome, error_of(fault, *stands, since, still ? still->last_cycle : 0), *stands, faulty_commands_,
               since);
      } else if (runs && semaphore && order.complete(faulty_commands_.size())) {
        fault.outcome.verdict = FaultVerdict::kMasked;
        fault.outcome.detail = "no command waits for the semaphore";
      }
      out_.known.emplace_back(fault.number, std::move(fault.outcome));
    }
    for (Placed& flip : in_memory_) {
      const BitPlace& at = flip.place;
      if (static_cast<size_t>(at.image) >= kFirstInput && at.image < out_.operands.first_output()) {
        out_.input_flips.push_back(at);
      } else {
        const auto writer = last_writer(at.image, at.byte, faulty_commands_, order.commands);
        const size_t after = writer && runs ? out_.faulty->steps_until(*writer) : 0;
        out_.flips.push_back({static_cast<size_t>(at.image), static_cast<size_t>(at.byte), at.bit, after});
        flip.outcome.what += writer ? ": after " + command_text(faulty_commands_[*writer], *writer)
                                    : std::string(": no command writes it");
      }
      out_.compared.push_back(flip.number);
      out_.known.emplace_back(flip.number, std::move(flip.outcome));
    }
  }

  Error error_of(const Broken& fault, size_t command, std::optional<int64_t> since, int64_t last) const {
    const std::string text = command_text(faulty_commands_[command], command);
    const size_t layer = faulty_commands_[command].layer;
    const std::string name = layer < layers_.size() ? layers_[layer] : fmt::format("layer {}", layer);
    const std::string times =
        since ? fmt::format(" since cycle {}, and nothing moves after cycle {} (modelled)", *since, last) : "";
    if (const auto* wait = std::get_if<Wait>(&faulty_commands_[command].body)) {
      return make_error(StatusCode::kIo, "N056",
                        "{} of layer \"{}\" waits for {} signals of semaphore {} that do not come{}", text, name,
                        wait->count, wait->semaphore, times);
    }
    return make_error(StatusCode::kIo, "N057", "{} of layer \"{}\": transfer {} of channel {} of core {} is not done{}",
                      text, name, fault.spec.transfer, fault.spec.channel, fault.spec.core, times);
  }

  const cpu::KernelContext& context_;
  std::vector<NumberedFault> faults_;
  FaultyProgram out_;
  std::vector<Command> commands_, faulty_commands_;
  std::vector<std::string> layers_;
  Machine machine_;
  std::optional<Timeline> timeline_;
  std::vector<ImageName> images_;
  Bytes words_;  // with their flips; out_.constants likewise
  BrokenParts parts_, run_parts_;
  std::vector<Broken> broken_;
  std::vector<Placed> in_program_, in_memory_;
};

}  // namespace

Result<std::unique_ptr<cpu::CpuKernel>> make_faulty_kernel(const cpu::KernelContext& context,
                                                           std::vector<NumberedFault> faults,
                                                           std::shared_ptr<FaultState> state) {
  auto program = FaultyMaker(context, std::move(faults)).run();
  if (!program) return with_where(program.error(), cpu::place_of(context.instruction));
  return std::unique_ptr<cpu::CpuKernel>(new FaultyKernel(std::move(*program), std::move(state)));
}

}  // namespace hai::sd3403
