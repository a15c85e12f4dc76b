"""LiteRT with its XNNPACK delegate: litert-torch with channels last, INT8 by ai-edge-quantizer's static recipe."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.peers.engines import Array, Job, Loaded, named, torch_module


def make(job: Job) -> None:
    """Convert, quantize."""
    import litert_torch

    module, example = torch_module(job)
    wide = example.permute(0, 2, 3, 1).contiguous()
    pictures_out = job.model.startswith("unet")
    last = litert_torch.to_channel_last_io(module, args=[0], outputs=[0] if pictures_out else None).eval()
    path = job.folder / "float.tflite" if job.precision == "int8" else job.folder / "model.tflite"
    litert_torch.convert(last, (wide,)).export(str(path))
    if job.precision == "f32":
        return
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    runner = Interpreter(str(path), experimental_preserve_all_tensors=False)
    signatures = runner.get_signature_list()
    key = next(iter(signatures))
    name = signatures[key]["inputs"][0]
    maker = quantizer.Quantizer(str(path))
    maker.load_quantization_recipe(recipe.static_wi8_ai8())
    samples = [{name: np.ascontiguousarray(data.transpose(0, 2, 3, 1))} for data in job.calibration()]
    result = maker.quantize(maker.calibrate({key: samples}, num_threads=1))
    result.export_model(str(job.folder / "model.tflite"))


def bring_in() -> None:
    """Import the package."""
    from ai_edge_litert import interpreter  # noqa: F401


def load(job: Job, threads: int) -> Loaded:
    """An interpreter."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(job.folder / "model.tflite"), num_threads=threads)
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]
    exits = interpreter.get_output_details()

    def quantized(data: Array, detail: Any) -> Any:
        if detail["dtype"] == np.float32:
            return data
        scale, zero = detail["quantization"]
        limits = np.iinfo(detail["dtype"])
        return np.clip(np.round(data / scale) + zero, limits.min, limits.max).astype(detail["dtype"])

    def take(data: Array) -> Any:
        return quantized(np.ascontiguousarray(data.transpose(0, 2, 3, 1)), entry)

    def run(data: Any) -> list[Any]:
        interpreter.set_tensor(entry["index"], data)
        interpreter.invoke()
        return [interpreter.get_tensor(detail["index"]) for detail in exits]

    def give(answers: list[Any]) -> list[Array]:
        out = []
        for answer, detail in zip(answers, exits, strict=True):
            if detail["dtype"] != np.float32:
                scale, zero = detail["quantization"]
                answer = (answer.astype(np.float32) - zero) * np.float32(scale)
            out.append(answer.transpose(0, 3, 1, 2) if job.model.startswith("unet") and answer.ndim == 4 else answer)
        return named(iter(out))

    return Loaded(take, run, give)
