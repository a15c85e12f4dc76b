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
  TraceWriter(const Timeline& timeline, std::span<const std::string> layer_names, int64_t process)
      : timeline_(timeline), layer_names_(layer_names), process_(process) {}

  std::string write(std::span<const Command> commands) {
    out_ = R"({"displayTimeUnit":"ns","traceEvents":[)";
    fmt::format_to(std::back_inserter(out_), R"({{"name":"process_name","ph":"M","pid":{},"tid":0,"args":{{"name":)",
                   process_);
    append_json_string(out_, fmt::format("NPU (modelled, virtual time, profile {}, {} MHz)", timeline_.machine.name,
                                         timeline_.machine.clock_mhz));
    out_ += "}}";
    for (int64_t row = 0; row < 2 * kRowsOfCore; ++row) {
      if (row / kRowsOfCore >= static_cast<int64_t>(timeline_.machine.cores)) break;
      fmt::format_to(
          std::back_inserter(out_),
          ",\n{{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":{},\"tid\":{},\"args\":{{\"name\":\"core {} {}\"}}}}",
          process_, row, row / kRowsOfCore, kRowNames[row % kRowsOfCore]);
    }
    for (size_t i = 0; i < commands.size(); ++i) command(commands, i);
    for (const ScratchpadUse& use : scratchpad_use(commands, timeline_)) {
      fmt::format_to(
          std::back_inserter(out_),
          ",\n{{\"name\":\"scratchpad KiB in use\",\"ph\":\"C\",\"pid\":{},\"ts\":{},\"args\":{{\"KiB\":{}}}}}",
          process_, microseconds(nanoseconds(use.ticks)), use.bytes / 1024);
    }
    out_ += "\n]}\n";
    return std::move(out_);
  }

 private:
  int64_t nanoseconds(int64_t ticks) const {
    return std::llround(static_cast<double>(ticks) * 1e3 /
                        (static_cast<double>(kTicksPerCycle) * timeline_.machine.clock_mhz));
  }
  // In microseconds, exact.
  static std::string microseconds(int64_t ns) { return fmt::format("{}.{:03}", ns / 1000, ns % 1000); }

  void command(std::span<const Command> commands, size_t number) {
    const Command& c = commands[number];
    const CommandTime& time = timeline_.commands[number];
    const CommandInfo& info = info_of(c.body);
    const std::string name = layer_name(c.layer, layer_names_);
    if (std::holds_alternative<Wait>(c.body)) {
      if (queue_of(c.body) != QueueKind::kCompute || time.end == time.start) return;
      const std::string reason = time.released_by < 0 ? "wait"
                                                      : fmt::format("wait for {} (command {})",
                                                                    what(commands, time.released_by), time.released_by);
      event(c, number, kWaitRow, reason, time.start, time.end);
    } else if (info.queue == QueueKind::kCompute) {
      event(c, number, kArithmeticRow, name, time.start, time.end);
    } else if (time.channel >= 0) {
      event(c, number, kChannelRow + time.channel, name, time.start, time.bytes_end);
      if (std::holds_alternative<WeightLoad>(c.body)) event(c, number, kDecoderRow, name, time.decode_start, time.end);
    }
  }

  std::string what(std::span<const Command> commands, int64_t number) const {
    const Command& c = commands[static_cast<size_t>(number)];
    return fmt::format("{} of {}", info_of(c.body).name, layer_name(c.layer, layer_names_));
  }

  void event(const Command& c, size_t number, int64_t row, std::string_view name, int64_t start, int64_t end) {
    const int64_t first = nanoseconds(start);
    out_ += ",\n{\"name\":";
    append_json_string(out_, name);
    fmt::format_to(std::back_inserter(out_),
                   R"(,"ph":"X","pid":{},"tid":{},"ts":{},"dur":{},"args":{{"time":"modelled","command":{},)", process_,
                   c.core * kRowsOfCore + row, microseconds(first), microseconds(nanoseconds(end) - first), number);
    fmt::format_to(std::back_inserter(out_), R"("kind":"{}","layer":{},"tile":{}}}}})", info_of(c.body).name, c.layer,
                   c.tile);
  }

  const Timeline& timeline_;
  std::span<const std::string> layer_names_;
  int64_t process_;
  std::string out_;
};

}  // namespace

std::string timeline_trace(std::span<const Command> commands, const Timeline& timeline,
                           std::span<const std::string> layer_names, int64_t process) {
  return TraceWriter(timeline, layer_names, process).write(commands);
}

}  // namespace hai::sd3403
