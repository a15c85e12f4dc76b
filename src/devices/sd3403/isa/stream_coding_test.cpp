// Round trips, a decoder that is written bit by bit from the header's text and must agree with the fast one on sound
// and on damaged streams, and every way in which a stream can be wrong.
#include "devices/sd3403/isa/stream_coding.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <optional>
#include <random>

namespace hai::sd3403 {
namespace {

using Bytes = std::vector<std::byte>;

Bytes bytes_of(const std::vector<int>& values) {
  Bytes out;
  for (const int value : values) out.push_back(static_cast<std::byte>(value));
  return out;
}

// The whole of what a coded stream says, or nothing.
class BitByBit {
 public:
  BitByBit(const Bytes& coded, size_t size) : coded_(coded), size_(size) {}
  std::optional<Bytes> run() {
    while (sound_ && out_.size() < size_) block(std::min<size_t>(128, size_ - out_.size()));
    if (!sound_ || at_ != coded_.size()) return std::nullopt;
    return out_;
  }

 private:
  int byte() {
    if (at_ < coded_.size()) return std::to_integer<int>(coded_[at_++]);
    sound_ = false;
    return 0;
  }
  int bit() {
    if (bit_ == 0) held_ = byte();
    const int value = held_ >> bit_ & 1;
    bit_ = (bit_ + 1) % 8;
    return value;
  }
  void fill_up() {
    while (bit_ != 0) sound_ = bit() == 0 && sound_;
  }
  int before(size_t distance, int width) const {
    int value = 0;
    for (int i = width - 1; i >= 0; --i) {
      const size_t at = out_.size() + static_cast<size_t>(i);
      value = value << 8 | (at < distance ? 0 : std::to_integer<int>(out_[at - distance]));
    }
    return value;
  }
  void block(size_t size) {
    const int header = byte();
    const int shift = header & 15;
    const int kind = header >> 4 & 3;
    const int form = header >> 6;
    const int width = kind < 2 ? 1 : 2;
    const size_t count = size / static_cast<size_t>(width);
    if (form == 3) {
      sound_ = sound_ && header == 0xc0;
      for (size_t i = 0; i < size; ++i) out_.push_back(static_cast<std::byte>(byte()));
      return;
    }
    if (shift >= 8 * width || (form == 2 && shift != 0) || size % static_cast<size_t>(width) != 0) sound_ = false;
    std::vector<int> present(count, form == 2 ? 0 : 1);
    int least = 0;
    if (form == 1) {
      for (int& one : present) one = bit();
      fill_up();
      least = byte();
      if (least == 0 || std::count(present.begin(), present.end(), 1) == 0) sound_ = false;
    }
    std::vector<int> codes(count, 0);
    for (size_t i = 0; i < count; ++i) {
      for (int b = 0; present[i] != 0 && b < shift; ++b) codes[i] |= bit() << b;
    }
    fill_up();
    int high = 0;
    for (size_t i = 0; i < count && sound_; ++i) {
      if (present[i] == 0) continue;
      int quotient = 0;
      for (++high; bit() == 0 && sound_; ++high) ++quotient;
      codes[i] += (quotient << shift) + least;
      if (codes[i] >> (8 * width) != 0) sound_ = false;
    }
    fill_up();
    if (high > 512) sound_ = false;
    for (const int code : codes) {
      int value = code % 2 == 0 ? code / 2 : -(code + 1) / 2;
      if (kind == 1) value += before(16, 1);
      if (kind == 3) value += before(2, 2);
      for (int i = 0; i < width; ++i) out_.push_back(static_cast<std::byte>(value >> (8 * i)));
    }
  }

