"""HAI as the benchmarks use it: an ONNX model in, answers out, through a saved `.hai` file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import hai_toolkit as hai
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


class HaiNetwork:
    """A compiled network with one input."""

    def __init__(
        self, path: Path, input_name: str, calibration: Iterable[Array] | None = None, threads: int = 1
    ) -> None:
        model = hai.from_onnx(str(path))
        if calibration is not None:
            model.quantize(bit_width=8, calibration=[{input_name: data} for data in calibration])
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "network.hai"
            model.compile(device="cpu").save(str(file))
            self.file_bytes = file.stat().st_size
            self.session = hai.load(str(file)).session(threads=threads)
        self._input_name = input_name

    def run(self, data: Array) -> list[Array]:
        """The outputs, in the model's order."""
        return list(self.session.run({self._input_name: data}).values())
