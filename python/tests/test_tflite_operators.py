"""Single operators of TensorFlow Lite against its reference interpreter, float and integer, on models written by the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hai_toolkit.tensorflow import compare_with_interpreter
from hai_toolkit.tensorflow.compare import OutputDifference
from tflite_writer import TfliteWriter

FLOAT_TOLERANCE = 1e-5  # of the largest value: f32 in another order
SCALES = {"i8": (0.03, 7), "u8": (0.03, 120), "i16": (0.0002, 0)}
Case = Callable[[TfliteWriter, "Numbers", str], None]


class Numbers:
    """Seeded constants and tensors of one type."""

    def __init__(self, writer: TfliteWriter, dtype: str, seed: int = 1) -> None:
        self.writer, self.dtype = writer, dtype
        self.random = np.random.default_rng(seed)

    def x(self, name: str, shape: tuple[int, ...], **kwargs: Any) -> int:
        return self.writer.input(name, shape, self.dtype, **self._scale(kwargs))

    def y(self, name: str, shape: tuple[int, ...], **kwargs: Any) -> int:
        index = self.writer.tensor(name, shape, self.dtype, **self._scale(kwargs))
        self.writer.outputs.append(index)
        return index

    def _scale(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        if self.dtype in SCALES and "scale" not in kwargs:
            kwargs["scale"], kwargs["zero"] = SCALES[self.dtype]
        if self.dtype == "f32":
            kwargs.pop("scale", None)
            kwargs.pop("zero", None)
        return kwargs

    def constant(self, name: str, shape: tuple[int, ...], scale: float = 0.02, zero: int = 3) -> int:
        if self.dtype == "f32":
            return self.writer.constant(name, self.random.normal(0, 1, shape))
        limits = np.iinfo({"i8": np.int8, "u8": np.uint8, "i16": np.int16}[self.dtype])
        zero = {"i8": zero, "u8": zero + 128, "i16": 0}[self.dtype]
        return self.writer.constant(
            name, self.random.integers(limits.min, limits.max + 1, shape), self.dtype, scale=scale, zero=zero
        )

    def weights(self, name: str, shape: tuple[int, ...], axis: int) -> tuple[int, np.ndarray]:
        """Constant weights and the scales of their channels, per axis for i8 and i16, one and a zero point for u8."""
        if self.dtype == "f32":
            return self.writer.constant(name, self.random.normal(0, 0.3, shape)), np.ones(1)
        if self.dtype == "u8":
            scales = np.array([0.007])
            values = self.random.integers(0, 256, shape)
            return self.writer.constant(name, values, "u8", scale=scales, zero=131), scales
        scales = self.random.uniform(0.002, 0.02, shape[axis])
        values = self.random.integers(-127, 128, shape)
        return self.writer.constant(name, values, "i8", scale=scales, zero=0, axis=axis), scales

    def bias(self, name: str, count: int, scales: np.ndarray) -> int:
        if self.dtype == "f32":
            return self.writer.constant(name, self.random.normal(0, 1, count))
        kind = "i64" if self.dtype == "i16" else "i32"
        scale = (
            np.broadcast_to(scales * SCALES[self.dtype][0], (count,))
            if len(scales) > 1
            else scales * SCALES[self.dtype][0]
        )
        reach = 2000 if self.dtype != "i16" else 200000
        return self.writer.constant(name, self.random.integers(-reach, reach, count), kind, scale=scale, zero=0)


def compare(
    tmp_path: Path, build: Callable[[TfliteWriter], None], samples: int = 4, **kwargs: Any
) -> list[OutputDifference]:
    writer = TfliteWriter()
    build(writer)
    path = tmp_path / "model.tflite"
    path.write_bytes(writer.bytes())
    return compare_with_interpreter(path, samples=samples, **kwargs)


def check(differences: list[OutputDifference], steps: int) -> None:
    for difference in differences:
        assert difference.values > 0
        limit = FLOAT_TOLERANCE if difference.histogram is None else steps
        assert difference.largest <= limit, str(difference)


# --- convolutions and products ----------------------------------------------------------------------------------------------------
CONVOLUTIONS = [
    # kind, input, weights, stride, dilation, padding, activation
    ("CONV_2D", (1, 13, 19, 5), (7, 3, 3, 5), (1, 1), (1, 1), 0, 1),
    ("CONV_2D", (1, 14, 19, 5), (7, 3, 5, 5), (2, 3), (1, 1), 0, 3),
    ("CONV_2D", (1, 13, 19, 4), (6, 3, 3, 4), (1, 1), (2, 3), 0, 0),
    ("CONV_2D", (1, 13, 19, 4), (6, 2, 3, 4), (2, 1), (1, 1), 1, 2),
    ("CONV_2D", (1, 9, 7, 16), (24, 1, 1, 16), (1, 1), (1, 1), 1, 0),
    ("DEPTHWISE_CONV_2D", (1, 13, 19, 7), (1, 3, 3, 7), (1, 1), (1, 1), 0, 3),
    ("DEPTHWISE_CONV_2D", (1, 14, 10, 4), (1, 5, 3, 8), (2, 2), (1, 1), 0, 0),
    ("DEPTHWISE_CONV_2D", (1, 13, 13, 6), (1, 3, 3, 6), (1, 1), (2, 2), 1, 1),
]


@pytest.mark.parametrize("dtype", ["f32", "i8", "u8", "i16"])
@pytest.mark.parametrize("case", CONVOLUTIONS, ids=lambda c: f"{c[0].lower()}_{'x'.join(map(str, c[2]))}_{c[5]}")
def test_convolutions(tmp_path: Path, case: tuple[Any, ...], dtype: str) -> None:
    kind, shape, weights, (sy, sx), (dy, dx), padding, activation = case
    depthwise = kind == "DEPTHWISE_CONV_2D"
    channels = weights[3] if depthwise else weights[0]

    def size(n: int, k: int, stride: int, dilation: int) -> int:
        return -(-n // stride) if padding == 0 else (n - (k - 1) * dilation - 1) // stride + 1

    def build(w: TfliteWriter) -> None:
        n = Numbers(w, dtype)
        x = n.x("x", shape)
        kernel, scales = n.weights("w", weights, 3 if depthwise else 0)
        bias = n.bias("b", channels, scales)
        out = (1, size(shape[1], weights[1], sy, dy), size(shape[2], weights[2], sx, dx), channels)
        wide = dtype == "i16"
        y = n.y(
            "y",
            out,
            **({"scale": 0.0008, "zero": 0} if wide else {"scale": 0.09, "zero": -20 if dtype == "i8" else 110}),
        )
        fields = {
            "padding": padding,
            "strideW": sx,
            "strideH": sy,
            "fusedActivationFunction": activation,
            "dilationWFactor": dx,
            "dilationHFactor": dy,
        }
        if depthwise:
            fields["depthMultiplier"] = channels // shape[3]
        w.operator(kind, [x, kernel, bias], [y], "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions", **fields)

    differences = compare(tmp_path, build)
    check(differences, 1)
    if dtype in ("i8", "u8"):
        assert differences[0].differing == 0, str(differences[0])  # rounded as TensorFlow Lite rounds


@pytest.mark.parametrize("dtype", ["f32", "i8", "u8", "i16"])
@pytest.mark.parametrize("keep", [False, True])
def test_fully_connected(tmp_path: Path, dtype: str, keep: bool) -> None:
    def build(w: TfliteWriter) -> None:
        n = Numbers(w, dtype)
        x = n.x("x", (2, 3, 40))
        if dtype == "i8":
            values = n.random.integers(-127, 128, (13, 40))
            kernel, scales = w.constant("w", values, "i8", scale=0.01, zero=0), np.array([0.01])
        elif dtype == "i16":
            kernel, scales = (
                w.constant("w", n.random.integers(-127, 128, (13, 40)), "i8", scale=0.01, zero=0),
                np.array([0.01]),
            )
        else:
            kernel, scales = n.weights("w", (13, 40), 0)
        bias = n.bias("b", 13, scales)
        wide = dtype == "i16"
        out = (2, 3, 13) if keep else (6, 13)
        y = n.y(
            "y", out, **({"scale": 0.0008, "zero": 0} if wide else {"scale": 0.12, "zero": 3 if dtype == "i8" else 130})
        )
        w.operator(
            "FULLY_CONNECTED",
            [x, kernel, bias],
            [y],
            "FullyConnectedOptions",
            fusedActivationFunction=1,
            keepNumDims=keep,
        )

    check(compare(tmp_path, build), 1)


@pytest.mark.parametrize("device", ["cpu", "reference"])
def test_a_network_of_an_older_uint8_model(tmp_path: Path, device: Literal["cpu", "reference"]) -> None:
    """Convolution, depthwise, pointwise, both pools, concatenation, product: weights and tensors with zero points of their own."""

    def build(w: TfliteWriter) -> None:
        random = np.random.default_rng(5)

        def weights(name: str, shape: tuple[int, ...], scale: float, zero: int) -> int:
            return w.constant(name, random.integers(0, 256, shape), "u8", scale=scale, zero=zero)

        def bias(name: str, count: int, scale: float) -> int:
            return w.constant(name, random.integers(-900, 900, count), "i32", scale=scale, zero=0)

        def tensor(name: str, shape: tuple[int, ...], scale: float, zero: int) -> int:
            return w.tensor(name, shape, "u8", scale=scale, zero=zero)

        window = {"padding": 0, "strideW": 2, "strideH": 2}
        once = {"padding": 0, "strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1}
        twice = {**window, "dilationWFactor": 1, "dilationHFactor": 1}
        pool = {**window, "filterWidth": 2, "filterHeight": 2, "fusedActivationFunction": 0}
        x = w.input("x", (1, 17, 13, 3), "u8", scale=0.0078125, zero=128)
        a = tensor("a", (1, 9, 7, 12), 0.0235, 0)
        kernel = weights("w0", (12, 3, 3, 3), 0.004, 151)
        w.operator(
            "CONV_2D",
            [x, kernel, bias("b0", 12, 0.0078125 * 0.004)],
            [a],
            "Conv2DOptions",
            **twice,
            fusedActivationFunction=3,
        )
        b = tensor("b", (1, 9, 7, 12), 0.03, 97)
        kernel = weights("w1", (1, 3, 3, 12), 0.006, 109)
        w.operator(
            "DEPTHWISE_CONV_2D", [a, kernel, bias("b1", 12, 0.0235 * 0.006)], [b], "DepthwiseConv2DOptions", **once,
            depthMultiplier=1, fusedActivationFunction=0,
        )  # fmt: skip
        c = tensor("c", (1, 9, 7, 20), 0.04, 3)
        kernel = weights("w2", (20, 1, 1, 12), 0.005, 0)
        w.operator(
            "CONV_2D",
            [b, kernel, bias("b2", 20, 0.03 * 0.005)],
            [c],
            "Conv2DOptions",
            **once,
            fusedActivationFunction=1,
        )
        d, e = tensor("d", (1, 5, 4, 20), 0.04, 3), tensor("e", (1, 5, 4, 20), 0.04, 3)
        w.operator("AVERAGE_POOL_2D", [c], [d], "Pool2DOptions", **pool)
        w.operator("MAX_POOL_2D", [c], [e], "Pool2DOptions", **pool)
        f = tensor("f", (1, 5, 4, 40), 0.04, 3)
        w.operator("CONCATENATION", [d, e], [f], "ConcatenationOptions", axis=3, fusedActivationFunction=0)
        g = tensor("g", (1, 800), 0.04, 3)
        w.operator("RESHAPE", [f, w.constant("shape", [1, 800], "i32")], [g], "ReshapeOptions", newShape=[1, 800])
        y = tensor("y", (1, 10), 0.9, 140)
        kernel = weights("w3", (10, 800), 0.003, 120)
        w.operator(
            "FULLY_CONNECTED", [g, kernel, bias("b3", 10, 0.04 * 0.003)], [y], "FullyConnectedOptions",
            fusedActivationFunction=0,
        )  # fmt: skip
        w.outputs = [c, y]

    differences = compare(tmp_path, build, samples=8, device=device)
    assert [d.differing for d in differences] == [0, 0], differences
    assert differences[0].values == 8 * 9 * 7 * 20


@pytest.mark.parametrize("dtype", ["f32", "i8", "u8"])
@pytest.mark.parametrize("padding", [0, 1])
def test_transpose_conv(tmp_path: Path, dtype: str, padding: int) -> None:
    def build(w: TfliteWriter) -> None:
        n = Numbers(w, dtype)
        shape = (1, 10, 14, 6) if padding == 0 else (1, 11, 15, 6)
        out_shape = w.constant("shape", shape, "i32")
        kernel, scales = n.weights("w", (6, 3, 3, 5), 0)
        x = n.x("x", (1, 5, 7, 5))
        bias = n.bias("b", 6, scales)
        y = n.y("y", shape, scale=0.08, zero=125 if dtype == "u8" else 5)
        w.operator(
            "TRANSPOSE_CONV",
            [out_shape, kernel, x, bias],
            [y],
            "TransposeConvOptions",
            padding=padding,
            strideW=2,
            strideH=2,
        )

    check(compare(tmp_path, build), 1)


def test_batch_matmul(tmp_path: Path) -> None:
    for adj_x, adj_y in ((False, False), (False, True), (True, False)):

        def build(w: TfliteWriter, adj_x: bool = adj_x, adj_y: bool = adj_y) -> None:
            n = Numbers(w, "f32")
            a = n.x("a", (2, 5, 3) if adj_x else (2, 3, 5))
            b = n.x("b", (2, 7, 5) if adj_y else (2, 5, 7))
            w.operator("BATCH_MATMUL", [a, b], [n.y("y", (2, 3, 7))], "BatchMatMulOptions", adjX=adj_x, adjY=adj_y)

        check(compare(tmp_path, build), 1)


# --- element-wise -----------------------------------------------------------------------------------------------------------------
UNARY = {
    "ABS": "AbsOptions", "CEIL": "", "COS": "CosOptions", "ELU": "", "EXP": "ExpOptions", "FLOOR": "",
    "HARD_SWISH": "HardSwishOptions", "LOGISTIC": "", "NEG": "NegOptions", "RELU": "", "RELU6": "", "RELU_N1_TO_1": "",
    "ROUND": "", "SIN": "", "SQUARE": "SquareOptions", "TANH": "",
}  # fmt: skip


@pytest.mark.parametrize("kind", UNARY)
def test_unary(tmp_path: Path, kind: str) -> None:
    def build(w: TfliteWriter) -> None:
        n = Numbers(w, "f32")
        w.operator(kind, [n.x("x", (1, 9, 13, 3))], [n.y("y", (1, 9, 13, 3))], UNARY[kind])

    absent = kind in ("CEIL", "ELU", "ROUND")  # from the resolver of reference kernels
    check(compare(tmp_path, build, reference=not absent), 1)


@pytest.mark.parametrize("kind", ["LOG", "SQRT", "RSQRT"])
def test_unary_of_positive_numbers(tmp_path: Path, kind: str) -> None:
    def build(w: TfliteWriter) -> None:
        n = Numbers(w, "f32")
        square = w.tensor("square", (1, 33))
        w.operator("EXP", [n.x("x", (1, 33))], [square], "ExpOptions")
        w.operator(kind, [square], [n.y("y", (1, 33))])

    check(compare(tmp_path, build), 1)


INTEGER_UNARY = {
    "LOGISTIC": (1 / 256, -128),
    "TANH": (1 / 128, 0),
    "RELU": (0.03, 7),
    "RELU6": (0.03, 7),
    "HARD_SWISH": (0.02, -100),
}


@pytest.mark.parametrize("dtype", ["i8", "u8"])
@pytest.mark.parametrize("kind", INTEGER_UNARY)
def test_integer_unary(tmp_path: Path, kind: str, dtype: str) -> None:
    scale, zero = INTEGER_UNARY[kind]
    zero += 128 if dtype == "u8" else 0

    def build(w: TfliteWriter) -> None:
        n = Numbers(w, dtype)
        w.operator(
            kind, [n.x("x", (1, 9, 13, 3))], [n.y("y", (1, 9, 13, 3), scale=scale, zero=zero)], UNARY.get(kind, "")
        )

    check(compare(tmp_path, build), 1)


def test_leaky_relu_prelu_and_gelu(tmp_path: Path) -> None:
    for dtype in ("f32", "i8"):

        def leaky(w: TfliteWriter, dtype: str = dtype) -> None:
            n = Numbers(w, dtype)
            w.operator("LEAKY_RELU", [n.x("x", (1, 37))], [n.y("y", (1, 37))], "LeakyReluOptions", alpha=0.2)

        def prelu(w: TfliteWriter, dtype: str = dtype) -> None:
            n = Numbers(w, dtype)
            w.operator("PRELU", [n.x("x", (1, 5, 7, 6)), n.constant("slope", (1, 1, 6))], [n.y("y", (1, 5, 7, 6))])

        check(compare(tmp_path, leaky), 1)
        check(compare(tmp_path, prelu), 1)
    for approximate in (False, True):

        def gelu(w: TfliteWriter, approximate: bool = approximate) -> None:
            n = Numbers(w, "f32")
            w.operator("GELU", [n.x("x", (1, 37))], [n.y("y", (1, 37))], "GeluOptions", approximate=approximate)

        check(compare(tmp_path, gelu), 1)


BINARY = {
    "ADD": ("AddOptions", 3), "SUB": ("SubOptions", 1), "MUL": ("MulOptions", 1), "DIV": ("DivOptions", 0),
    "MAXIMUM": ("MaximumMinimumOptions", None), "MINIMUM": ("MaximumMinimumOptions", None),
    "SQUARED_DIFFERENCE": ("SquaredDifferenceOptions", None),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["f32", "i8", "u8", "i16"])
@pytest.mark.parametrize("kind", BINARY)
def test_binary(tmp_path: Path, kind: str, dtype: str) -> None:
    if dtype != "f32" and (kind == "DIV" or (kind == "SQUARED_DIFFERENCE" and dtype != "i8")):
        pytest.skip(f"TensorFlow Lite's reference has no {kind} of {dtype}")
    options, activation = BINARY[kind]

    def build(w: TfliteWriter) -> None:
        n = Numbers(w, dtype)
        shape = (1, 7, 9, 5)
        b = n.constant("b", shape if kind == "DIV" else (5,))
        fields = {} if activation is None else {"fusedActivationFunction": activation}
        same = kind in ("MAXIMUM", "MINIMUM")
        if same and dtype != "f32":
            scale, zero = SCALES[dtype]
            limits = np.iinfo({"i8": np.int8, "u8": np.uint8, "i16": np.int16}[dtype])
            b = w.constant("c", n.random.integers(limits.min, limits.max, (5,)), dtype, scale=scale, zero=zero)
        wide = dtype == "i16"
        out = {} if same else {"scale": 0.0006 if wide else 0.06, "zero": 0 if wide else 2 if dtype == "i8" else 126}
        if dtype == "i16" and not same:
            b = w.constant("c", n.random.integers(-30000, 30000, (5,)), "i16", scale=0.0003, zero=0)
        w.operator(kind, [n.x("a", shape), b], [n.y("y", shape, **out)], options, **fields)

    check(compare(tmp_path, build), 1)


@pytest.mark.parametrize("dtype", ["f32", "i8", "u8"])
def test_softmax(tmp_path: Path, dtype: str) -> None:
    def build(w: TfliteWriter) -> None:
        n = Numbers(w, dtype)
        y = n.y("y", (3, 19), scale=1 / 256, zero=-128 if dtype == "i8" else 0)
        w.operator("SOFTMAX", [n.x("x", (3, 19))], [y], "SoftmaxOptions", beta=1.0)

    check(compare(tmp_path, build), 1)


def test_log_softmax_and_l2_normalization(tmp_path: Path) -> None:
    for kind, options in (("LOG_SOFTMAX", "LogSoftmaxOptions"), ("L2_NORMALIZATION", "L2NormOptions")):

        def build(w: TfliteWriter, kind: str = kind, options: str = options) -> None:
            n = Numbers(w, "f32")
            w.operator(kind, [n.x("x", (3, 19))], [n.y("y", (3, 19))], options)

        check(compare(tmp_path, build), 1)


def test_changes_of_type(tmp_path: Path) -> None:
    def build(w: TfliteWriter) -> None:
        x = w.input("x", (1, 37))
        a = w.tensor("a", (1, 37), "i8", scale=0.05, zero=-3)
        b = w.tensor("b", (1, 37), "i8", scale=0.07, zero=9)
        y = w.tensor("y", (1, 37))
        w.operator("QUANTIZE", [x], [a], "QuantizeOptions")
        w.operator("QUANTIZE", [a], [b], "QuantizeOptions")
        w.operator("DEQUANTIZE", [b], [y], "DequantizeOptions")
        w.outputs = [a, b, y]

    for difference in compare(tmp_path, build):
        assert difference.largest <= (1 if difference.histogram is not None else 0.07 / 2), str(difference)