  const Bytes& coded_;
  size_t size_;
  Bytes out_;
  size_t at_ = 0;
  int bit_ = 0, held_ = 0;
  bool sound_ = true;
};

std::optional<Bytes> expanded(const Bytes& coded, size_t size) {
  // Its own allocation, so that a sanitizer sees what is read or written beyond it.
  const Bytes exact(coded.begin(), coded.end());
  Bytes out(size);
  const Status status = expand_stream(exact, out);
  if (status) return out;
  EXPECT_EQ(status.error().id, "N063");
  return std::nullopt;
}

// Weights as quantizers leave them, `zeros` of them pruned.
Bytes weights(std::mt19937& random, size_t size, double deviation, double zeros) {
  std::normal_distribution<double> normal(0.0, deviation);
  std::bernoulli_distribution zero(zeros);
  Bytes out(size);
  for (std::byte& b : out) {
    const double value = std::clamp(normal(random), -127.0, 127.0);
    b = static_cast<std::byte>(zero(random) ? 0 : static_cast<int>(value));
  }
  return out;
}

Bytes words(size_t count, const std::function<int(int)>& value) {
  Bytes out;
  for (size_t i = 0; i < count; ++i) {
    const int word = value(static_cast<int>(i));
    out.push_back(static_cast<std::byte>(word));
    out.push_back(static_cast<std::byte>(word >> 8));
  }
  return out;
}

// Streams of every sort that a program has, and of none.
std::vector<Bytes> samples(std::mt19937& random) {
  std::vector<Bytes> out;
  for (const size_t size :
       std::initializer_list<size_t>{0, 1, 2, 15, 16, 17, 127, 128, 129, 255, 256, 257, 1000, 4096, 4111}) {
    for (const double zeros : {0.0, 0.3, 0.7, 0.95, 1.0}) {
      for (const double deviation : {0.6, 3.0, 12.0, 40.0, 400.0})
        out.push_back(weights(random, size, deviation, zeros));
    }
    Bytes noise(size);
    for (std::byte& b : noise) b = static_cast<std::byte>(random());
    out.push_back(noise);
    out.push_back(Bytes(size, std::byte{0xff}));
    out.push_back(Bytes(size, std::byte{0x80}));
    Bytes one(size);
    if (size != 0) one[random() % size] = std::byte{0x80};
    out.push_back(one);
  }
  for (const int slope : {0, 1, 3, 17, 300, 5000, 32768})
    out.push_back(words(1000, [&](int i) { return i * slope / 4 - 20000; }));
  out.push_back(words(500, [](int i) { return i % 2 == 0 ? 32767 : -32768; }));
  out.push_back(words(500, [&](int) { return static_cast<int>(random() % 2000) - 1000; }));
  return out;
}

TEST(StreamCoding, RoundTripsAndNeverExpands) {
  std::mt19937 random(1);
  size_t coded_streams = 0;
  for (int round = 0; round < 10; ++round) {
    for (const Bytes& stream : samples(random)) {
      const Bytes coded = compress_stream(stream);
      if (coded.empty()) continue;
      ++coded_streams;
      EXPECT_LT(coded.size(), stream.size());
      ASSERT_EQ(expanded(coded, stream.size()), stream);
      ASSERT_EQ(BitByBit(coded, stream.size()).run(), stream);
      ASSERT_EQ(compress_stream(stream), coded);
    }
  }
  EXPECT_GT(coded_streams, 2000U);
}

TEST(StreamCoding, NoiseStaysAsItIs) {
  std::mt19937 random(2);
  for (const size_t size : std::initializer_list<size_t>{1, 16, 128, 4096}) {
    Bytes noise(size);
    for (std::byte& b : noise) b = static_cast<std::byte>(random());
    EXPECT_TRUE(compress_stream(noise).empty());
  }
}

// Bytes of a stream that hold its size to what its statistics allow: entropy, and what a block of 128 costs.
TEST(StreamCoding, SizesAreNearTheEntropy) {
  std::mt19937 random(3);
  const auto share = [&](double deviation, double zeros) {
    const size_t size = 1 << 16;
    return static_cast<double>(compress_stream(weights(random, size, deviation, zeros)).size()) / size;
  };
  // A rounded normal distribution has log2(4.133 deviation) bits.
  EXPECT_LT(share(30, 0.0), 1.04 * 6.954 / 8);
  EXPECT_LT(share(8, 0.0), 1.06 * 5.047 / 8);
  EXPECT_LT(share(30, 0.5), 0.5 * 1.04 * 6.954 / 8 + 1.2 / 8);
  EXPECT_LT(share(30, 0.9), 0.1 * 1.04 * 6.954 / 8 + 1.5 / 8);
  EXPECT_EQ(compress_stream(Bytes(1 << 16)).size(), 512U);
  EXPECT_LT(compress_stream(words(1 << 12, [](int i) { return 8 * i - 16384; })).size(), 64U * (1 + 8 + 1 + 8) + 100);
}

// The format, byte for byte: a change here breaks every file.
TEST(StreamCoding, BytesAreThoseOfTheReference) {
  // By Rice with shift 1: values 1, -1, 3, -4 have codes 2, 1, 6, 7; low bits 0, 1, 0, 1; quotients 1, 0, 3, 3.
  EXPECT_EQ(expanded(bytes_of({0x01, 0b1010, 0b01000110, 0b100}), 4), bytes_of({1, -1, 3, -4}));
  // Masked: values 5 and -5 have codes 10 and 9; with least 9 and shift 0 remainders 1 and 0.
  EXPECT_EQ(expanded(bytes_of({0x40, 0b1010, 9, 0b110}), 4), bytes_of({0, 5, 0, -5}));
  // Words 1, -2 and words less the last 2, 2, 2, whose codes are 4.
  EXPECT_EQ(expanded(bytes_of({0x21, 0b10, 0b1010}), 4), bytes_of({1, 0, -2, -1}));
  EXPECT_EQ(expanded(bytes_of({0x32, 0, 0b101010}), 6), bytes_of({2, 0, 4, 0, 6, 0}));
  EXPECT_EQ(expanded(bytes_of({0x80}), 4), bytes_of({0, 0, 0, 0}));
  EXPECT_EQ(expanded(bytes_of({0xc0, 1, 2, 3, 4}), 4), bytes_of({1, 2, 3, 4}));
  // Rows: a plain block, and another that repeats its last row.
  Bytes rows = bytes_of({0xc0});
  Bytes want;
  for (int i = 0; i < 128; ++i) want.push_back(static_cast<std::byte>(i * i));
  rows.insert(rows.end(), want.begin(), want.end());
  rows.push_back(std::byte{0x90});
  for (int i = 0; i < 20; ++i) want.push_back(want[112 + static_cast<size_t>(i) % 16]);
  EXPECT_EQ(expanded(rows, 148), want);
}

TEST(StreamCoding, Refuses) {
  const auto reason = [](const std::vector<int>& coded, size_t size) -> std::string {
    const Bytes bytes = bytes_of(coded);
    Bytes out(size);
    const Status status = expand_stream(bytes, out);
    return status ? "" : status.error().message;
  };
  const auto has = [&](const std::vector<int>& coded, size_t size, std::string_view text) {
    const std::string message = reason(coded, size);
    EXPECT_NE(message.find(text), std::string::npos) << message;
  };
  has({}, 4, "block 0: it is missing");
  has({0x80}, 129, "block 1: it is missing");
  has({0x80, 0}, 4, "has 1 bytes behind its last block");
  has({0}, 0, "has 1 bytes behind its last block");
  has({0xc0, 1, 2}, 4, "block 0: it is cut off");
  has({0xc1, 1, 2, 3, 4}, 4, "a plain block has a kind or shift");
  has({0xd0, 1, 2, 3, 4}, 4, "a plain block has a kind or shift");
  has({0x82}, 4, "a block of zeros has a shift");
  has({0xa0}, 3, "words in an odd number of bytes");
  has({0x08, 0, 0, 0, 0}, 4, "the shift is as large as a value");
  has({0x01, 0x1a, 0xff}, 4, "the low bits are filled up with ones");
  has({0x00, 0x1f}, 4, "the high bits are filled up with ones");
  has({0x00, 0x07}, 4, "the high bits do not end");
  has({0x40, 0x1a, 1, 0x03}, 4, "the mask is filled up with ones");
  has({0x40, 0x00, 1, 0x03}, 4, "the mask has no ones");
  has({0x40, 0x0a, 0, 0x03}, 4, "the least code is 0");
  has({0x47, 0x01, 250, 0x06, 0x01}, 4, "a value does not fit its type");
  has({0x07, 0x00, 0x00, 0x00, 0x00, 0x3c}, 4, "a value does not fit its type");
}

// Bits that flip, bytes that go missing, come in or change, sizes that lie: the fast decoder says what the slow one
// says, and what is cut off or too long is always found.
TEST(StreamCoding, DamagedStreams) {
  std::mt19937 random(4);
  size_t refused = 0;
  size_t all = 0;
  for (int round = 0; round < 40; ++round) {
    for (const Bytes& stream : samples(random)) {
      const Bytes coded = compress_stream(stream);
      if (coded.empty()) continue;
      Bytes bad = coded;
      size_t size = stream.size();
      const size_t at = random() % bad.size();
      const auto place = bad.begin() + static_cast<std::ptrdiff_t>(at);
      const auto sort = random() % 6;
      if (sort == 0) *place ^= static_cast<std::byte>(1U << random() % 8);
      if (sort == 1) *place = static_cast<std::byte>(random());
      if (sort == 2) bad.resize(at);
      if (sort == 3) bad.insert(place, static_cast<std::byte>(random()));
      if (sort == 4) bad.erase(place, place + static_cast<std::ptrdiff_t>(random() % (bad.size() - at)));
      if (sort == 5) size = random() % (2 * size + 200);
      const auto got = expanded(bad, size);
      ASSERT_EQ(got, BitByBit(bad, size).run());
      if (sort == 2) {
        ASSERT_EQ(got, std::nullopt);
      }
      refused += got ? 0 : 1;
      ++all;
    }
  }
  EXPECT_GT(all, 8000U);
  EXPECT_GT(refused, all / 2);
}

TEST(StreamCoding, RandomBytesAsStreams) {
  std::mt19937 random(5);
  size_t taken = 0;
  for (int round = 0; round < 100000; ++round) {
    Bytes coded(random() % 24);
    for (std::byte& b : coded) b = static_cast<std::byte>(random() % 4 == 0 ? random() : random() & 0x91U);
    const size_t size = random() % 40;
    const auto got = expanded(coded, size);
    ASSERT_EQ(got, BitByBit(coded, size).run());
    taken += got && size > 0 ? 1 : 0;
  }
  EXPECT_GT(taken, 100U);
}

// Bit by bit, from RFC 4880's text with the bits of each byte and of the result turned round.
uint32_t check_by_bits(std::span<const std::byte> bytes) {
  uint32_t crc = 0xb704ce;
  for (const std::byte byte : bytes) {
    for (int bit = 0; bit < 8; ++bit) {
      const uint32_t in = std::to_integer<uint32_t>(byte) >> bit & 1U;
      const bool out = ((crc >> 23 & 1U) ^ in) != 0;
      crc = (crc << 1 & 0xffffffU) ^ (out ? 0x864cfbU : 0U);
    }
  }
  uint32_t reversed = 0;
  for (int bit = 0; bit < 24; ++bit) reversed |= (crc >> bit & 1U) << (23 - bit);
  return reversed;
}

TEST(StreamCheck, IsTheCrcOfItsDefinition) {
  std::mt19937 random(5);
  for (size_t size = 0; size < 70; ++size) {
    std::vector<std::byte> bytes(size);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
    EXPECT_EQ(stream_check(bytes), check_by_bits(bytes)) << size;
    EXPECT_EQ(stream_form_word(kCodedStream, bytes), 1U | check_by_bits(bytes) << 8);
  }
}

}  // namespace
}  // namespace hai::sd3403
