// SampleStore: what goes in comes out, from memory and from the file; a full disk is an error.
#include "quantizer/sample_store.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstring>

namespace hai::quantizer {
namespace {

SampleStore::Sample sample_of(int seed, int64_t size) {
  SampleStore::Sample sample;
  for (int64_t i = 0; i < 2; ++i) {
    ops::Tensor tensor = ops::Tensor::zeros(DataType::kF32, Dims{1, size + i});
    const MutableTensorView view = tensor.mutable_view();
    for (int64_t k = 0; k < view.count(); ++k) data_of<float>(view)[k] = static_cast<float>(seed * 1000 + i * 100 + k);
    sample.push_back(std::move(tensor));
  }
  return sample;
}

void expect_equal(const SampleStore::Sample& a, const SampleStore::Sample& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].dims.view().size(), b[i].dims.view().size());
    ASSERT_EQ(a[i].storage.size(), b[i].storage.size());
    EXPECT_EQ(std::memcmp(a[i].storage.data(), b[i].storage.data(), a[i].storage.size()), 0);
  }
}

TEST(SampleStore, GivesBackWhatItTookFromMemoryAndFromItsFile) {
  for (const int64_t limit : {int64_t{0}, int64_t{400}, int64_t{1} << 20}) {
    SampleStore store(limit);
    for (int i = 0; i < 7; ++i) ASSERT_TRUE(store.add(sample_of(i, 13 + i)).has_value());
    EXPECT_EQ(store.size(), 7U);
    EXPECT_EQ(store.spilled_bytes() == 0, limit > 400) << limit;
    for (const size_t i : {size_t{6}, size_t{0}, size_t{3}, size_t{3}}) {
      const auto sample = store.read(i);
      ASSERT_TRUE(sample.has_value()) << sample.error().to_string();
      expect_equal(*sample, sample_of(static_cast<int>(i), 13 + static_cast<int64_t>(i)));
    }
  }
}

TEST(SampleStore, StreamsTheChosenSamplesInOrder) {
  SampleStore store(0);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(store.add(sample_of(i, 3)).has_value());
  const NextSample next = store.stream({4, 1});
  for (const int expected : {4, 1}) {
    const auto sample = next();
    ASSERT_TRUE(sample.has_value() && sample->has_value());
    expect_equal(**sample, sample_of(expected, 3));
  }
  const auto end = next();
  ASSERT_TRUE(end.has_value());
  EXPECT_FALSE(end->has_value());
}

TEST(SampleStore, AnErrorOfTheSourceEndsTheReading) {
  SampleStore store(1 << 20);
  const auto status = store.add_all(ir::Graph(), []() -> Result<std::optional<SampleStore::Sample>> {
    return make_error(StatusCode::kIo, "Q142", "gone");
  });
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().id, "Q142");
}

TEST(SampleStore, AFullDiskIsAnError) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 1000;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  SampleStore store(0);
  const auto first = store.add(sample_of(1, 13));
  const auto second = store.add(sample_of(2, 500));
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_TRUE(first.has_value());
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().id, "Q141");
  EXPECT_TRUE(store.read(0).has_value());
}

TEST(SampleStore, AMissingTemporaryFolderIsAnErrorOrIsAvoided) {
  const char* before = std::getenv("TMPDIR");
  const std::string saved = before != nullptr ? before : "";
  setenv("TMPDIR", "/nonexistent/folder", 1);
  SampleStore store(0);
  const auto status = store.add(sample_of(1, 3));  // /tmp stands in where TMPDIR is no folder
  if (before != nullptr) {
    setenv("TMPDIR", saved.c_str(), 1);
  } else {
    unsetenv("TMPDIR");
  }
  EXPECT_TRUE(status.has_value() || status.error().id == "Q140");
}

}  // namespace
}  // namespace hai::quantizer
