// The end of the line for bugs of our own: print where, abort.
//
// Invariant: nothing that a user can put in (file, flag, API, network) reaches check_failed; it guards what our own
// code promised itself. It is not error handling: that is Result.
#include "base/result.h"

#include <cstdio>
#include <cstdlib>

namespace hai {

void check_failed(const char* condition, const char* file, int line, const char* message) {
  std::fprintf(
      stderr,
      "%s:%d: HAI_CHECK(%s) failed %s\nThis is a bug in HAI; please report it with the command that led here.\n", file,
      line, condition, message);
  std::abort();
}

}  // namespace hai
