"""Whole processes of the command line: compiling MobileNetV2, and loading it to the first answer with the memory that takes.

`python -m bench.speed.startup [--wait SECONDS]`, after `./dev build`. Times are medians of whole processes, from start to
exit. Memory is the peak that the kernel counted (VmHWM), over that of `hai --version`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from bench.accuracy.figures import Row, print_table
from bench.models.__main__ import export_all_forms
from bench.models.catalogue import NETWORKS
from bench.reasons import Skipped, exit_status
from bench.speed.quiet import Quiet

_NETWORK = "mobilenet_v2"
_COMPILE_RUNS, _FIRST_ANSWER_RUNS = 7, 15
_COMPILE_GOAL_S, _FIRST_ANSWER_GOAL_S, _MEMORY_GOAL_BYTES = 1.0, 0.080, 6_000_000
_PARTS = ("packed_weights_bytes", "arena_bytes", "scratch_bytes")
MODELS = Path("build/models")
TOOL = Path("build/bin/hai")


def _whole_process_s(command: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def _peak_resident_bytes(command: list[str]) -> int:
    """Peak resident memory. Read while the process runs: what wait4 reports may be the parent's, from before exec."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    status, peak = Path(f"/proc/{process.pid}/status"), 0
    while process.poll() is None:
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                peak = max(peak, int(line.split()[1]) * 1024)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return peak


def _shown(seconds: list[float]) -> str:
    low, middle, high = np.percentile(np.array(seconds) * 1e3, (10, 50, 90))
    return f"{middle:.0f} ms (p10 {low:.0f}, p90 {high:.0f})"


def measure(tool: Path = TOOL, folder: Path = MODELS, wait_s: float = 0.0, even_if_busy: bool = False) -> bool:
    """Print the table."""
    if not tool.exists():
        raise Skipped(f"{tool} is not built: ./dev build")
    export_all_forms(NETWORKS[_NETWORK], folder, [""], again=False)
    source = str(folder / f"{_NETWORK}.onnx")
    with tempfile.TemporaryDirectory() as scratch:
        model, picture = f"{scratch}/net.hai", f"{scratch}/input.npy"
        np.save(picture, NETWORKS[_NETWORK].pictures(1, seed=5))
        compile_ = [str(tool), "compile", source, "-o", model]
        first_answer = [str(tool), "run", model, "--input", f"input={picture}", "--threads", "1", "--top", "1"]
        bench = [str(tool), "bench", model, "--threads", "1", "--runs", "1", "--warmup", "1", "--json"]
        _whole_process_s(compile_)
        figures = json.loads(subprocess.run(bench, check=True, stdout=subprocess.PIPE).stdout)
        with Quiet(wait_s, even_if_busy):
            compile_s = [_whole_process_s(compile_) for _ in range(_COMPILE_RUNS)]
            first_s = [_whole_process_s(first_answer) for _ in range(_FIRST_ANSWER_RUNS)]
        empty = max(_peak_resident_bytes([str(tool), "--version"]) for _ in range(5))
        beyond = max(_peak_resident_bytes(first_answer) for _ in range(5)) - empty
    packed, arena = int(figures["packed_weights_bytes"]), int(figures["arena_bytes"])
    over = beyond - packed - arena
    rows = [
        Row(
            "import and compile, whole process",
            _shown(compile_s),
            f"<= {_COMPILE_GOAL_S * 1e3:.0f} ms",
            float(np.median(compile_s)) <= _COMPILE_GOAL_S,
        ),
        Row(
            "load and first answer, whole process",
            _shown(first_s),
            f"<= {_FIRST_ANSWER_GOAL_S * 1e3:.0f} ms",
            float(np.median(first_s)) <= _FIRST_ANSWER_GOAL_S,
        ),
        Row("packed weights, arena, scratch", " + ".join(f"{figures[k] / 1e6:.2f}" for k in _PARTS) + " MB"),
        Row(
            "peak memory beyond an empty process, packed weights and arena",
            f"{over / 1e6:.2f} MB",
            f"<= {_MEMORY_GOAL_BYTES / 1e6:.0f} MB",
            over <= _MEMORY_GOAL_BYTES,
        ),
    ]
    return print_table("MobileNetV2, f32", rows)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.speed.startup", description=__doc__)
    parser.add_argument("--tool", type=Path, default=TOOL, help="the program hai (default: %(default)s)")
    parser.add_argument("--models", type=Path, default=MODELS, help="folder of the exported networks")
    parser.add_argument("--wait", type=float, default=0.0, help="seconds to wait for a quiet machine")
    parser.add_argument("--even-if-busy", action="store_true", help="measure all the same")
    arguments = parser.parse_args()
    return exit_status(partial(measure, arguments.tool, arguments.models, arguments.wait, arguments.even_if_busy))


if __name__ == "__main__":
    sys.exit(main())
