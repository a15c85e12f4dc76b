// Encoding of the section weight_chunks, and decoding with every check.
//
// Invariant of what decode_weight_chunks returns: as many chunks as the expanded size needs, each stored in at least
// one byte and fewer than it expands to, or raw in exactly as many; together they fill the section of the stored
// chunks; the expanded size is plausible for the stored one. So a reader may allocate by these numbers.
#include "format/weight_chunks.h"

#include <algorithm>
#include <cstring>

#include "base/checked.h"
#include "format/stored_numbers.h"

namespace hai::format {
namespace {

constexpr int64_t kHeadBytes = 16;
constexpr int64_t kEntryBytes = 40;
constexpr int64_t kLargestExpansion = 64;
constexpr int64_t kExpansionFloorBytes = int64_t{64} << 20;

}  // namespace

bool is_plausible_expansion(int64_t stored_bytes, int64_t expanded_bytes) {
  return expanded_bytes <= kExpansionFloorBytes || expanded_bytes / kLargestExpansion <= stored_bytes;
}

std::vector<std::byte> encode_weight_chunks(int64_t expanded_bytes, std::span<const WeightChunk> chunks) {
  std::vector<std::byte> bytes(static_cast<size_t>(kHeadBytes + kEntryBytes * static_cast<int64_t>(chunks.size())));
  store(bytes, 0, static_cast<uint64_t>(expanded_bytes));
  store(bytes, 8, static_cast<uint32_t>(kWeightChunkBytes));
  auto at = static_cast<size_t>(kHeadBytes);
  for (const WeightChunk& chunk : chunks) {
    store(bytes, at, static_cast<uint32_t>(chunk.stored_bytes));
    store(bytes, at + 4, static_cast<uint32_t>(chunk.coding));
    store(bytes, at + 8, chunk.digest);
    at += kEntryBytes;
  }
  return bytes;
}

Result<WeightChunks> decode_weight_chunks(std::span<const std::byte> bytes, const Section& weights) {
  const auto size = static_cast<int64_t>(bytes.size());
  const auto wrong = [&](std::string_view what) {
    return make_error(StatusCode::kCorrupt, "F064", "section weight_chunks of {} bytes: {}; get the file again", size,
                      what);
  };
  if (size < kHeadBytes) return wrong("it is too short");
  const auto expanded = load<uint64_t>(bytes, 0);
  if (expanded == 0 || expanded > static_cast<uint64_t>(kMaxFileBytes))
    return wrong("the size of the weights is out of range");
  WeightChunks result;
  result.expanded_bytes = static_cast<int64_t>(expanded);
  if (load<uint32_t>(bytes, 8) != static_cast<uint32_t>(kWeightChunkBytes) || load<uint32_t>(bytes, 12) != 0) {
    return make_error(StatusCode::kUnsupported, "F065",
                      "compressed weights with chunks of {} bytes, which this version does not know; update HAI",
                      load<uint32_t>(bytes, 8));
  }
  const int64_t count = ceil_div(result.expanded_bytes, kWeightChunkBytes);
  if (size - kHeadBytes != count * kEntryBytes) return wrong("it does not describe each chunk once");
  if (!is_plausible_expansion(weights.size_bytes, result.expanded_bytes)) {
    return make_error(
        StatusCode::kCorrupt, "F066",
        "{} bytes of compressed weights claim to expand to {}, beyond the limit of {} times; get the file "
        "from where you trust it",
        weights.size_bytes, result.expanded_bytes, kLargestExpansion);
  }
  result.chunks.resize(static_cast<size_t>(count));
  int64_t done = 0;
  for (int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<size_t>(kHeadBytes + i * kEntryBytes);
    const int64_t chunk_bytes = std::min(kWeightChunkBytes, result.expanded_bytes - i * kWeightChunkBytes);
    const auto stored = static_cast<int64_t>(load<uint32_t>(bytes, at));
    const auto coding = load<uint32_t>(bytes, at + 4);
    if (!is_known_coding(coding)) {
      return make_error(
          StatusCode::kUnsupported, "F067",
          "chunk {} of the compressed weights has coding {}, which this version does not know; update HAI", i, coding);
    }
    const bool raw = coding == static_cast<uint32_t>(ChunkCoding::kRaw);
    if (raw ? stored != chunk_bytes : (stored < 1 || stored >= chunk_bytes)) {
      return wrong("a chunk's stored size is out of range");
    }
    if (stored > weights.size_bytes - done) return wrong("the chunks are longer than the section that holds them");
    WeightChunk& chunk = result.chunks[static_cast<size_t>(i)];
    chunk.offset_bytes = weights.offset_bytes + done;
    chunk.stored_bytes = stored;
    chunk.coding = static_cast<ChunkCoding>(coding);
    std::memcpy(chunk.digest.data(), bytes.data() + at + 8, chunk.digest.size());
    done += stored;
  }
  if (done != weights.size_bytes) return wrong("the chunks do not fill the section that holds them");
  return result;
}

}  // namespace hai::format
