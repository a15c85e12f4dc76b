"""Runs a HAI graph in PyTorch, with gradients: what distillation optimises pictures through.

Method: an interpreter over the graph's nodes in order; tensors are NHWC as everywhere in HAI, and are handed to PyTorch's spatial
operators as views in its channels-last order, so that nothing is copied. Only f32 graphs before quantization, and only what lies
before the last batch normalization, are of interest here. An operator that is not known raises `UnknownOperatorError`; the caller
then does without. It is not a second runtime: results differ from HAI's in the last bits.

Most of the time goes into moving tensors, so a batch normalization and the statistics of what it reads are one function with one
gradient, 1x1 convolutions are matrix products, and clamps have a fused gradient: half the time of the plain operators.

Imported only where PyTorch is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from . import _core
from .dtypes import numpy_dtype

_PART = 1 << 17  # elements that stay in a cache
_COST_OF_AN_ELEMENT = 30.0  # in multiply-accumulates of a large convolution


class UnknownOperatorError(Exception):
    """An operator that this interpreter does not have."""


@dataclass(frozen=True)
class _Node:
    op: str
    name: str
    inputs: tuple[int | None, ...]
    outputs: tuple[int, ...]
    attributes: dict[str, Any]

    def ints(self, key: str, default: list[int]) -> list[int]:
        value = self.attributes.get(key)
        return default if value is None else [int(v) for v in value]


@dataclass(frozen=True)
class Norm:
    """A batch normalization: the statistics its input had in training, and what it does to each channel."""

    name: str
    mean: Any
    variance: Any
    scale: Any
    shift: Any


Watch = Callable[[Norm, Any, Any], None]
"""Called with each batch normalization, and the mean and variance of every channel of what it reads."""


class _NormWithStatistics(torch.autograd.Function):  # type: ignore[misc]
    """x * scale + shift, and the mean and variance of x over all axes but the last."""

    @staticmethod
    def forward(ctx: Any, x: Any, norm: Norm) -> Any:
        rows = x.reshape(-1, x.shape[-1])
        mean = rows.mean(0)
        variance = torch.zeros_like(mean)
        for part in rows.split(max(1, _PART // len(mean))):
            variance += (part - mean).square_().sum(0)
        variance /= len(rows)
        ctx.save_for_backward(x, mean)
        ctx.scale = norm.scale
        return torch.addcmul(norm.shift, x, norm.scale), mean, variance

    @staticmethod
    def backward(ctx: Any, grad: Any, grad_mean: Any, grad_variance: Any) -> Any:
        x, mean = ctx.saved_tensors
        count = x.numel() // x.shape[-1]
        slope = grad_variance * (2.0 / count)
        result = torch.addcmul(grad_mean / count - slope * mean, x, slope)
        return result.addcmul_(grad, ctx.scale), None


class TorchGraph:
    """The part of a graph up to its last batch normalization, or all of it where there is none."""

    def __init__(self, graph: _core.Graph) -> None:
        nodes = [_Node(op, name, tuple(i), tuple(o), dict(a)) for op, name, i, o, a in graph.nodes()]
        self.inputs: list[int] = list(graph.input_ids())
        self._constants: dict[int, Any] = {}
        self._graph = graph
        self._norm_of: dict[int, Norm] = {
            node.outputs[0]: self._norm(node) for node in nodes if node.op == "batch_norm"
        }
        self.norms: list[Norm] = list(self._norm_of.values())
        wanted = set(self._norm_of) or set(graph.output_ids())
        self._nodes = []
        for node in reversed(nodes):
            if wanted.intersection(node.outputs):
                wanted.update(i for i in node.inputs if i is not None)
                self._nodes.append(node)
        self._nodes.reverse()
        for node in self._nodes:
            if node.op not in _OPERATORS and node.op != "batch_norm":
                raise UnknownOperatorError(f'operator {node.op} of "{node.name}"')
        self.any_size = not any(node.op in ("reshape", "expand", "matmul") for node in self._nodes)
        """No operator fixes height and width: pictures may be smaller than the input."""
        self.cost = 0.0
        """Of the last run, for one sample: multiply-accumulates, and as many again for each element that is written."""
        self._last_use = {i: n for n, node in enumerate(self._nodes) for i in node.inputs if i is not None}

    def _constant(self, value: int) -> Any:
        if value not in self._constants:
            data: Any = self._graph.constant_bytes(value)
            if data is None:
                raise UnknownOperatorError("a batch normalization with computed statistics")
            dtype, shape = self._graph.value_type(value)
            array = np.frombuffer(data, numpy_dtype(dtype)).reshape([int(str(d)) for d in shape])
            self._constants[value] = torch.from_numpy(array.copy())
        return self._constants[value]

    def _norm(self, node: _Node) -> Norm:
        epsilon = float(node.attributes.get("epsilon", 1e-5))
        factor, bias, mean, variance = (self._constant(i) for i in node.inputs[1:] if i is not None)
        scale = factor / (variance + epsilon).sqrt()
        return Norm(node.name, mean, variance, scale, bias - mean * scale)

    def run(self, inputs: list[Any], watch: Watch) -> None:
        """One forward pass."""
        values: dict[int, Any] = dict(zip(self.inputs, inputs))
        self.cost = 0.0
        for index, node in enumerate(self._nodes):
            operands: list[Any] = []
            for i in node.inputs:
                if i is None:
                    operands.append(None)
                elif i in values:
                    operands.append(values[i])
                else:
                    operands.append(self._constant(i))
            if node.op == "batch_norm":
                norm = self._norm_of[node.outputs[0]]
                result, mean, variance = _NormWithStatistics.apply(operands[0], norm)
                watch(norm, mean, variance)
            else:
                result = _OPERATORS[node.op](node, operands)
            if node.op in ("conv2d", "conv_transpose2d", "matmul"):
                self.cost += result[0].numel() * (operands[1].numel() / max(result.shape[-1], 1) + _COST_OF_AN_ELEMENT)
            elif node.op in ("batch_norm", "silu", "relu", "relu6", "hard_swish", "add", "mul", "concat"):
                self.cost += result[0].numel() * _COST_OF_AN_ELEMENT
            for output, tensor in zip(node.outputs, result if isinstance(result, tuple) else (result,)):
                values[output] = tensor
            for i in node.inputs:
                if i is not None and self._last_use[i] == index:
                    values.pop(i, None)


def _nchw(x: Any) -> Any:
    return x.permute(0, 3, 1, 2)


def _nhwc(x: Any) -> Any:
    return x.permute(0, 2, 3, 1)


def _padded(x: Any, pads: list[int], value: float = 0.0) -> Any:
    """NCHW `x` with borders top, left, bottom, right."""
    top, left, bottom, right = pads
    return functional.pad(x, (left, right, top, bottom), value=value) if any(pads) else x


def _conv2d(node: _Node, x: list[Any]) -> Any:
    if node.attributes.get("activation", "none") != "none" or len(x) > 3:
        raise UnknownOperatorError("a convolution with an epilogue")
    pads = node.ints("pads", [0] * 4)
    options = (tuple(node.ints("dilations", [1, 1])), int(node.attributes.get("groups", 1)))
    symmetric = pads[0] == pads[2] and pads[1] == pads[3]
    image = _nchw(x[0]) if symmetric else _padded(_nchw(x[0]), pads)
    padding = (pads[0], pads[1]) if symmetric else (0, 0)
    bias = x[2] if len(x) > 2 else None
    if tuple(x[1].shape[1:3]) == (1, 1) and options[1] == 1 and not any(pads):
        rows, columns = node.ints("strides", [1, 1])
        return functional.linear(x[0][:, ::rows, ::columns], x[1].flatten(1), bias)
    return _nhwc(functional.conv2d(image, _nchw(x[1]), bias, tuple(node.ints("strides", [1, 1])), padding, *options))


def _matmul(node: _Node, x: list[Any]) -> Any:
    if node.attributes.get("activation", "none") != "none" or len(x) > 3:
        raise UnknownOperatorError("a matrix product with an epilogue")
    y = x[0] @ (x[1].transpose(-1, -2) if node.attributes.get("transpose_b", 0) else x[1])
    return y + x[2] if len(x) > 2 and x[2] is not None else y


def _layer_norm(node: _Node, x: list[Any]) -> Any:
    bias = x[2] if len(x) > 2 else None
    return functional.layer_norm(x[0], x[0].shape[-1:], x[1], bias, float(node.attributes.get("epsilon", 1e-5)))


def _max_pool(node: _Node, x: list[Any]) -> Any:
    image = _padded(_nchw(x[0]), node.ints("pads", [0] * 4), float("-inf"))
    return _nhwc(
        functional.max_pool2d(
            image,
            node.ints("kernel", []),
            node.ints("strides", [1, 1]),
            0,
            node.ints("dilations", [1, 1]),
            bool(node.attributes.get("ceil_mode", 0)),
        )
    )


def _average_pool(node: _Node, x: list[Any]) -> Any:
    pads = node.ints("pads", [0] * 4)
    options = (node.ints("kernel", []), node.ints("strides", [1, 1]), 0, bool(node.attributes.get("ceil_mode", 0)))
    y = functional.avg_pool2d(_padded(_nchw(x[0]), pads), *options)
    if any(pads) and not node.attributes.get("count_include_pad", 0):
        inside = torch.ones(1, 1, *x[0].shape[1:3])
        y = y / functional.avg_pool2d(_padded(inside, pads), *options)
    return _nhwc(y)


def _reduced(function: Callable[..., Any]) -> Callable[[_Node, list[Any]], Any]:
    def reduce(node: _Node, x: list[Any]) -> Any:
        axes = node.ints("axes", list(range(x[0].ndim)))
        return function(x[0], axes, keepdim=bool(node.attributes.get("keep_dims", 1)))

    return reduce


def _reshape(node: _Node, x: list[Any]) -> Any:
    shape = [x[0].shape[i] if size == 0 else size for i, size in enumerate(node.ints("shape", []))]
    return x[0].reshape(shape)


def _slice(node: _Node, x: list[Any]) -> Any:
    starts, ends = node.ints("starts", []), node.ints("ends", [])
    axes, steps = node.ints("axes", []), node.ints("steps", [1] * len(starts))
    index: list[Any] = [slice(None)] * x[0].ndim
    for start, end, axis, step in zip(starts, ends, axes, steps):
        if step < 1:
            raise UnknownOperatorError("a slice that goes backwards")
        index[axis] = slice(start, end, step)
    return x[0][tuple(index)]


def _pad(node: _Node, x: list[Any]) -> Any:
    if node.attributes.get("mode", "constant") != "constant":
        raise UnknownOperatorError("a mirrored border")
    pads = node.ints("pads", [])
    count = len(pads) // 2
    pairs = [p for axis in reversed(range(count)) for p in (pads[axis], pads[axis + count])]
    return functional.pad(x[0], pairs, value=float(node.attributes.get("value", 0.0)))


def _resize(node: _Node, x: list[Any]) -> Any:
    height, width = x[0].shape[1:3]
    scales = node.attributes.get("scales")
    sizes = node.ints("sizes", [int(height * scales[0]), int(width * scales[1])] if scales is not None else [])
    if node.attributes.get("mode", "nearest") == "nearest":
        return _nhwc(functional.interpolate(_nchw(x[0]), sizes, mode="nearest"))
    aligned = node.attributes.get("coordinates", "half_pixel") == "align_corners"
    return _nhwc(functional.interpolate(_nchw(x[0]), sizes, mode="bilinear", align_corners=aligned))


def _conv_transpose2d(node: _Node, x: list[Any]) -> Any:
    pads = node.ints("pads", [0] * 4)
    groups = int(node.attributes.get("groups", 1))
    if groups != 1 or node.attributes.get("activation", "none") != "none":
        raise UnknownOperatorError("a transposed convolution in groups")
    y = functional.conv_transpose2d(
        _nchw(x[0]),
        x[1].permute(3, 0, 1, 2),
        x[2] if len(x) > 2 else None,
        node.ints("strides", [1, 1]),
        0,
        node.ints("output_padding", [0, 0]),
        1,
        node.ints("dilations", [1, 1]),
    )
    return _nhwc(y[:, :, pads[0] : y.shape[2] - pads[2], pads[1] : y.shape[3] - pads[3]])


def _unary(function: Callable[[Any], Any]) -> Callable[[_Node, list[Any]], Any]:
    return lambda node, x: function(x[0])


def _binary(function: Callable[[Any, Any], Any]) -> Callable[[_Node, list[Any]], Any]:
    return lambda node, x: function(x[0], x[1])


def _clip(node: _Node, x: list[Any]) -> Any:
    low, high = (float(node.attributes.get(key, end)) for key, end in (("min", "-inf"), ("max", "inf")))
    return functional.hardtanh(x[0], low, high)


def _hard_sigmoid(node: _Node, x: list[Any]) -> Any:
    alpha, beta = float(node.attributes.get("alpha", 0.2)), float(node.attributes.get("beta", 0.5))
    return (alpha * x[0] + beta).clamp(0, 1)


_OPERATORS: dict[str, Callable[[_Node, list[Any]], Any]] = {
    "abs": _unary(torch.abs),
    "add": _binary(torch.add),
    "average_pool": _average_pool,
    "clip": _clip,
    "concat": lambda node, x: torch.cat(x, int(node.attributes.get("axis", 0))),
    "conv2d": _conv2d,
    "conv_transpose2d": _conv_transpose2d,
    "div": _binary(torch.div),
    "elu": lambda node, x: functional.elu(x[0], float(node.attributes.get("alpha", 1.0))),
    "erf": _unary(torch.erf),
    "exp": _unary(torch.exp),
    "expand": lambda node, x: x[0].expand(node.ints("shape", [])),
    "gelu": _unary(functional.gelu),
    "hard_sigmoid": _hard_sigmoid,
    "hard_swish": _unary(functional.hardswish),
    "layer_norm": _layer_norm,
    "leaky_relu": lambda node, x: functional.leaky_relu(x[0], float(node.attributes.get("alpha", 0.01))),
    "log": _unary(torch.log),
    "matmul": _matmul,
    "max": _binary(torch.maximum),
    "max_pool": _max_pool,
    "min": _binary(torch.minimum),
    "mish": _unary(functional.mish),
    "mul": _binary(torch.mul),
    "neg": _unary(torch.neg),
    "pad": _pad,
    "pow": _binary(torch.pow),
    "prelu": lambda node, x: torch.where(x[0] < 0, x[0] * x[1], x[0]),
    "reciprocal": _unary(torch.reciprocal),
    "reduce_max": _reduced(torch.amax),
    "reduce_mean": _reduced(torch.mean),
    "reduce_min": _reduced(torch.amin),
    "reduce_sum": _reduced(torch.sum),
    "relu": _unary(functional.relu),
    "relu6": _unary(functional.relu6),
    "reshape": _reshape,
    "resize": _resize,
    "sigmoid": _unary(torch.sigmoid),
    "silu": _unary(functional.silu),
    "slice": _slice,
    "softmax": lambda node, x: torch.softmax(x[0], int(node.attributes.get("axis", -1))),
    "softplus": _unary(functional.softplus),
    "split": lambda node, x: torch.split(x[0], node.ints("sizes", []), int(node.attributes.get("axis", 0))),
    "sqrt": _unary(torch.sqrt),
    "square": _unary(torch.square),
    "sub": _binary(torch.sub),
    "tanh": _unary(torch.tanh),
    "transpose": lambda node, x: x[0].permute(node.ints("permutation", [])),
}
