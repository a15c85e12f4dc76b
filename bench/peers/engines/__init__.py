"""The engines of the race: where each runs and what it is called. One module each, which says how it makes its best model.

A module has `make(job)`, which writes the model's files into `job.folder`; `bring_in()`, which imports what running needs; and
`load(job, threads)`, which returns a `Loaded`. What an engine cannot do, its module says by raising Skipped.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.reasons import Skipped

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Engine:
    """One competitor; `environment` names `.ci/requirements/peer_*.txt`, empty for the interpreter that runs the race."""

    name: str
    title: str
    environment: str
    packages: tuple[str, ...]  # what a user installs to run models; the first gives the version

    @property
    def module(self) -> str:
        """Of its code."""
        return f"bench.peers.engines.{self.name}_engine"


@dataclass(frozen=True)
class Job:
    """One model for one engine."""

    model: str
    precision: str  # "f32", "int8"
    batch: int
    folder: Path  # of the files that `make` writes
    onnx: Path
    inputs: Path  # .npz: calibration, probe; one picture each along the first axis

    def calibration(self) -> list[Array]:
        """Pictures with the batch of the model."""
        return [np.concatenate([picture[None]] * self.batch) for picture in np.load(self.inputs)["calibration"]]

    def probes(self) -> list[Array]:
        """The inputs whose answers are compared."""
        return [np.concatenate([picture[None]] * self.batch) for picture in np.load(self.inputs)["probe"]]


@dataclass(frozen=True)
class Loaded:
    """A model ready to run. Conversion of the layout is no part of a run: an engine gets what it likes best."""

    take: Callable[[Array], Any]  # an input in the engine's own layout
    run: Callable[[Any], Any]
    give: Callable[[Any], list[Array]]  # answers in ONNX's layout


ENGINES = {
    engine.name: engine
    for engine in (
        Engine("hai", "HAI", "", ()),
        Engine("onnxruntime", "ONNX Runtime", "", ("onnxruntime",)),
        Engine("openvino", "OpenVINO", "nncf", ("openvino",)),
        Engine("ncnn", "ncnn", "ncnn", ("ncnn",)),
        Engine("mnn", "MNN", "mnn", ("mnn",)),
        Engine("litert", "LiteRT", "litert", ("ai-edge-litert",)),
    )
}
PEERS = tuple(name for name in ENGINES if name != "hai")


def installed(engine: Engine) -> tuple[str, int]:
    """Version, and bytes of the files of its packages."""
    if engine.name == "hai":
        import hai_toolkit

        folder = Path(hai_toolkit.__file__).parent
        return hai_toolkit.__version__, sum(
            f.stat().st_size for f in folder.rglob("*") if f.is_file() and f.suffix != ".pyc"
        )
    total = 0
    for package in engine.packages:
        for file in importlib.metadata.files(package) or []:
            path = Path(str(file.locate()))
            if path.suffix != ".pyc" and path.is_file():
                total += path.stat().st_size
    return importlib.metadata.version(engine.packages[0]), total


def the_head(job: Job) -> list[str]:
    """Nodes of a detector's decoding, which every engine leaves in float; none of other networks."""
    if not job.model.startswith("yolo"):
        return []
    from bench.accuracy.onnx_graph import head_nodes

    return sorted(head_nodes(job.onnx))


def torch_module(job: Job) -> tuple[Any, Any]:
    """The network as PyTorch module, and an example input."""
    import torch

    from bench.models.catalogue import NETWORKS

    return NETWORKS[job.model].build(), torch.from_numpy(job.probes()[0])


def named(answers: Iterator[Any]) -> list[Array]:
    """As arrays of their own."""
    return [np.array(answer, np.float32) for answer in answers]


def no_batches(job: Job, why: str) -> None:
    """Raise Skipped for more than one picture a run."""
    if job.batch != 1:
        raise Skipped(why)
