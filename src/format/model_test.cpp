// The .hai file: what goes in comes out, the bytes are always the same, and no damaged file is taken for a whole one.
#include "format/model.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cctype>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <random>
#include <set>

#include "base/checked.h"
#include "base/file.h"
#include "format/codec.h"
#include "format/container.h"
#include "format/model_reader.h"
#include "format/test_model.h"

namespace hai::format {
namespace {

using testing::make_test_model;
using Bytes = std::vector<std::byte>;

Bytes weights_of(const ModelFile& model) {
  Bytes bytes(static_cast<size_t>(model.weights_bytes()));
  for (const WeightPiece& piece : model.weights) {
    std::memcpy(bytes.data() + piece.offset_bytes, piece.bytes.data(), piece.bytes.size());
  }
  return bytes;
}

void expect_same(const ModelFile& a, const ModelFile& b) {
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.graph, b.graph);
  EXPECT_EQ(a.programs, b.programs);
  EXPECT_EQ(a.preprocessing, b.preprocessing);
  EXPECT_EQ(a.quantization_report, b.quantization_report);
  EXPECT_EQ(a.metadata, b.metadata);
  EXPECT_EQ(weights_of(a), weights_of(b));
}

// Puts the header's digest right after a change of header or table, so that what lies behind it is tested too.
void sign(Bytes& bytes) {
  uint32_t count = 0;
  std::memcpy(&count, bytes.data() + 16, 4);
  Sha256 hash;
  hash.update(std::span(bytes).first(32));
  hash.update(std::span(bytes).subspan(64, count * 256ULL));
  const Sha256Digest digest = hash.finish();
  std::memcpy(bytes.data() + 32, digest.data(), digest.size());
}

Bytes test_file() { return serialize(make_test_model()).value(); }

TEST(ModelFileTest, RoundTrip) {
  const ModelFile model = make_test_model();
  const auto bytes = serialize(model);
  ASSERT_TRUE(bytes) << bytes.error().to_string();
  const auto back = parse_model(*bytes);
  ASSERT_TRUE(back) << back.error().to_string();
  expect_same(model, *back);
  const auto& factor = std::get<double>(back->programs[0].instructions[0].attributes.at("factor"));
  EXPECT_TRUE(std::signbit(factor)) << "-0.0 lost its sign";
}

TEST(ModelFileTest, SameModelSameBytes) {
  EXPECT_EQ(test_file(), test_file());
  const auto back = parse_model(test_file());
  ASSERT_TRUE(back);
  EXPECT_EQ(serialize(*back).value(), test_file());
}

TEST(ModelFileTest, FileEqualsBytes) {
  const std::string path =
      (std::filesystem::temp_directory_path() / fmt::format("hai_model_test_{}.hai", ::getpid())).string();
  const auto written = write_model_file(path, make_test_model());
  ASSERT_TRUE(written) << written.error().to_string();
  const auto text = read_file(path, 1 << 20);
  ASSERT_TRUE(text);
  EXPECT_EQ(written->file_bytes, static_cast<int64_t>(text->size()));
  EXPECT_EQ(written->weights_bytes, make_test_model().weights_bytes());
  EXPECT_EQ(written->stored_weights_bytes, written->weights_bytes);
  const Bytes bytes = test_file();
  EXPECT_EQ(std::memcmp(text->data(), bytes.data(), std::max(bytes.size(), text->size())), 0);
  const auto back = read_model_file(path);
  ASSERT_TRUE(back) << back.error().to_string();
  expect_same(make_test_model(), *back);
  std::filesystem::remove(path);
  EXPECT_EQ(read_model_file(path).error().code, StatusCode::kNotFound);
}

TEST(ModelFileTest, QuantizedAndSymbolicTensorsRoundTrip) {
  ModelFile model = make_test_model();
  ProgramTensor& w = model.graph->tensors[1];
  w.dtype = DataType::kI8;
  w.quantization = Quantization{std::vector<float>(13, 0.25F), std::vector<int32_t>(13, 0), 0, 0};
  model.programs.clear();
  model.graph->symbols.push_back({"height", 32, 4096});
  model.graph->tensors[2].shape.emplace_back(8, 1);
  const auto back = parse_model(serialize(model).value());
  ASSERT_TRUE(back) << back.error().to_string();
  expect_same(model, *back);
}

TEST(ModelFileTest, WeightsOfManyChunks) {
  ModelFile model = make_test_model();
  std::mt19937 random(7);
  auto large = std::make_shared<std::vector<uint32_t>>((3 * kWeightChunkBytes + 1234 * 4) / 4);
  for (uint32_t& word : *large) word = static_cast<uint32_t>(random());
  model.weights.push_back({1 << 20, std::as_bytes(std::span(*large)), large});
  const Bytes bytes = serialize(model).value();
  const auto reader = ModelReader::open(memory_source(bytes), "m");
  ASSERT_TRUE(reader) << reader.error().to_string();
  ASSERT_TRUE((*reader)->verify_all());
  const Bytes weights = weights_of(model);
  WeightReader weight_reader(*reader);
  for (int i = 0; i < 200; ++i) {
    const size_t size = 1 + random() % (i % 2 == 0 ? 5000 : weights.size() - 1);
    const size_t offset = random() % (weights.size() - size + 1);
    Bytes out(size);
    ASSERT_TRUE(weight_reader.read(static_cast<int64_t>(offset), out));
    ASSERT_EQ(std::memcmp(out.data(), weights.data() + offset, size), 0) << offset << " " << size;
  }
  // A damaged chunk is found by whoever needs it and by verify_all, and by nobody else.
  Bytes damaged = bytes;
  damaged[damaged.size() - 500] ^= std::byte{1};
  const auto hurt = ModelReader::open(memory_source(damaged), "m");
  ASSERT_TRUE(hurt);
  EXPECT_EQ((*hurt)->verify_all().error().id, "F049");
  WeightReader hurt_reader(*hurt);
  Bytes out(100);
  EXPECT_TRUE(hurt_reader.read(64, out));
  EXPECT_EQ(hurt_reader.read(static_cast<int64_t>(weights.size()) - 100, out).error().code, StatusCode::kCorrupt);
}

TEST(ModelFileTest, UnknownSections) {
  Bytes bytes = test_file();
  uint32_t count = 0;
  std::memcpy(&count, bytes.data() + 16, 4);
  // The report becomes a kind of the future: skipped, since it is optional.
  size_t entry = 64;
  for (uint32_t kind = 0; kind != static_cast<uint32_t>(SectionKind::kReport); entry += 256) {
    std::memcpy(&kind, bytes.data() + entry, 4);
  }
  entry -= 256;
  const uint32_t future = 4711;
  std::memcpy(bytes.data() + entry, &future, 4);
  std::memcpy(bytes.data() + entry + 32, "crystal_ball", 12);
  sign(bytes);
  const auto optional = parse_model(bytes);
  ASSERT_TRUE(optional) << optional.error().to_string();
  EXPECT_TRUE(optional->quantization_report.empty());
  bytes[entry + 4] = std::byte{1};
  sign(bytes);
  const auto required = parse_model(bytes);
  ASSERT_FALSE(required);
  EXPECT_EQ(required.error().code, StatusCode::kUnsupported);
  EXPECT_NE(required.error().message.find("crystal_ball"), std::string::npos) << required.error().message;
}

TEST(ModelFileTest, EncryptedAndSignedSectionsAreRefusedByName) {
  for (const size_t offset : {96U, 159U, 160U, 255U}) {
    Bytes bytes = test_file();
    bytes[64 + offset] = std::byte{1};
    sign(bytes);
    const auto result = parse_model(bytes);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, StatusCode::kUnsupported);
    EXPECT_NE(result.error().message.find("graph"), std::string::npos);
  }
}

