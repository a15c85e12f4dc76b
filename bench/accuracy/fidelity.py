"""Fidelity of one detector: `python -m bench.accuracy.fidelity TASK [--hai FILE.hai | --onnx FILE.onnx | --system NAME]`.

The f32 network's boxes with a score above 0.25 are the truth, the judged network's above 0.001 the answer: COCO's mAP over 142
photos. With the truth from ONNX Runtime, so that every system is judged by the same boxes.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from hai_toolkit import evaluation
from hai_toolkit.runtime import load

from bench.accuracy.answers import answers_of
from bench.accuracy.peers import onnxruntime_session
from bench.accuracy.tasks import TASKS
from bench.reasons import exit_status


def main() -> bool:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.accuracy.fidelity", description=__doc__)
    parser.add_argument("task", choices=[name for name, task in TASKS.items() if task.kind == "boxes"])
    parser.add_argument("--hai", type=Path, help="a quantized .hai file")
    parser.add_argument("--onnx", type=Path, help="a quantized ONNX file")
    parser.add_argument("--system", default="hai_int8", help="a system of the table, when no file is given")
    parser.add_argument("--quantizer", default="{}", help="more options of hai_toolkit.Quantizer, JSON")
    arguments = parser.parse_args()
    task = TASKS[arguments.task]
    reference = task.tables(answers_of(task.name, "f32").values)
    if arguments.hai is not None:
        name, values = arguments.hai.name, task.answers(load(arguments.hai).session(threads=2).run)
    elif arguments.onnx is not None:
        session = onnxruntime_session(arguments.onnx, 2)
        entry = session.get_inputs()[0].name
        name, values = arguments.onnx.name, task.answers(lambda data: session.run(None, {entry: data}))
    else:
        answers = answers_of(task.name, arguments.system, arguments.quantizer)
        name, values = arguments.system, answers.values
        print(json.dumps(answers.facts))
    figures = evaluation.fidelity(reference, task.tables(np.asarray(values)))
    low, high = figures.interval()
    print(
        f"{task.title}, {name}: fidelity mAP {figures.map:.4f} (95 %: {low:.4f} to {high:.4f}), mAP50 {figures.map50:.4f}, "
        f"{figures.true_count} true boxes in {figures.pictures} photos"
    )
    return True


if __name__ == "__main__":
    sys.exit(exit_status(main))
