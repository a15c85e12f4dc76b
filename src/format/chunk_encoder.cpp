// Compressing chunks of weights.
//
// Method: DEFLATE through libdeflate. Trained weights hardly repeat, so nearly all of the gain is entropy coding of
// bytes that are not equally frequent; which way of sorting bytes gives the least entropy is estimated first, and only
// that one is compressed. Sorting bytes by their place in the element is the well-known shuffle of scientific formats
// (Masui et al., 2015): sign and exponent of f32 become a stretch of their own. Constants begin at multiples of 64, so
// that places of bytes never shift inside a chunk. Level 6: higher ones gain under 1 % for several times the time.
#include <libdeflate.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>

#include "format/chunk_coding.h"

namespace hai::format {
namespace {

constexpr int kLevel = 6;

struct Release {
  void operator()(libdeflate_compressor* compressor) const { libdeflate_free_compressor(compressor); }
};

// Bytes that an ideal entropy coder of single bytes would need, each place of the element coded by itself.
double entropy_bytes(std::span<const std::byte> chunk, size_t element_bytes) {
  std::vector<uint32_t> counts(256 * element_bytes, 0);
  for (size_t i = 0; i < chunk.size(); ++i) ++counts[256 * (i % element_bytes) + std::to_integer<size_t>(chunk[i])];
  double bits = 0;
  for (size_t place = 0; place < element_bytes; ++place) {
    const size_t elements = (chunk.size() + element_bytes - 1 - place) / element_bytes;
    const auto total = static_cast<double>(elements);
    for (size_t value = 0; value < 256; ++value) {
      const double count = counts[256 * place + value];
      if (count > 0) bits -= count * std::log2(count / total);
    }
  }
  return bits / 8;
}

// Pieces from all over a chunk, of whole elements: enough for frequencies.
std::vector<std::byte> sample_of(std::span<const std::byte> chunk) {
  constexpr size_t kPieces = 8;
  constexpr size_t kPieceBytes = 8192;
  if (chunk.size() <= 2 * kPieces * kPieceBytes) return {chunk.begin(), chunk.end()};
  std::vector<std::byte> sample;
  for (size_t i = 0; i < kPieces; ++i) {
    const auto piece = chunk.subspan(chunk.size() / kPieces * i / 4 * 4, kPieceBytes);
    sample.insert(sample.end(), piece.begin(), piece.end());
  }
  return sample;
}

// The coding with the least entropy and its bytes; sorting must save a hundredth more to be worth its time.
std::pair<ChunkCoding, double> best_coding(std::span<const std::byte> chunk) {
  const std::vector<std::byte> sample = sample_of(chunk);
  std::pair<ChunkCoding, double> best{ChunkCoding::kDeflate, entropy_bytes(sample, 1)};
  for (const ChunkCoding coding : {ChunkCoding::kDeflateOf2, ChunkCoding::kDeflateOf4}) {
    const double bytes = entropy_bytes(sample, static_cast<size_t>(coding));
    if (bytes + 0.01 * static_cast<double>(sample.size()) < best.second) best = {coding, bytes};
  }
  best.second *= static_cast<double>(chunk.size()) / static_cast<double>(std::max<size_t>(sample.size(), 1));
  return best;
}

std::vector<std::byte> sort_bytes(std::span<const std::byte> chunk, size_t element_bytes) {
  std::vector<std::byte> sorted(chunk.begin(), chunk.end());
  const size_t count = chunk.size() / element_bytes;
  for (size_t place = 0; place < element_bytes; ++place) {
    for (size_t i = 0; i < count; ++i) sorted[place * count + i] = chunk[i * element_bytes + place];
  }
  return sorted;
}

}  // namespace

EstimatedCoding estimate_coding(std::span<const std::byte> chunk) {
  const auto [coding, bytes] = best_coding(chunk);
  return {coding, static_cast<int64_t>(chunk.size()) - static_cast<int64_t>(bytes)};
}

CodedChunk encode_chunk(std::span<const std::byte> chunk) {
  const std::unique_ptr<libdeflate_compressor, Release> compressor(libdeflate_alloc_compressor(kLevel));
  if (!compressor || chunk.size() < 2) return {};  // no memory: stored as it is
  const ChunkCoding coding = best_coding(chunk).first;
  std::vector<std::byte> sorted;
  if (coding != ChunkCoding::kDeflate) {
    sorted = sort_bytes(chunk, static_cast<size_t>(coding));
    chunk = sorted;
  }
  CodedChunk result{coding, std::vector<std::byte>(chunk.size() - 1)};
  result.bytes.resize(libdeflate_deflate_compress(compressor.get(), chunk.data(), chunk.size(), result.bytes.data(),
                                                  result.bytes.size()));
  if (result.bytes.empty()) return {};  // not smaller
  return result;
}

}  // namespace hai::format
