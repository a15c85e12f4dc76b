"""Operators of TensorFlow Lite that move, choose, pool and reduce, and networks of several, against the reference interpreter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hai_toolkit as hai
import numpy as np
import pytest
from hai_toolkit.tensorflow import ReferenceInterpreter, compare_with_interpreter
from hai_toolkit.tensorflow.compare import random_inputs
from tflite_writer import TfliteWriter

TOLERANCE = 1e-5  # of the largest value: f32 in another order
Build = Callable[[TfliteWriter, "Types"], None]


class Types:
    """Inputs and results of one element type; integers of one scale."""

    def __init__(self, writer: TfliteWriter, dtype: str) -> None:
        self.writer, self.dtype = writer, dtype
        self.scale: dict[str, Any] = {} if dtype == "f32" else {"scale": 0.05, "zero": {"i8": -7, "u8": 121}[dtype]}

    def x(self, shape: tuple[int, ...], name: str = "x", **kwargs: Any) -> int:
        return self.writer.input(name, shape, self.dtype, **self.scale, **kwargs)

    def t(self, shape: tuple[int, ...], name: str) -> int:
        return self.writer.tensor(name, shape, self.dtype, **self.scale)

    def y(self, shape: tuple[int, ...], name: str = "y") -> int:
        self.writer.outputs.append(self.t(shape, name))
        return self.writer.outputs[-1]

    def i32(self, *values: Any) -> int:
        return self.writer.constant(f"i32_{len(self.writer.tensors)}", values, "i32")

    def scalar(self, value: int) -> int:
        return self.writer.constant(f"scalar_{len(self.writer.tensors)}", value, "i32")


def run(tmp_path: Path, build: Build, dtype: str = "f32", steps: int = 0, **kwargs: Any) -> None:
    writer = TfliteWriter()
    build(writer, Types(writer, dtype))
    path = tmp_path / "model.tflite"
    path.write_bytes(writer.bytes())
    for difference in compare_with_interpreter(path, samples=3, **kwargs):
        assert difference.values > 0
        assert difference.largest <= (TOLERANCE if dtype == "f32" else steps), str(difference)


SLICES: list[tuple[tuple[int, ...], list[int], list[int], list[int], dict[str, int], tuple[int, ...]]] = [
    ((1, 9, 7, 3), [0, 1, 2, 0], [1, 8, 6, 3], [1, 2, 3, 1], {}, (1, 4, 2, 3)),
    ((1, 9, 7, 3), [0, -3, 0, 0], [0, 0, -1, 0], [1, 1, 1, 2], {"beginMask": 9, "endMask": 11}, (1, 3, 6, 0)),
    ((1, 9, 7, 3), [0, 8, 0, 2], [0, -10, 0, 0], [1, -2, 1, 1], {"endMask": 5, "shrinkAxisMask": 8}, (1, 5, 7)),
    ((2, 9, 7), [0, 0, 3], [0, 0, 4], [1, 1, 1], {"ellipsisMask": 1, "newAxisMask": 2, "shrinkAxisMask": 4}, (2, 9, 1)),
]


@pytest.mark.parametrize("dtype", ["f32", "i8", "u8"])
@pytest.mark.parametrize("case", [0, 2, 3])
def test_strided_slice(tmp_path: Path, case: int, dtype: str) -> None:
    shape, begin, end, strides, masks, out = SLICES[case]

    def build(w: TfliteWriter, t: Types) -> None:
        fields = {"beginMask": 0, "endMask": 0, "ellipsisMask": 0, "newAxisMask": 0, "shrinkAxisMask": 0} | masks
        w.operator(
            "STRIDED_SLICE",
            [t.x(shape), t.i32(*begin), t.i32(*end), t.i32(*strides)],
            [t.y(out)],
            "StridedSliceOptions",
            **fields,
        )

    run(tmp_path, build, dtype)


MOVES: dict[str, tuple[Build, str]] = {}


def move(function: Build) -> Build:
    MOVES[function.__name__] = (function, function.__name__)
    return function


@move
def reshape(w: TfliteWriter, t: Types) -> None:
    w.operator(
        "RESHAPE", [t.x((1, 4, 6, 5)), t.i32(1, -1, 10)], [t.y((1, 12, 10))], "ReshapeOptions", newShape=[1, -1, 10]
    )


@move
def squeeze_expand(w: TfliteWriter, t: Types) -> None:
    a = t.t((4, 6), "a")
    w.operator("SQUEEZE", [t.x((1, 4, 1, 6))], [a], "SqueezeOptions", squeezeDims=[0, 2])
    w.operator("EXPAND_DIMS", [a, t.scalar(-1)], [t.y((4, 6, 1))], "ExpandDimsOptions")


@move
def transpose(w: TfliteWriter, t: Types) -> None:
    w.operator("TRANSPOSE", [t.x((2, 3, 4, 5)), t.i32(0, 3, 1, 2)], [t.y((2, 5, 3, 4))], "TransposeOptions")


@move
def concat_split(w: TfliteWriter, t: Types) -> None:
    a, b, c = t.t((1, 5, 7), "a"), t.t((1, 5, 2), "b"), t.t((1, 5, 3), "c")
    x = t.x((1, 5, 3), "x2")
    w.operator("CONCATENATION", [t.x((1, 5, 4)), x], [a], "ConcatenationOptions", axis=-1, fusedActivationFunction=0)
    w.operator("SPLIT_V", [a, t.i32(2, 3, 2), t.scalar(2)], [b, c, t.y((1, 5, 2))], "SplitVOptions", numSplits=3)
    w.operator(
        "CONCATENATION", [b, c], [t.y((1, 5, 5), "z")], "ConcatenationOptions", axis=2, fusedActivationFunction=0
    )


@move
def split(w: TfliteWriter, t: Types) -> None:
    w.operator(
        "SPLIT",
        [t.scalar(3), t.x((1, 5, 4, 6))],
        [t.y((1, 5, 4, 2)), t.y((1, 5, 4, 2), "b"), t.y((1, 5, 4, 2), "c")],
        "SplitOptions",
        numSplits=3,
    )


@move
def pack_unpack(w: TfliteWriter, t: Types) -> None:
    parts = [t.t((1, 5), f"p{i}") for i in range(3)]
    w.operator("UNPACK", [t.x((1, 3, 5))], parts, "UnpackOptions", num=3, axis=1)
    w.operator("PACK", [parts[2], parts[0]], [t.y((1, 5, 2))], "PackOptions", valuesCount=2, axis=2)


@move
def gather(w: TfliteWriter, t: Types) -> None:
    w.operator("GATHER", [t.x((1, 6, 5)), t.i32(5, 0, 3)], [t.y((1, 3, 5))], "GatherOptions", axis=1)


@move
def slices(w: TfliteWriter, t: Types) -> None:
    w.operator("SLICE", [t.x((1, 9, 7, 3)), t.i32(0, 2, 1, 0), t.i32(1, 5, -1, 2)], [t.y((1, 5, 6, 2))], "SliceOptions")


@move
def reverse(w: TfliteWriter, t: Types) -> None:
    w.operator("REVERSE_V2", [t.x((1, 5, 7)), t.i32(1)], [t.y((1, 5, 7))], "ReverseV2Options")


@move
def tile(w: TfliteWriter, t: Types) -> None:
    w.operator("TILE", [t.x((1, 3, 5)), t.i32(1, 2, 3)], [t.y((1, 6, 15))], "TileOptions")


@move
def depth_space(w: TfliteWriter, t: Types) -> None:
    a = t.t((1, 8, 12, 3), "a")
    w.operator("DEPTH_TO_SPACE", [t.x((1, 4, 6, 12))], [a], "DepthToSpaceOptions", blockSize=2)
    w.operator("SPACE_TO_DEPTH", [a], [t.y((1, 2, 3, 48))], "SpaceToDepthOptions", blockSize=4)


@move
def pads(w: TfliteWriter, t: Types) -> None:
    a = t.t((1, 8, 12, 3), "a")
    borders = w.constant("borders", [[0, 0], [1, 2], [3, 2], [0, 0]], "i32")
    w.operator("PAD", [t.x((1, 5, 7, 3)), borders], [a], "PadOptions")
    w.operator("MIRROR_PAD", [a, borders], [t.y((1, 11, 17, 3))], "MirrorPadOptions", mode=0)


@move
def symmetric(w: TfliteWriter, t: Types) -> None:
    borders = w.constant("borders", [[0, 0], [1, 2], [3, 2]], "i32")
    w.operator("MIRROR_PAD", [t.x((1, 5, 7)), borders], [t.y((1, 8, 12))], "MirrorPadOptions", mode=1)


@move
def space_to_batch(w: TfliteWriter, t: Types) -> None:
    a = t.t((6, 3, 3, 3), "a")
    w.operator(
        "SPACE_TO_BATCH_ND",
        [t.x((1, 5, 7, 3)), t.i32(2, 3), w.constant("p", [[0, 1], [1, 1]], "i32")],
        [a],
        "SpaceToBatchNDOptions",
    )
    w.operator(
        "BATCH_TO_SPACE_ND",
        [a, t.i32(2, 3), w.constant("c", [[1, 0], [0, 2]], "i32")],
        [t.y((1, 5, 7, 3))],
        "BatchToSpaceNDOptions",
    )


@move
def max_pool(w: TfliteWriter, t: Types) -> None:
    fields = {"strideW": 2, "strideH": 3, "filterWidth": 3, "filterHeight": 2, "fusedActivationFunction": 0}
    w.operator("MAX_POOL_2D", [t.x((1, 13, 19, 5))], [t.y((1, 5, 10, 5))], "Pool2DOptions", padding=0, **fields)


@move
def average_pool(w: TfliteWriter, t: Types) -> None:
    fields = {"strideW": 2, "strideH": 2, "filterWidth": 4, "filterHeight": 4, "fusedActivationFunction": 1}
    w.operator("AVERAGE_POOL_2D", [t.x((1, 13, 19, 5))], [t.y((1, 7, 10, 5))], "Pool2DOptions", padding=0, **fields)


@pytest.mark.parametrize("dtype", ["f32", "i8", "u8"])
@pytest.mark.parametrize("name", MOVES)
def test_moves(tmp_path: Path, name: str, dtype: str) -> None:
    if dtype == "u8" and name in ("reverse", "tile", "symmetric", "pads"):
        pytest.skip(f"TensorFlow Lite's reference: {name} is compared as i8")
    run(tmp_path, MOVES[name][0], dtype)


@pytest.mark.parametrize("dtype", ["f32", "i8", "u8"])
@pytest.mark.parametrize("rule", [(False, False), (False, True), (True, False)])
@pytest.mark.parametrize("kind", ["BILINEAR", "NEAREST_NEIGHBOR"])
def test_resize(tmp_path: Path, kind: str, rule: tuple[bool, bool], dtype: str) -> None:
    for size in ((10, 14), (13, 5), (3, 7)):

        def build(w: TfliteWriter, t: Types, size: tuple[int, int] = size) -> None:
            fields = {"alignCorners": rule[0], "halfPixelCenters": rule[1]}
            options = "ResizeBilinearOptions" if kind == "BILINEAR" else "ResizeNearestNeighborOptions"
            w.operator(f"RESIZE_{kind}", [t.x((1, 5, 7, 3)), t.i32(*size)], [t.y((1, *size, 3))], options, **fields)

        run(tmp_path, build, dtype, steps=1 if kind == "BILINEAR" else 0)


@pytest.mark.parametrize("dtype", ["f32", "i8", "u8"])
@pytest.mark.parametrize("kind", ["MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"])
def test_reductions(tmp_path: Path, kind: str, dtype: str) -> None:
    for axes, keep, out in (([1, 2], True, (1, 1, 1, 6)), ([1, 2], False, (1, 6)), ([-1], False, (1, 5, 7))):

        def build(
            w: TfliteWriter, t: Types, axes: list[int] = axes, keep: bool = keep, out: tuple[int, ...] = out
        ) -> None:
            y = t.y(out)
            if kind == "SUM" and dtype == "i8":
                w.tensors[y].quantization.scale = np.array([3.5], np.float32)
            w.operator(kind, [t.x((1, 5, 7, 6)), t.i32(*axes)], [y], "ReducerOptions", keepDims=keep)

        # The resolver of reference kernels (2.3.0) adds stored integers of a rescaled SUM without their zero point.
        run(tmp_path, build, dtype, steps=1, reference=not (kind == "SUM" and dtype == "i8"))


def test_shapes_that_the_model_computes_keep_the_batch_free(tmp_path: Path) -> None:
    """SHAPE, STRIDED_SLICE, PACK, RESHAPE, as Keras writes Flatten and Reshape."""
    w = TfliteWriter()
    t = Types(w, "f32")
    x = t.x((1, 4, 6), signature=(-1, 4, 6))
    shape, batch, target = w.tensor("shape", (3,), "i32"), w.tensor("batch", (), "i32"), w.tensor("target", (2,), "i32")
    w.operator("SHAPE", [x], [shape], "ShapeOptions", outType=2)
    masks = {"beginMask": 0, "endMask": 0, "ellipsisMask": 0, "newAxisMask": 0, "shrinkAxisMask": 1}
    w.operator("STRIDED_SLICE", [shape, t.i32(0), t.i32(1), t.i32(1)], [batch], "StridedSliceOptions", **masks)
    w.operator("PACK", [batch, t.scalar(24)], [target], "PackOptions", valuesCount=2, axis=0)
    w.operator("RESHAPE", [x, target], [t.y((1, 24))])
    path = tmp_path / "model.tflite"
    path.write_bytes(w.bytes())
    model = hai.from_tflite(path, batch=(1, 4))
    assert model.outputs[0].shape == ("N", 24)
    data = np.random.default_rng(1).normal(0, 1, (3, 4, 6)).astype(np.float32)
    assert np.array_equal(model.interpret({"x": data})["y"], data.reshape(3, 24))


def test_a_batch_that_cannot_be_free_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    w = TfliteWriter()
    t = Types(w, "f32")
    x = t.x((1, 6), signature=(-1, 6))
    w.operator("MEAN", [x, t.i32(0)], [t.y((6,))], "ReducerOptions", keepDims=False)
    model = hai.from_tflite(w.bytes())
    assert model.inputs[0].shape == (1, 6)
    assert "the batch stays 1" in capsys.readouterr().err


@pytest.mark.parametrize("dtype", ["f32", "i8"])
@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D"])
@pytest.mark.parametrize("crop", [1, 3])
def test_space_to_batch_around_a_convolution_is_a_dilation(tmp_path: Path, kind: str, dtype: str, crop: int) -> None:
    random = np.random.default_rng(2)
    depthwise = kind == "DEPTHWISE_CONV_2D"
    shape = (1, 3, 3, 4) if depthwise else (5, 3, 3, 4)
    outputs = 4 if depthwise else 5

    def build(w: TfliteWriter, t: Types) -> None:
        a, b = t.t((4, 8, 8, 4), "a"), t.t((4, 6, 6, outputs), "b")
        y = t.y((1, 12 - crop, 11, outputs))
        if dtype == "f32":
            kernel = w.constant("w", random.normal(0, 0.3, shape))
        else:
            kernel = w.constant(
                "w",
                random.integers(-127, 128, shape),
                "i8",
                scale=random.uniform(0.002, 0.01, outputs),
                zero=0,
                axis=3 if depthwise else 0,
            )
        pads = w.constant("p", [[2, 2], [2, 3]], "i32")
        crops = w.constant("c", [[0, crop], [0, 1]], "i32")
        w.operator("SPACE_TO_BATCH_ND", [t.x((1, 12, 11, 4)), t.i32(2, 2), pads], [a], "SpaceToBatchNDOptions")
        fields = {
            "padding": 1,
            "strideW": 1,
            "strideH": 1,
            "dilationWFactor": 1,
            "dilationHFactor": 1,
            "fusedActivationFunction": 1,
        }
        if depthwise:
            fields["depthMultiplier"] = 1
        bias_type = {} if dtype == "f32" else {"scale": 0.0005, "zero": 0}
        bias = w.constant("bias", random.integers(-200, 200, outputs), "f32" if dtype == "f32" else "i32", **bias_type)
        w.operator(kind, [a, kernel, bias], [b], "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions", **fields)
        w.operator("BATCH_TO_SPACE_ND", [b, t.i32(2, 2), crops], [y], "BatchToSpaceNDOptions")

    run(tmp_path, build, dtype)
    model = hai.from_tflite(tmp_path / "model.tflite")
    assert "dilations = [2, 2]" in model.text()
    assert "transpose" not in model.text()


# --- recurrent layers -------------------------------------------------------------------------------------------------------------
def write_lstm(
    w: TfliteWriter, *, time_major: bool, coupled: bool, peephole: bool, projection: bool, clip: float, hybrid: bool
) -> None:
    random = np.random.default_rng(4)
    units, features, steps, batch = 6, 5, 4, 2
    width = 3 if projection else units
    shape = (steps, batch, features) if time_major else (batch, steps, features)

    def weight(name: str, *size: int) -> int:
        if not hybrid:
            return w.constant(name, random.normal(0, 0.5, size))
        return w.constant(name, random.integers(-127, 128, size), "i8", scale=0.01, zero=0)

    x = w.input("x", shape)
    gates = ["i", "f", "c", "o"]
    kernel = [-1 if coupled and g == "i" else weight(f"w{g}", units, features) for g in gates]
    recurrent = [-1 if coupled and g == "i" else weight(f"r{g}", units, width) for g in gates]
    peep = [weight(f"p{g}", units) if peephole and not (coupled and g == "i") else -1 for g in "ifo"]
    bias = [-1 if coupled and g == "i" else w.constant(f"b{g}", random.normal(0, 0.5, units)) for g in gates]
    project = (
        [weight("project", width, units), w.constant("project_bias", random.normal(0, 0.1, width))]
        if projection
        else [-1, -1]
    )
    state = [w.tensor("h", (batch, width), variable=True), w.tensor("c", (batch, units), variable=True)]
    y = w.tensor("y", (*shape[:2], width))
    w.outputs.append(y)
    w.operator(
        "UNIDIRECTIONAL_SEQUENCE_LSTM", [x, *kernel, *recurrent, *peep, *bias, *project, *state, -1, -1, -1, -1], [y],
        "UnidirectionalSequenceLSTMOptions", fusedActivationFunction=4, cellClip=clip, projClip=clip, timeMajor=time_major,
        asymmetricQuantizeInputs=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "variant",
    [
        {},
        {"time_major": True},
        {"coupled": True, "clip": 0.5},
        {"peephole": True},
        {"projection": True, "clip": 0.7},
        {"peephole": True, "projection": True, "time_major": True},
    ],
    ids=str,
)
def test_lstm(tmp_path: Path, variant: dict[str, Any]) -> None:
    settings: dict[str, Any] = {
        "time_major": False,
        "coupled": False,
        "peephole": False,
        "projection": False,
        "clip": 0.0,
        "hybrid": False,
    }
    run(tmp_path, lambda w, t: write_lstm(w, **(settings | variant)))


def test_hybrid_lstm_is_named(tmp_path: Path) -> None:
    w = TfliteWriter()
    write_lstm(w, time_major=False, coupled=False, peephole=False, projection=False, clip=0.0, hybrid=True)
    path = tmp_path / "hybrid.tflite"
    path.write_bytes(w.bytes())
    model = hai.from_tflite(path)
    assert "tflite.hybrid" in model._graph.metadata()
    interpreter = ReferenceInterpreter(path)
    for sample in random_inputs(model, 4):
        expected = interpreter.run(sample)["y"]
        # TensorFlow Lite quantizes the activations of such layers to 8 bits as it runs; HAI keeps them in f32.
        assert np.abs(model.interpret(sample)["y"] - expected).max() < 0.02


# --- SSD --------------------------------------------------------------------------------------------------------------------------
def test_ssd_is_cut_before_the_suppression(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The decoded boxes and scores are those among which TensorFlow Lite's operator chooses."""
    from flatbuffers import flexbuffers

    random = np.random.default_rng(3)
    count, classes = 12, 3
    options = {
        "max_detections": count, "max_classes_per_detection": 1, "detections_per_class": 100, "use_regular_nms": False,
        "nms_score_threshold": 0.0, "nms_iou_threshold": 0.999, "num_classes": classes, "y_scale": 10.0, "x_scale": 10.0,
        "h_scale": 5.0, "w_scale": 5.0,
    }  # fmt: skip
    w = TfliteWriter()
    boxes, logits = w.input("raw_boxes", (1, count, 4)), w.input("raw_scores", (1, count, classes + 1))
    scores = w.tensor("sigmoid", (1, count, classes + 1))
    w.operator("LOGISTIC", [logits], [scores])
    centres = np.stack([np.repeat([0.1, 0.5, 0.9], 4), np.tile([0.1, 0.4, 0.6, 0.9], 3)], 1)
    anchors = w.constant("anchors", np.concatenate([centres, random.uniform(0.05, 0.1, (count, 2))], 1))
    w.outputs = [
        w.tensor("b", (1, count, 4)),
        w.tensor("c", (1, count)),
        w.tensor("s", (1, count)),
        w.tensor("n", (1,)),
    ]
    w.operator(
        "CUSTOM:TFLite_Detection_PostProcess",
        [boxes, scores, anchors],
        w.outputs,
        custom=bytes(flexbuffers.Dumps(options)),
    )
    path = tmp_path / "ssd.tflite"
    path.write_bytes(w.bytes())
    model = hai.from_tflite(path)
    assert [o.name for o in model.outputs] == ["boxes", "scores"]
    assert "non-maximum suppression" in capsys.readouterr().err
    assert "non-maximum suppression" in model._graph.metadata()["tflite.cut"]
    inputs = {
        "raw_boxes": random.normal(0, 0.5, (1, count, 4)).astype(np.float32),
        "raw_scores": random.normal(0, 1, (1, count, classes + 1)).astype(np.float32),
    }
    ours = model.interpret(inputs)
    theirs = ReferenceInterpreter(path).run(inputs)
    assert theirs["n"][0] == count
    best = ours["scores"][0, :, 1:].max(1)
    order = np.argsort(-best, kind="stable")
    assert np.allclose(theirs["s"][0], best[order], atol=1e-6)
    assert np.allclose(theirs["b"][0], ours["boxes"][0][order], atol=1e-5)
    assert np.array_equal(theirs["c"][0].astype(int), ours["scores"][0][order, 1:].argmax(1))
