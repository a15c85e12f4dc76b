// Compressed weights: what goes in comes out, when it is done, what old readers say, and hostile files behind right
// digests.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <type_traits>

#include "base/file.h"
#include "format/container.h"
#include "format/model_reader.h"
#include "format/test_model.h"
#include "format/weight_chunks.h"

namespace hai::format {
namespace {

using Bytes = std::vector<std::byte>;
constexpr size_t kChunk = static_cast<size_t>(kWeightChunkBytes);

template <typename T>
Bytes normal(size_t size_bytes, double deviation, uint32_t seed, double zero_share = 0) {
  std::mt19937 random(seed);
  std::normal_distribution<double> values(0, deviation);
  Bytes bytes(size_bytes);
  for (size_t i = 0; i + sizeof(T) <= size_bytes; i += sizeof(T)) {
    const double value = static_cast<double>(random() % 1000) < zero_share * 1000 ? 0.0 : values(random);
    T element = 0;
    if constexpr (std::is_integral_v<T>) {
      element = static_cast<T>(std::clamp(std::round(value), double{std::numeric_limits<T>::lowest()},
                                          double{std::numeric_limits<T>::max()}));
    } else {
      element = static_cast<T>(value);
    }
    std::memcpy(bytes.data() + i, &element, sizeof(T));
  }
  return bytes;
}

Bytes noise(size_t size, uint32_t seed) {
  std::mt19937 random(seed);
  Bytes bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

ModelFile model_with(Bytes weights) {
  ModelFile model = testing::make_test_model();
  auto owner = std::make_shared<Bytes>(std::move(weights));
  model.weights.push_back({128, *owner, owner});
  return model;
}

Bytes file_of(const ModelFile& model, Compression compression = Compression::kAuto) {
  return serialize(model, {compression}).value();
}

Bytes weights_in(const Bytes& file) {
  const auto model = parse_model(file);
  EXPECT_TRUE(model) << model.error().to_string();
  if (!model) return {};
  Bytes bytes(static_cast<size_t>(model->weights_bytes()));
  for (const WeightPiece& piece : model->weights)
    std::memcpy(bytes.data() + piece.offset_bytes, piece.bytes.data(), piece.bytes.size());
  return bytes;
}

bool is_compressed(const Bytes& file) {
  return read_container(*memory_source(file))->find(SectionKind::kCompressedWeights) != nullptr;
}

// A file whose compressed weights may be changed, with every digest put right afterwards.
class Surgery {
 public:
  explicit Surgery(Bytes file) : file_(std::move(file)), container_(read_container(*memory_source(file_)).value()) {
    for (size_t i = 0; i < container_.sections.size(); ++i) {
      if (container_.sections[i].is(SectionKind::kWeightChunks)) index_ = i;
    }
  }
  std::byte* index() { return file_.data() + section(index_).offset_bytes; }
  size_t index_bytes() const { return static_cast<size_t>(section(index_).size_bytes); }
  std::byte* stored() { return file_.data() + section(index_ + 1).offset_bytes; }
  template <typename T>
  void set(size_t offset, T value) {
    std::memcpy(index() + offset, &value, sizeof(T));
  }
  // Of chunks as the index has them now; of the index; of the header.
  Bytes finish(bool chunks_too = true) {
    size_t at = 0;
    const auto stored_bytes = static_cast<size_t>(section(index_ + 1).size_bytes);
    for (size_t entry = 16; chunks_too && entry + 40 <= index_bytes(); entry += 40) {
      uint32_t size = 0;
      std::memcpy(&size, index() + entry, 4);
      if (size > stored_bytes - at) break;
      set(entry + 8, sha256(std::span(stored() + at, size)));
      at += size;
    }
    const Sha256Digest digest = sha256(std::span(index(), index_bytes()));
    for (const size_t i : {index_, index_ + 1}) std::memcpy(file_.data() + 64 + 256 * i + 64, digest.data(), 32);
    Sha256 hash;
    hash.update(std::span(file_).first(32));
    hash.update(std::span(file_).subspan(64, 256 * container_.sections.size()));
    const Sha256Digest header = hash.finish();
    std::memcpy(file_.data() + 32, header.data(), 32);
    return file_;
  }

 private:
  const Section& section(size_t i) const { return container_.sections[i]; }
  Bytes file_;
  Container container_;
  size_t index_ = 0;
};

std::string id_of(const Bytes& file) {
  const auto model = parse_model(file);
  return model ? std::string() : model.error().id;
}

TEST(CompressedWeights, RoundTripsOfEveryKind) {
  for (const size_t size : {size_t{1}, size_t{13}, size_t{5000}, kChunk - 1, kChunk + 52, 2 * kChunk}) {
    for (const Bytes& weights :
         {normal<float>(size, 0.05, 1), normal<int8_t>(size, 30, 2), normal<int16_t>(size, 900, 3), Bytes(size),
          noise(size, 4), normal<int8_t>(size, 30, 5, 0.5)}) {
      const ModelFile model = model_with(weights);
      const Bytes raw = file_of(model, Compression::kNever);
      EXPECT_FALSE(is_compressed(raw));
      const Bytes expected = weights_in(raw);
      for (const Compression compression : {Compression::kAuto, Compression::kAlways}) {
        const Bytes file = file_of(model, compression);
        EXPECT_LE(file.size(), raw.size());
        EXPECT_EQ(weights_in(file), expected);
        EXPECT_EQ(file_of(model, compression), file);
        EXPECT_EQ(file_of(*parse_model(file), compression), file);
      }
    }
  }
}

TEST(CompressedWeights, OnlyWhereItPays) {
  EXPECT_FALSE(is_compressed(file_of(model_with(noise(kChunk, 1)))));
  EXPECT_FALSE(is_compressed(file_of(model_with(noise(kChunk, 1)), Compression::kAlways)));
  EXPECT_FALSE(is_compressed(file_of(model_with(normal<int8_t>(5000, 30, 1, 0.4)))));  // too little to matter
  EXPECT_TRUE(is_compressed(file_of(model_with(normal<int8_t>(kChunk, 30, 1, 0.4)))));
  // i8 weights of large spread save a few per cent, f32 ones a seventh: not by default.
  for (const ModelFile& dense : {model_with(normal<int8_t>(kChunk, 42, 1)), model_with(normal<float>(kChunk, 1, 1))}) {
    EXPECT_FALSE(is_compressed(file_of(dense)));
    EXPECT_TRUE(is_compressed(file_of(dense, Compression::kAlways)));
  }
  // Exponents are sorted together: f32 shrinks by about a seventh, which plain compression does not reach.
  const Bytes file = file_of(model_with(normal<float>(4 * kChunk, 0.05, 7)), Compression::kAlways);
  EXPECT_LT(file.size(), 4 * kChunk * 87 / 100);
}

TEST(CompressedWeights, ReadsAnywhere) {
  const ModelFile model = model_with(normal<float>(3 * kChunk + 1234, 0.1, 11));
  const Bytes expected = weights_in(file_of(model, Compression::kNever));
  const Bytes file = file_of(model, Compression::kAlways);
  ASSERT_TRUE(is_compressed(file));
  const auto reader = ModelReader::open(memory_source(file), "m");
  ASSERT_TRUE(reader) << reader.error().to_string();
  ASSERT_TRUE((*reader)->verify_all());
  WeightReader weights(*reader);
  std::mt19937 random(5);
  for (int i = 0; i < 60; ++i) {
    const size_t size = 1 + random() % (i % 2 == 0 ? 5000 : expected.size() - 1);
    const size_t offset = random() % (expected.size() - size + 1);
    Bytes out(size);
    ASSERT_TRUE(weights.read(static_cast<int64_t>(offset), out));
    ASSERT_EQ(std::memcmp(out.data(), expected.data() + offset, size), 0) << offset << " " << size;
  }
  Bytes damaged = file;
  damaged[damaged.size() - 500] ^= std::byte{1};
  EXPECT_EQ(id_of(damaged), "F049");  // by its digest, before anything is expanded
}

TEST(CompressedWeights, AReaderWithoutCompressionRefusesByName) {
  Surgery surgery(file_of(model_with(normal<float>(kChunk, 1, 1)), Compression::kAlways));
  Bytes file = surgery.finish();
  const auto container = read_container(*memory_source(file));
  for (size_t i = 0; i < container->sections.size(); ++i) {
    if (!container->sections[i].is(SectionKind::kWeightChunks)) continue;
    for (const size_t entry : {64 + 256 * i, 64 + 256 * (i + 1)})
      file[entry + 1] = std::byte{77};  // kinds of the future
  }
  Sha256 hash;
  hash.update(std::span(file).first(32));
  hash.update(std::span(file).subspan(64, 256 * container->sections.size()));
  const Sha256Digest digest = hash.finish();
  std::memcpy(file.data() + 32, digest.data(), 32);
  const auto model = parse_model(file);
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, StatusCode::kUnsupported);
  EXPECT_NE(model.error().message.find("compressed_weights"), std::string::npos) << model.error().message;
}

TEST(CompressedWeights, HostileFilesBehindRightDigests) {
  const Bytes good = file_of(model_with(normal<int8_t>(2 * kChunk + 64, 20, 3, 0.3)));
  ASSERT_TRUE(is_compressed(good));
  const auto changed = [&](auto&& change, bool chunks_too = true) {
    Surgery surgery(good);
    change(surgery);
    return id_of(surgery.finish(chunks_too));
  };
  EXPECT_EQ(changed([](Surgery&) {}), "");
  // A bomb: gigabytes from a small file. The number of chunks follows from the size, so that it cannot even be said.
  for (const uint64_t size : {uint64_t{1} << 33, uint64_t{1} << 50, uint64_t{0}, ~uint64_t{0}, uint64_t{1}})
    EXPECT_EQ(changed([&](Surgery& s) { s.set(0, size); }), "F064") << size;
  // The right number of chunks and another size: the last chunk does not expand to it.
  const uint64_t size = 2 * kChunk + 128 + 64;
  EXPECT_EQ(changed([&](Surgery& s) { s.set(0, size - 1); }), "F061");
  EXPECT_EQ(changed([&](Surgery& s) { s.set(0, size + 1); }), "F061");
  EXPECT_EQ(changed([](Surgery& s) { s.set(8, uint32_t{1} << 21); }), "F065");
  EXPECT_EQ(changed([](Surgery& s) { s.set(12, uint32_t{1}); }), "F065");
  for (const uint32_t coding : {3U, 5U, 99U, ~0U})
    EXPECT_EQ(changed([&](Surgery& s) { s.set(20, coding); }), "F067") << coding;
  EXPECT_EQ(changed([](Surgery& s) { s.set(20, uint32_t{0}); }), "F064");  // raw, and not of the chunk's size
  for (const uint32_t stored : {0U, 1U << 20U, ~0U, 100U})
    EXPECT_EQ(changed([&](Surgery& s) { s.set(16, stored); }), "F064") << stored;
  // The bytes sorted in another way: the right size and other weights, which only the digest could tell.
  EXPECT_EQ(changed([](Surgery& s) { s.set(20, uint32_t{2}); }), "");
  // Streams that end early, go on, or are nonsense.
  EXPECT_EQ(changed([](Surgery& s) { std::memset(s.stored(), 0xff, 64); }), "F061");
  EXPECT_EQ(changed([](Surgery& s) { s.stored()[0] ^= std::byte{1}; }), "F061");
  const auto shift = [](Surgery& s, int by) {
    uint32_t first = 0;
    uint32_t second = 0;
    std::memcpy(&first, s.index() + 16, 4);
    std::memcpy(&second, s.index() + 56, 4);
    s.set(16, first + static_cast<uint32_t>(by));
    s.set(56, second - static_cast<uint32_t>(by));
  };
  EXPECT_EQ(changed([&](Surgery& s) { shift(s, 1); }), "F061");
  EXPECT_EQ(changed([&](Surgery& s) { shift(s, -1); }), "F061");
  // A digest that is wrong is found before the decoder sees a byte.
  EXPECT_EQ(changed([](Surgery& s) { std::memset(s.stored(), 0xff, 64); }, false), "F049");
  // Every byte of the index and many of the stored ones: an error or a model, and no sanitizer speaks up.
  const size_t index_bytes = Surgery(good).index_bytes();
  for (size_t i = 0; i < index_bytes; i += i < 64 ? 1 : 7) {
    (void)changed([&](Surgery& s) { s.index()[i] ^= std::byte{0x81}; });
  }
  std::mt19937 random(9);
  for (int i = 0; i < 40; ++i) {
    (void)changed([&](Surgery& s) { s.stored()[random() % 100000] ^= static_cast<std::byte>(1U << (random() % 8)); });
  }
}

TEST(CompressedWeights, ABombWithTheRightNumberOfChunksIsRefused) {
  constexpr int64_t kExpanded = int64_t{1} << 30;
  std::vector<WeightChunk> chunks(1024);
  for (WeightChunk& chunk : chunks) {
    chunk.stored_bytes = 1;
    chunk.coding = ChunkCoding::kDeflate;
  }
  Section section;
  section.size_bytes = 1024;
  EXPECT_EQ(decode_weight_chunks(encode_weight_chunks(kExpanded, chunks), section).error().id, "F066");
  for (WeightChunk& chunk : chunks) chunk.stored_bytes = 1 << 14;
  section.size_bytes = 1024 << 14;
  const auto largest = decode_weight_chunks(encode_weight_chunks(kExpanded, chunks), section);
  ASSERT_TRUE(largest) << largest.error().to_string();
  EXPECT_EQ(largest->chunks.back().offset_bytes, 1023 << 14);
  // Who writes such weights gets them as they are.
  EXPECT_FALSE(is_plausible_expansion(1000, int64_t{65} << 20));
  EXPECT_TRUE(is_plausible_expansion(1000, int64_t{64} << 20));
}

TEST(CompressedWeights, TruncatedIndex) {
  std::vector<WeightChunk> chunks(1);
  chunks[0].stored_bytes = 10;
  chunks[0].coding = ChunkCoding::kDeflate;
  Section section;
  section.size_bytes = 10;
  const Bytes index = encode_weight_chunks(100, chunks);
  ASSERT_TRUE(decode_weight_chunks(index, section));
  for (size_t size = 0; size < index.size(); ++size) {
    EXPECT_EQ(decode_weight_chunks(std::span(index).first(size), section).error().id, "F064") << size;
  }
}

}  // namespace
}  // namespace hai::format
