// Trace events as the JSON that chrome://tracing and Perfetto read.
//
// Method: one fixed shape of event, written by hand into a string: a JSON library would be the largest part of the
// runtime, and nothing is ever parsed here. Names come from files and may hold anything; base/json_text.h escapes them.
#include "runtime/trace.h"

#include <fmt/format.h>
#include <unistd.h>

#include <iterator>

#include "base/json_text.h"

namespace hai::runtime {
namespace {

// Microseconds with three decimals, exact.
void append_us(std::string& out, int64_t ns) {
  fmt::format_to(std::back_inserter(out), "{}.{:03}", ns / 1000, ns % 1000);
}

}  // namespace

std::string trace_json(const TraceRing& ring, std::span<const TraceLabel> labels, const std::string& row,
                       int64_t row_number, const std::string& device) {
  const auto process = static_cast<int64_t>(::getpid());
  std::string out = R"({"displayTimeUnit":"ms","traceEvents":[)";
  fmt::format_to(std::back_inserter(out),
                 R"({{"name":"process_name","ph":"M","pid":{},"tid":0,"args":{{"name":"hai"}}}},)", process);
  fmt::format_to(std::back_inserter(out), R"({{"name":"thread_name","ph":"M","pid":{},"tid":{},"args":{{"name":)",
                 process, row_number);
  append_json_string(out, row);
  out += "}}";
  ring.each([&](const TraceEvent& event) {
    const bool whole = event.instruction == TraceEvent::kWholeRun;
    out += ",\n{\"name\":";
    append_json_string(out, whole ? std::string_view("run") : std::string_view(labels[event.instruction].name));
    fmt::format_to(std::back_inserter(out), R"(,"ph":"X","pid":{},"tid":{},"ts":)", process, row_number);
    append_us(out, event.start_ns);
    out += ",\"dur\":";
    append_us(out, event.duration_ns);
    fmt::format_to(std::back_inserter(out), R"(,"args":{{"batch":{},"time":"measured","device":)", event.batch);
    append_json_string(out, device);
    if (!whole) {
      const TraceLabel& label = labels[event.instruction];
      out += ",\"kernel\":";
      append_json_string(out, label.kernel);
      fmt::format_to(std::back_inserter(out), R"(,"macs":{},"bytes":{})", label.macs_per_sample * event.batch,
                     label.bytes_fixed + label.bytes_per_sample * event.batch);
    }
    out += "}}";
  });
  out += "]}\n";
  return out;
}

}  // namespace hai::runtime
