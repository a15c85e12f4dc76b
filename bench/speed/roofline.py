"""Where the time goes and what remains to the limit, a table for docs/performance.md: `./dev bench roofline [model ...]`.

Runs `hai bench --roofline --json` (after `./dev build`) on HAI's models of `./dev bench peers`. Layers' times are the least
of their runs, which other work on the machine spoils least; the load is stated all the same.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.peers import command, machine
from bench.peers.models import RACERS
from bench.peers.race import make
from bench.reasons import Skipped, exit_status

TOOL = Path("build/bin/hai")
_RUNS = 20


def summary(layers: Sequence[Mapping[str, Any]]) -> tuple[float, float, float]:
    """Least measured, limit (ms), and the share of the limit that is reached."""
    measured = sum(layer["measured_ms"] for layer in layers)
    limit = sum(layer["limit_ms"] for layer in layers)
    return measured, limit, limit / measured if measured else 0.0


def largest(layers: Sequence[Mapping[str, Any]], count: int = 5) -> list[str]:
    """The largest gaps, a table row each; `layers` are sorted by gap."""
    whole = sum(layer["gap_ms"] for layer in layers) or 1.0
    return [
        f"| `{layer['name']}` | {layer['kernel']} | {layer['measured_ms']:.3f} | {layer['limit_ms']:.3f} | {layer['bound']} | "
        f"{layer['gap_ms']:.3f} | {layer['gap_ms'] / whole:.0%} |"
        for layer in layers[:count]
    ]


def section(title: str, document: Mapping[str, Any], count: int = 5) -> str:
    """One model in one precision."""
    layers = document["roofline"]["layers"]
    measured, limit, share = summary(layers)
    first = max((layer["limit_ms"], layer["bound"]) for layer in layers)[1] if layers else "nothing"
    return "\n".join(
        [
            f"### {title}",
            "",
            f"Layers {measured:.3f} ms, limit {limit:.3f} ms: {share:.0%} reached. The largest limit is one of {first}.",
            "",
            "| layer | kernel | ms | limit ms | bound | gap ms | of all gaps |",
            "|---|---|---|---|---|---|---|",
            *largest(layers, count),
        ]
    )


def peaks(document: Mapping[str, Any]) -> str:
    """What the machine can do, in a sentence."""
    roofline = document["roofline"]
    sets = ", ".join(
        f"{peak['isa']} {peak['f32_gmacs_per_s']:.0f} / {peak['i8_gmacs_per_s']:.0f}" for peak in roofline["peaks"]
    )
    reads = ", ".join(
        f"{level['working_set_bytes'] // 1024} KiB {level['gigabytes_per_s']:.0f}"
        for level in roofline["read_bandwidths"]
    )
    return f"Peaks in GMAC/s, f32 / INT8: {sets}. Reads in GB/s by working set: {reads}."


def measure(models: Sequence[str], precisions: Sequence[str], threads: int, out: Path) -> bool:
    """Print the sections."""
    if not TOOL.exists():
        raise Skipped(f"{TOOL} is not built: ./dev build")
    print(machine.sentence(machine.describe()) + f" {threads} thread{'s' * (threads > 1)}.\n", flush=True)
    said = False
    for model in models or RACERS:
        for precision in precisions:
            try:
                job = command.job_of("hai", model, precision, 1, out)
                make("hai", job)
            except Skipped as reason:
                print(f"{model} {precision}: {reason}\n", flush=True)
                continue
            words = [str(TOOL), "bench", f"{job['folder']}/model.hai", "--roofline", "--json", "--runs", str(_RUNS)]
            words += ["--threads", str(threads)]
            done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, env=os.environ)
            document = json.loads(done.stdout)
            if not said:
                print(peaks(document) + "\n")
                said = True
            print(section(f"{RACERS[model].title}, {precision}", document) + "\n", flush=True)
    return True


def main(words: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="./dev bench roofline", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(RACERS)}; all by default")
    parser.add_argument("--precisions", nargs="+", default=["int8", "f32"], choices=["int8", "f32"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=command.OUT, help="folder of the models (default: %(default)s)")
    arguments = parser.parse_args(words)
    unknown = [name for name in arguments.models if name not in RACERS]
    if unknown:
        parser.error(f"unknown model {unknown[0]}; known: {', '.join(RACERS)}")
    return exit_status(lambda: measure(arguments.models, arguments.precisions, arguments.threads, arguments.out))


if __name__ == "__main__":
    sys.exit(main())
