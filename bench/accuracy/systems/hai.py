"""HAI: f32, and every way of quantizing that the table names, through `hai_toolkit.Quantizer`."""

from __future__ import annotations

import inspect
import math
import re
import tempfile
from pathlib import Path
from typing import Any

import hai_toolkit as hai

from bench.accuracy.systems import Run
from bench.accuracy.tasks import Task
from bench.reasons import Skipped

_PRODUCT = re.compile(r"= (?:conv2d|conv_transpose2d|matmul)\(%\S+, (%[^,)\s]+)")
_KINDS: dict[str, dict[str, Any]] = {
    "int8": {"bit_width": 8},
    "no_data": {"bit_width": 8, "method": "symmetrical"},  # the call that the README shows
    "w4a8": {"bit_width": 4, "adaround": True},
    "mixed": {"bit_width": "mixed", "max_drop": 1.0},
}


def _saved(model: hai.Model, path: Path) -> Run:
    model.compile(device="cpu").save(path)
    return hai.load(path).session(threads=2).run


def prepare(task: Task, options: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    """A network that runs, and what else is to be reported."""
    facts: dict[str, Any] = {"version": hai.__version__}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.hai"
        if options["kind"] == "f32":
            run = _saved(hai.from_onnx(task.onnx(), preprocessing=task.rule), path)
        else:
            settings = {"method": "asymmetrical", **_KINDS[options["kind"]], **options.get("quantizer", {})}
            known = inspect.signature(hai.Quantizer).parameters
            missing = [name for name in settings if name not in known]
            if missing:
                raise Skipped(f"this build's Quantizer has no option {', '.join(missing)}")
            source = task.source() if task.source is not None else str(task.onnx())
            given: dict[str, Any] = {"preprocessing": task.rule}
            if options["kind"] != "no_data":
                given["calibration"] = [str(path) for path in task.calibration()]
            quantized = hai.Quantizer(**settings).convert(source, **given)
            quantized.save(path)
            run = hai.load(path).session(threads=2).run
            facts |= _bits_of(quantized)
        facts["file_bytes"] = path.stat().st_size
    return run, facts


def _bits_of(quantized: Any) -> dict[str, Any]:
    """Average bits of a weight: of the constants that products take, counted in the quantized graph itself."""
    text = quantized.model.text(0)
    bits = count = 0
    for name in {match[1] for match in _PRODUCT.finditer(text)}:
        declared = re.search(rf"{re.escape(name)}: [a-z]+(\d+)\[([\d, ]+)\]", text)
        if declared is None:
            continue
        elements = math.prod(int(side) for side in declared[2].split(","))
        bits += int(declared[1]) * elements
        count += elements
    return {"average_weight_bits": bits / count} if count else {}
