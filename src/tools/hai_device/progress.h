// The one line of progress on standard error.
#pragma once

#include <string_view>

namespace hai::tools {

// Replaces the line on a terminal. Elsewhere a line is written now and then, so that logs show that work goes on.
void show_progress(std::string_view line);

// Ends the line, when there is one, so that what is printed next has a line of its own: call it before every other
// print on standard error while something may be in progress.
void end_progress();

}  // namespace hai::tools
