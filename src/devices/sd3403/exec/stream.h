// Streams of weights and tables: how a program's constants name them.
//
// A WeightLoad names an entry of 16 bytes among the constants; the entry says where the stream lies, how long it is,
// what it expands to, in which form it is stored and the check of its bytes (isa/stream_coding.h). So a program stays
// as it is when training makes a stream longer.
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
  uint32_t check = 0;  // of the stored bytes
  bool operator==(const StreamEntry&) const = default;
};

// The entry at byte `at` of the constants, checked: it lies inside, its stream lies inside, its form is known, it says
// `expanded_bytes`, and a plain stream has just as many, a coded one fewer. Error N062 says what is wrong.
Result<StreamEntry> read_stream_entry(std::span<const std::byte> constants, int64_t at, int64_t expanded_bytes);

// Error N055: the stored bytes do not have the check that their entry says. Not a part of read_stream_entry(), since
// times follow from lengths alone.
Status check_stream(const StreamEntry& entry, std::span<const std::byte> stored);

}  // namespace hai::sd3403
