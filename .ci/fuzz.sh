#!/usr/bin/env bash
# Builds the fuzz targets (*_fuzz.cpp) with libFuzzer and the address and undefined sanitizers, and runs each for some
# seconds: .ci/fuzz.sh [part of a name] [seconds]. A finding is kept in .cache/fuzz/<target>/ and its path is printed.
# Seeds that belong to a target lie in tests/fuzz/corpus/<target>/.
source "$(dirname "${BASH_SOURCE[0]}")/step.sh"
name=${1:-} seconds=${2:-60}
ensure_packages build test
ensure_python "$python_set"
if [[ -z $(git ls-files -co --exclude-standard '*_fuzz.cpp') ]]; then skip "no fuzz targets in the tree"; fi
build_sanitized fuzz_targets
# One target for its time; a target uses one core.
fuzz_target() {
  local target=$1 stem work seeds=()
  stem=$(basename "$target")
  work=".cache/fuzz/$stem"
  mkdir -p "$work/corpus"
  if [[ -d tests/fuzz/corpus/$stem ]]; then seeds+=("tests/fuzz/corpus/$stem"); fi
  say "-- $stem for $seconds s"
  if ! ASAN_SYMBOLIZER_PATH=/usr/bin/llvm-symbolizer-19 "$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 \
    -print_final_stats=0 -verbosity=0 -artifact_prefix="$work/" "$work/corpus" "${seeds[@]}" >"$work/log" 2>&1; then
    tail -40 "$work/log"
    say "FAILED $stem: the input is in $work; run $target <that file> to repeat it"
    return 1
  fi
}
status=0 running=0
for target in build-sanitize/bin/fuzz/*"$name"*; do
  if ((running == jobs)); then
    wait -n || status=1
    running=$((running - 1))
  fi
  fuzz_target "$target" &
  running=$((running + 1))
done
for ((; running > 0; running--)); do wait -n || status=1; done
exit $status
