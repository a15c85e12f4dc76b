"""Looks into libhai_runtime.so: it may export the C interface only, need nothing but the C and C++ runtimes, hold no code of
compiler, importers, protobuf or Python, and stay below 2 MB stripped.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

MAX_STRIPPED_BYTES = 2_000_000
NEEDED = re.compile(r"lib(?:c|m|stdc\+\+|gcc_s|pthread)\.so\.\d+|ld-linux.*")
FOREIGN = re.compile(
    r"google::protobuf|\bPy[A-Z]\w+|hai::(?:ir|compiler|onnx_import|quantizer|passes)::|CLI::|nlohmann"
)


def output_of(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> int:
    parser = argparse.ArgumentParser(description="check what the runtime library exports, needs, holds and weighs")
    parser.add_argument("library", type=pathlib.Path)
    library = str(parser.parse_args().library)
    problems = []
    exported = {line.split()[-1] for line in output_of("nm", "-D", "--defined-only", library).splitlines()}
    problems += [f"exports {name}" for name in sorted(exported) if not name.startswith("hai_")]
    if not exported:
        problems.append("exports nothing")
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", output_of("readelf", "-dW", library))
    problems += [f"needs {name}" for name in needed if not NEEDED.fullmatch(name)]
    foreign = sorted({m.group(0) for m in FOREIGN.finditer(output_of("nm", "-C", library))})
    problems += [f"holds code of {name}" for name in foreign]
    with tempfile.TemporaryDirectory() as folder:
        stripped = str(pathlib.Path(folder) / "stripped.so")
        subprocess.run(["strip", "-o", stripped, library], check=True)
        size = os.path.getsize(stripped)
    if size > MAX_STRIPPED_BYTES:
        problems.append(f"is {size} bytes stripped, the limit is {MAX_STRIPPED_BYTES}")
    for problem in problems:
        print(f"{library}: {problem}")
    print(f"runtime library: {len(exported)} functions exported, {size} bytes stripped, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
