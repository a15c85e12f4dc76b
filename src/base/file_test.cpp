// Files: what reading promises when files change, and what replacement promises when the disk does not play along.
#include "base/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "base/sha256.h"
#include "base/testing/failing_file_system.h"

namespace hai {
namespace {

namespace fs = std::filesystem;
using file_testing::FailingFileSystem;

class FileTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / fmt::format("hai_file_test_{}_{}", ::getpid(), counter++);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  void put(const std::string& name, const std::string& text) const { std::ofstream(path(name)) << text; }
  std::string get(const std::string& name) const { return read_file(path(name), 1 << 20).value_or("(missing)"); }
  size_t files() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  fs::path folder_;
  static inline int counter = 0;
};

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

TEST_F(FileTest, ReadsAnywhere) {
  put("a", "hello, world");
  const auto source = open_file(path("a"));
  ASSERT_TRUE(source);
  EXPECT_EQ((*source)->size_bytes(), 12);
  std::string part(5, ' ');
  ASSERT_TRUE((*source)->read_at(7, std::as_writable_bytes(std::span(part))));
  EXPECT_EQ(part, "world");
}

TEST_F(FileTest, AShrunkFileIsAnError) {
  put("a", std::string(1 << 16, 'x'));
  const auto source = open_file(path("a"));
  ASSERT_TRUE(source);
  fs::resize_file(path("a"), 100);
  std::string part(200, ' ');
  const Status status = (*source)->read_at(0, std::as_writable_bytes(std::span(part)));
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, StatusCode::kCorrupt);
  EXPECT_EQ(status.error().id, "B002");
}

TEST_F(FileTest, RefusesWhatIsNoRegularFile) {
  EXPECT_EQ(open_file(path("missing")).error().code, StatusCode::kNotFound);
  EXPECT_EQ(open_file(folder_.string()).error().code, StatusCode::kInvalidArgument);
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  EXPECT_EQ(open_file(path("fifo")).error().code, StatusCode::kInvalidArgument);  // and does not wait for a writer
  EXPECT_EQ(write_file_atomically("/dev/null", bytes_of("x")).error().code, StatusCode::kInvalidArgument);
  EXPECT_EQ(write_file_atomically(path("fifo"), bytes_of("x")).error().code, StatusCode::kInvalidArgument);
  EXPECT_EQ(write_file_atomically(path("no/such/folder"), bytes_of("x")).error().code, StatusCode::kNotFound);
  EXPECT_FALSE(write_file_atomically(folder_.string() + "/", bytes_of("x")));
}

TEST_F(FileTest, MemoryIsBounded) {
  const std::string text = "abc";
  const auto source = memory_source(bytes_of(text));
  std::string out(3, ' ');
  EXPECT_TRUE(source->read_at(0, std::as_writable_bytes(std::span(out))));
  EXPECT_FALSE(source->read_at(1, std::as_writable_bytes(std::span(out))));
  EXPECT_FALSE(source->read_at(-1, std::as_writable_bytes(std::span(out))));
  EXPECT_FALSE(source->read_at(int64_t{1} << 62, std::as_writable_bytes(std::span(out))));
}

TEST_F(FileTest, ReplacesWholeFilesAndKeepsPermissions) {
  put("a", "old");
  ASSERT_EQ(::chmod(path("a").c_str(), 0640), 0);
  ASSERT_TRUE(write_file_atomically(path("a"), bytes_of("new")));
  EXPECT_EQ(get("a"), "new");
  struct stat info{};
  ASSERT_EQ(::stat(path("a").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0640U);
  EXPECT_EQ(files(), 1U);
}

TEST_F(FileTest, FollowsSymbolicLinks) {
  put("target", "old");
  fs::create_symlink("target", path("link"));
  ASSERT_TRUE(write_file_atomically(path("link"), bytes_of("new")));
  EXPECT_TRUE(fs::is_symlink(path("link")));
  EXPECT_EQ(get("target"), "new");
}

TEST_F(FileTest, WithoutCommitNothingHappens) {
  put("a", "old");
  {
    auto writer = AtomicFileWriter::create(path("a"));
    ASSERT_TRUE(writer);
    ASSERT_TRUE(writer->write(bytes_of("half")));
    EXPECT_EQ(files(), 2U);
  }
  EXPECT_EQ(get("a"), "old");
  EXPECT_EQ(files(), 1U);
}

TEST_F(FileTest, WhateverFailsTheOldFileStays) {
  constexpr int kRename = 4;  // create, write, sync, close, rename, sync_folder
  for (int fail_at = 0; fail_at <= 6; ++fail_at) {
    SCOPED_TRACE(fail_at);
    put("a", "old");
    FailingFileSystem failing(fail_at);
    const Status status = write_file_atomically(path("a"), bytes_of("new, and longer"), failing);
    EXPECT_EQ(status.has_value(), fail_at == 6);
    EXPECT_EQ(get("a"), fail_at <= kRename ? "old" : "new, and longer");
    EXPECT_EQ(files(), 1U);
  }
}

TEST_F(FileTest, AFileSizeLimitOfTheSystemLeavesTheOldFile) {
  put("a", "old");
  struct rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit tiny = before;
  tiny.rlim_cur = 4096;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tiny), 0);
  const Status status = write_file_atomically(path("a"), bytes_of(std::string(100000, 'x')));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, old_handler);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, StatusCode::kResourceExhausted);
  EXPECT_EQ(get("a"), "old");
  EXPECT_EQ(files(), 1U);
}

TEST_F(FileTest, APathIsNotCutAtANulCharacter) {
  put("a", "12345");
  const std::string cut = path("a") + std::string("\0.txt", 5);
  EXPECT_EQ(read_file(cut, 1 << 20).error().id, "B017");
  EXPECT_EQ(write_file_atomically(cut, {}).error().id, "B017");
  EXPECT_EQ(get("a"), "12345");
}

TEST_F(FileTest, ReadFileHasALimit) {
  put("a", "12345");
  EXPECT_EQ(read_file(path("a"), 5).value_or(""), "12345");
  EXPECT_EQ(read_file(path("a"), 4).error().code, StatusCode::kOutOfRange);
}

TEST(Sha256Test, KnownAnswers) {
  // FIPS 180-2, appendix B.
  EXPECT_EQ(to_hex(sha256(bytes_of("abc"))), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(to_hex(sha256({})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  Sha256 parts;
  const std::string million(1000, 'a');
  for (int i = 0; i < 1000; ++i) parts.update(bytes_of(million));
  EXPECT_EQ(to_hex(parts.finish()), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

}  // namespace
}  // namespace hai
