#!/usr/bin/env bash
# Builds everything: tools, runtime library, hai_toolkit, tests.
# timeout_s: 1500
source "$(dirname "$0")/../step.sh"
ensure_packages build
ensure_python "$python_set"
build_tree build all -DHAI_BUILD_PYTHON=ON -DHAI_BUILD_TESTS=ON
