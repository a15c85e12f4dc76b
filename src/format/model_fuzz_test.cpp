// The fuzz target of the reader as an ordinary short test: mutations of a good file, with a fixed seed.
#include <gtest/gtest.h>

#include <random>

#include "base/file.h"
#include "format/test_model.h"

#include "format/model_fuzz.cpp"  // NOLINT: the target itself

namespace hai::format {
namespace {

// A file whose weights are stored compressed.
std::vector<std::byte> compressed_file() {
  ModelFile model = testing::make_test_model();
  auto weights = std::make_shared<std::vector<std::byte>>(3000);
  for (size_t i = 0; i < weights->size(); ++i) (*weights)[i] = static_cast<std::byte>(i * i % 13);
  model.weights.push_back({128, *weights, weights});
  return serialize(model, {Compression::kAlways}).value();
}

TEST(ModelFuzzTest, MutationsOfCompressedWeights) {
  const std::vector<std::byte> good = compressed_file();
  ASSERT_NE(read_container(*memory_source(good))->find(SectionKind::kCompressedWeights), nullptr);
  std::mt19937 random(20240818);
  for (int round = 0; round < 3000; ++round) {
    std::vector<uint8_t> input(1 + good.size(), 1);
    std::memcpy(input.data() + 1, good.data(), good.size());
    // At the end lie the index and the stored chunks.
    for (uint64_t change = random() % 3 + 1; change > 0; --change) {
      const size_t at = input.size() - 1 - random() % std::min<size_t>(input.size() - 2, 900);
      input[at] = static_cast<uint8_t>(random() % 2 == 0 ? random() : input[at] ^ (1U << (random() % 8)));
    }
    if (random() % 16 == 0) input.resize(input.size() - random() % 200);
    ASSERT_EQ(LLVMFuzzerTestOneInput(input.data(), input.size()), 0);
  }
}

TEST(ModelFuzzTest, Mutations) {
  const auto good = serialize(testing::make_test_model());
  ASSERT_TRUE(good);
  std::mt19937 random(20240817);
  for (int round = 0; round < 4000; ++round) {
    std::vector<uint8_t> input(1 + good->size());
    input[0] = static_cast<uint8_t>(round);
    std::memcpy(input.data() + 1, good->data(), good->size());
    // Few changes, most of them in the structured part: the weights' padding is 60 of 66 KiB.
    for (uint32_t change = random() % 4 + 1; change > 0; --change) {
      const size_t at = 1 + random() % (random() % 8 == 0 ? good->size() : std::min<size_t>(good->size(), 6144));
      switch (random() % 4) {
        case 0:
          input[at] = static_cast<uint8_t>(random());
          break;
        case 1:
          input[at] ^= static_cast<uint8_t>(1U << (random() % 8));
          break;
        case 2:
          for (size_t i = at; i < std::min(at + 4, input.size()); ++i) input[i] = 0xff;
          break;
        default:
          if (random() % 16 == 0) input.resize(at);
          break;
      }
      if (input.size() <= 2) break;
      if (at >= input.size()) break;
    }
    ASSERT_EQ(LLVMFuzzerTestOneInput(input.data(), input.size()), 0);
  }
}

}  // namespace
}  // namespace hai::format
