"""Every comparison with peers: `bench/run.py [name ...]`, the names of SUITES; all by default. Each prints a markdown table.

Alone on the line, `accuracy` (quantized accuracy), `npu` (networks on the NPU), `npu_peers` (what others estimate for an
NPU, layer by layer), `npu_errors` (how far our model of it is from theirs), `npu_faults` (what becomes of faults),
`instructions` and `roofline` (of a run), `peers` (speed, in turns with other engines), `permuted_mnist` and `split_mnist`
(learning without forgetting), `training_gradients` (a step of training beside PyTorch, digit by digit), `training_speed`
(how long one takes), `frozen_step` (one whose front is frozen), `elpv` (solar cells learnt from 1,000 pictures),
`elpv_rebuilt` (the same in INT8 that was rebuilt, and its update),
`mixing` (what MixUp and CutMix give with 100) and `deeppcb` (a detector from 100 pictures) take models and options of their
own: `bench/run.py accuracy --help`.

A comparison that cannot run here (no test data, no PyTorch, a busy machine) is skipped by name with the reason. The exit
status is 1 when a goal was missed.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.reasons import exit_status

SUITES = {
    "efficientnet_lite0": "bench.accuracy.efficientnet_lite0",
    "detectors": "bench.accuracy.detectors",
    "networks": "bench.accuracy.networks",
    "instructions": "bench.speed.instructions",
    "roofline": "bench.speed.roofline",
    "latency": "bench.speed.latency",
    "startup": "bench.speed.startup",
    "accuracy": "bench.accuracy.table",
    "checkpoint_kills": "bench.training.checkpoint_kills",
    "npu": "bench.npu.networks",
    "npu_peers": "bench.npu.peers",
    "npu_errors": "bench.npu.errors",
    "npu_faults": "bench.npu.faults",
    "peers": "bench.peers.command",
    "permuted_mnist": "bench.training.permuted_mnist",
    "split_mnist": "bench.training.split_mnist",
    "training_gradients": "bench.training.gradients",
    "training_speed": "bench.training.step_speed",
    "frozen_step": "bench.training.frozen_step",
    "elpv": "bench.training.elpv",
    "elpv_rebuilt": "bench.training.elpv_rebuilt",
    "mixing": "bench.training.mixing",
    "deeppcb": "bench.training.deeppcb",
}
WITH_OPTIONS = (
    "accuracy",
    "instructions",
    "roofline",
    "npu",
    "npu_peers",
    "npu_errors",
    "npu_faults",
    "peers",
    "permuted_mnist",
    "training_speed",
    "frozen_step",
    "elpv",
    "elpv_rebuilt",
    "mixing",
    "deeppcb",
    "split_mnist",
    "training_gradients",
)


def main() -> int:
    """Command line."""
    if sys.argv[1:] and sys.argv[1] in WITH_OPTIONS:
        return int(importlib.import_module(SUITES[sys.argv[1]]).main(sys.argv[2:]))
    parser = argparse.ArgumentParser(description="Compare with peers; prints markdown tables.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SUITES)}; all by default")
    names = parser.parse_args().names or list(SUITES)
    unknown = [name for name in names if name not in SUITES]
    if unknown:
        parser.error(f"unknown comparison {unknown[0]}; known: {', '.join(SUITES)}")
    status = 0
    for name in names:
        print(f"\n== {name} (python -m {SUITES[name]})", flush=True)
        status |= exit_status(lambda module=SUITES[name]: bool(importlib.import_module(module).measure()))
    return status


if __name__ == "__main__":
    sys.exit(main())
