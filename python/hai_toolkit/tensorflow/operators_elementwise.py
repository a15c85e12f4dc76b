"""Element-wise operators of TensorFlow Lite, softmax, and changes of type.

On integers each is the core operator of the same name, which rounds once (docs/reference/arithmetic.md). What the core
does not define on integers (division, powers, products of several operators) is computed in f32 between a
dequantization and a quantization: also one rounding to the scale of the result.
"""

from __future__ import annotations

import numpy as np

from ..errors import HaiError
from ..graph import Tensor
from .importer import BatchMultiple, Importer, converts
from .reader import TfliteOperator

_UNARY = {
    "ABS": "abs", "CEIL": "ceil", "COS": "cos", "ELU": "elu", "EXP": "exp", "FLOOR": "floor", "HARD_SWISH": "hard_swish",
    "LOG": "log", "LOGISTIC": "sigmoid", "NEG": "neg", "RELU": "relu", "RELU6": "relu6", "ROUND": "round", "SIN": "sin",
    "SQRT": "sqrt", "SQUARE": "square", "TANH": "tanh",
}  # fmt: skip
_BINARY = {"ADD": "add", "SUB": "sub", "MUL": "mul", "DIV": "div", "MAXIMUM": "max", "MINIMUM": "min", "POW": "pow"}
_NEVER_ON_INTEGERS = ("DIV", "POW")


def _fold_binary(g: Importer, op: TfliteOperator) -> bool:
    """Arithmetic of numbers that are known now: shapes that the model computes."""
    a, b = g.known(op, 0), g.known(op, 1)
    if a is None or b is None or a.dtype.kind not in "iuO" or b.dtype.kind not in "iuO" or a.size > 64 or b.size > 64:
        return False
    if g.info(op, 0).quantization is not None:
        return False
    if op.kind == "MUL":
        if any(isinstance(v, BatchMultiple) for v in a.reshape(-1)) and any(
            isinstance(v, BatchMultiple) for v in b.reshape(-1)
        ):
            return False
        g.set_known(op, a * b)
        return True
    if a.dtype == object or b.dtype == object:
        return False
    functions = {"ADD": np.add, "SUB": np.subtract, "MAXIMUM": np.maximum, "MINIMUM": np.minimum}
    if op.kind not in functions:
        return False
    g.set_known(op, functions[op.kind](a, b))
    return True


@converts(*_BINARY)
def binary(g: Importer, op: TfliteOperator) -> None:
    """Operators of two tensors that broadcast, with a fused activation."""
    if _fold_binary(g, op):
        return
    core = _BINARY[op.kind]
    if g.declared(g.result(op)) is not None and op.kind in _NEVER_ON_INTEGERS:
        value = g.emit(core, [g.real(op, 0), g.real(op, 1)], name=op.name, value_name=f"{op.name}/real")
        g.set_real(op, g.activate_real(op, value, op.option("FusedActivationFunction", 0)))
        return
    g.finish(op, core, [g.tensor(op, 0), g.tensor(op, 1)], {})


@converts("SQUARED_DIFFERENCE")
def squared_difference(g: Importer, op: TfliteOperator) -> None:
    """(a - b)^2."""
    difference = g.emit("sub", [g.real(op, 0), g.real(op, 1)], name=f"{op.name}/difference")
    g.set_real(op, g.emit("square", [difference], name=op.name, value_name=g.real_name(op)))


@converts("ADD_N")
def add_n(g: Importer, op: TfliteOperator) -> None:
    """The sum of all operands."""
    value = g.tensor(op, 0)
    for i in range(1, len(op.inputs)):
        last = i == len(op.inputs) - 1
        value = g.emit("add", [value, g.tensor(op, i)], name=op.name if last else f"{op.name}/{i}")
    g.set(op, value)


@converts(*_UNARY)
def unary(g: Importer, op: TfliteOperator) -> None:
    """Functions of one tensor."""
    g.set(op, g.emit(_UNARY[op.kind], [g.tensor(op, 0)], name=op.name, like=g.result(op)))


@converts("RELU_N1_TO_1", "RELU_0_TO_1")
def clip(g: Importer, op: TfliteOperator) -> None:
    """A clamp to one unit."""
    bounds = {"min": -1.0 if op.kind == "RELU_N1_TO_1" else 0.0, "max": 1.0}
    g.set(op, g.emit("clip", [g.tensor(op, 0)], bounds, name=op.name, like=g.result(op)))


@converts("LEAKY_RELU")
def leaky_relu(g: Importer, op: TfliteOperator) -> None:
    """x < 0 ? alpha x : x."""
    attributes = {"alpha": float(op.option("Alpha"))}
    g.set(op, g.emit("leaky_relu", [g.tensor(op, 0)], attributes, name=op.name, like=g.result(op)))


@converts("GELU")
def gelu(g: Importer, op: TfliteOperator) -> None:
    """With erf, or the approximation by tanh, as written."""
    if not op.option("Approximate", False):
        g.set(op, g.emit("gelu", [g.tensor(op, 0)], name=op.name, like=g.result(op)))
        return
    x = g.real(op, 0)

    def scaled(value: Tensor, factor: float) -> Tensor:
        return g.emit("mul", [value, g.constant(np.float32(factor))])

    cube = g.emit("mul", [g.emit("square", [x]), x])
    inner = scaled(g.emit("add", [x, scaled(cube, 0.044715)]), float(np.sqrt(2 / np.pi)))
    gate = g.emit("add", [g.emit("tanh", [inner]), g.constant(np.float32(1))])
    g.set_real(op, g.emit("mul", [scaled(x, 0.5), gate], name=op.name, value_name=g.real_name(op)))


