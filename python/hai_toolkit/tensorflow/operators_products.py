"""Convolutions and matrix products of TensorFlow Lite.

Weights are OHWI there as in HAI; a depthwise convolution's [1, KH, KW, C M] is transposed to [C M, KH, KW, 1]. SAME
padding is computed from the sizes: the output has ceil(in / stride) rows, and of an odd number of padding rows the
larger part lies below. Integers are kept: u8 weights become i8 by moving values and zero point by 128; what is changed
at all is the scale of channels that cannot matter (`_settle_channels`). A convolution between SPACE_TO_BATCH_ND and
BATCH_TO_SPACE_ND is the dilated convolution it stands for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import HaiError
from ..graph import Attribute, Quantization, Tensor
from .importer import Importer, converts, typed_range
from .reader import TfliteOperator

_LEAST_MULTIPLIER = 2.0**-39  # HAI takes [2^-40, 2^8]; a factor of two for the rounding of scales
_ACCUMULATOR_LIMIT = 2**31 - 1


@dataclass
class _Weights:
    """What a product multiplies with: values [O, ...], their quantization, the bias [O]."""

    values: npt.NDArray[np.generic]
    quantization: Quantization | None
    bias: npt.NDArray[np.generic] | None
    bias_quantization: Quantization | None
    dtype: str = ""


def same_padding(size: int, window: int, stride: int) -> tuple[int, int]:
    """Rows before and after, so that ceil(size / stride) windows fit."""
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def whole(op: TfliteOperator, name: str, value: int, limit: int = 1 << 20) -> int:
    """A number of 1 or more, as sizes and steps are."""
    if not 1 <= value <= limit:
        raise HaiError("HAI-Y330", f'{op.kind} "{op.name}": {name} is {value}; it must be 1 to {limit}')
    return value


def paddings(op: TfliteOperator, dims: list[int], window: tuple[int, int], strides: tuple[int, int]) -> list[int]:
    """Top, left, bottom, right of an operator with the option Padding, for an input of these dims [N, H, W, C]."""
    if op.option("Padding") not in (0, 1):
        raise HaiError("HAI-Y331", f'{op.kind} "{op.name}": padding {op.option("Padding")} is neither SAME nor VALID')
    if op.option("Padding") == 1:
        return [0, 0, 0, 0]
    top, bottom = same_padding(dims[1], window[0], strides[0])
    left, right = same_padding(dims[2], window[1], strides[1])
    return [top, left, bottom, right]


def four_dims(g: Importer, op: TfliteOperator, x: Tensor) -> list[int]:
    """The sizes of an image [N, H, W, C]."""
    dims = g.dims(x)
    if len(dims) != 4:
        raise HaiError("HAI-Y332", f'{op.kind} "{op.name}" takes [N, H, W, C], "{g.info(op, 0).name}" has shape {dims}')
    return dims


def _moved_axis(quantization: Quantization | None, order: tuple[int, ...]) -> Quantization | None:
    if quantization is None or quantization.axis < 0:
        return quantization
    return Quantization(quantization.scales, quantization.zero_points, order.index(quantization.axis))


def _channel_numbers(values: tuple[float, ...] | tuple[int, ...], count: int) -> npt.NDArray[np.float64]:
    return np.broadcast_to(np.asarray(values, np.float64), (count,)).copy()


def _read_weights(
    g: Importer, op: TfliteOperator, operand: int, bias_operand: int, order: tuple[int, ...], x: Tensor
) -> _Weights:
    info = g.info(op, operand)
    values = g.numbers(op, operand, "the weights")
    if values.ndim != len(order):
        raise HaiError(
            "HAI-Y333",
            f'{op.kind} "{op.name}": weights of shape {list(values.shape)}; {len(order)} dimensions are needed',
        )
    values = np.transpose(values, order)
    quantization = _moved_axis(info.quantization, order)
    bias = g.numbers(op, bias_operand, "the bias").reshape(-1) if g.has(op, bias_operand) else None
    if bias is not None and len(bias) != values.shape[0]:
        raise HaiError("HAI-Y334", f'{op.kind} "{op.name}": {len(bias)} biases for {values.shape[0]} outputs')
    if not values.size:
        raise HaiError("HAI-Y335", f'{op.kind} "{op.name}": the weights are empty')
    if values.dtype.kind == "f":
        if bias is not None and bias.dtype.kind != "f":
            raise HaiError("HAI-Y336", f'{op.kind} "{op.name}": float weights with a bias of {bias.dtype}')
        return _Weights(values.astype(np.float32), None, None if bias is None else bias.astype(np.float32), None)
    if quantization is None or info.dtype not in ("i8", "u8", "i4", "i16"):
        raise HaiError("HAI-Y337", f'{op.kind} "{op.name}": weights of {info.dtype} without a scale')
    if any(s <= 0 for s in quantization.scales):  # of channels that are all zero
        quantization = Quantization(
            tuple(s or 1e-30 for s in quantization.scales), quantization.zero_points, quantization.axis
        )
    if x.quantization is None:
        return _as_floats(g, op, values, quantization, bias)
    if quantization.axis > 0:
        raise HaiError(
            "HAI-Y338",
            f'{op.kind} "{op.name}": the weights have scales along an axis that is not the output channel',
        )
    if info.dtype == "u8":
        values = (values.astype(np.int16) - 128).astype(np.int8)
        quantization = Quantization(
            quantization.scales, tuple(z - 128 for z in quantization.zero_points), quantization.axis
        )
    weights = _Weights(values, quantization, bias, None, info.dtype if info.dtype == "i4" else "")
    _settle_channels(g, op, weights, x)
    return weights


def _as_floats(
    g: Importer,
    op: TfliteOperator,
    values: npt.NDArray[np.generic],
    quantization: Quantization,
    bias: npt.NDArray[np.generic] | None,
) -> _Weights:
    """Integer weights with float activations (TensorFlow's dynamic-range quantization): their real values."""
    count = len(quantization.scales)
    shape = [count if axis == max(quantization.axis, 0) and count > 1 else 1 for axis in range(values.ndim)]
    scales = np.asarray(quantization.scales, np.float32).reshape(shape)
    zeros = np.asarray(quantization.zero_points, np.int64).reshape(shape)
    real = ((values.astype(np.int64) - zeros).astype(np.float32) * scales).astype(np.float32)
    g.metadata["tflite.hybrid"] = (
        "integer weights of float operators are used as their real values; activations stay f32"
    )
    if bias is not None and bias.dtype.kind != "f":
        raise HaiError("HAI-Y339", f'{op.kind} "{op.name}": float input with a bias of {bias.dtype}')
    return _Weights(real, None, None if bias is None else bias.astype(np.float32), None)


def _settle_channels(g: Importer, op: TfliteOperator, weights: _Weights, x: Tensor) -> None:
    """Channels whose multiplier s_x s_w / s_y or whose sums lie outside of what HAI's integers hold; and the bias' type
    and scale.

    Below 2^-40 no sum reaches half a step of the output: such a channel gives its zero point, and becomes all zero. A
    bias at the end of i32 belongs to weights that are nearly zero: halving weights and bias and doubling the scale
    until the sums fit moves the result by far less than a step. Everything else is untouched.
    """
    out = g.result(op)
    assert x.quantization is not None and weights.quantization is not None
    count = weights.values.shape[0]
    wide = x.dtype == "i16"
    if out.quantization is None:
        raise HaiError("HAI-Y340", f'{op.kind} "{op.name}": the input is quantized, the result "{out.name}" is not')
    scales = _channel_numbers(weights.quantization.scales, count)
    zeros = _channel_numbers(weights.quantization.zero_points, count).astype(np.int64)
    bias = np.zeros(count, np.int64) if weights.bias is None else weights.bias.astype(np.int64)
    values = weights.values.astype(np.int16 if weights.values.dtype == np.int16 else np.int8)
    centred = np.abs(values.astype(np.int64).reshape(count, -1) - zeros[:, None]).sum(1)
    low, high = typed_range(x.dtype)
    reach = max(high - x.quantization.zero_point, x.quantization.zero_point - low)
    multipliers = x.quantization.scale * scales / out.quantization.scale
    changed = False
    for c in np.flatnonzero(multipliers < _LEAST_MULTIPLIER):
        sums = (centred[c] * reach + abs(bias[c])) * multipliers[c]
        if sums < 0.25:
            values[c], bias[c], changed = zeros[c], 0, True
            scales[c] = 2 * _LEAST_MULTIPLIER * out.quantization.scale / x.quantization.scale
    if not wide and not zeros.any():
        for c in np.flatnonzero(centred * reach + np.abs(bias) > _ACCUMULATOR_LIMIT):
            while int(np.abs(values[c].astype(np.int64)).sum()) * reach + abs(int(bias[c])) > _ACCUMULATOR_LIMIT:
                values[c] = np.rint(values[c] / 2).astype(values.dtype)
                bias[c], scales[c], changed = round(int(bias[c]) / 2), scales[c] * 2, True
            g.warnings.append(
                f'{op.kind} "{op.name}": output {c} has a bias at the end of i32; its integers were halved to fit'
            )
    if changed:
        axis = 0 if count > 1 else -1
        weights.values = values
        weights.quantization = Quantization(tuple(map(float, scales)), tuple(map(int, zeros)), axis)
    if weights.bias is not None:
        weights.bias = bias if wide else bias.astype(np.int32)
        weights.bias_quantization = _bias_quantization(x.quantization.scale, weights.quantization, count)


def _bias_quantization(scale: float, weights: Quantization, count: int) -> Quantization:
    scales = [float(np.float32(max(scale * s, 1e-38))) for s in weights.scales]
    return Quantization(tuple(scales), (0,) * len(scales), 0 if weights.axis >= 0 and len(scales) == count else -1)


def _operands(g: Importer, op: TfliteOperator, x: Tensor, weights: _Weights) -> list[Tensor]:
    operands = [x, g.constant(weights.values, f"{op.name}/weights", weights.quantization, weights.dtype)]
    if weights.bias is not None:
        operands.append(g.constant(weights.bias, f"{op.name}/bias", weights.bias_quantization))
    return operands


def _convolve(g: Importer, op: TfliteOperator, order: tuple[int, ...], depthwise: bool) -> None:
    spatial = g.dilated.get(op.index)
    x = g.tensor(spatial[0], 0) if spatial else g.tensor(op, 0)
    dims = four_dims(g, op, x)
    weights = _read_weights(g, op, 1, 2, order, x)
    strides = (whole(op, "StrideH", op.option("StrideH")), whole(op, "StrideW", op.option("StrideW")))
    dilations = (
        whole(op, "DilationHFactor", op.option("DilationHFactor", 1)),
        whole(op, "DilationWFactor", op.option("DilationWFactor", 1)),
    )
    groups = dims[3] if depthwise else 1
    if not depthwise:
        depth = weights.values.shape[3]
        if depth < 1 or dims[3] % depth:
            raise HaiError("HAI-Y341", f'CONV_2D "{op.name}": weights for {depth} channels, the input has {dims[3]}')
        groups = dims[3] // depth
    window = tuple(d * (k - 1) + 1 for d, k in zip(dilations, weights.values.shape[1:3]))
    crops = [0, 0, 0, 0]
    if spatial:
        strides, dilations, pads, crops = _dilation(
            g, op, spatial, dims, (weights.values.shape[1], weights.values.shape[2])
        )
        result = spatial[1]
    else:
        pads = paddings(op, dims, (window[0], window[1]), strides)
        result = op
    code = op.option("FusedActivationFunction", 0)
    attributes: dict[str, Attribute] = {
        "strides": list(strides),
        "pads": pads,
        "dilations": list(dilations),
        "groups": groups,
    }
    plain = not code and not any(crops)
    attributes |= g.rounding(x)
    value = g.emit(
        "conv2d", _operands(g, op, x, weights), attributes, name=op.name,
        value_name=result.name if plain else f"{op.name}/before_activation", like=g.result(op),
    )  # fmt: skip
    value = g.activate(op, value, code)
    if any(crops):
        rows, columns = g.dims(value)[1:3]
        ends = [rows - crops[2], columns - crops[3]]
        value = g.emit(
            "slice",
            [value],
            {"starts": crops[:2], "ends": ends, "axes": [1, 2]},
            name=f"{op.name}/crop",
            value_name=result.name,
        )
    g.set(result, value)


def _dilation(
    g: Importer,
    op: TfliteOperator,
    spatial: tuple[TfliteOperator, TfliteOperator],
    dims: list[int],
    kernel: tuple[int, int],
) -> tuple[tuple[int, int], tuple[int, int], list[int], list[int]]:
    """Strides, dilations, pads and crops of the convolution that space_to_batch and batch_to_space make a dilated one."""
    before, after = spatial
    blocks = g.integers(before, 1, "the block sizes")
    pad = np.asarray(g.integers(before, 2, "the padding")).reshape(2, 2)
    crop = np.asarray(g.integers(after, 2, "the crops")).reshape(2, 2)
    pads, crops = [0, 0, 0, 0], [0, 0, 0, 0]
    for axis in range(2):
        total = dims[axis + 1] + int(pad[axis].sum())
        if total % blocks[axis]:
            raise HaiError(
                "HAI-Y342", f'{before.kind} "{before.name}": {total} rows are no multiple of the block {blocks[axis]}'
            )
        inner = (0, 0) if op.option("Padding") == 1 else same_padding(total // blocks[axis], kernel[axis], 1)
        for side in range(2):
            room = int(pad[axis, side]) + inner[side] * blocks[axis] - int(crop[axis, side])
            pads[axis + 2 * side], crops[axis + 2 * side] = max(room, 0), max(-room, 0)
    return (1, 1), (blocks[0], blocks[1]), pads, crops


@converts("CONV_2D")
def conv_2d(g: Importer, op: TfliteOperator) -> None:
    """Weights [O, KH, KW, C / groups]."""
    _convolve(g, op, (0, 1, 2, 3), depthwise=False)


@converts("DEPTHWISE_CONV_2D")
def depthwise_conv_2d(g: Importer, op: TfliteOperator) -> None:
    """Weights [1, KH, KW, C multiplier]."""
    _convolve(g, op, (3, 1, 2, 0), depthwise=True)


@converts("TRANSPOSE_CONV")
def transpose_conv(g: Importer, op: TfliteOperator) -> None:
    """Operands: output shape, weights [O, KH, KW, C], input, bias. The padding follows from the output shape."""
    x = g.tensor(op, 2)
    dims = g.dims(x)
    if len(dims) != 4:
        raise HaiError("HAI-Y343", f'TRANSPOSE_CONV "{op.name}" takes [N, H, W, C], the input has shape {dims}')
    shape = g.known(op, 0)
    if shape is None or shape.size != 4:
        raise HaiError("HAI-Y344", f'TRANSPOSE_CONV "{op.name}": the output shape must be 4 known numbers')
    wanted = [int(v) for v in shape.reshape(-1)[1:3]]
    weights = _read_weights(g, op, 1, 3, (0, 1, 2, 3), x)
    strides = [whole(op, "StrideH", op.option("StrideH")), whole(op, "StrideW", op.option("StrideW"))]
    pads, extra = [0, 0, 0, 0], [0, 0]
    for axis in range(2):
        full = (dims[axis + 1] - 1) * strides[axis] + weights.values.shape[axis + 1]
        cut = full - wanted[axis]
        if not -strides[axis] < cut < weights.values.shape[axis + 1] + strides[axis]:
            raise HaiError(
                "HAI-Y345",
                f'TRANSPOSE_CONV "{op.name}": {wanted[axis]} output rows from {dims[axis + 1]} input rows do not fit',
            )
        pads[axis], pads[axis + 2] = max(cut, 0) // 2, max(cut, 0) - max(cut, 0) // 2
        extra[axis] = max(-cut, 0)
    g.finish(
        op,
        "conv_transpose2d",
        _operands(g, op, x, weights),
        {"strides": strides, "pads": pads, "output_padding": extra} | g.rounding(x),
    )


@converts("FULLY_CONNECTED")
def fully_connected(g: Importer, op: TfliteOperator) -> None:
    """Weights [O, K]; the input is seen as [-1, K], or keeps its leading dimensions."""
    if op.option("WeightsFormat", 0):
        raise HaiError(
            "HAI-Y346", f'FULLY_CONNECTED "{op.name}": shuffled weights are not known; convert the model again'
        )
    x = g.tensor(op, 0)
    dims = g.dims(x)
    if g.known(op, 1) is None:
        _variable_product(g, op, x)
        return
    weights = _read_weights(g, op, 1, 2, (0, 1), x)
    depth = weights.values.shape[1]
    keep = bool(op.option("KeepNumDims", False))
    if not dims or (keep and dims[-1] != depth) or int(np.prod(dims)) % depth:
        raise HaiError(
            "HAI-Y347", f'FULLY_CONNECTED "{op.name}": weights for {depth} inputs, the input has shape {dims}'
        )
    if len(dims) < 2 or (not keep and len(dims) > 2) or dims[-1] != depth:
        x = g.emit("reshape", [x], {"shape": [-1, depth]}, name=f"{op.name}/flatten")
    g.finish(op, "matmul", _operands(g, op, x, weights), {"transpose_b": 1})


def _variable_product(g: Importer, op: TfliteOperator, x: Tensor) -> None:
    """FULLY_CONNECTED with weights that the model computes: floats."""
    if g.has(op, 2):
        raise HaiError("HAI-Y348", f'FULLY_CONNECTED "{op.name}": computed weights with a bias')
    depth = g.dims(g.tensor(op, 1))[-1]
    a = g.real(op, 0)
    if len(g.dims(x)) != 2 and not op.option("KeepNumDims", False):
        a = g.emit("reshape", [a], {"shape": [-1, depth]})
    value = g.emit("matmul", [a, g.real(op, 1)], {"transpose_b": 1}, name=op.name, value_name=f"{op.name}/product")
    g.set_real(op, g.activate_real(op, value, op.option("FusedActivationFunction", 0)))


@converts("BATCH_MATMUL")
def batch_matmul(g: Importer, op: TfliteOperator) -> None:
    """Products of stacks of matrices; of integers as floats between a dequantization and a quantization."""
    a, b = g.real(op, 0), g.real(op, 1)
    if op.option("AdjX", False):
        a = _swap_last(g, a)
    g.set_real(
        op,
        g.emit(
            "matmul",
            [a, b],
            {"transpose_b": int(bool(op.option("AdjY", False)))},
            name=op.name,
            value_name=g.real_name(op),
        ),
    )


def _swap_last(g: Importer, x: Tensor) -> Tensor:
    rank = len(x.shape)
    if rank < 2:
        return x
    return g.emit("transpose", [x], {"permutation": [*range(rank - 2), rank - 1, rank - 2]})
