// Reading stream entries.
//
// Everything here may come from a hostile file: offsets and lengths are held against the constants before anything is
// read, in 64 bits, where the sum of two 32-bit fields does not wrap.
#include "devices/sd3403/exec/stream.h"

#include "devices/sd3403/isa/command.h"

namespace hai::sd3403 {
namespace {

int64_t word_at(std::span<const std::byte> bytes, int64_t at) {
  uint32_t word = 0;
  for (size_t i = 0; i < 4; ++i) word |= std::to_integer<uint32_t>(bytes[static_cast<size_t>(at) + i]) << (8 * i);
  return word;
}

}  // namespace

Result<StreamEntry> read_stream_entry(std::span<const std::byte> constants, int64_t at, int64_t expanded_bytes) {
  const auto size = static_cast<int64_t>(constants.size());
  if (at < 0 || at > size - kStreamEntryBytes) {
    return make_error(StatusCode::kCorrupt, "N062",
                      "a stream's entry at byte {} is outside of the {} bytes of constants", at, size);
  }
  const StreamEntry entry{word_at(constants, at), word_at(constants, at + 4), word_at(constants, at + 8),
                          word_at(constants, at + 12) & 0xff, static_cast<uint32_t>(word_at(constants, at + 12) >> 8)};
  const bool inside = entry.offset <= size && entry.bytes <= size - entry.offset;
  const bool known = entry.form == kPlainStream || entry.form == kCodedStream;
  // What coding would not make smaller is plain, so that a wrong bit of the form is seen.
  const bool whole =
      entry.form == kPlainStream ? entry.bytes == entry.expanded_bytes : entry.bytes < entry.expanded_bytes;
  if (inside && known && whole && entry.expanded_bytes == expanded_bytes) return entry;
  return make_error(StatusCode::kCorrupt, "N062",
                    "the stream's entry at byte {} says offset {}, {} bytes that expand to {}, form {}; there are {} "
                    "bytes of constants, forms 0 (of as many bytes) and 1 (of fewer), and the command expands {} bytes",
                    at, entry.offset, entry.bytes, entry.expanded_bytes, entry.form, size, expanded_bytes);
}

Status check_stream(const StreamEntry& entry, std::span<const std::byte> stored) {
  const uint32_t found = stream_check(stored);
  if (found == entry.check) return {};
  return make_error(StatusCode::kCorrupt, "N055",
                    "the stream of {} bytes at byte {} of the constants has the check {:06x}, its entry says {:06x}: "
                    "the stream or its entry is damaged",
                    entry.bytes, entry.offset, found, entry.check);
}

}  // namespace hai::sd3403
