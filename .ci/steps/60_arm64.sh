#!/usr/bin/env bash
# Cross build for Arm64. Three CPUs of qemu's user mode: a72 (neon; a leaked dot product is an illegal instruction),
# neoverse-n1 (neondot), max (neoni8mm). The unit tests run on the first, those with kernels on the others too. Programs that
# take five to fifteen minutes under qemu are dealt out: a case runs on one of the CPUs. Most kernels are the same code on all
# three; those of dot products (__dot.c) get a third of their cases each, which are some hundreds.
# timeout_s: 2400
# quick: no
source "$(dirname "$0")/../step.sh"
ensure_packages build test
ensure_python "$python_set"
.ci/arm64_sysroot.sh
build_tree build-arm64 all -DCMAKE_TOOLCHAIN_FILE="$root/cmake/toolchain-aarch64.cmake" -DHAI_PRECOMPILE=ON
results=$HAI_RESULTS
index=0
for cpu in cortex-a72:neon neoverse-n1:neondot max:neoni8mm; do
  isa=${cpu#*:}
  say "-- qemu ${cpu%:*}, instruction set $isa"
  export HAI_RESULTS="$results/$isa" QEMU_CPU=${cpu%:*}
  mkdir -p "$HAI_RESULTS"
  export HAI_CPU=$isa
  dealt='^(tests_conformance|format)_test$'
  if [[ $isa == neon ]]; then
    # The NPU's random networks cover what its conformance tests would take ten minutes for under qemu.
    HAI_RANDOM_GRAPHS=120 run_ctest build-arm64 -L unit -E '^(tests_npu_conformance|tests_conformance|format|quantizer)_test$'
    dealt='^(tests_conformance|format|quantizer)_test$'  # of the quantizer, which has no kernels, a third is enough
  else
    run_ctest build-arm64 -L unit -R '^(cpu_exec|ops|runtime)_test$'
  fi
  GTEST_TOTAL_SHARDS=3 GTEST_SHARD_INDEX=$index run_ctest build-arm64 -L unit -R "$dealt"
  index=$((index + 1))
done
