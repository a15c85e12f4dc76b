// The one place through which text with names from files reaches a terminal.
//
// JSON does not come this way: it has escapes of its own, and programs read it. Line ends inside of names are the
// business of whoever prints the name (printable()): here they look like any other.
#include "tools/hai_device/print.h"

#include <cstdio>

#include "base/utf8.h"

namespace hai::tools {

void print_lines(std::string_view text) {
  const std::string shown = printable_lines(text);
  std::fwrite(shown.data(), 1, shown.size(), stdout);
}

void note_lines(std::string_view text) {
  const std::string shown = printable_lines(text) + "\n";
  std::fwrite(shown.data(), 1, shown.size(), stderr);
}

}  // namespace hai::tools
