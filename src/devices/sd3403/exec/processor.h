// Processor: runs the commands of a program on memory images and gives the values that the machine would.
//
// A program is made ready once: verified, its queues put into one order that keeps to the semaphores (a program without
// races gives the same values in any such order), each command turned into a step (processor_step.h). What the weight
// caches hold is followed while the steps are made, since streams are constants; so they need no memory while running.
// Everything that is derived from weights is made again by making the processor again. Cycles are not counted here.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "devices/cpu/exec/isa.h"
#include "devices/sd3403/exec/processor_step.h"
#include "devices/sd3403/exec/run_order.h"
#include "devices/sd3403/isa/program_verifier.h"

namespace hai::sd3403 {

// A bit of external memory that turns over while a program runs.
struct MemoryFlip {
  size_t image = 0;  // one that may be written
  size_t byte = 0;
  int bit = 0;
  size_t after_steps = 0;  // when so many steps are done
};

class Processor {
 public:
  // Images: 0 the constants, 1 the scratch, then inputs, and from `first_output` on outputs: only scratch and outputs
  // may be written. `constants` is image 0, needed while this runs. Errors name the command: those of
  // verify_commands(), N055, and N062 to N079; of the latter `refused` has the number. With broken parts only what does
  // not wait for them is made, and run.
  static Result<Processor> make(std::span<const Command> commands, const MemorySizes& memory, int64_t first_output,
                                std::span<const std::byte> constants, cpu::Isa isa, const BrokenParts& broken = {},
                                std::optional<size_t>* refused = nullptr);

  int64_t scratch_bytes(int thread_count) const;
  // Bytes of packed weights.
  int64_t packed_bytes() const { return packed_bytes_; }
  // True when image 0 is read while running.
  bool reads_constants() const { return reads_constants_; }
  // Products and moved bytes of one run.
  double work() const { return work_; }

  // Image 1 is the processor's own; `images[1]` is not looked at. `scratch`: scratch_bytes(), on 64 bytes. Scratchpad
  // and scratch image start as zeros.
  void run(std::span<const ImageBytes> images, std::byte* scratch, ThreadPool& threads,
           std::span<const MemoryFlip> flips = {}) const;

  // Steps up to and with that of this command; all of them where it has none.
  size_t steps_until(size_t command) const;

 private:
  class Maker;
  struct Entry {
    uint8_t core;
    uint32_t number;  // of the command
    StepPointer step;
  };

  std::vector<Entry> steps_;
  int64_t sram_bytes_ = 0;
  int64_t scratch_image_bytes_ = 0;
  std::array<int64_t, 2> accumulator_bytes_{};
  int64_t packed_cache_bytes_ = 0;  // of each core, where the program has a WeightPack
  int64_t common_bytes_ = 0;
  int64_t step_bytes_ = 0;  // of one thread
  int64_t packed_bytes_ = 0;
  double work_ = 0.0;
  bool reads_constants_ = false;
};

}  // namespace hai::sd3403
