# Sourced by every step of .ci/steps: the setup's functions, a place for results, a way to skip, the step's own time.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
step_name=$(basename "$0" .sh)
export HAI_RESULTS="${HAI_RESULTS:-$root/.cache/results/$step_name}"
mkdir -p "$HAI_RESULTS"
python_set="${HAI_PYTHON_SET:-test}"
if [[ -z ${HAI_STEP_TIMED:-} ]]; then trap 'printf "%s took %s s\n" "$step_name" "$SECONDS"' EXIT; fi

# skip <reason>: ends the step as skipped, with the reason in the summary.
skip() { printf 'SKIPPED: %s\n' "$*"; exit 77; }

# Runs ctest in a build folder; each test program leaves its JUnit file in $HAI_RESULTS.
# run_ctest <folder> [ctest options...]
run_ctest() {
  local folder=$1
  shift
  GTEST_OUTPUT="xml:$HAI_RESULTS/" GTEST_COLOR=no ctest --test-dir "$folder" -j "$jobs" --no-tests=error --output-on-failure "$@" |
    grep -v -E '^ +Start |^Internal ctest|^Test project' || return 1
}
