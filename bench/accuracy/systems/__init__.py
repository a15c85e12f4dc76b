"""The systems that are compared, each a function from a task to something that runs: `run(input) -> outputs`.

A module here is imported by the interpreter of its own environment (`environments.py`); it may import hai_toolkit for
pictures and boxes, and its peer, and nothing else beyond numpy and onnx.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Run = Callable[[NDArray[np.float32]], Any]


@dataclass(frozen=True)
class System:
    """How to get a runnable network, and where."""

    name: str
    title: str
    module: str
    environment: str = ""
    """Name of the peer's own environment; empty: the checkout's."""
    options: dict[str, Any] = field(default_factory=dict)


_HAI = "bench.accuracy.systems.hai"
_NNCF = "bench.accuracy.systems.nncf"
_ONNXRUNTIME = "bench.accuracy.systems.onnxruntime"
SYSTEMS = {
    system.name: system
    for system in (
        System("f32", "ONNX Runtime f32", _ONNXRUNTIME),
        System("onnxruntime", "ONNX Runtime INT8, exact", _ONNXRUNTIME, options={"bits": 8, "exact": True}),
        System("nncf", "NNCF INT8, exact", _NNCF, "nncf", {"exact": True}),
        System("aimet", "AIMET INT8", "bench.accuracy.systems.aimet", "aimet"),
        System("here_onnxruntime", "ONNX Runtime INT8, this CPU's kernels", _ONNXRUNTIME, options={"bits": 8}),
        System("here_nncf", "NNCF on OpenVINO INT8, this CPU's kernels", _NNCF, "nncf", {"exact": False}),
        System("hai_f32", "HAI f32", _HAI, options={"kind": "f32"}),
        System("hai_int8", "HAI INT8", _HAI, options={"kind": "int8"}),
        System("hai_no_data", "HAI INT8, no data", _HAI, options={"kind": "no_data"}),
        System("hai_w4a8", "HAI W4A8 with AdaRound", _HAI, options={"kind": "w4a8"}),
        System("hai_mixed", "HAI mixed, max_drop 1.0", _HAI, options={"kind": "mixed"}),
    )
}
