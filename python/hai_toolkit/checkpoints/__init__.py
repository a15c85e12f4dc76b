"""Whole modules out of published checkpoints: YOLOv5 and its relatives, without their source code.

``torch.load('yolov5s.pt')`` works once ``hai_toolkit`` is imported (``registration``), with own module definitions
(``modules``). ``read_checkpoint`` reads the same files without PyTorch (``records``). Either result becomes a graph
through ``build`` (``yolov5``), which looks at names and tensors only and calls nothing that came out of a file.
"""

from __future__ import annotations

from .allowed import DETECTOR_MODULES, INERT, TORCH_LAYERS
from .layer import is_torch_module
from .records import ModuleRecord, read_checkpoint
from .registration import register_with_torch, registration_problem
from .yolov5 import DetectorInfo, build, find_network, is_known

__all__ = [
    "DETECTOR_MODULES",
    "INERT",
    "TORCH_LAYERS",
    "DetectorInfo",
    "ModuleRecord",
    "build",
    "find_network",
    "is_known",
    "is_torch_module",
    "read_checkpoint",
    "register_with_torch",
    "registration_problem",
]
