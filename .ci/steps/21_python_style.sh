#!/usr/bin/env bash
# ruff (rules and format) and mypy --strict on the Python sources. After the build: mypy reads the native module's stub.
# timeout_s: 240
source "$(dirname "$0")/../step.sh"
ensure_python "$python_set"
status=0
"$venv/bin/ruff" check . || status=1
"$venv/bin/ruff" format --check . || { say "run ./dev format and commit"; status=1; }
"$venv/bin/mypy" .ci/*.py || status=1
if [[ -d build/python/hai_toolkit ]]; then MYPYPATH=build/python "$venv/bin/mypy" -p hai_toolkit || status=1; fi
exit $status
