"""One engine with one model in an interpreter of its own: `python -m bench.peers.worker make|race ENGINE JOB.json`.

`make` writes the model's files. `race` loads it, tells what that took, and then runs it as often as each line on its standard
input says; between turns it sleeps in a read. Answers go to a private copy of standard output, since engines write to theirs.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from bench.peers.engines import ENGINES, Job, installed
from bench.reasons import Skipped

_FIRST_RUNS = 3


def resident_bytes() -> int:
    """Of this process, now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def _race(engine: Any, job: Job, settings: dict[str, Any], out: TextIO) -> None:
    def say(**words: Any) -> None:
        out.write(json.dumps(words) + "\n")
        out.flush()

    probes = job.probes()
    engine.bring_in()
    before = resident_bytes()
    begin = time.perf_counter()
    loaded = engine.load(job, settings["threads"])
    load_s = time.perf_counter() - begin
    taken = loaded.take(probes[0])
    begin = time.perf_counter()
    first = loaded.run(taken)
    first_s = load_s + time.perf_counter() - begin
    for _ in range(_FIRST_RUNS):
        begin = time.perf_counter()
        loaded.run(taken)
        run_s = time.perf_counter() - begin
    resident = resident_bytes() - before
    answers = [loaded.give(first)] + [loaded.give(loaded.run(loaded.take(probe))) for probe in probes[1:]]
    # The first answer may have been a view of memory that later runs wrote: it is taken again.
    answers[0] = loaded.give(loaded.run(taken))
    np.savez(settings["answers"], *[answer[0] for answer in answers])
    version, size = installed(ENGINES[settings["engine"]])
    say(
        load_s=load_s, first_answer_s=first_s, resident_bytes=resident, run_s=run_s, version=version, install_bytes=size
    )
    for line in sys.stdin:
        wanted = json.loads(line)
        for _ in range(wanted["warm_up"]):
            loaded.run(taken)
        seconds = []
        for _ in range(wanted["runs"]):
            begin = time.perf_counter()
            loaded.run(taken)
            seconds.append(time.perf_counter() - begin)
        say(seconds=seconds)


def main() -> int:
    """Command line."""
    action, name, settings = sys.argv[1], sys.argv[2], json.loads(Path(sys.argv[3]).read_text())
    paths = {key: Path(settings["job"][key]) for key in ("folder", "onnx", "inputs")}
    job = Job(settings["job"]["model"], settings["job"]["precision"], settings["job"]["batch"], **paths)
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    engine = importlib.import_module(ENGINES[name].module)
    try:
        if action == "make":
            engine.make(job)
            out.write(json.dumps({"made": True}) + "\n")
        else:
            _race(engine, job, settings, out)
    except Skipped as reason:
        out.write(json.dumps({"skipped": str(reason)}) + "\n")
    except Exception as error:  # an engine's own failure is a row with its words, not the end of the race
        out.write(
            json.dumps({"skipped": f"{type(error).__name__}: {str(error).strip().splitlines()[-1:]}"[:400]}) + "\n"
        )
    out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
