// Damage: every byte of a file changed, every length cut, full disks, too little memory. Always a clear error or the
// identical result; run under the sanitizers by CI.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>

#include "base/file.h"
#include "runtime/test_kernels.h"

namespace hai::runtime {
namespace {

using testing::run;
using testing::TestBuffers;
using Bytes = std::vector<std::byte>;

// Loads, makes a session, runs. An error, or the right numbers; anything else fails the test.
enum class Outcome { kError, kRight, kWrong };
Outcome use(std::span<const std::byte> bytes, std::string* error_text = nullptr) {
  const auto fail = [&](const Error& error) {
    if (error_text != nullptr) *error_text = error.to_string();
    return error.message.empty() || error.id.empty() ? Outcome::kWrong : Outcome::kError;
  };
  const auto model = Model::load(memory_source(bytes), "damaged.hai", testing::test_registry());
  if (!model) return fail(model.error());
  const auto session = Session::create(*model, {.threads = 1});
  if (!session) return fail(session.error());
  TestBuffers buffers(2);
  const Status status = run(**session, buffers);
  if (!status) return fail(status.error());
  return buffers.y == buffers.expected() ? Outcome::kRight : Outcome::kWrong;
}

TEST(CorruptionTest, EveryByteFlipped) {
  Bytes bytes = format::serialize(format::testing::make_test_model()).value();
  ASSERT_EQ(use(bytes), Outcome::kRight);
  size_t unnoticed = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (const std::byte change : {std::byte{0xff}, std::byte{1} << (i % 8)}) {
      bytes[i] ^= change;
      const Outcome outcome = use(bytes);
      ASSERT_NE(outcome, Outcome::kWrong) << "byte " << i;
      if (outcome == Outcome::kRight) ++unnoticed;
      bytes[i] ^= change;
    }
  }
  // A run that does not need a byte may not notice; the only bytes here that nothing needs are none.
  EXPECT_EQ(unnoticed, 0U);
  EXPECT_EQ(use(bytes), Outcome::kRight);
}

TEST(CorruptionTest, EveryTruncation) {
  const Bytes bytes = format::serialize(format::testing::make_test_model()).value();
  for (size_t size = 0; size < bytes.size(); ++size) {
    std::string text;
    // A copy of exactly this size, so that a sanitizer sees a read behind it.
    const Bytes part(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size));
    ASSERT_EQ(use(part, &text), Outcome::kError) << size;
    ASSERT_NE(text.find("damaged.hai"), std::string::npos) << text;
  }
  Bytes longer = bytes;
  longer.push_back(std::byte{0});
  EXPECT_EQ(use(longer), Outcome::kError);
}

TEST(CorruptionTest, RandomDamageInManyPlaces) {
  const Bytes good = format::serialize(format::testing::make_test_model()).value();
  std::mt19937 random(4242);
  for (int round = 0; round < 3000; ++round) {
    Bytes bytes = good;
    for (uint32_t i = random() % 64 + 1; i > 0; --i) bytes[random() % bytes.size()] = static_cast<std::byte>(random());
    ASSERT_NE(use(bytes), Outcome::kWrong) << round;
  }
}

class FaultFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / fmt::format("hai_fault_test_{}", ::getpid());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

TEST_F(FaultFolder, ADiskThatFillsUpLeavesTheOldModel) {
  const std::string path = (folder_ / "model.hai").string();
  ASSERT_TRUE(format::write_model_file(path, format::testing::make_test_model()));
  const std::string before = read_file(path, 1 << 20).value();
  format::ModelFile other = format::testing::make_test_model();
  other.metadata["producer"] = "another";
  struct rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &limit), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  for (const rlim_t size : {0UL, 1UL, 64UL, 1000UL, 40000UL, 65600UL}) {
    struct rlimit tiny = limit;
    tiny.rlim_cur = size;
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tiny), 0);
    const auto status = format::write_model_file(path, other);
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
    ASSERT_FALSE(status) << size;
    EXPECT_EQ(status.error().code, StatusCode::kResourceExhausted);
    EXPECT_EQ(read_file(path, 1 << 20).value(), before);
  }
  std::signal(SIGXFSZ, old_handler);
  ASSERT_TRUE(format::write_model_file(path, other));
  EXPECT_NE(read_file(path, 1 << 20).value(), before);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

TEST_F(FaultFolder, TooLittleMemoryIsAnError) {
#if defined(HAI_SANITIZE_ADDRESS) || defined(HAI_SANITIZE_THREAD)
  GTEST_SKIP() << "sanitizers need address space of their own";
#else
  format::ModelFile file = testing::make_plain_model();
  file.graph.reset();
  // 8 MB of weights: one wide multiplication.
  constexpr int64_t kWide = 1 << 21;
  format::Program& program = file.programs[0];
  program.tensors[1].shape = {Dim(kWide)};
  program.tensors[1].offset_bytes = 0;
  for (const size_t tensor : {0U, 2U, 3U}) program.tensors[tensor].shape[1] = Dim(kWide);
  program.per_sample_bytes = kWide * 4;
  auto weights = std::make_shared<std::vector<float> >(kWide, 2.0F);
  file.weights = {{0, std::as_bytes(std::span(*weights)), weights}};
  const std::string path = (folder_ / "wide.hai").string();
  ASSERT_TRUE(format::write_model_file(path, file));
  int succeeded = 0;
  int refused = 0;
  for (rlim_t room = 0; room <= 48; room += 3) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      // What this process holds now, and `room` MiB more.
      rlim_t pages = 0;
      std::ifstream("/proc/self/statm") >> pages;
      struct rlimit limit{};
      limit.rlim_cur = limit.rlim_max = pages * static_cast<rlim_t>(::getpagesize()) + (room << 20);
      ::setrlimit(RLIMIT_AS, &limit);
      hai_model* model = nullptr;
      hai_session* session = nullptr;
      hai_status status = hai_model_load(path.c_str(), &model);
      if (status == HAI_OK) status = hai_session_create(model, nullptr, &session);
      hai_session_release(session);
      hai_model_release(model);
      if (status != HAI_OK && hai_last_error()[0] == '\0') ::_exit(99);
      ::_exit(status);
    }
    int state = 0;
    ASSERT_EQ(::waitpid(child, &state, 0), child);
    ASSERT_TRUE(WIFEXITED(state)) << "the process died at " << room << " MiB, signal " << WTERMSIG(state);
    const int status = WEXITSTATUS(state);
    ASSERT_TRUE(status == HAI_OK || status == HAI_RESOURCE_EXHAUSTED) << status << " at " << room << " MiB";
    ++(status == HAI_OK ? succeeded : refused);
  }
  EXPECT_GT(succeeded, 0);
  EXPECT_GT(refused, 0);
#endif
}

}  // namespace
}  // namespace hai::runtime
