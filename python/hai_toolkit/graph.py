"""The typed graph builder: a network written down operator by operator, without any training framework.

Tensors flow through :class:`Tensor` handles; every method appends one of HAI's core operators, with shapes and types
checked at once. Spatial operators are NHWC and convolution weights are OHWI, as everywhere in HAI.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from . import _core
from .dtypes import dtype_name
from .errors import HaiError

Dim: TypeAlias = int | str | tuple[int, str]
Attribute: TypeAlias = int | float | str | Sequence[int] | Sequence[float]
Pair: TypeAlias = int | tuple[int, int]
Padding: TypeAlias = int | tuple[int, int] | tuple[int, int, int, int]


@dataclass(frozen=True)
class Quantization:
    """How an integer tensor stands for real numbers, ``scale * (q - zero_point)``: one of each, or one for each entry
    of ``axis``.
    """

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int = -1

    @property
    def scale(self) -> float:
        """Of a tensor with one scale."""
        return self.scales[0]

    @property
    def zero_point(self) -> int:
        """Of a tensor with one scale."""
        return self.zero_points[0]

    def to_native(self) -> tuple[list[float], list[int], int]:
        """As the native module takes it."""
        return list(self.scales), list(self.zero_points), self.axis

    @staticmethod
    def from_native(given: tuple[Sequence[float], Sequence[int], int] | None) -> Quantization | None:
        """As the native module gives it."""
        return None if given is None else Quantization(tuple(given[0]), tuple(given[1]), given[2])


@dataclass(frozen=True)
class Tensor:
    """A value of a graph: what an operator made, an input or a constant."""

    builder: GraphBuilder
    id: int

    @property
    def dtype(self) -> str:
        """Element type by HAI's name: ``f32``, ``i8``, ..."""
        return self.builder.native.value_type(self.id)[0]

    @property
    def shape(self) -> tuple[Dim, ...]:
        """Dimensions; a symbol appears by name, a multiple of one as ``(factor, name)``."""
        return tuple(self.builder.native.value_type(self.id)[1])

    @property
    def quantization(self) -> Quantization | None:
        """Of an integer tensor that stands for real numbers."""
        return Quantization.from_native(self.builder.native.quantization(self.id))


def _pair(value: Pair) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


def _pads(value: Padding) -> list[int]:
    """Top, left, bottom, right."""
    if isinstance(value, int):
        return [value] * 4
    if len(value) == 2:
        return [value[0], value[1], value[0], value[1]]
    return list(value)


