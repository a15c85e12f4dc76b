"""Convolutions by Winograd's tiles: what the quantizer chooses, modelled cycles of the eligible layers, accuracy.

`python -m bench.accuracy.winograd [--precision f16] [task ...]`, tasks `yolov5n`, `efficientnet_lite0`, `resnet8`. Each is
quantized with `winograd` off, auto and all, with `--precision f16` in f16 instead of 8 bits. Detectors are judged by
fidelity, classifiers by agreement with f32 on the pictures that judge them elsewhere (`table.py`, `tiny.py`); calibration
pictures alone choose shifts, tiles and layers.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hai_toolkit as hai
import numpy as np
from hai_toolkit import evaluation
from numpy.typing import NDArray

from bench.accuracy import tiny
from bench.accuracy.answers import answers_of
from bench.accuracy.photos import test_data
from bench.accuracy.tasks import TASKS
from bench.reasons import exit_status

CHOICES = ("off", "auto", "all")
Judge = Callable[[Any], str]


def _photos(name: str) -> tuple[Any, dict[str, Any], Judge]:
    task = TASKS[name]
    truth = answers_of(name, "f32").values
    given = {"calibration": [str(path) for path in task.calibration()], "preprocessing": task.rule}

    def judge(run: Any) -> str:
        answers = np.asarray(task.answers(run))
        if task.kind == "classes":
            same = (answers.argmax(1) == truth.argmax(1)).astype(float)
            low, high = evaluation.bootstrap_interval(same)
            return f"same class {same.mean():.1%} ({low:.1%} to {high:.1%})"
        figures = evaluation.fidelity(task.tables(truth), task.tables(answers))
        low, high = figures.interval()
        return f"fidelity mAP {figures.map:.4f} ({low:.4f} to {high:.4f}), mAP50 {figures.map50:.4f}"

    return task.source() if task.source is not None else str(task.onnx()), given, judge


def _resnet8() -> tuple[Any, dict[str, Any], Judge]:
    path = test_data() / "models" / "mlperf_tiny" / "pretrainedResnet.tflite"
    model = next(model for model in tiny.MODELS if model.title == "ResNet-8")
    inputs = model.inputs("evaluation")

    def answers(run: Any) -> NDArray[np.float32]:
        return np.stack([np.asarray(next(iter(run(row[None]).values()))).reshape(-1) for row in inputs])

    with tempfile.TemporaryDirectory() as folder:
        hai.from_tflite(path).compile(device="cpu").save(Path(folder) / "f32.hai")
        truth = answers(hai.load(Path(folder) / "f32.hai").session(threads=1).run)

    def judge(run: Any) -> str:
        same = (answers(run).argmax(1) == truth.argmax(1)).astype(float)
        low, high = evaluation.bootstrap_interval(same)
        return f"same class {same.mean():.1%} ({low:.1%} to {high:.1%})"

    return str(path), {"calibration": [row[None] for row in model.inputs("calibration")]}, judge


def _layers(report: dict[str, Any]) -> str:
    """Layers by form, and the modelled cycles of the eligible ones."""
    rows = report.get("winograd", {}).get("layers", [])
    count = {tile: sum(row["tile"] == tile for row in rows) for tile in (0, 2, 4)}
    forms = {0: "direct", 2: "f2", 4: "f4"}
    cycles = sum(row[forms[row["tile"]]]["modelled_cycles"] for row in rows)
    direct = sum(row["direct"]["modelled_cycles"] for row in rows)
    return f"{count[0]} / {count[2]} / {count[4]} | {cycles / 1e3:.0f} k of {direct / 1e3:.0f} k"


def measure(tasks: Sequence[str] = (), precision: str = "w8a8") -> bool:
    """Prints one table a task."""
    for name in tasks or ("yolov5n", "efficientnet_lite0", "resnet8"):
        source, given, judge = _resnet8() if name == "resnet8" else _photos(name)
        print(
            f"\n### {name}\n\n| winograd | layers direct / F(2x2) / F(4x4) | modelled cycles of these | against f32 |"
        )
        print("|---|---|---|---|")
        for choice in CHOICES:
            quantizer = hai.Quantizer(8, "asymmetrical", precision=precision, winograd=choice, quiet=True)
            quantized = quantizer.convert(source, **given)
            with tempfile.TemporaryDirectory() as folder:
                quantized.save(Path(folder) / "network.hai")
                figure = judge(hai.load(Path(folder) / "network.hai").session(threads=2).run)
            shown = _layers(quantized.model.quantization_report) if choice != "off" else " | "
            print(f"| {choice} | {shown} | {figure} |", flush=True)
    return True


def main() -> bool:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.accuracy.winograd", description=__doc__)
    parser.add_argument("tasks", nargs="*", help="yolov5n, efficientnet_lite0, resnet8; all by default")
    parser.add_argument("--precision", default="w8a8", help="of every layer: w8a8 or f16")
    arguments = parser.parse_args()
    return measure(arguments.tasks, arguments.precision)


if __name__ == "__main__":
    sys.exit(exit_status(main))
