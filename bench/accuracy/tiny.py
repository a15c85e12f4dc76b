"""The four models of MLPerf Tiny: our INT8, made from the float .tflite, against the integer .tflite that was shipped.

`python -m bench.accuracy.tiny`. Both are judged by agreement with the float model, run by the reference interpreter (LiteRT),
on pictures and sound from packages (`package_data.py`), none of which was used to calibrate.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hai_toolkit as hai
import numpy as np
from hai_toolkit import evaluation
from numpy.typing import NDArray

from bench.accuracy.figures import Row, print_table
from bench.accuracy.package_data import keyword_features, machine_features, picture_crops, spoken_seconds
from bench.accuracy.photos import test_data
from bench.reasons import Skipped, exit_status

Array = NDArray[np.float32]


def _pictures(side: int, scale: float) -> Callable[[str], Array]:
    def make(part: str) -> Array:
        crops = picture_crops(part, side, 1000 if part == "evaluation" else 200)
        return np.stack(crops).astype(np.float32) * np.float32(scale)

    return make


def _keywords(part: str) -> Array:
    return np.concatenate([keyword_features(sound) for sound in spoken_seconds(part)])


def _machines(part: str) -> Array:
    rows = np.concatenate([machine_features(sound) for sound in spoken_seconds(part)])
    return rows[:: 5 if part == "evaluation" else 25]


@dataclass(frozen=True)
class _Model:
    title: str
    floating: str
    integer: str
    inputs: Callable[[str], Array]
    classes: bool = True


MODELS = (
    _Model("ResNet-8", "pretrainedResnet.tflite", "pretrainedResnet_quant.tflite", _pictures(32, 1.0)),
    _Model("visual wake words", "vww_96_float.tflite", "vww_96_int8.tflite", _pictures(96, 1 / 255)),
    _Model("keywords", "kws_ref_model_float32.tflite", "kws_ref_model.tflite", _keywords),
    _Model("anomaly detection", "ad01_fp32.tflite", "ad01_int8.tflite", _machines, classes=False),
)


def _interpreted(path: Path, inputs: Array) -> Array:
    """The reference interpreter's answers, in f32; integer inputs and outputs by the model's own scales."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    entry, exit_ = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    rows = []
    for row in inputs:
        data: NDArray[Any] = row[None].reshape(entry["shape"])
        if entry["dtype"] != np.float32:
            scale, zero = entry["quantization"]
            data = np.clip(np.round(data / scale) + zero, -128, 127).astype(entry["dtype"])
        interpreter.set_tensor(entry["index"], data)
        interpreter.invoke()
        result = interpreter.get_tensor(exit_["index"]).astype(np.float32)
        if exit_["dtype"] != np.float32:
            scale, zero = exit_["quantization"]
            result = (result - zero) * np.float32(scale)
        rows.append(result.reshape(-1))
    return np.stack(rows)


def _ours(path: Path, calibration: Array, inputs: Array) -> Array:
    # Learned rounding takes seconds on networks of this size. Chosen on halves of the calibration inputs: outputs differ by
    # 0.014 instead of 0.018 (wake words) and 0.012 instead of 0.016 (ResNet-8).
    quantizer = hai.Quantizer(bit_width=8, method="asymmetrical", adaround=True)
    samples = [row[None] for row in calibration]
    shape = hai.from_tflite(path).inputs[0].shape
    samples = [sample.reshape([1 if not isinstance(d, int) else d for d in shape]) for sample in samples]
    quantized = quantizer.convert(str(path), calibration=samples)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.hai"
        quantized.save(file)
        session = hai.load(file).session(threads=1)
        rows = [next(iter(session.run(row.reshape(samples[0].shape)).values())) for row in inputs]
    return np.stack([row.astype(np.float32).reshape(-1) for row in rows])


def _decisions(model: _Model, answers: Array, inputs: Array, threshold: float) -> NDArray[np.int64]:
    """The class; for anomaly detection whether the error of the reconstruction lies above the threshold."""
    if model.classes:
        return answers.argmax(1)
    return (_errors(answers, inputs) > threshold).astype(np.int64)


def _errors(answers: Array, inputs: Array) -> NDArray[np.float64]:
    return np.square(answers.astype(np.float64) - inputs.reshape(answers.shape)).mean(1)


def _rows(model: _Model) -> list[Row]:
    folder = test_data() / "models" / "mlperf_tiny"
    calibration, inputs = model.inputs("calibration"), model.inputs("evaluation")
    expected = _interpreted(folder / model.floating, inputs)
    threshold = float(np.median(_errors(expected, inputs))) if not model.classes else 0.0
    truth = _decisions(model, expected, inputs, threshold)
    rows, shares = [], {}
    for name, answers in (
        ("shipped int8 TFLite", _interpreted(folder / model.integer, inputs)),
        ("HAI INT8", _ours(folder / model.floating, calibration, inputs)),
    ):
        same = _decisions(model, answers, inputs, threshold) == truth
        shares[name] = float(same.mean())
        low, high = evaluation.bootstrap_interval(same.astype(float))
        spread = float(np.sqrt(np.square(answers - expected).mean()))
        shown = f"{shares[name]:.2%} (95 %: {low:.2%} to {high:.2%}); outputs differ by {spread:.2g} (root mean square)"
        rows.append((name, shown))
    goal = shares["HAI INT8"] >= shares["shipped int8 TFLite"]
    return [
        Row(
            f"{model.title}, {len(inputs)} inputs: {name} agrees with float",
            shown,
            "not below the shipped one" if name.startswith("HAI") else "",
            goal if name.startswith("HAI") else None,
        )
        for name, shown in rows
    ]


def measure() -> bool:
    """Print the table."""
    rows: list[Row] = []
    for model in MODELS:
        try:
            rows += _rows(model)
        except Skipped as reason:
            rows.append(Row(f"{model.title}: skipped", str(reason)))
        except hai.HaiError as error:
            rows.append(Row(f"{model.title}: HAI failed", str(error)[:200], "runs", False))
    return print_table("MLPerf Tiny against the float models, pictures and sound from packages", rows)


if __name__ == "__main__":
    sys.exit(exit_status(measure))
