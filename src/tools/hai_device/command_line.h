// The command line that `hai` and `hai-device` share: the flags of the commands that both have, and what a program does
// around the command that was chosen: help, errors, exit codes.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "tools/hai_device/device_commands.h"

namespace CLI {
class App;
}  // namespace CLI

namespace hai::tools {

inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitStopped = 3;
inline constexpr int kExitInterrupted = 130;      // as of shells: 128 + SIGINT
inline constexpr int kMostCount = 1'000'000'000;  // of whatever a flag counts

// The command that the words chose, and the exit code that it comes to.
using Chosen = std::function<Result<int>()>;

Result<int> exit_code_of(const Status& status);
Result<int> exit_code_of(const Result<RunEnd>& end);
Result<int> exit_code_of(const Result<TrainEnd>& end);

// CLI11's ranges let through what is no number, which compares as neither below nor above.
std::function<std::string(const std::string&)> number_from(double least, double most);
// CLI11 turns a number that no int64_t holds into the largest one.
std::string check_whole_number(const std::string& text);

// Each adds a command, which fills the arguments and sets `chosen`; they must outlive `app`. Examples are those of the
// program that has the name of `app`.
void add_run(CLI::App& app, RunArguments& arguments, Chosen& chosen);
void add_inspect(CLI::App& app, InspectArguments& arguments, Chosen& chosen);
void add_bench(CLI::App& app, BenchArguments& arguments, Chosen& chosen);
void add_train(CLI::App& app, TrainArguments& arguments, Chosen& chosen);
void add_rollback(CLI::App& app, RollbackArguments& arguments, Chosen& chosen);
// The commands of `update`.
struct UpdateArguments {
  UpdateMakeArguments make;
  UpdateApplyArguments apply;
  UpdateShowArguments show;
};
void add_update(CLI::App& app, UpdateArguments& arguments, Chosen& chosen);

// Reads the command line, does what was chosen, and says what went wrong. The exit code of the program.
int run_program(CLI::App& app, int argc, char** argv, const Chosen& chosen);

}  // namespace hai::tools
