#!/usr/bin/env bash
# The kernels of avx2vnni, avx512 and avx512vnni on a machine that lacks one of them: their intrinsics in plain C
# (tests/emulation/immintrin.h), every operator against the reference. Machines that have them run them in the ordinary steps.
# timeout_s: 1200
# quick: no
source "$(dirname "$0")/../step.sh"
[[ $(uname -m) == x86_64 ]] || skip "not an x86-64 machine"
flags=" $(grep -m 1 '^flags' /proc/cpuinfo) "
[[ $flags == *" avx2 "* ]] || skip "the emulation itself needs AVX2"
missing=()
[[ $flags == *" avx_vnni "* ]] || missing+=(avx2vnni)
[[ $flags == *" avx512bw "* && $flags == *" avx512dq "* && $flags == *" avx512vl "* ]] || missing+=(avx512)
[[ $flags == *" avx512_vnni "* && $flags == *" avx512_vbmi "* ]] || missing+=(avx512vnni)
((${#missing[@]})) || skip "this machine has the instructions"
ensure_packages build test
ensure_python "$python_set"
[[ -f build/build.ninja ]] || die "run .ci/steps/20_build.sh first"
# In the ordinary tree, since only these kernels differ; afterwards it is as it was.
restore() { build_tree build all -DHAI_EMULATE_AVX512=OFF; }
trap restore EXIT
build_tree build "cpu_exec_test tests_conformance_test" -DHAI_EMULATE_AVX512=ON
status=0
say "-- emulated: ${missing[*]}"
# Both programs go through every instruction set that is at hand.
for program in build/bin/tests/{cpu_exec,tests_conformance}_test; do
  HAI_SOURCE_DIR=$root GTEST_BRIEF=1 GTEST_COLOR=no GTEST_OUTPUT="xml:$HAI_RESULTS/$(basename "$program")_emulated.xml" "$program" ||
    status=1
done
exit $status
