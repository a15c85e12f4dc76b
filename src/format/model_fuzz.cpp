// Fuzz target: the reader of .hai files. The first byte chooses whether digests are put right first, so that the fuzzer
// gets behind them; then everything is read, and what was read must verify and survive a round trip.
#include <cstdlib>
#include <cstring>
#include <vector>

#include "format/container.h"
#include "format/model.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace hai::format {
namespace {

template <typename T>
T load(const std::vector<std::byte>& bytes, size_t offset) {
  T value{};
  if (offset + sizeof(T) <= bytes.size()) std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

void store_digest(std::vector<std::byte>& bytes, size_t at, const Sha256Digest& digest) {
  if (at + digest.size() <= bytes.size()) std::memcpy(bytes.data() + at, digest.data(), digest.size());
}

// Of the stored chunks, as far as the index of compressed weights describes them.
void put_chunk_digests_right(std::vector<std::byte>& bytes, uint64_t index, uint64_t index_bytes, uint64_t stored,
                             uint64_t stored_bytes) {
  for (uint64_t entry = 16; entry + 40 <= index_bytes; entry += 40) {
    const auto size = load<uint32_t>(bytes, index + entry);
    if (size > stored_bytes) return;
    store_digest(bytes, index + entry + 8, sha256(std::span(bytes).subspan(stored, size)));
    stored += size;
    stored_bytes -= size;
  }
}

// Digests of sections, of chunks of weights where there is room for them, and of the header.
void put_digests_right(std::vector<std::byte>& bytes) {
  const auto count = load<uint32_t>(bytes, 16);
  if (count > kMaxSections || bytes.size() < 64 + 256ULL * count) return;
  for (uint32_t pass = 0; pass < 2; ++pass) {
    for (uint32_t i = 0; i < count; ++i) {
      const size_t entry = 64 + 256ULL * i;
      const auto offset = load<uint64_t>(bytes, entry + 8);
      const auto length = load<uint64_t>(bytes, entry + 16);
      if (offset > bytes.size() || length > bytes.size() - offset) continue;
      const Sha256Digest digest = sha256(std::span(bytes).subspan(offset, length));
      const auto kind = load<uint32_t>(bytes, entry);
      if (kind == static_cast<uint32_t>(SectionKind::kCompressedWeights) && i > 0) {
        const auto index = load<uint64_t>(bytes, entry - 256 + 8);
        const auto index_bytes = load<uint64_t>(bytes, entry - 256 + 16);
        if (pass == 0 && index <= bytes.size() && index_bytes <= bytes.size() - index) {
          put_chunk_digests_right(bytes, index, index_bytes, offset, length);
        }
        if (pass == 1) std::memcpy(bytes.data() + entry + 64, bytes.data() + entry - 256 + 64, 32);
        continue;
      }
      if (kind != static_cast<uint32_t>(SectionKind::kWeights)) {
        store_digest(bytes, entry + 64, digest);
        continue;
      }
      // One chunk is enough for a fuzzer: its digest stands in the section before the weights.
      if (pass == 0 && i > 0) store_digest(bytes, load<uint64_t>(bytes, entry - 256 + 8), digest);
      if (pass == 1 && i > 0) std::memcpy(bytes.data() + entry + 64, bytes.data() + entry - 256 + 64, 32);
    }
  }
  const auto file_size = static_cast<uint64_t>(bytes.size());
  std::memcpy(bytes.data() + 24, &file_size, 8);
  Sha256 hash;
  hash.update(std::span(bytes).first(32));
  hash.update(std::span(bytes).subspan(64, 256ULL * count));
  store_digest(bytes, 32, hash.finish());
}

}  // namespace
}  // namespace hai::format

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hai::format;
  if (size == 0) return 0;
  const auto* begin = reinterpret_cast<const std::byte*>(data);
  std::vector<std::byte> bytes(begin + 1, begin + size);
  if (bytes.size() >= 64 && data[0] % 2 == 1) put_digests_right(bytes);
  const auto model = parse_model(bytes);
  if (!model) return 0;
  const auto again = serialize(*model);
  if (!again || !parse_model(*again)) std::abort();
  return 0;
}
