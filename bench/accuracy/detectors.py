"""YOLOX-nano and FastestDet as published, f32, against ONNX Runtime on photos.

`python -m bench.accuracy.detectors`. The difference is taken over the largest value of an output, and again for each field
(box side, objectness, class) by itself.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import hai_toolkit as hai
import numpy as np

from bench.accuracy.figures import (
    Row,
    largest_difference,
    largest_difference_by_field,
    limit_row,
    print_table,
)
from bench.accuracy.peers import onnxruntime_session, run_all
from bench.accuracy.photos import FASTESTDET, YOLOX, test_data
from bench.reasons import exit_status

_GOAL = 1e-3


@dataclass(frozen=True)
class _Detector:
    name: str
    file: str
    rule: hai.Preprocessing
    field_axis: int


_DETECTORS = [
    _Detector("YOLOX-nano", "yolox_nano_coco.onnx", YOLOX, 2),
    _Detector("FastestDet", "FastestDet.onnx", FASTESTDET, 1),
]


def measure(with_hai: bool = True) -> bool:
    """Print the table; without HAI only the value ranges of the peer."""
    files = sorted((test_data() / "coco" / "evaluation").glob("*.jpg"))
    rows = []
    for detector in _DETECTORS:
        path = test_data() / "models" / detector.file
        session = onnxruntime_session(path)
        inputs = [detector.rule(file) for file in files]
        expected = run_all(session, inputs)
        shape = expected[0][0].shape
        rows.append(Row(f"{detector.name}: outputs {shape}, standard deviation", f"{np.std(expected[0][0]):.3g}"))
        if with_hai:
            from bench.accuracy.under_test import HaiNetwork

            network = HaiNetwork(path, session.get_inputs()[0].name)
            pairs = [
                pair
                for data, wanted in zip(inputs, expected, strict=True)
                for pair in zip(network.run(data), wanted, strict=True)
            ]
            whole = max(largest_difference(actual, wanted) for actual, wanted in pairs)
            field = max(largest_difference_by_field(actual, wanted, detector.field_axis) for actual, wanted in pairs)
            rows.append(limit_row(f"{detector.name} f32 against ONNX Runtime", whole, _GOAL))
            rows.append(limit_row(f"{detector.name} f32 against ONNX Runtime, worst field", field, _GOAL))
    return print_table(f"Published detectors, {len(files)} COCO photos", rows)


if __name__ == "__main__":
    sys.exit(exit_status(lambda: measure(with_hai="--peers-only" not in sys.argv)))
