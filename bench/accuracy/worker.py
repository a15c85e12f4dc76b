"""One system on one task, in an interpreter of its own: `python -m bench.accuracy.worker TASK SYSTEM OUT.npz`.

The file holds the answers, and as JSON the facts: versions, CPU seconds of quantization, average bits. A system that cannot
run here leaves the reason instead.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from pathlib import Path

import numpy as np

from bench.accuracy.systems import SYSTEMS
from bench.accuracy.tasks import TASKS
from bench.reasons import Skipped


def cpu_seconds() -> float:
    """Of this process and its children, all threads."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=sorted(TASKS))
    parser.add_argument("system", choices=sorted(SYSTEMS))
    parser.add_argument("out", type=Path)
    parser.add_argument("--quantizer", default="{}", help="more options of hai_toolkit.Quantizer, JSON")
    arguments = parser.parse_args()
    task, system = TASKS[arguments.task], SYSTEMS[arguments.system]
    options = dict(system.options)
    if json.loads(arguments.quantizer):
        options["quantizer"] = json.loads(arguments.quantizer)
    begin = cpu_seconds()
    try:
        run, facts = importlib.import_module(system.module).prepare(task, options)
        facts["quantize_cpu_s"] = cpu_seconds() - begin
        answers = task.answers(run)
    except Skipped as reason:
        np.savez(arguments.out, facts=json.dumps({"skipped": str(reason)}))
        return 0
    np.savez(arguments.out, answers=answers, facts=json.dumps(facts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
