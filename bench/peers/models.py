"""The networks of the race, and what is exported of them."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.reasons import Skipped


@dataclass(frozen=True)
class Racer:
    """One network."""

    name: str  # in bench.models.catalogue
    title: str
    counted: bool = True  # one of the eight whose geometric mean has a goal
    calibration: int = 16
    fields_axis: int | None = None  # of a detector's answer: 4 of the box, then scores


RACERS = {
    racer.name: racer
    for racer in (
        Racer("mobilenet_v2", "MobileNetV2 224"),
        Racer("mobilenet_v3_small", "MobileNetV3-small 224"),
        Racer("efficientnet_lite0", "EfficientNet-Lite0 224"),
        Racer("resnet50", "ResNet-50 224"),
        Racer("yolov5n", "YOLOv5n 640", calibration=6, fields_axis=2),
        Racer("yolov5s", "YOLOv5s 640", calibration=6, fields_axis=2),
        Racer("yolov8n", "YOLOv8n 640", calibration=6, fields_axis=1),
        Racer("unet_grey", "U-Net 256"),
        Racer("vit_tiny", "ViT-Tiny 224", counted=False),
        Racer("keyword_spotting", "keyword spotting", counted=False),
    )
}


def export(racer: Racer, folder: Path, batch: int) -> tuple[Path, Path]:
    """The ONNX file, with a free batch for more than one picture, and the .npz of its inputs. Kept files are used again."""
    from bench.models.__main__ import export_all_forms
    from bench.models.catalogue import NETWORKS

    network, form = NETWORKS[racer.name], "" if batch == 1 else "_batch"
    path, inputs = folder / f"{racer.name}{form}.onnx", folder / f"{racer.name}_inputs.npz"
    if not path.exists():
        with contextlib.redirect_stdout(io.StringIO()) as said:
            good = export_all_forms(network, folder, [form], again=False)
        if not good:
            path.unlink(missing_ok=True)
            raise Skipped(f"the export of {racer.name} does not answer as PyTorch does: {said.getvalue()}")
    if not inputs.exists():
        part = inputs.with_suffix(".part.npz")
        np.savez(part, calibration=network.pictures(racer.calibration, seed=11), probe=network.pictures(2, seed=5))
        part.rename(inputs)
    return path, inputs
