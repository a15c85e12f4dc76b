// Choosing how to code each block of a stream.
//
// Every kind is tried with and without a mask. The best shift of a Rice code lies within one of the logarithm of the
// mean remainder, so three are counted exactly instead of all.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "devices/sd3403/isa/stream_coding.h"

namespace hai::sd3403 {
namespace {

constexpr size_t kRowBytes = 16;
// A mask without zeros pays where all codes are large and near each other: slopes of tables.
constexpr unsigned kSmallestWorthIt = 4;

struct Values {
  std::array<uint16_t, kStreamBlockBytes> codes;  // 2v or -2v - 1; zero where there is no value
  size_t count;
  unsigned bits;  // of a value
};

struct Choice {
  BlockForm form = BlockForm::kPlain;
  StreamValues kind = StreamValues::kBytes;
  unsigned shift = 0, least = 0;
  size_t bytes = 0;  // with the header
};

constexpr size_t bytes_for_bits(size_t bits) { return (bits + 7) / 8; }

// A block and the row before it. Loops over all of it have a fixed length, so that compilers use vectors.
using Window = std::array<uint8_t, kRowBytes + kStreamBlockBytes>;

void byte_values(const Window& window, size_t size, bool less_row, Values& out) {
  const unsigned keep = less_row ? 0xffU : 0;
  for (size_t i = 0; i < kStreamBlockBytes; ++i) {
    const auto value = static_cast<int8_t>(window[kRowBytes + i] - (window[i] & keep));
    out.codes[i] = static_cast<uint8_t>(value << 1 ^ value >> 7);
  }
  out.count = size;
  out.bits = 8;
}

void word_values(const Window& window, size_t size, bool less_last, Values& out) {
  std::array<uint16_t, kStreamBlockBytes / 2 + 1> words;
  std::memcpy(words.data(), window.data() + kRowBytes - 2, sizeof words);
  const unsigned keep = less_last ? 0xffffU : 0;
  for (size_t i = 0; i < kStreamBlockBytes / 2; ++i) {
    const auto value = static_cast<int16_t>(words[i + 1] - (words[i] & keep));
    out.codes[i] = static_cast<uint16_t>(value << 1 ^ value >> 15);
  }
  out.count = size / 2;
  out.bits = 16;
}

// Of numbers with that sum, each shifted right: each loses less than 1. It spares most of the exact counts.
size_t least_sum_of_quotients(size_t sum, size_t count, unsigned shift) {
  const size_t lost = count * ((size_t{1} << shift) - 1);
  return sum > lost ? (sum - lost) >> shift : 0;
}

// Takes a Rice code of the `count` values that are not below `least`, where it is smaller. A header and whatever lies
// before the low bits have `fixed` bytes.
void try_rice(const Values& values, Choice candidate, size_t fixed, size_t count, Choice& best) {
  std::array<uint16_t, kStreamBlockBytes> remainders;
  const auto least = static_cast<uint16_t>(candidate.least);
  uint32_t sum = 0;
  for (size_t i = 0; i < kStreamBlockBytes; ++i) {
    remainders[i] = static_cast<uint16_t>(std::max(values.codes[i], least) - least);
    sum += remainders[i];
  }
  const auto middle = static_cast<unsigned>(std::bit_width(sum / count));
  for (unsigned shift = middle < 2 ? 0 : middle - 2; shift <= std::min(middle, values.bits - 1); ++shift) {
    const size_t at_least = count * shift + count + least_sum_of_quotients(sum, count, shift);
    if (fixed + bytes_for_bits(at_least) >= best.bytes) continue;
    uint32_t quotients = 0;
    for (size_t i = 0; i < kStreamBlockBytes; ++i) quotients += static_cast<uint32_t>(remainders[i]) >> shift;
    const size_t high = quotients + count;
    candidate.shift = shift;
    candidate.bytes = fixed + bytes_for_bits(count * shift) + bytes_for_bits(high);
    if (high <= kMostHighBits && candidate.bytes < best.bytes) best = candidate;
  }
}

void try_kind(const Values& values, StreamValues kind, Choice& best) {
  uint16_t ones = 0;  // values that are not zero
  for (size_t i = 0; i < kStreamBlockBytes; ++i) ones = static_cast<uint16_t>(ones + (values.codes[i] != 0 ? 1 : 0));
  // The smallest of their codes, less 1; and less 32768 while it is looked for, as SSE2 has minima of signed words
  // only.
  int16_t signed_smallest = INT16_MAX;
  for (size_t i = 0; i < kStreamBlockBytes; ++i)
    signed_smallest = std::min(signed_smallest, static_cast<int16_t>(values.codes[i] - 1 - 32768));
  const auto smallest = static_cast<unsigned>(signed_smallest + 32768);
  if (ones == 0) {
    if (best.bytes > 1) best = {BlockForm::kZero, kind, 0, 0, 1};
    return;
  }
  try_rice(values, {BlockForm::kRice, kind}, 1, values.count, best);
  if (ones == values.count && smallest < kSmallestWorthIt) return;
  const unsigned least = std::min(smallest + 1, 255U);
  try_rice(values, {BlockForm::kMasked, kind, 0, least}, 2 + bytes_for_bits(values.count), ones, best);
}

// Appends to `out`, which has room for a block and a word more.
class BitWriter {
 public:
  explicit BitWriter(uint8_t* out) : at_(out) {}
  uint8_t* end() const { return at_; }
  void byte(unsigned value) { *at_++ = static_cast<uint8_t>(value); }
  // At most 32 of them, not behind unary().
  void bits(uint64_t value, unsigned count) {
    held_ |= value << filled_;
    filled_ += count;
    if (filled_ < 64) return;
    store();
    held_ = value >> (count - filled_);
  }
  // As many 0, then a 1.
  void unary(unsigned zeros) {
    for (filled_ += zeros; filled_ >= 64; held_ = 0) store();
    held_ |= uint64_t{1} << filled_++;
  }
  void fill_up() {
    std::memcpy(at_, &held_, sizeof held_);
    at_ += bytes_for_bits(filled_);
    held_ = filled_ = 0;
  }

