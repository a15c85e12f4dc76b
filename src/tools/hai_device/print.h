// What commands say to people, on standard output and standard error.
#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace hai::tools {

// As it is but for what a terminal would obey (printable_lines()): most of it holds names from files. Whether it got
// out is asked once, at the end of the program.
void print_lines(std::string_view text);
void note_lines(std::string_view text);  // to standard error, with a line end after it

template <typename... Args>
void print(fmt::format_string<Args...> format, Args&&... args) {
  print_lines(fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void note(fmt::format_string<Args...> format, Args&&... args) {
  note_lines(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace hai::tools
