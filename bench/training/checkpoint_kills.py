"""A training that is killed (SIGKILL) at 1,000 random moments: what was acknowledged is found each time, and the bits are those
of a run that nobody killed.

`python -m bench.training.checkpoint_kills [--kills N]`, after `ninja -C build tests_checkpoint_kill_fault_test`. The program is
the one that the test run uses for 50 kills; it says what is checked.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from bench.accuracy.figures import Row, print_table
from bench.reasons import Skipped, exit_status

PROGRAM = Path("build/bin/tests/tests_checkpoint_kill_fault_test")
_FIGURES = re.compile(
    r"(\d+) kills: (\d+) steps, (\d+) kills in the middle of a save, (\d+) between a save and the word of it"
)


def measure(kills: int = 1000) -> bool:
    """Print the table; whether nothing was lost."""
    if not PROGRAM.exists():
        raise Skipped(f"{PROGRAM} is not built: ninja -C build {PROGRAM.name}")
    begin = time.perf_counter()
    run = subprocess.run(
        [PROGRAM], env={**os.environ, "HAI_KILLS": str(kills)}, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - begin
    figures = _FIGURES.search(run.stdout)
    if run.returncode or figures is None:
        print(run.stdout[-4000:] + run.stderr[-4000:])
        return False
    done, steps, inside, between = figures.groups()
    return print_table(
        "A training, killed and resumed",
        [
            Row(
                "kills",
                f"{done}, of them {inside} in the middle of a save, {between} between a save and the word of it",
            ),
            Row("steps trained and saved", f"{steps} in {seconds:.0f} s"),
            Row("checkpoints acknowledged and lost", "0", "0", True),  # else the program fails
            Row("bits beside a run without kills", "the same", "the same", True),
        ],
    )


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Kill a training at random moments and resume it.")
    parser.add_argument("--kills", type=int, default=1000)
    kills = parser.parse_args().kills
    return exit_status(lambda: measure(kills))


if __name__ == "__main__":
    sys.exit(main())
