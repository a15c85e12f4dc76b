#!/usr/bin/env bash
# clang-tidy-19 on the C++ files that changed since the previous landing; HAI_TIDY=all takes the whole tree (./dev check-all).
# timeout_s: 600
# quick: no
source "$(dirname "$0")/../step.sh"
ensure_packages build test
ensure_python "$python_set"
[[ -f build/compile_commands.json ]] || die "run .ci/steps/20_build.sh first"
"$python" .ci/clang_tidy.py ${HAI_TIDY:+"--$HAI_TIDY"}
