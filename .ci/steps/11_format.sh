#!/usr/bin/env bash
# C and C++ sources are as clang-format-19 leaves them.
# timeout_s: 120
source "$(dirname "$0")/../step.sh"
ensure_packages build test
git ls-files '*.h' '*.hpp' '*.c' '*.cpp' | xargs -r -P "$jobs" -n 40 clang-format-19 --dry-run -Werror ||
  die "run ./dev format and commit"
