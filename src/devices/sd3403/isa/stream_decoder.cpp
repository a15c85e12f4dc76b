// Expanding coded streams.
//
// All of it may come from a hostile file. A block takes at most kMostBlockBytes, so that one with as many bytes ahead
// of it is read without looking for the end; the last ones are copied to where zeros follow them, and what a block took
// is held against what was left. Zeros never end a unary number, so that nothing made of them is taken for a value.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "devices/sd3403/isa/stream_coding.h"

namespace hai::sd3403 {
namespace {

constexpr size_t kRowBytes = 16;
constexpr size_t kMostValues = kStreamBlockBytes;
// Header, mask, least, low bits of 64 remainders of 15 or 128 of 7, high bits; and what words of 8 bytes read beyond.
constexpr size_t kMostBlockBytes = 1 + kMostValues / 8 + 1 + 120 + kMostHighBits / 8 + 8;

uint64_t load_u64(const uint8_t* at) {
  uint64_t word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

using Values = std::array<uint16_t, kMostValues + 8>;  // of a block; then scratch

struct Block {
  unsigned shift, value_bits;
  StreamValues kind;
  BlockForm form;
  size_t values;  // that it holds
  const uint8_t* at;
  std::string_view error;  // what is wrong, where something is

  bool refuse(std::string_view what) {
    error = what;
    return false;
  }
};

struct Remainders {
  Values quotients, low;
  size_t count = 0;
};

// What a byte has: how many ones and where (behind it: 8), as unary numbers the zeros before each, and the zeros after
// the last.
struct BitsOfByte {
  std::array<uint16_t, 8> quotients;
  std::array<uint8_t, 8> places;
  uint32_t count, zeros_after;
};

constexpr std::array<BitsOfByte, 256> kBitsOfBytes = [] {
  std::array<BitsOfByte, 256> table{};
  for (unsigned byte = 0; byte < 256; ++byte) {
    BitsOfByte& entry = table[byte];
    entry.places.fill(8);
    for (unsigned bit = 0; bit < 8; ++bit) {
      if ((byte >> bit & 1U) != 0) {
        entry.places[entry.count] = static_cast<uint8_t>(bit);
        entry.quotients[entry.count++] = static_cast<uint16_t>(entry.zeros_after);
        entry.zeros_after = 0;
      } else {
        ++entry.zeros_after;
      }
    }
  }
  return table;
}();

// Eight numbers of `shift` bits, at most 8, from `shift` bytes.
void read_eight(const uint8_t* at, unsigned shift, uint16_t* out) {
  const uint64_t one = (uint64_t{1} << shift) - 1;
  const uint64_t two = (uint64_t{1} << 2 * shift) - 1;
  const uint64_t four = (uint64_t{1} << 4 * shift) - 1;
  const uint64_t word = load_u64(at);
  for (int half = 0; half < 2; ++half) {
    uint64_t x = (half == 0 ? word : word >> 4 * shift) & four;
    x = (x & two) | (x >> 2 * shift) << 32;
    x = (x & (one | one << 32)) | ((x >> shift) & (one | one << 32)) << 16;
    std::memcpy(out + 4 * half, &x, sizeof x);
  }
}

bool filled_with_zeros(const uint8_t* begin, size_t bits) { return bits % 8 == 0 || begin[bits / 8] >> bits % 8 == 0; }

bool read_low_bits(Block& block, Remainders& r) {
  const size_t bits = r.count * block.shift;
  if (!filled_with_zeros(block.at, bits)) return block.refuse("the low bits are filled up with ones");
  if (block.shift == 0) {
    std::fill_n(r.low.begin(), r.count, uint16_t{0});
  } else if (block.shift <= 8) {
    const uint8_t* at = block.at;
    for (size_t i = 0; i < r.count; i += 8, at += block.shift) read_eight(at, block.shift, r.low.data() + i);
  } else {
    const unsigned mask = (1U << block.shift) - 1;
    for (size_t i = 0, bit = 0; i < r.count; ++i, bit += block.shift)
      r.low[i] = static_cast<uint16_t>((load_u64(block.at + bit / 8) >> bit % 8) & mask);
  }
  block.at += (bits + 7) / 8;
  return true;
}

bool read_high_bits(Block& block, Remainders& r) {
  size_t found = 0;
  unsigned zeros = 0;  // since the last 1
  for (size_t i = 0; found < r.count; ++i) {
    if (i == kMostHighBits / 8) return block.refuse("the high bits do not end");
    const BitsOfByte& entry = kBitsOfBytes[*block.at++];
    std::array<uint64_t, 2> quotients;
    std::memcpy(quotients.data(), entry.quotients.data(), sizeof quotients);
    quotients[0] += zeros;  // at most 512, to the first of four
    std::memcpy(&r.quotients[found], quotients.data(), sizeof quotients);
    found += entry.count;
    zeros = entry.zeros_after + (entry.count == 0 ? zeros : 0);
  }
  return found == r.count || block.refuse("the high bits are filled up with ones");
}

// Values of the remainders; false where one does not fit. A fixed number of rounds and 16 bits throughout, so that
// compilers use vectors; behind the last remainder there are zeros, which fit.
bool join(const Block& block, const Remainders& r, unsigned least, uint16_t* out) {
  const auto quotient_unit = static_cast<uint16_t>(1U << block.shift);
  const auto least_code = static_cast<uint16_t>(least);
  uint16_t quotients = 0;
  uint16_t codes = 0;
  uint16_t wrapped = 0;
  for (size_t i = 0; i < kMostValues; ++i) {
    const auto code = static_cast<uint16_t>(r.quotients[i] * quotient_unit + r.low[i] + least_code);
    quotients = static_cast<uint16_t>(quotients | r.quotients[i]);
    codes = static_cast<uint16_t>(codes | code);
    wrapped = static_cast<uint16_t>(wrapped | (code < least_code ? 1 : 0));
    out[i] = static_cast<uint16_t>(code >> 1 ^ (0 - (code & 1)));
  }
  return quotients >> (block.value_bits - block.shift) == 0 && codes >> block.value_bits == 0 && wrapped == 0;
}

// The values of forms kRice and kMasked, without what their kind adds.
bool read_values(Block& block, uint16_t* out) {
  Remainders r;
  r.count = block.values;
  const uint8_t* mask = block.at;
  unsigned least = 0;
  if (block.form == BlockForm::kMasked) {
    if (!filled_with_zeros(mask, block.values)) return block.refuse("the mask is filled up with ones");
    r.count = 0;
    for (size_t i = 0; i < (block.values + 7) / 8; ++i) r.count += kBitsOfBytes[mask[i]].count;
    if (r.count == 0) return block.refuse("the mask has no ones");
    block.at += (block.values + 7) / 8;
    least = *block.at++;
    if (least == 0) return block.refuse("the least code is 0");
  }
  if (!read_low_bits(block, r) || !read_high_bits(block, r)) return false;
  std::fill(r.quotients.begin() + static_cast<std::ptrdiff_t>(r.count), r.quotients.end(), uint16_t{0});
  std::fill(r.low.begin() + static_cast<std::ptrdiff_t>(r.count), r.low.end(), uint16_t{0});
  Values dense{};
  const bool masked = block.form == BlockForm::kMasked;
  if (!join(block, r, least, masked ? dense.data() : out)) return block.refuse("a value does not fit its type");
  if (!masked) return true;
  // Eight at a time; what a byte lacks goes to the place behind it, which is cleared next.
  const uint16_t* next = dense.data();
  for (size_t i = 0; i < block.values; i += 8) {
    const BitsOfByte& entry = kBitsOfBytes[mask[i / 8]];
    std::fill_n(out + i, 8, uint16_t{0});
    for (size_t k = 0; k < 8; ++k) out[i + entry.places[k]] = next[k];
    next += entry.count;
  }
  return true;
}

// Adds what the kind of a block takes from before it and writes its `size` bytes; `stream` is all that was written, and
// the block begins at `done`. Sums are formed for a whole block, whatever its size.
void write_values(const Block& block, const Values& values, uint8_t* stream, size_t done, size_t size) {
  std::array<uint8_t, kRowBytes + kStreamBlockBytes> bytes{};  // behind the row before
  if (done != 0) std::memcpy(bytes.data(), stream + done - kRowBytes, kRowBytes);
  if (block.kind == StreamValues::kBytes) {
    for (size_t i = 0; i < kStreamBlockBytes; ++i) bytes[kRowBytes + i] = static_cast<uint8_t>(values[i]);
  } else if (block.kind == StreamValues::kBytesLessRow) {
    std::array<uint8_t, kRowBytes> row;
    std::memcpy(row.data(), bytes.data(), kRowBytes);
    for (size_t first = 0; first < kStreamBlockBytes; first += kRowBytes) {
      for (size_t i = 0; i < kRowBytes; ++i) row[i] = static_cast<uint8_t>(row[i] + values[first + i]);
      std::memcpy(bytes.data() + kRowBytes + first, row.data(), kRowBytes);
    }
  } else if (block.kind == StreamValues::kWords) {
    std::memcpy(bytes.data() + kRowBytes, values.data(), kStreamBlockBytes);
  } else {
    std::array<uint16_t, kStreamBlockBytes / 2> words;
    uint16_t last;
    std::memcpy(&last, bytes.data() + kRowBytes - 2, sizeof last);
    for (size_t i = 0; i < words.size(); ++i) words[i] = last = static_cast<uint16_t>(last + values[i]);
    std::memcpy(bytes.data() + kRowBytes, words.data(), sizeof words);
  }
  std::memcpy(stream + done, bytes.data() + kRowBytes, size);
}

// Reads the block at block.at, and moves it behind.
bool expand_block(Block& block, uint8_t* stream, size_t done, size_t size) {
  const unsigned header = *block.at++;
  block.shift = header & 0xfU;
  block.kind = static_cast<StreamValues>(header >> 4 & 3U);
  block.form = static_cast<BlockForm>(header >> 6);
  const bool words = block.kind == StreamValues::kWords || block.kind == StreamValues::kWordsLessLast;
  block.value_bits = words ? 16 : 8;
  block.values = words ? size / 2 : size;
  if (words && size % 2 != 0) return block.refuse("words in an odd number of bytes");
  if (block.form == BlockForm::kPlain) {
    if (header != static_cast<unsigned>(BlockForm::kPlain) << 6)
      return block.refuse("a plain block has a kind or shift");
    std::memcpy(stream + done, block.at, size);
    block.at += size;
    return true;
  }
  Values values{};
  if (block.form == BlockForm::kZero) {
    if (block.shift != 0) return block.refuse("a block of zeros has a shift");
  } else {
    if (block.shift >= block.value_bits) return block.refuse("the shift is as large as a value");
    if (!read_values(block, values.data())) return false;
  }
  write_values(block, values, stream, done, size);
  return true;
}

}  // namespace

Status expand_stream(std::span<const std::byte> coded, std::span<std::byte> out) {
  auto* stream = reinterpret_cast<uint8_t*>(out.data());
  Block block{};
  block.at = reinterpret_cast<const uint8_t*>(coded.data());
  size_t left = coded.size();
  std::array<uint8_t, 2 * kMostBlockBytes> tail;  // the last bytes, and zeros
  bool in_tail = false;
  size_t done = 0;
  for (; done < out.size() && block.error.empty(); done += std::min(kStreamBlockBytes, out.size() - done)) {
    if (!in_tail && left < kMostBlockBytes) {
      in_tail = true;
      tail.fill(0);
      std::copy_n(block.at, left, tail.begin());
      block.at = tail.data();
    }
    const uint8_t* begin = block.at;
    const size_t size = std::min(kStreamBlockBytes, out.size() - done);
    if (left == 0) {
      block.error = "it is missing";
    } else if (expand_block(block, stream, done, size)) {
      const auto taken = static_cast<size_t>(block.at - begin);
      if (taken > left) block.error = "it is cut off";
      left -= std::min(taken, left);
    }
    if (!block.error.empty()) break;
  }
  if (block.error.empty() && left == 0) return {};
  if (block.error.empty()) {
    return make_error(StatusCode::kCorrupt, "N063",
                      "a coded stream of {} bytes that expands to {} has {} bytes behind its last block", coded.size(),
                      out.size(), left);
  }
  return make_error(StatusCode::kCorrupt, "N063", "a coded stream of {} bytes that expands to {}: block {}: {}",
                    coded.size(), out.size(), done / kStreamBlockBytes, block.error);
}

}  // namespace hai::sd3403
