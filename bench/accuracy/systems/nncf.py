"""NNCF's post-training quantization (mixed preset) of the same ONNX file, run by OpenVINO on the CPU.

`exact` runs it in f32 with the quantization simulated: on CPUs without 8-bit dot products OpenVINO's integer kernels saturate
16-bit sums, which is not the fault of the quantization.
"""

from __future__ import annotations

import logging
from typing import Any

import nncf
import openvino

from bench.accuracy.onnx_graph import head_nodes
from bench.accuracy.systems import Run
from bench.accuracy.tasks import Task


def prepare(task: Task, options: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    """A network that runs, and what else is to be reported."""
    logging.getLogger("nncf").setLevel(logging.ERROR)
    core = openvino.Core()
    core.set_property("CPU", {"INFERENCE_NUM_THREADS": 2})
    model = core.read_model(str(task.onnx()))
    name = model.input(0).get_any_name()
    shape = task.rule(task.calibration()[0]).shape
    model.reshape({name: list(shape)})
    ignored = None
    head: set[str] = set()
    if task.kind == "boxes":
        head = head_nodes(task.onnx())
        present = {op.get_friendly_name() for op in model.get_ordered_ops()}
        ignored = nncf.IgnoredScope(names=sorted(head & present), validate=False)
    inputs = task.calibration_inputs()
    quantized = nncf.quantize(
        model,
        nncf.Dataset(inputs, lambda data: {name: data}),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(inputs),
        ignored_scope=ignored,
    )
    # The precision of what is left in float: f32, as in every other system.
    settings = {"INFERENCE_PRECISION_HINT": "f32"} | ({"LP_TRANSFORMS_MODE": "NO"} if options["exact"] else {})
    compiled = core.compile_model(quantized, "CPU", settings)

    def run(data: Any) -> list[Any]:
        result = compiled([data])
        return [result[output] for output in compiled.outputs]

    return run, {
        "version": f"nncf {nncf.__version__}, openvino {openvino.__version__.split('-')[0]}",
        "float_nodes": len(head),
    }
