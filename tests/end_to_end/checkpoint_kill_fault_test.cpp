// Trainings that are killed (SIGKILL) at random moments and resumed: nothing that was acknowledged is ever lost, and
// the run that was killed so often ends in the bits of one that was not.
//
// A child process trains and saves a checkpoint after each step, and tells through a pipe what was acknowledged; it is
// killed after a random time, from before it opened the model to many saves later. HAI_KILLS sets how many times (50);
// bench/training/checkpoint_kills.py does it 1,000 times.
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <set>
#include <thread>

#include "small_training.h"
#include "training/checkpoint.h"

namespace hai {
namespace {

using namespace small_training;

// A few hundred KB of states, so that a save takes a while.
constexpr int64_t kHidden = 4096;

// In the child: until it is killed. Its exit status says what was wrong.
[[noreturn]] void train_until_killed(const std::string& model, const std::string& folder, int pipe) {
  const auto trainer = make_trainer(model);
  const auto loaded = training::load_checkpoint(folder, *trainer);
  if (!loaded && loaded.error().code != StatusCode::kNotFound) ::_exit(2);
  if (loaded && std::get<int64_t>(loaded->extra.at("position")) != trainer->steps()) ::_exit(3);
  for (;;) {
    const auto result = next_step(*trainer);
    if (!result || !result->applied) ::_exit(4);
    const int64_t steps = trainer->steps();
    const auto saved = training::save_checkpoint(folder, *trainer, {{"position", steps}});
    if (!saved) ::_exit(5);
    if (::write(pipe, &steps, sizeof(steps)) != sizeof(steps)) ::_exit(6);
  }
}

// The largest number that came through the pipe before its other end was closed; `none` if none did.
int64_t last_acknowledged(int pipe, int64_t none) {
  int64_t steps = none;
  int64_t next = 0;
  while (::read(pipe, &next, sizeof(next)) == sizeof(next)) steps = next;
  return steps;
}

// What opening the model and three saves take here: a slow machine, an emulator or a sanitizer take longer.
double milliseconds_of_a_start(const std::string& model, const std::string& folder) {
  const auto begin = std::chrono::steady_clock::now();
  const auto trainer = make_trainer(model);
  for (int i = 0; i < 3; ++i) {
    train(*trainer, 1);
    EXPECT_TRUE(training::save_checkpoint(folder, *trainer));
  }
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

TEST(CheckpointKill, NothingAcknowledgedIsLost) {
  const char* wanted = std::getenv("HAI_KILLS");
  const int kills = wanted == nullptr ? 50 : std::atoi(wanted);
  ASSERT_GT(kills, 0);
  const Folder folder;
  write_model(folder / "model.hai", "optimizer=adamw,clip_norm=1", kHidden);
  const double start = milliseconds_of_a_start(folder / "model.hai", folder / "first");
  std::mt19937 random(static_cast<uint32_t>(kills));
  std::uniform_real_distribution<double> unit(0, 1);
  int64_t acknowledged = 0;
  int unacknowledged_found = 0;  // kills between the rename and the word of it
  std::set<std::string> leftovers;
  int left_behind = 0;  // kills in the middle of a save
  for (int kill = 0; kill < kills; ++kill) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::close(ends[0]);
      train_until_killed(folder / "model.hai", folder / "c", ends[1]);
    }
    ::close(ends[1]);
    const double milliseconds = start * unit(random) * (unit(random) < 0.5 ? 1 : 4);
    std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(milliseconds));
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    int state = 0;
    ASSERT_EQ(::waitpid(child, &state, 0), child);
    ASSERT_TRUE(WIFSIGNALED(state)) << "kill " << kill << ": the training ended by itself with " << WEXITSTATUS(state);
    acknowledged = last_acknowledged(ends[0], acknowledged);
    ::close(ends[0]);

    const auto trainer = make_trainer(folder / "model.hai");
    const auto loaded = training::load_checkpoint(folder / "c", *trainer);
    if (acknowledged > 0) {
      ASSERT_TRUE(loaded) << "kill " << kill << ": " << loaded.error().to_string();
    }
    ASSERT_GE(trainer->steps(), acknowledged) << "kill " << kill;
    ASSERT_LE(trainer->steps(), acknowledged + 1) << "kill " << kill;
    if (loaded) {
      ASSERT_TRUE(loaded->skipped.empty()) << loaded->skipped[0];
    }
    unacknowledged_found += trainer->steps() > acknowledged ? 1 : 0;
    acknowledged = trainer->steps();
    if (std::filesystem::exists(folder / "c")) {
      bool left = false;
      for (const auto& entry : std::filesystem::directory_iterator(folder / "c"))
        left = left || (entry.path().extension() == ".tmp" && leftovers.insert(entry.path().string()).second);
      left_behind += left ? 1 : 0;
    }
  }
  ASSERT_GT(acknowledged, 0);
  const auto killed = make_trainer(folder / "model.hai");
  ASSERT_TRUE(training::load_checkpoint(folder / "c", *killed));
  const auto whole = make_trainer(folder / "model.hai");
  train(*whole, static_cast<int>(killed->steps()));
  EXPECT_EQ(snapshot(*killed), snapshot(*whole));
  std::printf("%d kills: %lld steps, %d kills in the middle of a save, %d between a save and the word of it\n", kills,
              static_cast<long long>(acknowledged), left_behind, unacknowledged_found);
  EXPECT_GT(left_behind, 0);  // else the kills came at the wrong times
}

}  // namespace
}  // namespace hai
