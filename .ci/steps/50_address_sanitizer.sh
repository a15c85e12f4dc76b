#!/usr/bin/env bash
# All C++ tests under the address and undefined behaviour sanitizers.
# timeout_s: 1200
# quick: no
source "$(dirname "$0")/../step.sh"
ensure_packages build
ensure_python "$python_set"
build_tree build-address all -DHAI_SANITIZE=address,undefined -DHAI_UNITY=ON
export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1
run_ctest build-address
