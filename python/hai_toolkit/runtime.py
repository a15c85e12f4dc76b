"""Compiled models: load, make sessions, run. Everything here is a thin layer over the C interface (``include/hai/hai.h``)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from .dtypes import dtype_name, numpy_dtype
from .errors import HaiError
from .graph import Quantization
from .model import TensorInfo
from .paths import path_text
from .preprocessing import Preprocessing


class Session:
    """Runs a model: owns its arena and threads. One run at a time; sessions of one model share its weights."""

    def __init__(self, native: _core.Session, inputs: list[TensorInfo], outputs: list[TensorInfo]) -> None:
        self._native = native
        self._inputs = inputs
        self._outputs = outputs
        self._dtypes = [_core.dtype_number(info.dtype) for info in inputs]

    def run(self, inputs: Mapping[str, npt.ArrayLike] | npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """One run: arrays by input name (or one array for a single input), in the model's own layout; results by output name.

        Contiguous arrays are read in place. Other threads of Python go on meanwhile.
        """
        named = inputs if isinstance(inputs, Mapping) else {self._inputs[0].name: inputs}
        unknown = set(named) - {info.name for info in self._inputs}
        if unknown:
            known = ", ".join(info.name for info in self._inputs)
            raise HaiError("HAI-Y040", f"the model has no input {sorted(unknown)}; its inputs are {known}")
        arrays = []
        for info in self._inputs:
            if info.name not in named:
                raise HaiError("HAI-Y041", f'no value for input "{info.name}" of shape {list(info.shape)}')
            array = np.ascontiguousarray(named[info.name])
            if dtype_name(array.dtype) != info.dtype:
                raise HaiError(
                    "HAI-Y042",
                    f'input "{info.name}" is {info.dtype}, the array is {array.dtype}; convert it with .astype()',
                )
            arrays.append(array)
        shapes = [list(np.shape(named[info.name])) for info in self._inputs]
        types = self._native.output_types(self._dtypes, shapes)
        results = [np.empty(shape, numpy_dtype(dtype)) for dtype, shape in types]
        self._native.run(
            self._dtypes,
            shapes,
            [a.reshape(-1).view(np.uint8) for a in arrays],
            [_core.dtype_number(dtype) for dtype, _ in types],
            [shape for _, shape in types],
            [r.reshape(-1).view(np.uint8) for r in results],
        )
        return {info.name: result for info, result in zip(self._outputs, results)}

    def set_profiling(self, enabled: bool) -> None:
        """Times every layer of the following runs."""
        self._native.set_profiling(enabled)

    def profile(self) -> list[dict[str, Any]]:
        """Per layer: name, kernel, calls, total_ns and min_ns (measured), macs, bytes."""
        layers: list[dict[str, Any]] = self._native.profile()
        return layers

    @property
    def faults(self) -> list[dict[str, Any]]:
        """What became of each injected fault in the last run, which failed where one is ``detected``.

        ``verdict``: ``detected``, ``contained`` (wrong values in the outputs, nothing else), ``masked`` or ``not reached``;
        with ``fault``, ``segment``, ``what``, ``detail``, and of a detected one the command, queue, layer and cycle.
        """
        faults: list[dict[str, Any]] = json.loads(self._native.fault_report())
        return faults

    @property
    def memory(self) -> dict[str, int]:
        """Bytes: packed weights (shared between sessions), arena, its lower bound, scratch; and the batch they are for."""
        memory: dict[str, int] = self._native.memory()
        return memory

    @property
    def isa(self) -> str:
        """Instruction set in use."""
        return str(self._native.isa())

    @property
    def threads(self) -> int:
        """Threads in use."""
        return int(self._native.thread_count())


def _fault_list(inject: str | Sequence[str]) -> list[str]:
    faults = [inject] if isinstance(inject, str) else list(inject) if isinstance(inject, Sequence) else [inject]
    if not all(isinstance(fault, str) for fault in faults):
        raise HaiError("HAI-Y043", f'inject is {inject!r}; give a fault as text, or a list of them: ["flip,seed=1"]')
    return faults


def _tensor_info(given: Mapping[str, Any]) -> TensorInfo:
    scales = given["scales"]
    native = (scales, given["zero_points"], given["quantization_axis"]) if scales else None
    return TensorInfo(given["name"], given["dtype"], tuple(given["shape"]), Quantization.from_native(native))


class LoadedModel:
    """A ``.hai`` file, verified."""

    def __init__(self, native: _core.LoadedModel) -> None:
        self._native = native
        info = native.info()
        self.name: str = info["name"]
        self.inputs = [_tensor_info(t) for t in info["inputs"]]
        """Inputs in order."""
        self.outputs = [_tensor_info(t) for t in info["outputs"]]
        """Outputs in order."""
        self.metadata: dict[str, str] = info["metadata"]
        self.file_size: int = info["file_size"]
        self.sha256: str = info["sha256"]
        rule = info["preprocessing"]
        self.preprocessing: Preprocessing | None = None if rule is None else Preprocessing.from_native(rule)
        """How pictures become the input; ``None`` when the file does not say."""

    def verify(self) -> None:
        """Reads the whole file and checks every digest."""
        self._native.verify()

    def session(
        self,
        threads: int = 0,
        *,
        device: str = "",
        isa: str = "",
        max_batch: int = 0,
        profile: bool = False,
        inject: str | Sequence[str] = (),
    ) -> Session:
        """A session.

        ``threads`` 0: one a CPU; ``isa`` empty: HAI_CPU, else the best here; memory is made for ``max_batch`` samples,
        or grows with the largest batch seen. ``inject``: a fault that a simulated device is to show, or several, as
        ``hai run --inject`` takes them; ``Session.faults`` says what became of them.
        """
        faults = _fault_list(inject)
        native = self._native.session(device, isa, threads, max_batch, profile, faults)
        return Session(native, self.inputs, self.outputs)


def load(path: str | os.PathLike[str]) -> LoadedModel:
    """Opens and verifies a ``.hai`` file."""
    return LoadedModel(_core.load(path_text(path)))
