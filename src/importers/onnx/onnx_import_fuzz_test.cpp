// Mutations of a small model: each is refused or gives a graph that verifies. The fuzz target's check, short.
#include <gtest/gtest.h>

#include <random>

#include "importers/onnx/onnx_import.h"
#include "importers/onnx/onnx_test_model.h"
#include "ops/build.h"

namespace hai::onnx_import {
namespace {

std::string mutate(std::string bytes, std::mt19937_64& random) {
  const auto below = [&](size_t limit) { return std::uniform_int_distribution<size_t>(0, limit - 1)(random); };
  for (size_t changes = 1 + below(4); changes > 0; --changes) {
    if (bytes.size() < 8) break;
    const size_t at = below(bytes.size() - 4);
    switch (below(5)) {
      case 0:
        bytes[at] = static_cast<char>(below(256));
        break;
      case 1:
        bytes.erase(at, 1 + below(3));
        break;
      case 2:
        bytes.insert(at, 1, static_cast<char>(below(256)));
        break;
      case 3: {  // a varint as large as can be
        static const std::string kHuge = "\xff\xff\xff\xff\xff\xff\xff\xff\x7f";
        bytes.replace(at, 1, kHuge);
        break;
      }
      default: {  // a piece of the model again
        const size_t from = below(bytes.size());
        bytes.insert(at, bytes.substr(from, below(40)));
      }
    }
  }
  return bytes;
}

TEST(OnnxImportFuzz, MutationsAreRefusedOrVerify) {
  const std::string seed = seed_model().bytes();
  std::mt19937_64 random(20240613);
  int imported = 0;
  for (int round = 0; round < 4000; ++round) {
    const std::string bytes = mutate(seed, random);
    const auto graph = import_onnx_bytes(as_bytes(bytes), {});
    if (graph) {
      ++imported;
      const Status status = ops::verify(*graph);
      ASSERT_TRUE(status) << "round " << round << ": " << status.error().to_string();
    } else {
      ASSERT_FALSE(graph.error().message.empty()) << "round " << round;
    }
  }
  EXPECT_GT(imported, 100);  // mutations of weights change nothing that matters here
}

}  // namespace
}  // namespace hai::onnx_import
