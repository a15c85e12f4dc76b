// Fuzz target: coded streams. The first two bytes say how many bytes a stream expands to; the rest is the stream. What
// expands must be the same when it is expanded again from memory of exactly its size, and bytes that are compressed
// must come back. Function curves are read from the same bytes.
#include <cstdlib>
#include <cstring>
#include <vector>

#include "devices/sd3403/isa/curve.h"
#include "devices/sd3403/isa/stream_coding.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace hai::sd3403 {
namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void check(std::span<const std::byte> coded, size_t expanded_size) {
  const std::vector<std::byte> stored(coded.begin(), coded.end());  // so that a sanitizer sees a read beyond
  std::vector<std::byte> expanded(expanded_size, std::byte{0x5a});
  if (expand_stream(stored, expanded)) {
    std::vector<std::byte> again(expanded_size, std::byte{0xa5});
    require(expand_stream(stored, again).has_value() && again == expanded);
    const std::vector<std::byte> shorter = compress_stream(expanded);
    if (!shorter.empty()) {
      require(shorter.size() < expanded.size());
      require(expand_stream(shorter, again).has_value() && again == expanded);
    }
  }
  const auto entries = static_cast<int64_t>(stored.size()) / curve_bytes(kCurvePiece) * kCurvePiece;
  require(static_cast<int64_t>(expand_curve(stored, entries).size()) == entries);
  const std::vector<std::byte> mine = compress_stream(stored);
  if (mine.empty()) return;
  std::vector<std::byte> back(stored.size());
  require(expand_stream(mine, back).has_value() && back == stored);
}

}  // namespace
}  // namespace hai::sd3403

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const size_t expanded = data[0] | size_t{data[1]} << 8;
  hai::sd3403::check({reinterpret_cast<const std::byte*>(data + 2), size - 2}, expanded);
  return 0;
}
