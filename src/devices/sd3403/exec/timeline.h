// Timeline: when each command of a program ran on a machine, and what that comes to per layer. All of it is modelled.
//
// Times are ticks of 1/256 cycle (command_cycles.h) from the start of the program; nothing is real time.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "devices/sd3403/cost/command_cycles.h"

namespace hai::sd3403 {

// What an idle arithmetic unit waits for.
enum class StallOn : uint8_t {
  kIssue,        // its own queue: commands, semaphores on their way
  kActivations,  // a DmaLoad
  kWeights,      // a WeightLoad
  kStores,       // a DmaStore
  kArithmetic,   // the other core
};
inline constexpr size_t kStallCount = 5;
inline constexpr size_t kProductKinds = 4;

struct CommandTime {
  int64_t issued = 0;  // its engine has taken it from the queue; -1: the machine stopped before it began
  int64_t start = 0;   // arithmetic, or first byte of a transfer; a wait begins to hold its queue
  int64_t end = 0;
  int64_t bytes_end = 0;     // of a transfer: its last byte; a WeightLoad ends when it is decoded
  int64_t decode_start = 0;  // of a WeightLoad: the decoder begins
  int64_t channel = -1;      // of a transfer: of its core's
  // Of a wait that held its queue: the command whose end let it go on; -1: none did.
  int64_t released_by = -1;

  bool begun() const { return issued >= 0; }
};

// Of one layer, or of the whole program. What says "cores" is summed over the cores that compute.
struct LayerTime {
  int64_t layer = 0;
  // Time of the cores until the end of each command of the layer from the end of the command before: over all layers
  // these come to Timeline::end_ticks for each core that computes.
  int64_t core_ticks = 0;
  int64_t busy_core_ticks = 0;
  std::array<int64_t, kStallCount> stall_core_ticks{};  // by StallOn; with busy_core_ticks they come to core_ticks
  int64_t transfer_ticks = 0;                           // of the DMA channels, from first byte to last, summed
  int64_t decode_ticks = 0;                             // of the weight decoders
  int64_t commands = 0;
  std::array<int64_t, kProductKinds> products{};  // by ProductKind
  int64_t values = 0;                             // of the post-processing units
  int64_t adds = 0;                               // of Winograd transforms
  int64_t ddr_activation_bytes_read = 0;
  int64_t ddr_weight_bytes_read = 0;
  int64_t ddr_bytes_written = 0;
  int64_t ddr_bus_bytes = 0;
  int64_t sram_bytes_read = 0;
  int64_t sram_bytes_written = 0;
  int64_t cache_bytes = 0;  // weight caches, read and written
  int64_t line_bytes = 0;
  int64_t sum_bytes = 0;  // accumulators

  int64_t ddr_bytes() const { return ddr_activation_bytes_read + ddr_weight_bytes_read + ddr_bytes_written; }
  int64_t stall_ticks() const;
  int64_t all_products() const;
};

// Adds to `sum` what a layer comes to, `times` times over.
void add_layer(const LayerTime& layer, int64_t times, LayerTime& sum);

struct Timeline {
  Machine machine;
  int64_t passes = 1;                 // of the program, a frame each, one after the other
  int64_t end_ticks = 0;              // of the last pass: its last command is done
  int64_t ddr_busy_ticks = 0;         // something is under way in external memory
  int64_t cores = 1;                  // that compute
  std::vector<CommandTime> commands;  // of one pass; none where there are several
  std::vector<LayerTime> layers;      // ascending by layer
  LayerTime total;

  int64_t cycles() const;
  double seconds() const;  // of all passes
  double frames_a_second() const;
  // Of `layer`, or of `total`: products by what the machine's arrays could do of i8 in the time, 0 to 1.
  double utilisation(const LayerTime& layer) const;
  // Cycles of the program that a layer accounts for.
  double cycles_of_layer(const LayerTime& layer) const;
};

}  // namespace hai::sd3403
