#!/usr/bin/env bash
# The ordinary x86-64 build on CPUs without AVX (Nehalem, scalar) and without AVX-512 (Haswell, avx2), under qemu: a leaked
# newer instruction is an illegal instruction here. What the kernels compute is checked by the ordinary tests, which go through
# every set; so of the programs that take minutes under qemu each CPU gets a third of the cases.
# timeout_s: 1200
# quick: no
source "$(dirname "$0")/../step.sh"
[[ $(uname -m) == x86_64 ]] || skip "not an x86-64 machine"
[[ -d build/bin/tests ]] || die "run .ci/steps/20_build.sh first"
# All test programs on one CPU; what they say, in the order in which they ran.
on_cpu() {
  local cpu=$1 isa=$2 share=$3 status=0 program shares
  for program in build/bin/tests/{base,types,format,cpu_exec,ops,runtime,tests_conformance}_test; do
    [[ -x $program ]] || continue
    say "-- $(basename "$program") on $cpu ($isa)"
    shares=1
    [[ $program =~ (conformance|format)_test$ ]] && shares=3
    GTEST_TOTAL_SHARDS=$shares GTEST_SHARD_INDEX=$((share % shares)) HAI_SOURCE_DIR=$root HAI_CPU=$isa GTEST_BRIEF=1 GTEST_COLOR=no GTEST_OUTPUT="xml:$HAI_RESULTS/$(basename "$program")_$isa.xml" \
      qemu-x86_64-static -cpu "$cpu" "$program" 2> >(grep -v "TCG doesn't support requested feature" >&2) || status=1
  done
  return $status
}
# A program uses one core: both CPUs at a time.
status=0
on_cpu Nehalem scalar 0 >"$logs/old_cpus_scalar.log" 2>&1 &
first=$!
on_cpu Haswell avx2 1 || status=1
wait "$first" || status=1
cat "$logs/old_cpus_scalar.log"
exit $status
