#!/usr/bin/env bash
# Each fuzz target for a short time under the sanitizers. ./dev fuzz runs longer.
# timeout_s: 1200
# quick: no
source "$(dirname "$0")/../step.sh"
.ci/fuzz.sh "" 15
