"""Instructions that one run of each model takes, counted by callgrind: a figure that a busy machine cannot blur.

`./dev bench instructions [model ...] [--write]`, after `./dev build`; needs valgrind (Debian's package). Two programs that
differ by a few runs are counted, so that loading is not in the figure. Valgrind knows no AVX-512: the kernels are those of
AVX2. The table that is kept, `bench/speed/instructions.json`, is compared with; more than 2 % above it is a miss, and
`--write` replaces its rows. The networks are those of `./dev bench peers`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.accuracy.figures import Row, print_table
from bench.peers import command
from bench.peers.models import RACERS
from bench.peers.race import make
from bench.reasons import Skipped, exit_status

KEPT = Path(__file__).with_suffix(".json")
TOOL = Path("build/bin/hai")
_FEW, _MORE = 1, 3  # runs; the series with profiling is as long in both
_MOST_ABOVE = 0.02
_ISA = "avx2"


def counted(text: str) -> int:
    """What callgrind says that it collected."""
    found = re.search(r"Collected : (\d+)", text)
    if found is None:
        raise Skipped(f"callgrind counted nothing: {text.strip()[-300:]}")
    return int(found[1])


def a_run(few: int, more: int) -> int:
    """Instructions of one run, from two programs that differ by _MORE - _FEW runs."""
    return (more - few) // (_MORE - _FEW)


def change(now: int, kept: int | None) -> tuple[str, bool | None]:
    """Against the kept figure, and whether it is near enough; None without one."""
    if kept is None:
        return "not kept yet", None
    return f"{(now - kept) / kept:+.2%}", now <= kept * (1 + _MOST_ABOVE)


def _instructions(model: Path, runs: int) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        words = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={scratch}/out", str(TOOL), "bench", str(model)]
        words += ["--threads", "1", "--isa", _ISA, "--warmup", "0", "--runs", str(runs), "--layers", "1"]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, "HAI_CPU": _ISA})
    if done.returncode:
        raise Skipped(f"valgrind failed: {done.stderr.strip()[-300:]}")
    return counted(done.stderr)


def measure(
    models: Sequence[str] = (),
    precisions: Sequence[str] = ("int8", "f32"),
    write: bool = False,
    out: Path = command.OUT,
) -> bool:
    """Print the table."""
    if shutil.which("valgrind") is None:
        raise Skipped("valgrind is not installed: apt-get install valgrind")
    if not TOOL.exists():
        raise Skipped(f"{TOOL} is not built: ./dev build")
    kept: dict[str, int] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    rows = []
    for model in models or RACERS:
        for precision in precisions:
            name = f"{model} {precision}"
            try:
                job = command.job_of("hai", model, precision, 1, out)
                make("hai", job)
                path = Path(job["folder"]) / "model.hai"
                now = a_run(_instructions(path, _FEW), _instructions(path, _MORE))
            except Skipped as reason:
                rows.append(Row(name, f"skipped: {reason}"))
                continue
            shown, near = change(now, kept.get(name))
            rows.append(Row(name, f"{now / 1e6:.2f} M instructions, {shown}", f"<= {1 + _MOST_ABOVE:g} x kept", near))
            if write:
                kept[name] = now
                KEPT.write_text(json.dumps(dict(sorted(kept.items())), indent=2) + "\n")
    return print_table(f"Instructions a run, batch 1, one thread, {_ISA}", rows)


def main(words: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="./dev bench instructions", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(RACERS)}; all by default")
    parser.add_argument("--precisions", nargs="+", default=["int8", "f32"], choices=["int8", "f32"])
    parser.add_argument("--write", action="store_true", help="keep these figures")
    parser.add_argument("--out", type=Path, default=command.OUT, help="folder of the models (default: %(default)s)")
    arguments = parser.parse_args(words)
    unknown = [name for name in arguments.models if name not in RACERS]
    if unknown:
        parser.error(f"unknown model {unknown[0]}; known: {', '.join(RACERS)}")
    return exit_status(lambda: measure(arguments.models, arguments.precisions, arguments.write, arguments.out))


if __name__ == "__main__":
    sys.exit(main())
