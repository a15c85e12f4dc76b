// The section weight_chunks of a file with compressed weights: where each chunk lies, how it is stored, its digest.
//
//   offset  bytes
//   0       8      size of the weights once expanded
//   8       4      bytes of a chunk: 1 MiB; the last one is shorter
//   12      4      reserved (0)
//   then for each chunk
//   0       4      stored bytes; chunks lie one after the other in the section compressed_weights
//   4       4      coding (ChunkCoding)
//   8       32     SHA-256 of the stored bytes
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "format/chunk_coding.h"
#include "format/container.h"

namespace hai::format {

struct WeightChunk {
  int64_t offset_bytes = 0;  // in the file
  int64_t stored_bytes = 0;
  ChunkCoding coding = ChunkCoding::kRaw;
  Sha256Digest digest{};  // of the stored bytes
};

struct WeightChunks {
  int64_t expanded_bytes = 0;
  std::vector<WeightChunk> chunks;
};

// A small file must not ask for much memory: weights may expand to 64 times their stored size, or to 64 MiB. Pruning
// nine weights of ten gives a factor of 8; who has more zeros stores them as they are.
bool is_plausible_expansion(int64_t stored_bytes, int64_t expanded_bytes);

std::vector<std::byte> encode_weight_chunks(int64_t expanded_bytes, std::span<const WeightChunk> chunks);

// Every number against every other and against `weights`, the section of the stored chunks, before anything is
// allocated for it.
Result<WeightChunks> decode_weight_chunks(std::span<const std::byte> bytes, const Section& weights);

}  // namespace hai::format
