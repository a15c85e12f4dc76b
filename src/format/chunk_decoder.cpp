// Expanding chunks of weights: what the runtime carries of compression, 11 KB of libdeflate.
//
// Method: libdeflate expands from one buffer into one buffer and never beyond either; the caller has allocated the
// chunk's declared size, at most 1 MiB, so that there is nothing to blow up. Both sizes must fit to the byte. Not here:
// compression (chunk_encoder.cpp), which a device does not need.
#include <libdeflate.h>

#include <cstring>
#include <memory>

#include "format/chunk_coding.h"

namespace hai::format {
namespace {

struct Release {
  void operator()(libdeflate_decompressor* decompressor) const { libdeflate_free_decompressor(decompressor); }
};

// The inverse of the encoder's sorting.
void merge_bytes(std::span<const std::byte> sorted, size_t element_bytes, std::span<std::byte> out) {
  const size_t count = out.size() / element_bytes;
  for (size_t place = 0; place < element_bytes; ++place) {
    const std::byte* from = sorted.data() + place * count;
    std::byte* to = out.data() + place;
    for (size_t i = 0; i < count; ++i) to[i * element_bytes] = from[i];
  }
  const size_t done = count * element_bytes;
  if (done < out.size()) std::memcpy(out.data() + done, sorted.data() + done, out.size() - done);
}

}  // namespace

bool is_known_coding(uint32_t number) {
  switch (static_cast<ChunkCoding>(number)) {
    case ChunkCoding::kRaw:
    case ChunkCoding::kDeflate:
    case ChunkCoding::kDeflateOf2:
    case ChunkCoding::kDeflateOf4:
      return true;
  }
  return false;
}

Status decode_chunk(ChunkCoding coding, std::span<const std::byte> stored, std::span<std::byte> out,
                    std::vector<std::byte>& scratch) {
  if (coding == ChunkCoding::kRaw) {
    HAI_CHECK(stored.size() == out.size());
    if (!out.empty()) std::memcpy(out.data(), stored.data(), out.size());
    return {};
  }
  const std::unique_ptr<libdeflate_decompressor, Release> decompressor(libdeflate_alloc_decompressor());
  if (!decompressor) return make_error(StatusCode::kResourceExhausted, "F060", "no memory to expand weights");
  std::span<std::byte> target = out;
  if (coding != ChunkCoding::kDeflate) {
    scratch.resize(out.size());
    target = scratch;
  }
  size_t read = 0;
  size_t written = 0;
  const libdeflate_result result = libdeflate_deflate_decompress_ex(decompressor.get(), stored.data(), stored.size(),
                                                                    target.data(), target.size(), &read, &written);
  if (result != LIBDEFLATE_SUCCESS || read != stored.size() || written != target.size()) {
    return make_error(StatusCode::kCorrupt, "F061",
                      "a compressed chunk of {} bytes does not expand to exactly {} bytes; get the file again",
                      stored.size(), out.size());
  }
  if (coding != ChunkCoding::kDeflate) merge_bytes(scratch, static_cast<size_t>(coding), out);
  return {};
}

}  // namespace hai::format
