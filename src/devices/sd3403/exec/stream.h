// Streams of weights and tables: how a program's constants name them, and how they are expanded.
//
// A WeightLoad names an entry of 16 bytes among the constants; the entry says where the stream lies, how long it is,
// what it expands to and in which form it is stored. So a program stays as it is when training makes a stream longer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"

namespace hai::sd3403 {

enum StreamForm : int64_t { kPlainStream = 0, kCodedStream = 1 };

struct StreamEntry {
  int64_t offset = 0;  // in the constants
  int64_t bytes = 0;   // as stored
  int64_t expanded_bytes = 0;
  int64_t form = kPlainStream;
  bool operator==(const StreamEntry&) const = default;
};

// The entry at byte `at` of the constants, checked: it lies inside, its stream lies inside, its form is known, it says
// `expanded_bytes`, and a plain stream has just as many. Error N062 says what is wrong.
Result<StreamEntry> read_stream_entry(std::span<const std::byte> constants, int64_t at, int64_t expanded_bytes);

// Writes all of `out`. Error N063: the bytes are no such stream.
Status expand_stream(std::span<const std::byte> coded, std::span<std::byte> out);

}  // namespace hai::sd3403