// Behind a right digest: every byte of header and table set to several values is an error or the same model.
TEST(ModelFileTest, HeaderAndTableAreCheckedBehindTheirDigest) {
  const Bytes good = test_file();
  uint32_t count = 0;
  std::memcpy(&count, good.data() + 16, 4);
  for (size_t i = 0; i < 64 + 256ULL * count; ++i) {
    for (const int change : {1, 0x80, 0xff}) {
      Bytes bytes = good;
      bytes[i] ^= static_cast<std::byte>(change);
      uint32_t sections = 0;
      std::memcpy(&sections, bytes.data() + 16, 4);
      if (sections <= count) sign(bytes);
      (void)parse_model(bytes).has_value();  // what matters: no sanitizer speaks up
    }
  }
}

// Behind right digests: every byte of the structured sections changed. The verifiers must hold by themselves.
TEST(ModelFileTest, StructuresAreCheckedBehindTheirDigests) {
  const Bytes good = test_file();
  const auto container = read_container(*memory_source(good));
  ASSERT_TRUE(container);
  for (size_t s = 0; s < container->sections.size(); ++s) {
    const Section& section = container->sections[s];
    if (section.is_weights()) continue;
    for (int64_t i = 0; i < section.size_bytes; ++i) {
      for (const int change : {1, 0x80, 0xff}) {
        Bytes bytes = good;
        bytes[static_cast<size_t>(section.offset_bytes + i)] ^= static_cast<std::byte>(change);
        const Sha256Digest digest = sha256(std::span(bytes).subspan(static_cast<size_t>(section.offset_bytes),
                                                                    static_cast<size_t>(section.size_bytes)));
        std::memcpy(bytes.data() + 64 + 256 * s + 64, digest.data(), digest.size());
        sign(bytes);
        const auto model = parse_model(bytes);
        ASSERT_TRUE(!model || verify_model(*model));
      }
    }
  }
}

