"""Latency of f32 networks on one thread, HAI and ONNX Runtime in turns in one process.

`python -m bench.speed.latency [names] [--wait SECONDS]`. The two take turns of a few runs each, so that a change of the
clock or a neighbour hits both; medians and the 10th and 90th percentiles of single runs are printed, and the ratio of the
medians.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.accuracy.figures import Row, print_table
from bench.accuracy.peers import onnxruntime_session
from bench.models.__main__ import export_all_forms
from bench.models.catalogue import NETWORKS
from bench.reasons import exit_status
from bench.speed.quiet import Quiet

_GOALS = {"mobilenet_v2": 2.0}
_ROUNDS = 60
_RUNS_PER_TURN = 3
_WARM_UP_RUNS = 10
MODELS = Path("build/models")


def _in_turns(runs: Sequence[Callable[[], object]], rounds: int) -> list[NDArray[np.float64]]:
    """Seconds of every single run of each of `runs`."""
    for run in runs:
        for _ in range(_WARM_UP_RUNS):
            run()
    seconds: list[list[float]] = [[] for _ in runs]
    for turn in range(rounds):
        order = range(len(runs)) if turn % 2 == 0 else reversed(range(len(runs)))
        for index in order:
            for _ in range(_RUNS_PER_TURN):
                begin = time.perf_counter()
                runs[index]()
                seconds[index].append(time.perf_counter() - begin)
    return [np.array(values) for values in seconds]


def _shown(seconds: NDArray[np.float64]) -> str:
    low, middle, high = np.percentile(seconds * 1e3, (10, 50, 90))
    return f"{middle:.2f} ms (p10 {low:.2f}, p90 {high:.2f})"


def measure(
    names: Sequence[str] = ("mobilenet_v2",), folder: Path = MODELS, wait_s: float = 0.0, even_if_busy: bool = False
) -> bool:
    """Print the table."""
    from bench.accuracy.under_test import HaiNetwork

    rows = []
    for name in names:
        export_all_forms(NETWORKS[name], folder, [""], again=False)
        path, picture = folder / f"{name}.onnx", NETWORKS[name].pictures(1, seed=5)
        network, peer = HaiNetwork(path, "input"), onnxruntime_session(path)
        with Quiet(wait_s, even_if_busy) as quiet:
            ours, theirs = _in_turns(
                [partial(network.run, picture), partial(peer.run, None, {"input": picture})], _ROUNDS
            )
        ratio, goal = float(np.median(ours) / np.median(theirs)), _GOALS.get(name)
        busy = f", beside {quiet.others:.2f} busy processors" if even_if_busy else ""
        shown_goal, reached = ("", None) if goal is None else (f"<= {goal:g}", ratio <= goal)
        rows += [
            Row(f"{name}: HAI{busy}", _shown(ours)),
            Row(f"{name}: ONNX Runtime{busy}", _shown(theirs)),
            Row(f"{name}: HAI over ONNX Runtime", f"{ratio:.2f}", shown_goal, reached),
        ]
    return print_table("Latency, f32, batch 1, one thread", rows)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.speed.latency", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(NETWORKS)}; default: mobilenet_v2")
    parser.add_argument("--models", type=Path, default=MODELS, help="folder of the exported networks")
    parser.add_argument("--wait", type=float, default=0.0, help="seconds to wait for a quiet machine")
    parser.add_argument("--even-if-busy", action="store_true", help="measure all the same and say how busy it was")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in NETWORKS]
    if unknown:
        parser.error(f"unknown network {unknown[0]}; known: {', '.join(NETWORKS)}")
    names = arguments.names or ["mobilenet_v2"]
    return exit_status(partial(measure, names, arguments.models, arguments.wait, arguments.even_if_busy))


if __name__ == "__main__":
    sys.exit(main())
