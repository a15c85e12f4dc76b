"""From a detector's raw outputs to boxes: the decoding that published networks leave outside their graph, and suppression.

Boxes of one picture are an array ``[boxes, 6]`` f32: x0, y0, x1, y1 in pixels of the source picture, score, class number;
best score first. The arithmetic is in C++ (``src/data/detections.h``), the same as on a device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from . import _core
from .errors import HaiError
from .preprocessing import PictureTransform

Boxes = npt.NDArray[np.float32]
Outputs = npt.NDArray[Any] | Sequence[npt.NDArray[Any]] | Mapping[str, npt.NDArray[Any]]
Decoder = Callable[[list[npt.NDArray[Any]], PictureTransform, tuple[int, int]], Boxes]
Family = Literal["yolov5", "yolox", "fastestdet"]
FAMILIES: tuple[Family, ...] = ("yolov5", "yolox", "fastestdet")


def output_list(outputs: Outputs) -> list[npt.NDArray[Any]]:
    """Whatever a model returned, as a list of arrays."""
    if isinstance(outputs, Mapping):
        return [np.asarray(value) for value in outputs.values()]
    if isinstance(outputs, (list, tuple)):
        return [np.asarray(value) for value in outputs]
    return [np.asarray(outputs)]


def decode(
    family: Family,
    outputs: Outputs,
    transform: PictureTransform,
    input_size: tuple[int, int],
    *,
    min_score: float = 0.001,
    max_overlap: float = 0.45,
    max_boxes: int = 300,
    many_per_box: bool = False,
) -> Boxes:
    """The boxes of one picture; ``input_size`` is the model's width and height.

    ``many_per_box``: every class above ``min_score`` makes a box, not only the best of each.
    """
    if family not in FAMILIES:
        raise HaiError("HAI-Y701", f'there is no decoder "{family}"; choose one of {", ".join(FAMILIES)}')
    first = output_list(outputs)[0]
    if first.ndim < 2 or first.shape[0] != 1:
        raise HaiError("HAI-Y702", f"an output of shape {list(first.shape)}: decode one picture at a time, [1, ...]")
    data = np.ascontiguousarray(first, np.float32)
    return np.asarray(
        _core.decode_detections(
            data.reshape(-1),
            list(data.shape[1:]),
            FAMILIES.index(family),
            list(input_size),
            [transform.scale_x, transform.scale_y, transform.offset_x, transform.offset_y],
            [transform.width, transform.height],
            min_score,
            max_overlap,
            max_boxes,
            many_per_box,
        ),
        np.float32,
    )


def decode_yolov5(
    outputs: Outputs, transform: PictureTransform, input_size: tuple[int, int] = (640, 640), **options: Any
) -> Boxes:
    """YOLOv5: ``[1, boxes, 5 + classes]`` with centre, size, objectness and class scores, decoded in the graph."""
    return decode("yolov5", outputs, transform, input_size, **options)


def decode_yolox(
    outputs: Outputs, transform: PictureTransform, input_size: tuple[int, int] = (416, 416), **options: Any
) -> Boxes:
    """YOLOX without its grid: ``[1, cells, 5 + classes]`` for strides 8, 16, 32."""
    return decode("yolox", outputs, transform, input_size, **options)


def decode_fastestdet(
    outputs: Outputs, transform: PictureTransform, input_size: tuple[int, int] = (352, 352), **options: Any
) -> Boxes:
    """FastestDet: ``[1, 5 + classes, rows, columns]``."""
    return decode("fastestdet", outputs, transform, input_size, **options)


def family_of(outputs: Outputs, input_size: tuple[int, int]) -> Family:
    """The family whose output has this shape for an input of this size; an error that lists them where none has.

    A YOLOX exported with its grid inside the graph looks like one without: say ``decode="yolov5"`` for it, whose rows
    are the same.
    """
    shape = output_list(outputs)[0].shape
    cells = sum((input_size[0] // stride) * (input_size[1] // stride) for stride in (8, 16, 32))
    if len(shape) == 3 and shape[2] >= 6 and shape[1] == cells:
        return "yolox"
    if len(shape) == 3 and shape[2] >= 6 and shape[1] % 3 == 0:
        return "yolov5"
    if len(shape) == 4 and shape[1] >= 6 and (shape[3] * 16, shape[2] * 16) == input_size:
        return "fastestdet"
    raise HaiError(
        "HAI-Y703",
        f"no known detector has an output of shape {list(shape)} for an input of {input_size[0]}x{input_size[1]}: give "
        f"decode= one of {', '.join(FAMILIES)}, or a function (outputs, transform, input_size) -> [boxes, 6]",
    )


def nms(boxes: npt.ArrayLike, max_overlap: float = 0.45, max_boxes: int = 300) -> Boxes:
    """Class-wise suppression: of two boxes of a class that overlap by more, the one of lower score goes."""
    rows = np.ascontiguousarray(boxes, np.float32).reshape(-1, 6)
    return np.asarray(_core.suppress_overlaps(rows, max_overlap, max_boxes), np.float32)
