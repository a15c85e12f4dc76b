#!/usr/bin/env bash
# pytest over python/, tests/ and examples/; tests marked `torch` run when PyTorch is in .venv.
# timeout_s: 900
source "$(dirname "$0")/../step.sh"
ensure_python "$python_set"
[[ -d build/python/hai_toolkit ]] || die "hai_toolkit is not built: run .ci/steps/20_build.sh first"
folders=()
for folder in python tests examples; do
  if [[ -n $(git ls-files "$folder/*test_*.py" "$folder/**/test_*.py") ]]; then folders+=("$folder"); fi
done
((${#folders[@]})) || skip "no Python tests in the tree"
"$python" -m pytest -q --durations=8 "${folders[@]}" --junitxml="$HAI_RESULTS/python.xml"
