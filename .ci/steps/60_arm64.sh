#!/usr/bin/env bash
# Cross build for Arm64. Three CPUs of qemu's user mode: a72 (neon; a leaked dot product is an illegal instruction),
# neoverse-n1 (neondot), max (neoni8mm). The whole unit tests run on the first, the tests with kernels on the others.
# timeout_s: 2400
# quick: no
source "$(dirname "$0")/../step.sh"
ensure_packages build test
ensure_python "$python_set"
.ci/arm64_sysroot.sh
build_tree build-arm64 all -DCMAKE_TOOLCHAIN_FILE="$root/cmake/toolchain-aarch64.cmake" -DHAI_PRECOMPILE=ON
results=$HAI_RESULTS
for cpu in cortex-a72:neon neoverse-n1:neondot max:neoni8mm; do
  isa=${cpu#*:}
  say "-- qemu ${cpu%:*}, instruction set $isa"
  export HAI_RESULTS="$results/$isa" QEMU_CPU=${cpu%:*}
  mkdir -p "$HAI_RESULTS"
  if [[ $isa == neon ]]; then
    # The NPU's random networks cover what its conformance tests would take ten minutes for under qemu.
    HAI_RANDOM_GRAPHS=120 HAI_CPU=$isa run_ctest build-arm64 -L unit -E '^tests_npu_conformance_test$'
  else
    HAI_CPU=$isa run_ctest build-arm64 -L unit -R '^(cpu_exec|ops|runtime|tests_conformance)_test'
  fi
done
