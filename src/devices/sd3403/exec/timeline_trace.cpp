// Rows: of each core its arithmetic unit, what that waits for, its two DMA channels and its weight decoder; one
// counter.
//
// Times are whole nanoseconds, as Perfetto keeps them: starts and ends are rounded and durations are their differences,
// so that what follows each other on a row never overlaps on it.
#include "devices/sd3403/exec/timeline_trace.h"

#include <fmt/format.h>

#include <cmath>
#include <iterator>

#include "base/json_text.h"
#include "devices/sd3403/exec/scratchpad_use.h"
#include "devices/sd3403/exec/timeline_report.h"

namespace hai::sd3403 {
namespace {

enum Row : int64_t { kArithmeticRow, kWaitRow, kChannelRow, kSecondChannelRow, kDecoderRow, kRowsOfCore };
constexpr std::string_view kRowNames[kRowsOfCore] = {"compute", "compute waits", "DMA 0", "DMA 1", "weight decoder"};

class TraceWriter {
 public:
  TraceWriter(const Machine& machine, std::span<const std::string> layer_names, int64_t process)
      : machine_(machine), layer_names_(layer_names), process_(process) {}

  std::string write(std::span<const TracedPasses> passes) {
    out_ = R"({"displayTimeUnit":"ns","traceEvents":[)";
    fmt::format_to(std::back_inserter(out_), R"({{"name":"process_name","ph":"M","pid":{},"tid":0,"args":{{"name":)",
                   process_);
    append_json_string(
        out_, fmt::format("NPU (modelled, virtual time, profile {}, {} MHz)", machine_.name, machine_.clock_mhz));
    out_ += "}}";
    for (int64_t row = 0; row < 2 * kRowsOfCore; ++row) {
      if (row / kRowsOfCore >= static_cast<int64_t>(machine_.cores)) break;
      fmt::format_to(
          std::back_inserter(out_),
          ",\n{{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":{},\"tid\":{},\"args\":{{\"name\":\"core {} {}\"}}}}",
          process_, row, row / kRowsOfCore, kRowNames[row % kRowsOfCore]);
    }
    numbered_ = passes.size() > 1 || passes[0].count > 1;
    for (const TracedPasses& same : passes) {
      const std::vector<ScratchpadUse> scratchpad = scratchpad_use(same.commands, same.timeline);
      for (int64_t i = 0; i < same.count; ++i, ++pass_) {
        start_ = same.start_ticks + i * same.timeline.end_ticks;
        one_pass(same, scratchpad);
      }
    }
    out_ += "\n]}\n";
    return std::move(out_);
  }

 private:
  // Of a time within the pass.
  int64_t nanoseconds(int64_t ticks) const {
    return std::llround(static_cast<double>(start_ + ticks) * 1e3 /
                        (static_cast<double>(kTicksPerCycle) * machine_.clock_mhz));
  }
  // In microseconds, exact.
  static std::string microseconds(int64_t ns) { return fmt::format("{}.{:03}", ns / 1000, ns % 1000); }

  void one_pass(const TracedPasses& pass, std::span<const ScratchpadUse> scratchpad) {
    for (size_t i = 0; i < pass.commands.size(); ++i) {
      if (pass.timeline.commands[i].begun()) command(pass, i);
    }
    for (const ScratchpadUse& use : scratchpad) {
      fmt::format_to(
          std::back_inserter(out_),
          ",\n{{\"name\":\"scratchpad KiB in use\",\"ph\":\"C\",\"pid\":{},\"ts\":{},\"args\":{{\"KiB\":{}}}}}",
          process_, microseconds(nanoseconds(use.ticks)), use.bytes / 1024);
    }
  }

  static size_t number_of(const TracedPasses& pass, size_t place) {
    return pass.numbers.empty() ? place : pass.numbers[place];
  }

  void command(const TracedPasses& pass, size_t place) {
    const Command& c = pass.commands[place];
    const CommandTime& time = pass.timeline.commands[place];
    const CommandInfo& info = info_of(c.body);
    const size_t number = number_of(pass, place);
    const std::string name = layer_name(c.layer, layer_names_);
    if (std::holds_alternative<Wait>(c.body)) {
      if (queue_of(c.body) != QueueKind::kCompute || time.end == time.start) return;
      const std::string reason = time.released_by < 0 ? "wait" : "wait for " + what(pass, time.released_by);
      event(c, number, kWaitRow, reason, time.start, time.end);
    } else if (info.queue == QueueKind::kCompute) {
      event(c, number, kArithmeticRow, name, time.start, time.end);
    } else if (time.channel >= 0) {
      event(c, number, kChannelRow + time.channel, name, time.start, time.bytes_end);
      // A stream that never came is not decoded.
      if (std::holds_alternative<WeightLoad>(c.body) && time.end > time.decode_start)
        event(c, number, kDecoderRow, name, time.decode_start, time.end);
    }
  }

  std::string what(const TracedPasses& pass, int64_t place) const {
    const Command& c = pass.commands[static_cast<size_t>(place)];
    return fmt::format("{} of {} (command {})", info_of(c.body).name, layer_name(c.layer, layer_names_),
                       number_of(pass, static_cast<size_t>(place)));
  }

  void event(const Command& c, size_t number, int64_t row, std::string_view name, int64_t start, int64_t end) {
    const int64_t first = nanoseconds(start);
    out_ += ",\n{\"name\":";
    append_json_string(out_, name);
    fmt::format_to(std::back_inserter(out_),
                   R"(,"ph":"X","pid":{},"tid":{},"ts":{},"dur":{},"args":{{"time":"modelled","command":{},)", process_,
                   c.core * kRowsOfCore + row, microseconds(first), microseconds(nanoseconds(end) - first), number);
    if (numbered_) fmt::format_to(std::back_inserter(out_), "\"pass\":{},", pass_);
    fmt::format_to(std::back_inserter(out_), R"("kind":"{}","layer":{},"tile":{}}}}})", info_of(c.body).name, c.layer,
                   c.tile);
  }

  const Machine& machine_;
  std::span<const std::string> layer_names_;
  int64_t process_;
  bool numbered_ = false;
  int64_t pass_ = 0, start_ = 0;
  std::string out_;
};

}  // namespace

std::string timeline_trace(std::span<const TracedPasses> passes, std::span<const std::string> layer_names,
                           int64_t process) {
  return TraceWriter(passes[0].timeline.machine, layer_names, process).write(passes);
}

}  // namespace hai::sd3403
