// hai-device: what a device carries to run, train, inspect and measure models. It links the runtime, the kernels of
// training and the pictures; no compiler, importer or simulator (checked by .ci/check_runtime_library.py).
//
// Every command is the function that `hai` calls, with the same flags, output and exit codes
// (tools/hai_device/command_line.cpp).
#include <CLI/CLI.hpp>

#include "hai/hai.h"
#include "tools/hai_device/command_line.h"
#include "tools/hai_device/device_commands.h"

int main(int argc, char** argv) {
  using namespace hai::tools;  // NOLINT: the commands, in the one file that wires them
  CLI::App app("hai-device: run, train, inspect and measure models on the device", "hai-device");
  app.set_version_flag("--version", hai_version());
  app.require_subcommand(1);
  app.footer(
      "`hai-device COMMAND --help` shows each command with examples. Exit codes: 0 done, 1 failed, 2 wrong command "
      "line, 130 an interrupt ended a training.");
  Chosen chosen;
  RunArguments run;
  TrainArguments train;
  InspectArguments inspect;
  BenchArguments bench;
  RollbackArguments rollback;
  UpdateArguments update;
  add_run(app, run, chosen);
  add_train(app, train, chosen);
  add_inspect(app, inspect, chosen);
  add_bench(app, bench, chosen);
  add_rollback(app, rollback, chosen);
  add_update(app, update, chosen);
  return run_program(app, argc, argv, chosen);
}
