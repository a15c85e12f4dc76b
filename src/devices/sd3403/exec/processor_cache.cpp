// The parts of a weight cache: a load replaces what it covers and cuts what it covers in part.
//
// Parts never overlap, and reading walks from one to the next, so that a byte that no part holds is found. Addresses
// have been held against the cache's size before (program_verifier.h).
#include "devices/sd3403/exec/processor_cache.h"

#include <algorithm>

namespace hai::sd3403 {

void WeightCache::load(int64_t address, int64_t stream, std::span<const std::byte> bytes) {
  std::copy(bytes.begin(), bytes.end(), bytes_.begin() + address);
  place(address, static_cast<int64_t>(bytes.size()), stream);
}

void WeightCache::load_packed(const PackedTile& tile, int64_t count) {
  place(tile.address, count, kPacked);
  packed_[tile.address] = tile;
}

const PackedTile* WeightCache::packed_at(int64_t address, int64_t count) const {
  const auto part = parts_.find(address);
  const bool whole = part != parts_.end() && part->second.stream == kPacked && part->second.offset == 0 &&
                     part->second.end == address + count;
  return whole ? &packed_.at(address) : nullptr;
}

void WeightCache::place(int64_t address, int64_t count, int64_t stream) {
  const int64_t end = address + count;
  auto at = parts_.lower_bound(address);
  if (at != parts_.begin()) {
    auto& [first, before] = *std::prev(at);
    if (before.end > end) parts_.emplace(end, Part{before.end, before.stream, before.offset + end - first});
    before.end = std::min(before.end, address);
  }
  while (at != parts_.end() && at->first < end) {
    const auto [first, part] = *at;
    at = parts_.erase(at);
    if (part.end > end) at = parts_.emplace(end, Part{part.end, part.stream, part.offset + end - first}).first;
  }
  parts_[address] = {end, stream, 0};
}

std::map<int64_t, WeightCache::Part>::const_iterator WeightCache::part_at(int64_t address) const {
  auto at = parts_.upper_bound(address);
  if (at == parts_.begin()) return parts_.end();
  --at;
  return address < at->second.end ? at : parts_.end();
}

Result<std::span<const std::byte>> WeightCache::read(int64_t address, int64_t count) const {
  for (int64_t at = address; at < address + count;) {
    const auto part = part_at(at);
    if (part == parts_.end()) {
      return make_error(StatusCode::kInvalidArgument, "N064",
                        "bytes {} to {} of the weight cache are read, and no stream has written byte {}", address,
                        address + count, at);
    }
    if (part->second.stream == kPacked) {
      return make_error(StatusCode::kUnsupported, "N078",
                        "bytes {} to {} of the weight cache are read, and a weight_pack makes byte {}: only a dense "
                        "convolution with i8 weights and a window of one tap reads those, all of one weight_pack",
                        address, address + count, at);
    }
    at = part->second.end;
  }
  return std::span(bytes_).subspan(static_cast<size_t>(address), static_cast<size_t>(count));
}

void WeightCache::append_key(int64_t address, int64_t count, CacheKey& key) const {
  key.push_back(count);
  for (int64_t at = address; at < address + count;) {
    const auto part = part_at(at);
    HAI_CHECK(part != parts_.end());
    key.push_back(part->second.stream);
    key.push_back(part->second.offset + at - part->first);
    at = part->second.end;
    key.push_back(at - address);
  }
}

}  // namespace hai::sd3403
