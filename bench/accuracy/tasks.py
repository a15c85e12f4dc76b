"""What is measured on which pictures: each published network with its preprocessing, its calibration and its evaluation.

Pictures reach every system through hai_toolkit's own Preprocessing, and detectors' outputs become boxes through its own
decoding, so that nothing differs between systems but the network. Calibration sees only `imagenet/calibration.tsv` and
`coco/calibration`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import hai_toolkit as hai
import numpy as np
from hai_toolkit import evaluation
from numpy.typing import NDArray

from bench.accuracy.photos import CHECKOUT, CLASSIFIER, FASTESTDET, YOLOV5, YOLOX, photos, test_data

Array = NDArray[np.float32]


def cache_folder() -> Path:
    """Exported networks and answers, outside the checkout's tracked files: HAI_BENCH_CACHE, or `.cache/accuracy`."""
    folder = Path(os.environ.get("HAI_BENCH_CACHE", CHECKOUT / ".cache" / "accuracy"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@dataclass(frozen=True)
class Task:
    """One network and its pictures."""

    name: str
    title: str
    kind: str
    """`classes` or `boxes`."""
    rule: hai.Preprocessing
    onnx: Callable[[], Path]
    calibration: Callable[[], list[Path]]
    pictures: Callable[[], list[Path]]
    family: str = ""
    """The detector's decoder."""
    source: Callable[[], object] | None = None
    """What HAI is given; the ONNX file where None."""

    @property
    def many_per_box(self) -> bool:
        """Whether every class above the least score makes a box, or the best alone: as the family is evaluated at its origin."""
        return self.family == "yolov5"

    def calibration_inputs(self) -> list[Array]:
        """The calibration pictures as the network sees them."""
        return [self.rule(path) for path in self.calibration()]

    def answers(self, run: Callable[[Array], object]) -> Array:
        """Scores, one row a picture; or boxes, each row with the number of its picture in front."""
        data = hai.Dataset(self.name, self.pictures())
        if self.kind == "classes":
            return evaluation.class_scores(run, data, self.rule)
        tables = evaluation.detected_boxes(
            run,
            data,
            self.rule,
            lambda outputs, transform, size: evaluation.decode(
                self.family,
                outputs,
                transform,
                size,
                min_score=evaluation.FIDELITY_MIN_SCORE,
                many_per_box=self.many_per_box,
            ),
        )
        numbered = [np.concatenate([np.full((len(t), 1), n), t], 1) for n, t in enumerate(tables)]
        return np.concatenate([*numbered, np.zeros((0, 7))]).astype(np.float32)

    def tables(self, answers: Array) -> list[Array]:
        """`answers` of a detector, per picture."""
        return [answers[answers[:, 0] == number, 1:] for number in range(len(self.pictures()))]


def _efficientnet() -> Path:
    path = cache_folder() / "efficientnet_lite0.onnx"
    if not path.exists():
        from bench.models.efficientnet import published_efficientnet_lite0
        from bench.models.export import export_network

        export_network(published_efficientnet_lite0(), np.zeros((1, 3, 224, 224), np.float32), path, "")
    return path


def yolov5_checkpoint() -> object:
    """The published checkpoint, as a user loads it: `hai_toolkit` knows its classes."""
    import torch

    return torch.load(test_data() / "models" / "yolov5n.pt")


def _yolov5() -> Path:
    path = cache_folder() / "yolov5n.onnx"
    if not path.exists():
        import torch
        from torch import nn

        class First(nn.Module):
            """The decoded boxes alone."""

            def __init__(self, net: nn.Module) -> None:
                super().__init__()
                self.net = net

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                """[1, 25200, 85]."""
                output = self.net(x)
                return output[0] if isinstance(output, (tuple, list)) else output

        from bench.models.export import export_network

        checkpoint = yolov5_checkpoint()
        net = First(checkpoint["model"].float().eval())  # type: ignore[index]
        export_network(net, np.zeros((1, 3, 640, 640), np.float32), path, "")
    return path


def _coco(split: str) -> list[Path]:
    return sorted((test_data() / "coco" / split).glob("*.jpg"))


def fidelity_pictures() -> list[Path]:
    """`coco/evaluation` (labelled) and every fourth photo of `imagenet/evaluation.tsv`."""
    return _coco("evaluation") + [photo.path for photo in photos("evaluation")[::4]]


def _detector(
    name: str,
    title: str,
    rule: hai.Preprocessing,
    onnx: Callable[[], Path],
    family: str,
    source: Callable[[], object] | None = None,
) -> Task:
    return Task(name, title, "boxes", rule, onnx, lambda: _coco("calibration"), fidelity_pictures, family, source)


TASKS = {
    task.name: task
    for task in (
        Task(
            "efficientnet_lite0",
            "EfficientNet-Lite0",
            "classes",
            CLASSIFIER,
            _efficientnet,
            lambda: [photo.path for photo in photos("calibration")],
            lambda: [photo.path for photo in photos("evaluation")],
        ),
        _detector("yolov5n", "YOLOv5n, 640", YOLOV5, _yolov5, "yolov5", yolov5_checkpoint),
        _detector(
            "yolox_nano", "YOLOX-nano, 416", YOLOX, lambda: test_data() / "models" / "yolox_nano_coco.onnx", "yolox"
        ),
        _detector(
            "fastestdet",
            "FastestDet, 352",
            FASTESTDET,
            lambda: test_data() / "models" / "FastestDet.onnx",
            "fastestdet",
        ),
    )
}
