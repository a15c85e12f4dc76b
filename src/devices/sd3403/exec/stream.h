// Streams of weights and tables: how a program's constants name them.
//
// A WeightLoad names an entry of 16 bytes among the constants; the entry says where the stream lies, how long it is,
// what it expands to and in which form it is stored (isa/stream_coding.h). So a program stays as it is when training
// makes a stream longer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "devices/sd3403/isa/stream_coding.h"

namespace hai::sd3403 {

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

}  // namespace hai::sd3403
