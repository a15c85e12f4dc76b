// What memory a command reads and writes: for the verifier, for the compiler's semaphores and for counting bytes.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "devices/sd3403/isa/command.h"

namespace hai::sd3403 {

enum class Memory : uint8_t { kImage, kSram, kCache, kAccumulators };

// A box of bytes: `planes` of `rows` of `pixels` of `pixel_bytes`. Rows that wrap in a ring are two accesses.
struct Access {
  std::string_view field;  // for messages: "input"
  Memory memory = Memory::kSram;
  int64_t image = 0;  // of kImage; of kCache and kAccumulators the core
  bool writes = false;
  int64_t address = 0;
  int64_t planes = 1, plane_stride = 0;
  int64_t rows = 1, row_stride = 0;
  int64_t pixels = 1, pixel_stride = 0;
  int64_t pixel_bytes = 1;
  int64_t element_bytes = 1;  // address and strides are multiples of it
  int64_t moved_bytes = 0;    // what is read or written, which a ring or a stride of 0 makes less or more than the box

  // One past the last byte; in 64 bits, where no product of field bounds overflows.
  int64_t end() const {
    return address + (planes - 1) * plane_stride + (rows - 1) * row_stride + (pixels - 1) * pixel_stride + pixel_bytes;
  }
};

// Appends to `out`. Precondition: fields are within the bounds of commands.def and choices go together
// (program_verifier.h), rings hold their rows.
void accesses_of(const Command& command, std::vector<Access>& out);

// False only when no byte can be in both: disjoint stretches, or lanes of pixels that interleave without touching.
bool may_touch(const Access& a, const Access& b);

// Bytes of the weights of a Convolve, whole blocks.
int64_t weight_bytes(const Convolve& c);
// What it sums up for each output channel: pixels, or the taps of tiles.
int64_t sums_of(const Convolve& c);

// What a WeightPack makes: input and output channels of the convolution that reads it, and bytes of whole blocks.
constexpr int64_t packed_inputs(const WeightPack& c) { return c.transposes != 0 ? c.channels : c.rows * c.columns; }
constexpr int64_t packed_outputs(const WeightPack& c) { return c.transposes != 0 ? c.rows * c.columns : c.channels; }
int64_t pack_bytes(const WeightPack& c);

}  // namespace hai::sd3403
