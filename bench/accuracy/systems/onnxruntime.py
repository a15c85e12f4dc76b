"""ONNX Runtime: f32, and its static quantization with the settings it recommends for x86.

`exact` runs the quantized network without graph optimization, that is each quantization, its inverse and the operator in
f32: on CPUs without 8-bit dot products its U8S8 kernels saturate 16-bit sums, which is not the fault of the quantization.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from bench.accuracy.onnx_graph import head_nodes
from bench.accuracy.peers import onnxruntime_session, quantize_statically
from bench.accuracy.systems import Run
from bench.accuracy.tasks import Task


def prepare(task: Task, options: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    """A network that runs, and what else is to be reported."""
    import onnxruntime

    facts: dict[str, Any] = {"version": onnxruntime.__version__}
    with tempfile.TemporaryDirectory() as folder:
        path = task.onnx()
        if options.get("bits") == 8:
            path = Path(folder) / "int8.onnx"
            head = sorted(head_nodes(task.onnx())) if task.kind == "boxes" else []
            quantize_statically(task.onnx(), task.calibration_inputs(), path, float_nodes=head)
            facts["float_nodes"] = len(head)
        session = onnxruntime_session(path, threads=2, optimized=not options.get("exact", False))
    name = session.get_inputs()[0].name
    return lambda data: session.run(None, {name: data}), facts
