// The coding of weight streams: how what a WeightLoad expands is stored in fewer bytes, without loss.
//
// A coded stream is a row of blocks, each of which holds the next 128 bytes of what it expands to; the last block holds
// what is left. A block is coded by itself but for what its kind takes from the bytes before it:
//
//   header   1 byte: bits 0-3 shift, bits 4-5 kind (StreamValues), bits 6-7 form (BlockForm)
//   mask     form kMasked: a bit a value, ceil(values / 8) bytes: 1 where the value is not zero
//   least    form kMasked: 1 byte, 1 to 255
//   low      kRice, kMasked: the low `shift` bits of each remainder, ceil(remainders x shift / 8) bytes
//   high     kRice, kMasked: the other bits of each in unary, as many 0 and then a 1; whole bytes, at most 512 bits
//   bytes    kPlain: the block's bytes
//
// Bits count from the least significant of the first byte; what fills up a last byte is 0. A value v is coded as z = 2v
// where it is not negative, and as -2v - 1 where it is. The remainder of a value is z with form kRice; with form
// kMasked it is z - least, and values that are zero have none. shift is below the bits of a value, and 0 where it is
// not used. All this stands, with measurements and reasons, in docs/reference/sd3403_weight_streams.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"

namespace hai::sd3403 {

// Bits 0 to 7 of the word `form` of a stream's entry; bits 8 to 31 are the check of the stream as stored.
enum StreamForm : int64_t { kPlainStream = 0, kCodedStream = 1 };

// CRC-24 of a stream as it is stored: what the weight path holds the bytes against that come from external memory.
uint32_t stream_check(std::span<const std::byte> stored);
uint32_t stream_form_word(StreamForm form, std::span<const std::byte> stored);

// Numbers are written into files: never renumber.
enum class BlockForm : uint8_t {
  kRice = 0,
  kMasked = 1,
  kZero = 2,   // all values are zero; nothing follows the header
  kPlain = 3,  // kind and shift are 0
};

// What a block's values are. Those of 16 bits are little-endian, and the block has an even number of bytes. What would
// lie before the stream is 0; differences wrap.
enum class StreamValues : uint8_t {
  kBytes = 0,
  kBytesLessRow = 1,  // less the byte 16 before: what the table of channels, and taps of a depthwise window, share
  kWords = 2,
  kWordsLessLast = 3,  // less the word before: tables of functions and positions
};

inline constexpr size_t kStreamBlockBytes = 128;
inline constexpr size_t kMostHighBits = 512;  // of a block: what four cycles of a decoder look at

// The coded stream; empty where it would not be smaller. The same bytes give the same stream always.
std::vector<std::byte> compress_stream(std::span<const std::byte> bytes);

// Writes all of `out`. The coded bytes may be hostile: nothing is read or written beyond them and `out`. Error N063
// says which block is wrong and why.
Status expand_stream(std::span<const std::byte> coded, std::span<std::byte> out);

}  // namespace hai::sd3403
