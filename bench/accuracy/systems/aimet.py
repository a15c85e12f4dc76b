"""AIMET's quantization simulation of the same ONNX file: INT8 weights per channel and activations, its default scheme."""

from __future__ import annotations

import tempfile
from typing import Any

import aimet_onnx
import onnx
from aimet_onnx.quantsim import QuantizationSimModel

from bench.accuracy.onnx_graph import head_nodes
from bench.accuracy.systems import Run
from bench.accuracy.tasks import Task


def _batch_norm_folded(model: onnx.ModelProto) -> onnx.ModelProto:
    from aimet_onnx.batch_norm_fold import fold_all_batch_norms_to_weight

    fold_all_batch_norms_to_weight(model)
    return model


def prepare(task: Task, options: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    """A network that runs, and what else is to be reported."""
    model = _batch_norm_folded(onnx.load(str(task.onnx())))
    name = model.graph.input[0].name
    inputs = [{name: data} for data in task.calibration_inputs()]
    with tempfile.TemporaryDirectory() as folder:
        sim = QuantizationSimModel(model, param_type="int8", activation_type="int8", path=folder)
        head = head_nodes(task.onnx()) if task.kind == "boxes" else set()
        outputs = {out for node in onnx.load(str(task.onnx())).graph.node if node.name in head for out in node.output}
        for output in outputs & set(sim.qc_quantize_op_dict):
            sim.qc_quantize_op_dict[output].enabled = False
        sim.compute_encodings(inputs)
    return (lambda data: sim.session.run(None, {name: data})), {
        "version": getattr(aimet_onnx, "__version__", "unknown"),
        "float_nodes": len(head),
    }
