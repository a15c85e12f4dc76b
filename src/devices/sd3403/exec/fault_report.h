// What became of injected faults.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace hai::sd3403 {

enum class FaultVerdict : uint8_t {
  kNotReached,  // the run did not get to where the fault is
  kDetected,    // the machine stopped with an error that names the place
  kContained,   // values of the segment's outputs are wrong; nothing outside of them, and the run ended
  kMasked,      // the outputs have the bits that they would have had
};
std::string_view verdict_name(FaultVerdict verdict);  // "not reached", "detected", ...

struct FaultOutcome {
  std::string fault;    // the specification
  std::string segment;  // the instruction
  std::string what;     // where it is: "constants, byte 12, bit 3: stream of command 5 (...)"
  FaultVerdict verdict = FaultVerdict::kNotReached;
  std::string detail;
  // Of a detected one, where known.
  std::optional<int64_t> command, core, semaphore, channel, cycle;
  std::string queue, layer;
};

// A JSON array, an object each: fault, segment, what, verdict, detail; of a detected one also command, core, queue,
// layer, cycle (modelled), semaphore, channel, as far as they apply.
std::string to_json(std::span<const FaultOutcome> outcomes);

}  // namespace hai::sd3403
