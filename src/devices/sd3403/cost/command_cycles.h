// What a command takes of a machine: cycles of its engine, bytes of every memory, products. The compiler's cost model
// and the simulator's timing both ask here, so that they cannot differ about a command by itself; what commands do to
// each other (queues, semaphores, sharing of external memory) is the simulator's.
//
// Pure functions, thread-safe. Integers but for rates that are fractions, which are rounded up once, to ticks; only
// operations that IEEE rounds correctly, so that every host counts the same.
#pragma once

#include <cstdint>

#include "devices/sd3403/isa/command.h"
#include "devices/sd3403/machine/machine.h"

namespace hai::sd3403 {

// Time finer than a cycle, for shares of external memory.
inline constexpr int64_t kTicksPerCycle = 256;
// What counts stops here instead of overflowing: fields within their bounds can ask for more work than 64 bits hold.
inline constexpr int64_t kMostCount = int64_t{1} << 46;

enum class ProductKind : uint8_t { kI8, kI16ByI8, kI16, kF16 };

struct CommandCycles {
  // Of its engine by itself: of arithmetic until its last value is written; of a transfer what external memory (and the
  // weight decoder) takes with nobody else there, without `latency_cycles`; of wait, signal and end 0.
  int64_t cycles = 0;

  // Arithmetic: cycles = max(array, transform, post, read, write) + fill + drain, and start_cycles where
  // there is a start (not of sums and products of tensors).
  int64_t array_cycles = 0;
  int64_t transform_cycles = 0;  // of inputs or of outputs, whichever takes longer
  int64_t post_cycles = 0;       // lanes of the post-processing unit
  int64_t read_cycles = 0;       // scratchpad
  int64_t write_cycles = 0;      // scratchpad
  int64_t fill_cycles = 0;       // transforming the first inputs, before which the array has nothing
  int64_t drain_cycles = 0;      // output transform and post-processing of the last pass, which nothing hides
  int64_t products = 0;          // that are made, those of padding with them
  ProductKind product_kind = ProductKind::kI8;
  int64_t values = 0;  // of the post-processing unit
  int64_t adds = 0;    // of the transforms, rounding among them

  // Memory.
  int64_t sram_read_bytes = 0;  // whole words
  int64_t sram_written_bytes = 0;
  int64_t cache_read_bytes = 0;
  int64_t cache_written_bytes = 0;
  int64_t line_bytes = 0;  // read from and written to the line buffer
  int64_t sum_bytes = 0;   // read from and written to the accumulators

  // Transfers.
  int64_t ddr_read_bytes = 0;     // what the command asks for
  int64_t ddr_written_bytes = 0;  // the same
  int64_t ddr_bus_bytes = 0;      // in whole bursts
  int64_t ddr_ticks = 0;          // of external memory by itself
  int64_t decode_cycles = 0;      // weight decoder
  int64_t latency_cycles = 0;     // from issue to the first byte
};

// `stream_bytes` is what the entry of a WeightLoad says; below 0: not known, then as many as it expands to.
// Preconditions: check_machine() accepts the machine; the command has every field within its bounds.
CommandCycles cycles_of(const Machine& machine, const Command& command, int64_t stream_bytes = -1);

// Output pixels of a block of output channels that are summed up in one half of the accumulators.
int64_t pass_pixels(const Machine& machine, bool wide_sums);
// The same of the tiles of a transform, with all their taps.
int64_t pass_tiles(const Machine& machine, int64_t transform, int64_t input_type);

// Share of the peak that external memory reaches with this many contiguous bytes at a time.
double ddr_efficiency(const Machine& machine, int64_t contiguous_bytes);
double ddr_bytes_a_cycle(const Machine& machine);

// Products a cycle of i8, all cores together.
int64_t peak_products(const Machine& machine);

}  // namespace hai::sd3403
