"""TFLite_Detection_PostProcess, the custom operator at the end of SSD detectors, cut where the core ends.

What HAI runs: the decoding of boxes against their anchors (Liu et al. 2016, "SSD", section 2.2, with the scales in the
operator's options) and the dequantization. What it does not run, and names in the metadata: the choice of the best
boxes (non-maximum suppression), which the caller does with the thresholds given there. The four results of the operator
are replaced by two outputs, `boxes` [N, anchors, 4] as (top, left, bottom, right) relative to the picture, and `scores`
[N, anchors, classes], with the background first where the model has it.
"""

from __future__ import annotations

import json
import math

import numpy as np

from ..errors import HaiError
from ..graph import Tensor
from .importer import Importer, converts
from .reader import TfliteOperator


def _options(op: TfliteOperator) -> dict[str, float]:
    """The operator's options, a FlexBuffer map."""
    try:
        from flatbuffers import flexbuffers

        values = flexbuffers.Loads(bytearray(op.custom_options))
        return {str(key): float(value) for key, value in values.items() if isinstance(value, (int, float, bool))}
    except Exception as error:  # the reader of FlexBuffers raises whatever damaged bytes lead to
        raise HaiError(
            "HAI-Y397", f'TFLite_Detection_PostProcess "{op.name}": its options cannot be read ({error})'
        ) from error


@converts("CUSTOM:TFLite_Detection_PostProcess")
def detection_post_process(g: Importer, op: TfliteOperator) -> None:
    """Operands: encoded boxes [N, anchors, 4], scores [N, anchors, classes], anchors [anchors, 4] (centre y, x, height,
    width).
    """
    options = _options(op)
    boxes, scores = g.real(op, 0), g.real(op, 1)
    anchors = g.numbers(op, 2, "the anchors")
    info = g.info(op, 2)
    if info.quantization is not None:
        anchors = (anchors.astype(np.float64) - info.quantization.zero_point) * info.quantization.scale
    anchors = anchors.astype(np.float32)
    dims = g.dims(boxes)
    steps = [options.get(key, 0.0) for key in ("y_scale", "x_scale", "h_scale", "w_scale")]
    if (
        len(dims) != 3
        or dims[2] < 4
        or anchors.shape != (dims[1], 4)
        or not all(math.isfinite(s) and s > 0 for s in steps)
    ):
        raise HaiError(
            "HAI-Y398",
            f'TFLite_Detection_PostProcess "{op.name}": boxes {dims}, anchors {list(anchors.shape)}, scales {steps} do not fit',
        )

    def take(first: int, end: int) -> Tensor:
        return g.emit("slice", [boxes], {"starts": [first], "ends": [end], "axes": [2], "steps": [1]})

    def times(value: Tensor, factors: np.ndarray) -> Tensor:
        return g.emit("mul", [value, g.constant(factors.astype(np.float32))])

    sizes = anchors[:, 2:4]
    centre = g.emit("add", [times(take(0, 2), sizes / np.asarray(steps[0:2])), g.constant(anchors[:, 0:2])])
    scaled = times(take(2, 4), np.asarray([1 / steps[2], 1 / steps[3]]))
    half = times(g.emit("exp", [scaled], name=f"{op.name}/sizes"), sizes / 2)
    corners = [g.emit("sub", [centre, half]), g.emit("add", [centre, half])]
    g.extra_outputs += [(g.emit("concat", corners, {"axis": 2}, name=f"{op.name}/boxes"), "boxes"), (scores, "scores")]
    wanted = ("max_detections", "max_classes_per_detection", "nms_score_threshold", "nms_iou_threshold", "num_classes")
    g.metadata["tflite.cut"] = (
        "TFLite_Detection_PostProcess: boxes are decoded; non-maximum suppression is the caller's"
    )
    g.metadata["tflite.detection"] = json.dumps({key: options[key] for key in wanted if key in options}, sort_keys=True)
    g.warnings.append(
        f'TFLite_Detection_PostProcess "{op.name}": HAI decodes the boxes (outputs "boxes" and "scores"); choosing among them '
        "(non-maximum suppression) is left to the caller, with the thresholds in the metadata tflite.detection"
    )
