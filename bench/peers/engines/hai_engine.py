"""HAI: `hai_toolkit` with its defaults, INT8 by calibration."""

from __future__ import annotations

from typing import Any

from bench.peers.engines import Array, Job, Loaded, named


def make(job: Job) -> None:
    """Quantize and compile."""
    import hai_toolkit as hai

    model = hai.from_onnx(str(job.onnx))
    if job.precision == "int8":
        # One picture at a time: the batch is free in models of larger batches. Forced: the race itself compares the answers.
        model.quantize(bit_width=8, calibration=[{"input": data[:1]} for data in job.calibration()], force=True)
    model.compile(device="cpu").save(str(job.folder / "model.hai"))


def bring_in() -> None:
    """Import the package."""
    import hai_toolkit  # noqa: F401


def load(job: Job, threads: int) -> Loaded:
    """A session."""
    import hai_toolkit as hai

    options: dict[str, Any] = {"threads": threads}
    if job.batch > 1:
        options["max_batch"] = job.batch
    session = hai.load(str(job.folder / "model.hai")).session(**options)

    def run(data: dict[str, Array]) -> Any:
        return session.run(data)

    return Loaded(lambda data: {"input": data}, run, lambda answers: named(iter(answers.values())))