class GraphBuilder:
    """Builds a graph of HAI's core operators.

    ``batch`` gives the bounds of the free batch symbol ``N`` (symbol 0); without it shapes are numbers.
    """

    def __init__(self, name: str, batch: tuple[int, int] | None = (1, 16)) -> None:
        self.native = _core.Graph(name)
        if batch is not None:
            self.native.symbol("N", batch[0], batch[1])

    # --- values -------------------------------------------------------------------------------------------------------------------
    def input(
        self, name: str, shape: Sequence[Dim], dtype: str = "f32", quantization: Quantization | None = None
    ) -> Tensor:
        """A graph input."""
        return Tensor(
            self, self.native.add_input(name, dtype, list(shape), quantization.to_native() if quantization else None)
        )

    def constant(
        self, data: npt.ArrayLike, name: str = "", quantization: Quantization | None = None, *, dtype: str = ""
    ) -> Tensor:
        """A constant from an array (copied); ``dtype="i4"`` packs integers from -8 to 7 two a byte."""
        array = np.asarray(data)
        shape = list(array.shape)  # before ascontiguousarray, which makes a scalar one-dimensional
        flat = np.ascontiguousarray(array).reshape(-1)
        if dtype == "i4":
            nibbles = np.append(flat, 0) if flat.size % 2 else flat
            low, high = (nibbles[half::2].astype(np.int8).view(np.uint8) & 15 for half in (0, 1))
            flat = low | (high << 4)
        elif dtype not in ("", dtype_name(array.dtype)):
            raise HaiError("HAI-Y018", f"a constant of {dtype} cannot be made of an array of {array.dtype}")
        params = quantization.to_native() if quantization else None
        return Tensor(
            self, self.native.add_constant(name, dtype or dtype_name(array.dtype), shape, flat.view(np.uint8), params)
        )

    def output(self, tensor: Tensor, name: str) -> None:
        """Makes ``tensor`` a graph output called ``name``."""
        self.native.add_output(tensor.id, name)

    def append(
        self,
        op: str,
        inputs: Sequence[Tensor | None],
        attributes: Mapping[str, Attribute] | None = None,
        name: str = "",
        output_count: int = 1,
        declared: Sequence[tuple[str, Quantization | None] | None] = (),
        output_names: Sequence[str] = (),
    ) -> list[Tensor]:
        """Appends any core operator (``hai ops`` lists them); ``None`` leaves an optional operand out.

        ``declared`` gives the element type and quantization of outputs that integers need to be told; the first output
        is called as the node where ``output_names`` says nothing else.
        """
        for tensor in inputs:
            if tensor is not None and tensor.builder is not self:
                raise HaiError("HAI-Y010", f'operator "{op}" was given a tensor of another graph')
        converted = {
            key: list(value) if isinstance(value, tuple) else value for key, value in (attributes or {}).items()
        }
        types = [(d[0], d[1].to_native() if d[1] else None) if d else None for d in declared]
        operands = [None if t is None else t.id for t in inputs]
        ids = self.native.append(op, operands, converted, name, output_count, types, list(output_names))
        return [Tensor(self, i) for i in ids]

    def _one(self, op: str, inputs: Sequence[Tensor | None], name: str, **attributes: Attribute) -> Tensor:
        return self.append(op, inputs, attributes, name)[0]

    # --- operators ----------------------------------------------------------------------------------------------------------------
    def conv2d(
        self,
        x: Tensor,
        weights: npt.ArrayLike,
        bias: npt.ArrayLike | None = None,
        *,
        stride: Pair = 1,
        padding: Padding = 0,
        dilation: Pair = 1,
        groups: int = 1,
        name: str = "",
    ) -> Tensor:
        """Convolution of ``x`` [N, H, W, C] with ``weights`` [O, KH, KW, C / groups]; padding is top, left, bottom,
        right.
        """
        operands = [x, self.constant(weights, f"{name}.weight" if name else "")]
        if bias is not None:
            operands.append(self.constant(bias, f"{name}.bias" if name else ""))
        return self._one(
            "conv2d",
            operands,
            name,
            strides=_pair(stride),
            pads=_pads(padding),
            dilations=_pair(dilation),
            groups=groups,
        )

    def matmul(self, a: Tensor, b: npt.ArrayLike, bias: npt.ArrayLike | None = None, *, name: str = "") -> Tensor:
        """``a`` [..., K] times a constant ``b`` [N, K] transposed, plus ``bias`` [N]: a fully connected layer."""
        operands = [a, self.constant(b, f"{name}.weight" if name else "")]
        if bias is not None:
            operands.append(self.constant(bias, f"{name}.bias" if name else ""))
        return self._one("matmul", operands, name, transpose_b=1)

    def batch_norm(
        self,
        x: Tensor,
        scale: npt.ArrayLike,
        bias: npt.ArrayLike,
        mean: npt.ArrayLike,
        variance: npt.ArrayLike,
        *,
        epsilon: float,
        name: str = "",
    ) -> Tensor:
        """Batch normalization over the last axis with fixed statistics."""
        statistics = zip((scale, bias, mean, variance), ("weight", "bias", "running_mean", "running_var"))
        operands = [x, *(self.constant(values, f"{name}.{what}" if name else "") for values, what in statistics)]
        return self._one("batch_norm", operands, name, epsilon=epsilon)

    def unary(self, function: str, x: Tensor, *, name: str = "") -> Tensor:
        """A function of the unary table: ``relu``, ``relu6``, ``sigmoid``, ``silu``, ``hard_swish``, ``tanh``, ..."""
        return self._one(function, [x], name)

    def add(self, a: Tensor, b: Tensor, *, name: str = "") -> Tensor:
        """Element-wise sum with broadcasting."""
        return self._one("add", [a, b], name)

    def mul(self, a: Tensor, b: Tensor, *, name: str = "") -> Tensor:
        """Element-wise product with broadcasting."""
        return self._one("mul", [a, b], name)

    def max_pool(self, x: Tensor, kernel: Pair, *, stride: Pair, padding: Padding = 0, name: str = "") -> Tensor:
        """Largest value of each window; padding never wins."""
        return self._one("max_pool", [x], name, kernel=_pair(kernel), strides=_pair(stride), pads=_pads(padding))

    def global_average_pool(self, x: Tensor, *, name: str = "") -> Tensor:
        """Mean over height and width: [N, H, W, C] to [N, C]."""
        return self._one("reduce_mean", [x], name, axes=[1, 2], keep_dims=0)

    def concat(self, tensors: Sequence[Tensor], axis: int, *, name: str = "") -> Tensor:
        """Joins tensors along ``axis``."""
        return self._one("concat", list(tensors), name, axis=axis)

    def reshape(self, x: Tensor, shape: Sequence[int], *, name: str = "") -> Tensor:
        """Another shape for the same elements: 0 copies a dimension, -1 is inferred."""
        return self._one("reshape", [x], name, shape=list(shape))

    def transpose(self, x: Tensor, permutation: Sequence[int], *, name: str = "") -> Tensor:
        """Permutes the dimensions."""
        return self._one("transpose", [x], name, permutation=list(permutation))

    def softmax(self, x: Tensor, axis: int = -1, *, name: str = "") -> Tensor:
        """Softmax along ``axis``."""
        return self._one("softmax", [x], name, axis=axis)

    def resize_nearest(self, x: Tensor, scale: int, *, name: str = "") -> Tensor:
        """Enlarges height and width of [N, H, W, C] by a whole factor, repeating pixels."""
        return self._one(
            "resize", [x], name, mode="nearest", scales=[float(scale)] * 2, coordinates="asymmetric", nearest="floor"
        )
