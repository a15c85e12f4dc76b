// WeightCache: what a core's weight cache holds while a program is made ready, and where each byte came from.
//
// Streams are constants, so what lies in the cache when a command runs is known before the program runs. A range of the
// cache has a key: equal keys mean equal bytes, so that commands that use the same weights share what is made of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "base/result.h"

namespace hai::sd3403 {

using CacheKey = std::vector<int64_t>;

class WeightCache {
 public:
  explicit WeightCache(int64_t size_bytes) : bytes_(static_cast<size_t>(size_bytes)) {}

  // Precondition: the range lies inside. `stream`: equal numbers for equal bytes.
  void load(int64_t address, int64_t stream, std::span<const std::byte> bytes);

  // Valid until the next load. Error N064 where no stream has written. Precondition: the range lies inside.
  Result<std::span<const std::byte>> read(int64_t address, int64_t count) const;

  // Appends what names these bytes. Precondition: read() gave them.
  void append_key(int64_t address, int64_t count, CacheKey& key) const;

 private:
  struct Part {
    int64_t end;
    int64_t stream;
    int64_t offset;  // of the part's first byte in the stream
  };
  // The part that holds a byte; end() where none does.
  std::map<int64_t, Part>::const_iterator part_at(int64_t address) const;

  std::vector<std::byte> bytes_;
  std::map<int64_t, Part> parts_;  // by first byte; they do not overlap
};

}  // namespace hai::sd3403