@converts("RSQRT")
def rsqrt(g: Importer, op: TfliteOperator) -> None:
    """1 / sqrt(x)."""
    g.set_real(
        op,
        g.emit(
            "reciprocal",
            [g.emit("sqrt", [g.real(op, 0)], name=f"{op.name}/sqrt")],
            name=op.name,
            value_name=g.real_name(op),
        ),
    )


@converts("PRELU")
def prelu(g: Importer, op: TfliteOperator) -> None:
    """x < 0 ? slope x : x, the slope constant and broadcast."""
    g.set(op, g.emit("prelu", [g.tensor(op, 0), g.tensor(op, 1)], name=op.name, like=g.result(op)))


@converts("SOFTMAX")
def softmax(g: Importer, op: TfliteOperator) -> None:
    """Along the last axis; of 8-bit integers directly, of 16-bit ones in f32."""
    x = g.tensor(op, 0)
    g.refuse_batch(op, x, len(x.shape) - 1)
    beta = float(op.option("Beta", 1.0))
    out = g.result(op)
    if x.quantization and beta == 1 and x.dtype in ("i8", "u8") and out.dtype in ("i8", "u8"):
        g.set(op, g.emit("softmax", [x], {"axis": -1}, name=op.name, like=out))
        return
    real = g.real(op, 0)
    if beta != 1:
        real = g.emit("mul", [real, g.constant(np.float32(beta))], name=f"{op.name}/beta")
    g.set_real(op, g.emit("softmax", [real], {"axis": -1}, name=op.name, value_name=g.real_name(op)))


@converts("LOG_SOFTMAX")
def log_softmax(g: Importer, op: TfliteOperator) -> None:
    """x - max - log(sum(exp(x - max))) along the last axis."""
    x = g.real(op, 0)
    g.refuse_batch(op, x, len(x.shape) - 1)
    shifted = g.emit("sub", [x, g.emit("reduce_max", [x], {"axes": [-1], "keep_dims": 1})])
    total = g.emit("reduce_sum", [g.emit("exp", [shifted])], {"axes": [-1], "keep_dims": 1})
    g.set_real(op, g.emit("sub", [shifted, g.emit("log", [total])], name=op.name, value_name=g.real_name(op)))


@converts("L2_NORMALIZATION")
def l2_normalization(g: Importer, op: TfliteOperator) -> None:
    """x / sqrt(max(sum of x^2, 1e-6)) along the last axis."""
    if op.option("FusedActivationFunction", 0):
        raise HaiError("HAI-Y350", f'L2_NORMALIZATION "{op.name}" with a fused activation is not known to HAI')
    x = g.real(op, 0)
    g.refuse_batch(op, x, len(x.shape) - 1)
    total = g.emit("reduce_sum", [g.emit("square", [x])], {"axes": [-1], "keep_dims": 1})
    length = g.emit("sqrt", [g.emit("max", [total, g.constant(np.float32(1e-6))])])
    g.set_real(op, g.emit("div", [x, length], name=op.name, value_name=g.real_name(op)))


@converts("QUANTIZE")
def quantize(g: Importer, op: TfliteOperator) -> None:
    """Floats to integers, or integers to another scale."""
    x, out = g.tensor(op, 0), g.result(op)
    if g.declared(out) is None:
        raise HaiError("HAI-Y351", f'QUANTIZE "{op.name}": the result is {out.dtype} without a scale')
    g.set(op, g.emit("rescale" if x.quantization else "quantize", [x], name=op.name, like=out))


@converts("DEQUANTIZE")
def dequantize(g: Importer, op: TfliteOperator) -> None:
    """Integers to floats; f16 constants become f32."""
    values, info = g.known(op, 0), g.info(op, 0)
    if values is not None and values.dtype == np.float16:
        g.set_known(op, values.astype(np.float32))
    elif values is not None and info.quantization is not None:
        count = len(info.quantization.scales)
        shape = [count if axis == info.quantization.axis else 1 for axis in range(values.ndim)]
        zeros = np.asarray(info.quantization.zero_points, np.int64).reshape(shape)
        scales = np.asarray(info.quantization.scales, np.float32).reshape(shape)
        g.set_known(op, (values.astype(np.int64) - zeros).astype(np.float32) * scales)
    else:
        g.set(op, g.emit("dequantize", [g.tensor(op, 0)], name=op.name))


@converts("CAST")
def cast(g: Importer, op: TfliteOperator) -> None:
    """Another element type; integers with a scale are cast as stored."""
    values, out = g.known(op, 0), g.result(op)
    if values is not None and values.dtype == object:
        g.set_known(op, values)
        return
    x = g.tensor(op, 0)
    if x.quantization:
        raise HaiError("HAI-Y352", f'CAST "{op.name}" of a quantized tensor is not known to HAI; use a dequantization')
    g.set(op, x if x.dtype == out.dtype else g.emit("cast", [x], {"dtype": out.dtype}, name=op.name))
