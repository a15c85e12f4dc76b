"""Looks into libhai_runtime.so: it may export the C interface only, need nothing but the C and C++ runtimes, hold no code of
compiler, importers, protobuf, Python or the kernels that only training runs, and stay below 2 MB stripped. Those kernels, an
archive of their own, stay below 1 MB. The program hai-device holds no code of the compiler either, needs the decoders of
pictures besides, and stays below 4 MB stripped.
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
MAX_TRAINING_BYTES = 1_000_000
NEEDED = re.compile(r"lib(?:c|m|stdc\+\+|gcc_s|pthread)\.so\.\d+|ld-linux.*")
MAX_PROGRAM_BYTES = 4_000_000
PROGRAM_NEEDED = re.compile(NEEDED.pattern + r"|lib(?:turbojpeg|png16|z)\.so\.\d+")
COMPILER = r"google::protobuf|\bPy[A-Z]\w+|hai::(?:ir|ops|compiler|onnx_import|quantizer|passes|sd3403)::"
PROGRAM_FOREIGN = re.compile(COMPILER)
FOREIGN = re.compile(COMPILER + r"|CLI::|nlohmann")


def output_of(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def training_sizes(archive: str) -> int:
    """Bytes of code and data of all objects of the archive."""
    lines = output_of("size", archive).splitlines()[1:]
    return sum(int(text) + int(data) for text, data, *_ in (line.split() for line in lines))


def stripped_size(binary: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        stripped = str(pathlib.Path(folder) / "stripped")
        subprocess.run(["strip", "-o", stripped, binary], check=True)
        return os.path.getsize(stripped)


def foreign_parts(binary: str, needed: re.Pattern[str], foreign: re.Pattern[str]) -> list[str]:
    """What the binary needs or holds and may not."""
    libraries = re.findall(r"\(NEEDED\).*\[(.*)\]", output_of("readelf", "-dW", binary))
    problems = [f"needs {name}" for name in libraries if not needed.fullmatch(name)]
    found = sorted({m.group(0) for m in foreign.finditer(output_of("nm", "-C", binary))})
    return problems + [f"holds code of {name}" for name in found]


def check_training_library(library: str) -> int:
    """Of libhai_training.so: the C interface of both, and nothing else."""
    problems = foreign_parts(library, NEEDED, FOREIGN)
    exported = {line.split()[-1] for line in output_of("nm", "-D", "--defined-only", library).splitlines()}
    problems += [f"exports {name}" for name in sorted(exported) if not name.startswith("hai_")]
    problems += [f"lacks {name}" for name in ("hai_train_step", "hai_session_run") if name not in exported]
    for problem in problems:
        print(f"{library}: {problem}")
    print(f"training library: {stripped_size(library)} bytes stripped, {len(problems)} problems")
    return len(problems)


def check_program(program: str) -> int:
    """Of hai-device."""
    problems = foreign_parts(program, PROGRAM_NEEDED, PROGRAM_FOREIGN)
    size = stripped_size(program)
    if size > MAX_PROGRAM_BYTES:
        problems.append(f"is {size} bytes stripped, the limit is {MAX_PROGRAM_BYTES}")
    for problem in problems:
        print(f"{program}: {problem}")
    print(f"hai-device: {size} bytes stripped, {len(problems)} problems")
    return len(problems)


def main() -> int:
    parser = argparse.ArgumentParser(description="check what the runtime library exports, needs, holds and weighs")
    parser.add_argument("library", type=pathlib.Path)
    parser.add_argument("training", type=pathlib.Path, help="archive of the kernels that only training runs")
    parser.add_argument("program", type=pathlib.Path, help="hai-device")
    parser.add_argument("training_library", type=pathlib.Path, help="libhai_training.so")
    arguments = parser.parse_args()
    library, training = str(arguments.library), str(arguments.training)
    problems = []
    exported = {line.split()[-1] for line in output_of("nm", "-D", "--defined-only", library).splitlines()}
    problems += [f"exports {name}" for name in sorted(exported) if not name.startswith("hai_")]
    if not exported:
        problems.append("exports nothing")
    problems += foreign_parts(library, NEEDED, FOREIGN)
    defined = re.findall(r" T (\w+)$", output_of("nm", "-g", training), re.MULTILINE)
    held = set(re.findall(r" [tT] (\w+)$", output_of("nm", library), re.MULTILINE))
    problems += [f"holds {name}, which only training needs" for name in sorted(held.intersection(defined))]
    if not defined:
        problems.append(f"{training} defines nothing")
    size = stripped_size(library)
    if size > MAX_STRIPPED_BYTES:
        problems.append(f"is {size} bytes stripped, the limit is {MAX_STRIPPED_BYTES}")
    training_size = training_sizes(training)
    if training_size > MAX_TRAINING_BYTES:
        problems.append(f"training kernels take {training_size} bytes, the limit is {MAX_TRAINING_BYTES}")
    for problem in problems:
        print(f"{library}: {problem}")
    print(
        f"runtime library: {len(exported)} functions exported, {size} bytes stripped, "
        f"training kernels {training_size} bytes, {len(problems)} problems"
    )
    count = len(problems) + check_program(str(arguments.program))
    return 1 if count + check_training_library(str(arguments.training_library)) > 0 else 0


if __name__ == "__main__":
    sys.exit(main())
