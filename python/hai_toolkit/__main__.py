"""python -m hai_toolkit: what the command line program `hai` leaves to Python, which is everything of TensorFlow.

compile MODEL -o FILE.hai      a .tflite, .keras or .h5 file or a SavedModel folder, compiled for a device
compare MODEL.tflite           HAI against TensorFlow Lite's reference interpreter, with the count of values that differ
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .errors import HaiError
from .paths import path_text
from .tensorflow import compare_with_interpreter, from_tensorflow, from_tflite


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hai_toolkit", description="TensorFlow models in HAI")
    commands = parser.add_subparsers(dest="command", required=True)
    compile_ = commands.add_parser("compile", help="compile a TensorFlow model into one .hai file")
    compile_.add_argument("model", help=".tflite, .keras, .h5 or a SavedModel folder")
    compile_.add_argument("-o", "--output", required=True, help="the .hai file")
    compile_.add_argument("--device", default="cpu")
    compile_.add_argument("--float-io", action="store_true", help="f32 inputs and outputs of an integer model")
    compile_.add_argument("--outputs", nargs="+", help="tensors of a .tflite file to end at")
    compare = commands.add_parser(
        "compare", help="count the values that differ from TensorFlow Lite's reference interpreter"
    )
    compare.add_argument("model", help="a .tflite file")
    compare.add_argument("--samples", type=int, default=16, help="random inputs, where no --inputs are given")
    compare.add_argument("--inputs", nargs="+", help=".npz files, one a run, arrays by input name")
    for command in (compile_, compare):
        command.add_argument(
            "--rounding", choices=("tflite", "hai"), default="tflite", help="of 8-bit models (default tflite)"
        )
    return parser


def _compile(arguments: argparse.Namespace) -> None:
    source, output = Path(path_text(arguments.model)), Path(path_text(arguments.output))
    if source.exists() and output.exists() and source.samefile(output):
        raise HaiError(
            "HAI-Y425", f"{output} would be replaced by the compiled model; give -o a name that ends in .hai"
        )
    if Path(arguments.model).suffix.lower() == ".tflite":
        model = from_tflite(
            arguments.model, float_io=arguments.float_io, rounding=arguments.rounding, outputs=arguments.outputs
        )
    else:
        model = from_tensorflow(arguments.model)
    compiled = model.compile(device=arguments.device)
    compiled.save(arguments.output)
    print(compiled.report["text"])


def _compare(arguments: argparse.Namespace) -> None:
    inputs = None
    if arguments.inputs:
        inputs = (dict(np.load(path, allow_pickle=False)) for path in arguments.inputs)
    for difference in compare_with_interpreter(
        arguments.model, inputs, samples=arguments.samples, rounding=arguments.rounding
    ):
        print(difference)


def main(given: Sequence[str] | None = None) -> int:
    """Runs one command; 1 where it failed."""
    arguments = _parser().parse_args(given)
    try:
        (_compile if arguments.command == "compile" else _compare)(arguments)
    except HaiError as error:
        print(f"hai: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
