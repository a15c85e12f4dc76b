"""ncnn: f32 by pnnx from PyTorch, all kernels it has. Its wheel holds no quantizer, so there is no INT8."""

from __future__ import annotations

import os
from typing import Any

from bench.peers.engines import Array, Job, Loaded, named, no_batches, torch_module
from bench.reasons import Skipped


def make(job: Job) -> None:
    """pnnx."""
    no_batches(job, "ncnn runs one picture at a time")
    if job.precision != "f32":
        raise Skipped("the wheel has no quantizer: ncnn2table and ncnn2int8 are built from source")
    import pnnx

    module, example = torch_module(job)
    os.chdir(job.folder)
    pnnx.export(module, str(job.folder / "model.pt"), (example,), fp16=False)
    if not (job.folder / "model.ncnn.param").exists():
        raise Skipped("pnnx wrote no model")


def bring_in() -> None:
    """Import the package."""
    import ncnn  # noqa: F401


def load(job: Job, threads: int) -> Loaded:
    """A network."""
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_vulkan_compute = False
    # f32 rows are f32: halves and bfloat16 are off.
    net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_fp16_packed = net.opt.use_bf16_storage = False
    if net.load_param(str(job.folder / "model.ncnn.param")) or net.load_model(str(job.folder / "model.ncnn.bin")):
        raise Skipped("ncnn refuses the model that pnnx made")
    entry, exits = net.input_names()[0], list(net.output_names())

    def take(data: Array) -> Any:
        return ncnn.Mat(data[0]).clone()

    def run(data: Any) -> list[Any]:
        with net.create_extractor() as extractor:
            extractor.input(entry, data)
            answers = []
            for name in exits:
                status, answer = extractor.extract(name)
                if status:
                    raise Skipped(f"ncnn fails to run the model: {status}")
                answers.append(answer)
            return answers

    return Loaded(take, run, lambda answers: named(iter([answer.numpy()[None] for answer in answers])))