// A byte of each text of a file becomes one that no UTF-8 has, with digests put right.
TEST(ModelFileTest, TextsThatAreNotUtf8AreRefused) {
  const Bytes good = test_file();
  const auto container = read_container(*memory_source(good));
  ASSERT_TRUE(container);
  std::set<std::string> ids;
  for (size_t s = 0; s < container->sections.size(); ++s) {
    const Section& section = container->sections[s];
    if (section.is_weights() || section.is(SectionKind::kWeightDigests)) continue;
    const auto offset = static_cast<size_t>(section.offset_bytes);
    const auto size = static_cast<size_t>(section.size_bytes);
    for (size_t i = offset; i < offset + size; ++i) {
      const auto letter = std::to_integer<unsigned char>(good[i]);
      if (std::isalpha(letter) == 0) continue;
      Bytes bytes = good;
      bytes[i] = std::byte{0xff};
      const Sha256Digest digest = sha256(std::span(bytes).subspan(offset, size));
      std::memcpy(bytes.data() + 64 + 256 * s + 64, digest.data(), digest.size());
      sign(bytes);
      const auto model = parse_model(bytes);
      if (model || model.error().message.find("UTF-8") == std::string::npos) continue;  // it was a number
      ids.insert(model.error().id);
      EXPECT_NE(model.error().message.find(model.error().id == "F071" ? "" : "\\xff"), std::string::npos)
          << model.error().to_string();
    }
  }
  // A tensor's, an instruction's, the program's own, metadata, the report, the preprocessing's input.
  EXPECT_EQ(ids, (std::set<std::string>{"F030", "F031", "F032", "F070", "F071", "F072"}));
}

TEST(ModelFileTest, RefusesModelsThatCannotBeRead) {
  ModelFile none;
  EXPECT_EQ(serialize(none).error().id, "F056");
  ModelFile twice = make_test_model();
  twice.programs.push_back(twice.programs[0]);
  EXPECT_EQ(serialize(twice).error().id, "F058");
  ModelFile overlap = make_test_model();
  overlap.weights.push_back(overlap.weights[0]);
  EXPECT_EQ(serialize(overlap).error().id, "F052");
  ModelFile differs = make_test_model();
  differs.programs[0].tensors[0].name = "z";
  EXPECT_EQ(serialize(differs).error().id, "F041");
  ModelFile picture = make_test_model();
  picture.preprocessing->width = 0;
  EXPECT_EQ(serialize(picture).error().id, "F053");
  picture.preprocessing->width = 5;
  picture.preprocessing->mean[1] = NAN;
  EXPECT_EQ(serialize(picture).error().id, "F055");
  ModelFile named = make_test_model();
  named.graph->tensors[0].name = named.programs[0].tensors[0].name = "x\xff";
  EXPECT_EQ(serialize(named).error().id, "F030");
}

TEST(ModelFileTest, AFileReplacedWhileOpenIsNoticed) {
  Bytes bytes = test_file();
  const auto reader = ModelReader::open(memory_source(bytes), "m");
  ASSERT_TRUE(reader);
  ModelFile other = make_test_model();
  other.metadata["producer"] = "tess";  // same size
  const Bytes replacement = serialize(other).value();
  ASSERT_EQ(bytes.size(), replacement.size());
  std::copy(replacement.begin(), replacement.end(), bytes.begin());
  EXPECT_FALSE((*reader)->verify_all());
}

}  // namespace
}  // namespace hai::format
