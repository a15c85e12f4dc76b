// Progress on standard error.
//
// Method: on a terminal the line is drawn over itself; in a file or a pipe, where that would leave every step, a line
// is written at most every ten seconds, and the last one when the progress ends. Not thread-safe: progress is reported
// by the thread that runs the command.
#include "tools/hai_device/progress.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <string>

#include "base/utf8.h"

namespace hai::tools {
namespace {

constexpr std::chrono::seconds kBetweenLines{10};

struct Line {
  std::string text;  // shown on the terminal; elsewhere not written yet
  bool open = false;
  std::chrono::steady_clock::time_point written = std::chrono::steady_clock::now();
};

Line& line() {
  static Line current;
  return current;
}

bool on_terminal() {
  static const bool terminal = ::isatty(STDERR_FILENO) == 1;
  return terminal;
}

}  // namespace

void show_progress(std::string_view text) {
  Line& current = line();
  current.text = printable(text);
  current.open = true;
  if (on_terminal()) {
    std::fprintf(stderr, "\r\033[K%s", current.text.c_str());
    return;
  }
  const auto now = std::chrono::steady_clock::now();
  if (now - current.written < kBetweenLines) return;
  end_progress();
}

void end_progress() {
  Line& current = line();
  if (!current.open) return;
  current.open = false;
  current.written = std::chrono::steady_clock::now();
  if (on_terminal()) {
    std::fprintf(stderr, "\n");
  } else {
    std::fprintf(stderr, "%s\n", current.text.c_str());
  }
}

}  // namespace hai::tools
