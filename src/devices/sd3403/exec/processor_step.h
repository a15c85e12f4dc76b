// Step: one command of a program, made ready to run. What the processor runs is a list of these.
//
// A step is immutable; everything that comes from weights, tables and fields was worked out, and whatever could go
// wrong refused, when it was made. run() does not allocate and cannot fail.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

#include "base/result.h"
#include "base/thread_pool.h"
#include "devices/cpu/exec/isa.h"
#include "devices/sd3403/exec/processor_cache.h"
#include "devices/sd3403/isa/command.h"

namespace hai::sd3403 {

// An image in external memory while a program runs.
struct ImageBytes {
  const std::byte* read = nullptr;
  std::byte* write = nullptr;  // null: nothing writes to it
};

struct StepContext {
  std::span<const ImageBytes> images;
  std::byte* sram;
  std::byte* accumulators;  // of the step's core
  std::byte* packed;        // of the step's core: what WeightPack keeps, by address in the weight cache
  std::byte* common;        // for one step at a time, all threads: common_bytes()
  std::byte* scratch;       // for one step at a time: scratch_bytes() for each thread
  int64_t scratch_bytes;    // from thread to thread
  ThreadPool& threads;
};

class Step {
 public:
  virtual ~Step() = default;
  virtual void run(const StepContext& context) const = 0;
  virtual int64_t scratch_bytes() const { return 0; }  // of one thread
  virtual int64_t common_bytes() const { return 0; }
  virtual int64_t accumulator_bytes() const { return 0; }  // of its core
};
using StepPointer = std::unique_ptr<Step>;

// What making a step may look at, besides its command.
struct StepSources {
  const WeightCache& cache;  // of the command's core, as it is when the command runs
  cpu::Isa isa;
};

inline bool is_wide(int64_t element) { return element == kI16; }
inline bool is_signed_element(int64_t element) { return element != kU8; }

// A stored integer. Precondition: i8, u8 or i16.
inline int32_t load_integer(const std::byte* at, int64_t element) {
  if (element == kI8) return static_cast<int8_t>(*at);
  if (element == kU8) return static_cast<uint8_t>(*at);
  int16_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}
// The low bits of it.
inline void store_integer(std::byte* at, int64_t element, int32_t value) {
  if (element == kI16) {
    const auto word = static_cast<int16_t>(value);
    std::memcpy(at, &word, sizeof word);
  } else {
    *at = static_cast<std::byte>(value);
  }
}

// Error N065: a zero point that its type does not hold, or a multiplier outside of [2^-40, 2^8].
Status check_zero_point(std::string_view field, int64_t zero_point, int64_t element);
Status check_multiplier(std::string_view field, float multiplier);

// The 32 bits of a `real` field.
float real_of(int64_t bits);

Result<StepPointer> make_step(const DmaLoad& command, const StepSources& sources);
Result<StepPointer> make_step(const DmaStore& command, const StepSources& sources);
Result<StepPointer> make_step(const Combine& command, const StepSources& sources);
Result<StepPointer> make_step(const Pool& command, const StepSources& sources);
Result<StepPointer> make_step(const Resize& command, const StepSources& sources);
Result<StepPointer> make_step(const Copy& command, const StepSources& sources);
Result<StepPointer> make_step(const WeightPack& command, const StepSources& sources);
Result<StepPointer> make_step(const Softmax& command, const StepSources& sources);
Result<StepPointer> make_step(const LayerNorm& command, const StepSources& sources);

}  // namespace hai::sd3403
