#!/usr/bin/env bash
# Every C++ test of the ordinary build, on the best instruction set of this machine.
# timeout_s: 600
source "$(dirname "$0")/../step.sh"
[[ -f build/build.ninja ]] || die "run .ci/steps/20_build.sh first"
run_ctest build
