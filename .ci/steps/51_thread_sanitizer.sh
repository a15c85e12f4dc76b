#!/usr/bin/env bash
# The tests of what uses threads (base, cpu_exec, data, runtime) under the thread sanitizer.
# timeout_s: 1200
# quick: no
source "$(dirname "$0")/../step.sh"
ensure_packages build
ensure_python "$python_set"
cmake -G Ninja -S . -B build-thread -DHAI_PYTHON="$python" -DHAI_SANITIZE=thread -DHAI_PRECOMPILE=ON >"$logs/thread_configure.log" 2>&1 ||
  { cat "$logs/thread_configure.log"; exit 1; }
programs=$(ninja -C build-thread -t targets all | sed -n -E 's#^((base|cpu_exec|data|runtime)(_fault|_slow)?_test): phony#\1#p')
[[ -n $programs ]] || skip "base, cpu_exec, data and runtime have no tests"
build_tree build-thread "$(tr '\n' ' ' <<<"$programs")"
run_ctest build-thread -R "^($(paste -sd'|' <<<"$programs"))$"
