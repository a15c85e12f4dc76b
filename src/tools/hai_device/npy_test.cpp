// .npy files: round trips, and every way in which one can be broken.
#include "tools/hai_device/npy.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

namespace hai::tools {
namespace {

class NpyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = (std::filesystem::temp_directory_path() / ("hai_npy_test_" + std::to_string(::getpid()) + ".npy")).string();
  }
  void TearDown() override { std::filesystem::remove(path_); }
  void write(const std::string& bytes) const {
    std::ofstream(path_, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  std::string read() const {
    std::ifstream stream(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  std::string path_;
};

TEST_F(NpyTest, RoundTripOfEveryShape) {
  for (const auto& dims : {std::vector<int64_t>{}, {7}, {2, 3}, {1, 3, 0, 2}, {1, 2, 3, 1, 1, 1, 1, 2}}) {
    api::Tensor tensor(HAI_F32, dims);
    for (size_t i = 0; i < tensor.count<float>(); ++i) tensor.as<float>()[i] = static_cast<float>(i) * 0.5F;
    ASSERT_TRUE(write_npy(path_, tensor).has_value());
    const auto back = read_npy(path_);
    ASSERT_TRUE(back.has_value()) << back.error().to_string();
    EXPECT_EQ(back->dims(), dims);
    ASSERT_EQ(back->size_bytes(), tensor.size_bytes());
    if (tensor.size_bytes() > 0) {
      EXPECT_EQ(std::memcmp(back->data(), tensor.data(), tensor.size_bytes()), 0);
    }
  }
}

TEST_F(NpyTest, TheHeaderIsPaddedTo64Bytes) {
  ASSERT_TRUE(write_npy(path_, api::Tensor(HAI_I8, {3})).has_value());
  EXPECT_EQ((read().size() - 3) % 64, 0U);
}

TEST_F(NpyTest, EveryTruncationIsAnError) {
  ASSERT_TRUE(write_npy(path_, api::Tensor(HAI_F32, {2, 3})).has_value());
  const std::string whole = read();
  for (size_t length = 0; length < whole.size(); ++length) {
    write(whole.substr(0, length));
    EXPECT_FALSE(read_npy(path_).has_value()) << length;
  }
}

TEST_F(NpyTest, FlippedBytesNeverCrash) {
  ASSERT_TRUE(write_npy(path_, api::Tensor(HAI_F32, {2, 3})).has_value());
  const std::string whole = read();
  for (size_t i = 0; i < whole.size(); ++i) {
    for (const char bits : {'\x01', '\x80', '\x55'}) {
      std::string changed = whole;
      changed[i] = static_cast<char>(changed[i] ^ bits);
      write(changed);
      const auto tensor = read_npy(path_);
      if (!tensor.has_value()) {
        EXPECT_FALSE(tensor.error().message.empty());
      }
    }
  }
}

TEST_F(NpyTest, WhatIsNotSupportedSaysSo) {
  ASSERT_TRUE(write_npy(path_, api::Tensor(HAI_F32, {2, 3})).has_value());
  const std::string whole = read();
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string changed = whole;
    changed.replace(changed.find(from), from.size(), to);
    write(changed);
    const auto tensor = read_npy(path_);
    return tensor.has_value() ? std::string("none") : tensor.error().id;
  };
  EXPECT_EQ(with("'<f4'", "'>f4'"), "L005");
  EXPECT_EQ(with("False", "True "), "L006");
  EXPECT_EQ(with("(2, 3, )", "(2,99999999999999999999,)"), "L001");
  EXPECT_EQ(with("(2, 3, )", "(4294967296,4294967296,4294967296)"), "L007");
  EXPECT_EQ(with("(2, 3, )", "(1,1,1,1,1,1,1,1,6)"), "L002");
  EXPECT_EQ(with("(2, 3, )", "(2, 4, )"), "L008");
}

TEST_F(NpyTest, MissingFile) { EXPECT_FALSE(read_npy(path_ + ".gone").has_value()); }

}  // namespace
}  // namespace hai::tools
