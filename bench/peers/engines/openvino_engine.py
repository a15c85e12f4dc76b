"""OpenVINO: f32 in f32 (not bf16), INT8 by NNCF's post-training quantization with the mixed preset."""

from __future__ import annotations

import logging
from typing import Any

from bench.peers.engines import Job, Loaded, named, the_head


def make(job: Job) -> None:
    """Convert with the batch fixed; quantize."""
    import openvino

    model = openvino.Core().read_model(str(job.onnx))
    shape = list(job.probes()[0].shape)
    model.reshape({"input": shape})
    if job.precision == "int8":
        import nncf

        logging.getLogger("nncf").setLevel(logging.ERROR)
        inputs = job.calibration()
        present = {op.get_friendly_name() for op in model.get_ordered_ops()}
        ignored = [name for name in the_head(job) if name in present]
        model = nncf.quantize(
            model,
            nncf.Dataset(inputs, lambda data: {"input": data}),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(inputs),
            model_type=nncf.ModelType.TRANSFORMER if job.model.startswith("vit") else None,
            ignored_scope=nncf.IgnoredScope(names=ignored, validate=False) if ignored else None,
        )
    openvino.save_model(model, str(job.folder / "model.xml"), compress_to_fp16=False)


def bring_in() -> None:
    """Import the package."""
    import openvino  # noqa: F401


def load(job: Job, threads: int) -> Loaded:
    """Compiled for latency, or for throughput of a batch."""
    import openvino

    core = openvino.Core()
    options = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = core.compile_model(str(job.folder / "model.xml"), "CPU", options)
    request = compiled.create_infer_request()
    outputs = list(compiled.outputs)

    def run(data: Any) -> Any:
        return request.infer([data], share_inputs=True, share_outputs=True)

    return Loaded(lambda data: data, run, lambda answers: named(answers[output] for output in outputs))
