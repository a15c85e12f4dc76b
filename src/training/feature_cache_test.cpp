// The cache of features: what it keeps comes back, and nothing that is wrong with its file is taken or fatal.
#include "training/feature_cache.h"

#include <gtest/gtest.h>

#include <unistd.h>
#include <filesystem>
#include <fstream>

namespace hai::training {
namespace {

constexpr int64_t kRecord = 13;

Sha256Digest digest(int number) { return sha256(std::as_bytes(std::span(&number, 1))); }
std::vector<std::byte> record(int number) { return std::vector<std::byte>(kRecord, static_cast<std::byte>(number)); }

class FeatureCacheTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("hai_features_" + std::to_string(::getpid()));
    std::filesystem::remove_all(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  FeatureCache make(int key = 1, int64_t limit = 1 << 20) { return {{folder_.string(), limit}, digest(key), kRecord}; }
  // A file of 5 records in 2 views.
  std::string written() {
    FeatureCache cache = make();
    for (int i = 0; i < 5; ++i) {
      const auto bytes = record(i);
      cache.put(i % 2, digest(i), bytes);
    }
    EXPECT_TRUE(cache.save());
    return cache.path();
  }

  std::filesystem::path folder_;
};

TEST_F(FeatureCacheTest, WhatIsKeptComesBack) {
  written();
  FeatureCache cache = make();
  EXPECT_EQ(cache.load(), "");
  EXPECT_EQ(cache.count(), 5);
  for (int i = 0; i < 5; ++i) {
    const auto expected = record(i);
    const auto found = cache.find(i % 2, digest(i));
    ASSERT_EQ(found.size(), expected.size()) << i;
    EXPECT_TRUE(std::equal(found.begin(), found.end(), expected.begin())) << i;
    EXPECT_FALSE(cache.contains(1 - i % 2, digest(i)));
  }
}

TEST_F(FeatureCacheTest, AnyChangedByteAndAnyLengthIsPassedOver) {
  const std::string path = written();
  std::ifstream file(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  const auto refused = [&](const std::string& changed) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << changed;
    FeatureCache cache = make();
    return !cache.load().empty() && cache.count() == 0;
  };
  for (size_t i = 0; i < bytes.size(); i += 3) {
    std::string changed = bytes;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    ASSERT_TRUE(refused(changed)) << i;
    ASSERT_TRUE(refused(bytes.substr(0, i))) << i;
  }
  EXPECT_FALSE(refused(bytes));
}

TEST_F(FeatureCacheTest, AnotherKeyOrSizeFindsNothing) {
  const std::string path = written();
  FeatureCache other = make(2);
  EXPECT_EQ(other.load(), "");  // it has a file of its own
  EXPECT_EQ(other.count(), 0);
  std::filesystem::copy_file(path, other.path());
  EXPECT_NE(other.load(), "");
  EXPECT_EQ(other.count(), 0);
  FeatureCache longer({folder_.string(), 1 << 20}, digest(1), kRecord + 1);
  EXPECT_NE(longer.load(), "");
  EXPECT_EQ(longer.count(), 0);
}

TEST_F(FeatureCacheTest, TheLimitHolds) {
  FeatureCache cache = make(1, 3 * kRecord);
  for (int i = 0; i < 5; ++i) {
    const auto bytes = record(i);
    cache.put(0, digest(i), bytes);
  }
  EXPECT_EQ(cache.count(), 3);
  EXPECT_FALSE(cache.contains(0, digest(3)));
  written();
  FeatureCache small = make(1, 3 * kRecord);
  EXPECT_NE(small.load(), "");  // a larger file is not read in part
  EXPECT_EQ(small.count(), 0);
}

TEST_F(FeatureCacheTest, AFolderThatCannotBeMadeIsAnErrorThatChangesNothing) {
  std::ofstream(folder_.string()) << "a file";
  FeatureCache cache = make();
  const auto bytes = record(1);
  cache.put(0, digest(1), bytes);
  EXPECT_EQ(cache.save().error().id, "E080");
  EXPECT_TRUE(cache.contains(0, digest(1)));
}

}  // namespace
}  // namespace hai::training
