"""ONNX Runtime: f32 as exported, INT8 by its static quantization as recommended for x86 with VNNI (U8S8, QDQ, per channel)."""

from __future__ import annotations

import shutil

from bench.peers.engines import Job, Loaded, named, the_head


def make(job: Job) -> None:
    """Copy, or quantize."""
    out = job.folder / "model.onnx"
    if job.precision == "f32":
        shutil.copyfile(job.onnx, out)
        return
    from bench.accuracy.peers import quantize_statically

    quantize_statically(job.onnx, [data[:1] for data in job.calibration()], out, float_nodes=the_head(job))


def bring_in() -> None:
    """Import the package."""
    import onnxruntime  # noqa: F401


def load(job: Job, threads: int) -> Loaded:
    """A session with all optimizations, whose threads spin during a run and stop with it, so that nobody else's turn is hurt."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(str(job.folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    return Loaded(
        lambda data: {"input": data}, lambda data: session.run(None, data), lambda answers: named(iter(answers))
    )
