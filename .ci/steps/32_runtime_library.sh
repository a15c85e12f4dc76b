#!/usr/bin/env bash
# What a device carries: libhai_runtime.so and hai-device hold no compiler, protobuf or Python, and an installed tree builds C and C++ programs.
# timeout_s: 120
source "$(dirname "$0")/../step.sh"
[[ -f build/lib/libhai_runtime.so ]] || die "build/lib/libhai_runtime.so is missing: run .ci/steps/20_build.sh first"
"$python" .ci/check_runtime_library.py build/lib/libhai_runtime.so build/lib/libhai_cpu_train_exec.a build/bin/hai-device build/lib/libhai_training.so
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT
cmake --install build --prefix "$prefix" >"$logs/install.log"
libraries=$(dirname "$(find "$prefix" -name libhai_runtime.so)")
printf '#include <hai/hai.h>\n#include <hai/hai_train.h>\nint main(void) { return 0; }\n' >"$prefix/probe.c"
printf '#include <hai/hai.hpp>\nint main() { return 0; }\n' >"$prefix/probe.cpp"
gcc -std=c99 -Wall -Wextra -Wpedantic -Werror "$prefix/probe.c" -I"$prefix/include" -L"$libraries" -lhai_runtime -o "$prefix/probe_c"
g++ -std=c++20 -Wall -Wextra -Wshadow -Wconversion -Werror "$prefix/probe.cpp" -I"$prefix/include" -L"$libraries" -lhai_runtime -o "$prefix/probe_cpp"
say "installed headers compile as C99 and C++20; programs: $(ls "$prefix/bin" | tr '\n' ' ')"