 private:
  void store() {
    std::memcpy(at_, &held_, sizeof held_);
    at_ += sizeof held_;
    filled_ -= 64;
  }

  uint8_t* at_;
  uint64_t held_ = 0;
  unsigned filled_ = 0;
};

// The codes that have remainders, and the mask of form kMasked before them.
size_t write_mask(const Values& values, BitWriter& writer, uint16_t* present) {
  size_t count = 0;
  for (size_t i = 0; i < values.count; i += 8) {
    unsigned mask = 0;
    for (size_t k = i; k < std::min(i + 8, values.count); ++k) {
      const unsigned one = values.codes[k] != 0 ? 1 : 0;
      present[count] = values.codes[k];
      count += one;
      mask |= one << (k - i);
    }
    writer.byte(mask);
  }
  return count;
}

// Behind `begin`, where there is room for a block and a word more; the end.
uint8_t* write_block(const Values& values, const Choice& choice, uint8_t* begin) {
  BitWriter writer(begin);
  writer.byte(choice.shift | static_cast<unsigned>(choice.kind) << 4 | static_cast<unsigned>(choice.form) << 6);
  if (choice.form == BlockForm::kZero) return writer.end();
  std::array<uint16_t, kStreamBlockBytes + 1> present;
  const uint16_t* codes = values.codes.data();
  size_t count = values.count;
  if (choice.form == BlockForm::kMasked) {
    count = write_mask(values, writer, present.data());
    codes = present.data();
    writer.byte(choice.least);
  }
  const unsigned low = (1U << choice.shift) - 1;
  for (size_t i = 0; i < count; ++i) writer.bits((codes[i] - choice.least) & low, choice.shift);
  writer.fill_up();
  for (size_t i = 0; i < count; ++i) writer.unary((codes[i] - choice.least) >> choice.shift);
  writer.fill_up();
  return writer.end();
}

// The block at `at` of the stream, written behind `out`; the end.
uint8_t* compress_block(std::span<const std::byte> stream, size_t at, size_t size, uint8_t* out) {
  Window window{};
  const size_t before = std::min(at, kRowBytes);
  std::memcpy(window.data() + kRowBytes - before, stream.data() + at - before, before + size);
  Choice best;
  best.bytes = 1 + size;
  std::array<Values, 4> values;
  for (unsigned kind = 0; kind < (size % 2 == 0 ? 4U : 2U); ++kind) {
    if (kind < 2) {
      byte_values(window, size, kind == 1, values[kind]);
    } else {
      word_values(window, size, kind == 3, values[kind]);
    }
    uint16_t* codes = values[kind].codes.data();
    std::fill(codes + values[kind].count, codes + kStreamBlockBytes, uint16_t{0});
    try_kind(values[kind], static_cast<StreamValues>(kind), best);
  }
  if (best.form != BlockForm::kPlain) return write_block(values[static_cast<size_t>(best.kind)], best, out);
  *out++ = static_cast<uint8_t>(static_cast<unsigned>(BlockForm::kPlain) << 6);
  std::memcpy(out, stream.data() + at, size);
  return out + size;
}

}  // namespace

std::vector<std::byte> compress_stream(std::span<const std::byte> bytes) {
  constexpr size_t kRoom = kStreamBlockBytes + 16;  // a plain block, and words that are written whole
  const size_t blocks = (bytes.size() + kStreamBlockBytes - 1) / kStreamBlockBytes;
  std::vector<std::byte> out(bytes.size() + blocks + kRoom);
  auto* const begin = reinterpret_cast<uint8_t*>(out.data());
  uint8_t* end = begin;
  for (size_t at = 0; at < bytes.size(); at += kStreamBlockBytes)
    end = compress_block(bytes, at, std::min(kStreamBlockBytes, bytes.size() - at), end);
  const auto size = static_cast<size_t>(end - begin);
  out.resize(size < bytes.size() ? size : 0);
  return out;
}

}  // namespace hai::sd3403
