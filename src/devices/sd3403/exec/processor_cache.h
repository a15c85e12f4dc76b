// WeightCache: what a core's weight cache holds while a program is made ready, and where each byte came from.
//
// Streams are constants, so what lies in the cache when a command runs is known before the program runs. A range of the
// cache has a key: equal keys mean equal bytes, so that commands that use the same weights share what is made of them.
// What weight_pack makes is known only then: such ranges can be named, not read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "base/result.h"

namespace hai::sd3403 {

using CacheKey = std::vector<int64_t>;

// What a WeightPack makes while a program runs. A run keeps the tile's elements, one pixel after the other, where the
// blocks would lie (which have as many bytes or more), since kernels want another layout than blocks.
struct PackedTile {
  int64_t address = 0;
  int64_t inputs = 0, outputs = 0;  // channels of the convolution
  bool by_outputs = false;          // a pixel has the inputs of one output; else the outputs of one input
  uint8_t flip = 0;                 // 0x80: u8, used less 128
};

class WeightCache {
 public:
  explicit WeightCache(int64_t size_bytes) : bytes_(static_cast<size_t>(size_bytes)) {}

  // Precondition: the range lies inside. `stream`: equal numbers for equal bytes.
  void load(int64_t address, int64_t stream, std::span<const std::byte> bytes);

  // The blocks of the tile have `count` bytes.
  void load_packed(const PackedTile& tile, int64_t count);
  // The tile whose blocks are exactly this range; null where it is anything else.
  const PackedTile* packed_at(int64_t address, int64_t count) const;

  // Valid until the next load. Error N064 where no stream has written. Precondition: the range lies inside.
  Result<std::span<const std::byte>> read(int64_t address, int64_t count) const;

  // Appends what names these bytes. Precondition: read() gave them.
  void append_key(int64_t address, int64_t count, CacheKey& key) const;

 private:
  static constexpr int64_t kPacked = -1;
  struct Part {
    int64_t end;
    int64_t stream;  // kPacked: made by a WeightPack
    int64_t offset;  // of the part's first byte in the stream
  };
  // The part that holds a byte; end() where none does.
  std::map<int64_t, Part>::const_iterator part_at(int64_t address) const;

  void place(int64_t address, int64_t count, int64_t stream);

  std::vector<std::byte> bytes_;
  std::map<int64_t, Part> parts_;         // by first byte; they do not overlap
  std::map<int64_t, PackedTile> packed_;  // by address: the last one there
};

}  // namespace hai::sd3403
