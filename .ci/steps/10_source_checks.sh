#!/usr/bin/env bash
# Include order, style rules that need no compiler, words that may not appear, error ids, and the tests of these checkers.
# timeout_s: 120
source "$(dirname "$0")/../step.sh"
ensure_python "$python_set"
status=0
"$python" .ci/check_layers.py || status=1
"$python" .ci/check_source.py || status=1
"$python" .ci/check_error_ids.py || status=1
"$python" -m pytest -q .ci --junitxml="$HAI_RESULTS/ci_checkers.xml" || status=1
exit $status
