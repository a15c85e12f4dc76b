"""The networks of `bench.models` (random weights, settled BatchNorm statistics), f32, against ONNX Runtime.

`python -m bench.accuracy.networks [names] [--forms ...]`. Needs no test data; exports what is missing to `build/models`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.accuracy.figures import Array, Row, largest_difference, largest_difference_by_field, print_table
from bench.accuracy.peers import onnxruntime_session, run_all
from bench.models.__main__ import export_all_forms
from bench.models.catalogue import NETWORKS
from bench.models.export import FORMS

_GOAL = 1e-3
MODELS = Path("build/models")
DEFAULT_NAMES = ("mobilenet_v2", "resnet50", "yolov5s", "yolov8n", "unet")
_PICTURES = 3


def _field_axis(name: str) -> int | None:
    """The axis of an output along which the fields of a box lie."""
    return 2 if name.startswith("yolov5") else 1 if name.startswith("yolov8") else None


def _row(path: Path, name: str, inputs: list[Array]) -> Row:
    from bench.accuracy.under_test import HaiNetwork

    network = HaiNetwork(path, "input")
    expected = [outputs[0] for outputs in run_all(onnxruntime_session(path), inputs)]
    actual = [network.run(data)[0] for data in inputs]
    worst = max(largest_difference(a, e) for a, e in zip(actual, expected, strict=True))
    shown, axis = f"{worst:.2g}", _field_axis(name)
    if axis is not None:
        field = max(largest_difference_by_field(a, e, axis) for a, e in zip(actual, expected, strict=True))
        shown, worst = f"{worst:.2g}; worst field {field:.2g}", max(worst, field)
    spread = float(np.std(np.stack(expected), axis=0).max())
    return Row(f"{path.stem}, outputs differ between pictures by {spread:.2g}", shown, f"<= {_GOAL:g}", worst <= _GOAL)


def measure(names: Sequence[str] = DEFAULT_NAMES, forms: Sequence[str] = ("",), folder: Path = MODELS) -> bool:
    """Print the table."""
    rows = []
    for name in names:
        export_all_forms(NETWORKS[name], folder, list(forms), again=False)
        pictures = NETWORKS[name].pictures(_PICTURES, seed=5)
        inputs = [pictures[index : index + 1] for index in range(_PICTURES)]
        rows += [_row(folder / f"{name}{form}.onnx", name, inputs) for form in forms]
    return print_table("f32 against ONNX Runtime", rows)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.accuracy.networks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(NETWORKS)}; default: {' '.join(DEFAULT_NAMES)}")
    parser.add_argument("--models", type=Path, default=MODELS, help="folder of the exported networks")
    parser.add_argument("--forms", nargs="+", default=[""], choices=FORMS, help="which exports (default: the first)")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in NETWORKS]
    if unknown:
        parser.error(f"unknown network {unknown[0]}; known: {', '.join(NETWORKS)}")
    return 0 if measure(arguments.names or DEFAULT_NAMES, arguments.forms, arguments.models) else 1


if __name__ == "__main__":
    sys.exit(main())
