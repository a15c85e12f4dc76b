// How a chunk of weights is stored in a file: as it is, or compressed by DEFLATE (RFC 1951), after its bytes were
// sorted by their place in the element where that helps: exponents of f32 beside exponents.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"

namespace hai::format {

// Numbers are written into files: never renumber.
enum class ChunkCoding : uint32_t {
  kRaw = 0,
  kDeflate = 1,
  kDeflateOf2 = 2,  // all first bytes of elements of two bytes, then all second ones; what is left over at the end
  kDeflateOf4 = 4,  // likewise of four
};

struct CodedChunk {
  ChunkCoding coding = ChunkCoding::kRaw;
  std::vector<std::byte> bytes;  // empty when raw: the chunk itself
};

// The best coding and the bytes that it could save, estimated from the frequencies of bytes: cheap, and nearly right
// for weights, in which nothing repeats.
struct EstimatedCoding {
  ChunkCoding coding = ChunkCoding::kDeflate;
  int64_t saved_bytes = 0;
};
EstimatedCoding estimate_coding(std::span<const std::byte> chunk);

// Deterministic for one version of the library. kRaw when nothing is gained.
CodedChunk encode_chunk(std::span<const std::byte> chunk);

// Undoes the coding: fills `out` exactly from exactly `stored`, or is an error: hostile bytes cannot make it write or
// read anything else. `scratch` is kept between calls to spare allocations.
Status decode_chunk(ChunkCoding coding, std::span<const std::byte> stored, std::span<std::byte> out,
                    std::vector<std::byte>& scratch);

// A coding that this version knows.
bool is_known_coding(uint32_t number);

}  // namespace hai::format
