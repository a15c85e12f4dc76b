"""Faults of the NPU on real networks, one after the other, and what becomes of each.

`./dev bench npu_faults [network ...] [--bits N]`. Every semaphore and every transfer of every DMA channel fails once, and N
random bits of each kind of memory turn over; each in a run of its own on one input. Verdicts are held against the outputs, and
every detected fault must name its command.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hai_toolkit as hai
import numpy as np

from bench.npu.networks import PROGRAM, SUBJECTS, _hai, _quantized
from bench.reasons import Skipped

TINY = ("pretrainedResnet", "vww_96_float", "kws_ref_model_float32", "ad01_fp32")
VERDICTS = ("detected", "contained", "masked")
SEMAPHORES = 64


class Sweep:
    """One network on one input."""

    def __init__(self, path: Path, data: Any) -> None:
        self.model = hai.load(path)
        self.inputs = {self.model.inputs[0].name: data}
        self.right = self.model.session(threads=1).run(self.inputs)

    def verdict(self, fault: str) -> str:
        """Of one fault; wrong where outputs and verdict disagree."""
        session = self.model.session(threads=1, inject=[fault])
        try:
            outputs = session.run(self.inputs)
        except hai.HaiError as error:
            found = session.faults[0]
            placed = found["verdict"] == "detected" and ("command" in found or "commands," in found["what"])
            return "detected" if placed else f"wrong: {error}"
        verdict = str(session.faults[0]["verdict"])
        same = all(np.array_equal(outputs[name], self.right[name]) for name in self.right)
        return (
            f"wrong: {fault} is {verdict}" if verdict == "detected" or (verdict == "masked" and not same) else verdict
        )

    def transfers(self) -> Iterator[str]:
        """Every transfer of every channel."""
        for core in (0, 1):
            for channel in (0, 1):
                number = 0
                while True:
                    fault = f"dma,core={core},channel={channel},transfer={number}"
                    try:
                        self.model.session(threads=1, inject=[fault])
                    except hai.HaiError:
                        break
                    yield fault
                    number += 1

    def faults(self, bits: int) -> dict[str, Iterator[str]]:
        """By kind."""
        used = (f"semaphore,number={number}" for number in range(SEMAPHORES))
        return {
            "semaphore stuck": used,
            "transfer not done": self.transfers(),
            "bit of constants": (f"flip,image=constants,seed={seed}" for seed in range(bits)),
            "bit of the segment's first tensor": (f"flip,image=2,seed={seed}" for seed in range(bits)),
            "bit of command words": (f"flip,image=commands,seed={seed}" for seed in range(bits)),
        }


def measure(names: list[str] | None = None, bits: int = 200) -> bool:
    """Print the table; false where a verdict is wrong."""
    if not PROGRAM.exists():
        raise Skipped(f"{PROGRAM} is not built: ./dev build")
    print("| network | fault | tried | detected | contained | masked |\n|---|---|---|---|---|---|")
    good = True
    for subject in SUBJECTS:
        if subject.name not in (names or TINY):
            continue
        with tempfile.TemporaryDirectory() as text:
            path = Path(text) / "npu.hai"
            _hai("compile", _quantized(subject), "--device", "sd3403", "-o", path)
            sweep = Sweep(path, subject.inputs(1)[0])
            for kind, faults in sweep.faults(bits).items():
                counts = Counter(sweep.verdict(fault) for fault in faults)
                if kind == "semaphore stuck":
                    del counts["masked"]  # those that the program does not use
                wrong = [verdict for verdict in counts if verdict not in VERDICTS]
                good = good and not wrong
                cells = " | ".join(str(counts[verdict]) for verdict in VERDICTS)
                print(f"| {subject.title} | {kind} | {counts.total()} | {cells} |", *wrong, flush=True)
    return good


def main(arguments: list[str]) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="bench/run.py npu_faults", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NETWORK", help=f"of {', '.join(s.name for s in SUBJECTS)}")
    parser.add_argument("--bits", type=int, default=200, help="of each kind of memory (default 200)")
    chosen = parser.parse_args(arguments)
    unknown = sorted(set(chosen.names) - {s.name for s in SUBJECTS})
    if unknown:
        parser.error(f"unknown network {unknown[0]}")
    return 0 if measure(chosen.names, chosen.bits) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
