#!/usr/bin/env bash
# Prints operator x what exists, and fails on a hole that nobody explained.
# timeout_s: 120
source "$(dirname "$0")/../step.sh"
[[ -x build/bin/hai ]] || die "build/bin/hai is missing: run .ci/steps/20_build.sh first"
build/bin/hai ops --matrix --check
