#!/usr/bin/env bash
# The code blocks of README.md and docs/: syntax of all, and those marked `run` are executed.
# timeout_s: 300
source "$(dirname "$0")/../step.sh"
ensure_python "$python_set"
"$python" .ci/check_docs.py
if ! diff <(build/bin/hai ops --markdown) docs/reference/operators.md >/dev/null; then
  die "docs/reference/operators.md is out of date: build/bin/hai ops --markdown > docs/reference/operators.md"
fi
if ! diff <(build/bin/hai isa) docs/reference/npu_commands.md >/dev/null; then
  die "docs/reference/npu_commands.md is out of date: build/bin/hai isa > docs/reference/npu_commands.md"
fi
