// Outcomes as JSON.
//
// By hand, as all of the runtime's reports are: it links no JSON library. Texts may hold names from files, so they are
// escaped.
#include "devices/sd3403/exec/fault_report.h"

#include <fmt/format.h>

#include <iterator>
#include <utility>

#include "base/json_text.h"

namespace hai::sd3403 {

std::string_view verdict_name(FaultVerdict verdict) {
  constexpr std::string_view kNames[] = {"not reached", "detected", "contained", "masked"};
  return kNames[static_cast<size_t>(verdict)];
}

std::string to_json(std::span<const FaultOutcome> outcomes) {
  std::string out = "[";
  for (const FaultOutcome& o : outcomes) {
    out += out.size() == 1 ? "{" : ",\n{";
    const auto add = [&](std::string_view name, std::string_view text) {
      fmt::format_to(std::back_inserter(out), "{}\"{}\":", out.back() == '{' ? "" : ",", name);
      append_json_string(out, text);
    };
    add("fault", o.fault);
    add("segment", o.segment);
    add("what", o.what);
    add("verdict", verdict_name(o.verdict));
    add("detail", o.detail);
    if (!o.queue.empty()) add("queue", o.queue);
    if (!o.layer.empty()) add("layer", o.layer);
    const std::pair<std::string_view, std::optional<int64_t>> numbers[] = {{"command", o.command},
                                                                           {"core", o.core},
                                                                           {"semaphore", o.semaphore},
                                                                           {"channel", o.channel},
                                                                           {"modelled_cycle", o.cycle}};
    for (const auto& [name, number] : numbers) {
      if (number) fmt::format_to(std::back_inserter(out), ",\"{}\":{}", name, *number);
    }
    out += '}';
  }
  return out + "]";
}

}  // namespace hai::sd3403
