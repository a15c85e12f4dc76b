#!/usr/bin/env bash
# All C++ tests, built by clang, under the address and undefined behaviour sanitizers.
# timeout_s: 2700
# quick: no
source "$(dirname "$0")/../step.sh"
ensure_packages build test
ensure_python "$python_set"
build_sanitized all
export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1 ASAN_SYMBOLIZER_PATH=/usr/bin/llvm-symbolizer-19
run_ctest build-sanitize
