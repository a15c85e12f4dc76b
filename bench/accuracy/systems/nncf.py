"""NNCF's post-training quantization (mixed preset) of the same ONNX file.

`exact`: the quantized ONNX network run by ONNX Runtime without optimization, each quantization and its inverse and the operator in
f32. Else OpenVINO's model on OpenVINO: on CPUs without 8-bit dot products its integer kernels saturate 16-bit sums, which is not
the fault of the quantization. (OpenVINO with its low-precision transformations off is no substitute: it loses FastestDet.)
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

import nncf
import onnx
import onnx.version_converter

from bench.accuracy.onnx_graph import head_nodes
from bench.accuracy.systems import Run
from bench.accuracy.tasks import Task


def _quantized(task: Task, model: Any, name: str, present: set[str]) -> tuple[Any, int]:
    head = head_nodes(task.onnx()) if task.kind == "boxes" else set()
    inputs = task.calibration_inputs()
    quantized = nncf.quantize(
        model,
        nncf.Dataset(inputs, lambda data: {name: data}),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(inputs),
        ignored_scope=nncf.IgnoredScope(names=sorted(head & present), validate=False) if head else None,
    )
    return quantized, len(head)


def prepare(task: Task, options: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    """A network that runs, and what else is to be reported."""
    logging.getLogger("nncf").setLevel(logging.ERROR)
    if options["exact"]:
        import onnxruntime

        from bench.accuracy.peers import PER_CHANNEL_OPSET, onnxruntime_session

        network = onnx.load(str(task.onnx()))
        if network.opset_import[0].version < PER_CHANNEL_OPSET:
            network = onnx.version_converter.convert_version(network, PER_CHANNEL_OPSET)
        name = network.graph.input[0].name
        quantized, head = _quantized(task, network, name, {node.name for node in network.graph.node})
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "nncf.onnx"
            onnx.save(quantized, str(path))
            session = onnxruntime_session(path, threads=2, optimized=False)
        versions = f"nncf {nncf.__version__}, onnxruntime {onnxruntime.__version__}"
        return lambda data: session.run(None, {name: data}), {"version": versions, "float_nodes": head}
    import openvino

    core = openvino.Core()
    core.set_property("CPU", {"INFERENCE_NUM_THREADS": 2})
    model = core.read_model(str(task.onnx()))
    name = model.input(0).get_any_name()
    model.reshape({name: list(task.rule(task.calibration()[0]).shape)})
    quantized, head = _quantized(task, model, name, {op.get_friendly_name() for op in model.get_ordered_ops()})
    # What is left in float is f32, as in every other system.
    compiled = core.compile_model(quantized, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(data: Any) -> list[Any]:
        result = compiled([data])
        return [result[output] for output in compiled.outputs]

    versions = f"nncf {nncf.__version__}, openvino {openvino.__version__.split('-')[0]}"
    return run, {"version": versions, "float_nodes": head}
