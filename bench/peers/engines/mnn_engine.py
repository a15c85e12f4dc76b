"""MNN: f32 by its converter, INT8 by its offline quantizer (KL for activations, the largest for weights).

The tools are called through the module `_tools`. The wheel's own commands (`mnnconvert`, `mnnquant`) would install a further
package with whatever `pip` comes first on PATH, and send statistics to their maker.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from bench.peers.engines import Array, Job, Loaded, named
from bench.reasons import Skipped


def make(job: Job) -> None:
    """Convert, quantize."""
    import _tools

    out = job.folder / "model.mnn"
    floating = out if job.precision == "f32" else job.folder / "float.mnn"
    words = ["mnnconvert", "-f", "ONNX", "--modelFile", str(job.onnx), "--MNNModel", str(floating), "--bizCode", "MNN"]
    _tools.mnnconvert(words)
    if not floating.exists():
        raise Skipped("MNN's converter wrote no model")
    if job.precision == "f32":
        return
    # Its tool reads pictures: bytes, of which it takes the mean and multiplies.
    from PIL import Image

    samples = job.folder / "samples"
    samples.mkdir()
    _, channels, height, width = job.probes()[0].shape
    low, high = (-2.0, 2.0) if min(float(data.min()) for data in job.calibration()) < 0 else (0.0, 1.0)
    for index, data in enumerate(job.calibration()):
        picture = np.clip((data[0] - low) * (255 / (high - low)), 0, 255).round().astype(np.uint8)
        picture = picture[0] if channels == 1 else picture.transpose(1, 2, 0)
        Image.fromarray(picture).save(samples / f"{index}.png")
    settings = {
        "format": "GRAY" if channels == 1 else "RGB",
        "mean": [-low * 255 / (high - low)] * channels,
        "normal": [(high - low) / 255] * channels,
        "width": width,
        "height": height,
        "path": str(samples) + "/",
        "used_image_num": len(job.calibration()),
        "feature_quantize_method": "KL",
        "weight_quantize_method": "MAX_ABS",
    }
    (job.folder / "quantize.json").write_text(json.dumps(settings))
    _tools.mnnquant(["mnnquant", str(floating), str(out), str(job.folder / "quantize.json")])
    if not out.exists():
        raise Skipped("MNN's quantizer wrote no model")


def bring_in() -> None:
    """Import the package."""
    import MNN  # noqa: F401


def load(job: Job, threads: int) -> Loaded:
    """A session on the CPU."""
    import MNN

    interpreter = MNN.Interpreter(str(job.folder / "model.mnn"))
    session = interpreter.createSession({"numThread": threads, "backend": "CPU", "precision": "high"})
    entry = interpreter.getSessionInput(session)
    shape = tuple(job.probes()[0].shape)
    if tuple(entry.getShape()) != shape:
        interpreter.resizeTensor(entry, shape)
        interpreter.resizeSession(session)
    kind, order = MNN.Halide_Type_Float, MNN.Tensor_DimensionType_Caffe
    exits = list(interpreter.getSessionOutputAll(session).values())
    hosts = [MNN.Tensor(e.getShape(), kind, np.zeros(e.getShape(), np.float32), order) for e in exits]

    def take(data: Array) -> Any:
        return MNN.Tensor(shape, kind, np.ascontiguousarray(data), order)

    def run(data: Any) -> list[Any]:
        entry.copyFrom(data)
        interpreter.runSession(session)
        for answer, host in zip(exits, hosts, strict=True):
            answer.copyToHostTensor(host)
        return hosts

    def give(answers: list[Any]) -> list[Array]:
        return named(np.array(a.getNumpyData()).reshape(a.getShape()) for a in answers)

    return Loaded(take, run, give)
