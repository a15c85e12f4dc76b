"""From the structures of a TensorFlow Lite file to a graph of HAI's operators.

Method: the operators stand in the order in which they run; each is turned into core operators by a small function that
its kind names (`@converts`, in the `operators_*` files), through the `Importer`, which knows what every tensor of the
file became: a value of the graph, or numbers that are known now. Known numbers are computed with numpy; among them the
shapes that a model computes, whose batch may be free (`BatchMultiple`). Integers keep their values, scales and zero
points; a fused activation of an integer operator becomes a clamp of the very integers that TensorFlow clamps to.
Invariant: a file can only end in a graph or in a HaiError.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import HaiError
from ..graph import Attribute, GraphBuilder, Quantization, Tensor
from .reader import TfliteModel, TfliteOperator, TfliteTensor

Converter = Callable[["Importer", TfliteOperator], None]
CONVERTERS: dict[str, Converter] = {}

INTEGER_ACTIVATIONS = ("i8", "u8", "i16")
_RANGES = {"i8": (-128, 127), "u8": (0, 255), "i16": (-32768, 32767), "i4": (-8, 7)}
_FUSED = {0: "none", 1: "relu", 2: "relu_n1_to_1", 3: "relu6", 4: "tanh", 5: "sign_bit"}
_FUSED_BOUNDS = {"relu": (0.0, None), "relu_n1_to_1": (-1.0, 1.0), "relu6": (0.0, 6.0)}
_CONSTANT_BYTES_FACTOR = (
    8  # constants of the graph against bytes of the file: f16 and 4-bit ones grow, shared ones repeat
)


def converts(*kinds: str) -> Callable[[Converter], Converter]:
    """Registers the function that turns operators of these kinds into core operators."""

    def register(function: Converter) -> Converter:
        for kind in kinds:
            CONVERTERS[kind] = function
        return function

    return register


@dataclass(frozen=True)
class BatchMultiple:
    """`factor` times the free batch, in a shape that the model computes."""

    factor: int

    def __mul__(self, other: int) -> BatchMultiple:
        return BatchMultiple(self.factor * int(other))

    __rmul__ = __mul__


def typed_range(dtype: str) -> tuple[int, int]:
    """Least and greatest integer of a type that activations have."""
    return _RANGES[dtype]


class Importer:
    """What the tensors of one file became, and the means to make more of them."""

    def __init__(
        self, model: TfliteModel, batch: tuple[int, int] | None, float_io: bool, fixed_point: bool = True
    ) -> None:
        self.model = model
        self.builder = GraphBuilder(model.name, batch)
        self.batch_is_free = batch is not None
        self.float_io = float_io
        self.fixed_point = fixed_point
        self.warnings: list[str] = []
        self.metadata: dict[str, str] = {}
        self.extra_outputs: list[tuple[Tensor, str]] = []
        self.dilated: dict[
            int, tuple[TfliteOperator, TfliteOperator]
        ] = {}  # convolution -> its space_to_batch, batch_to_space
        self._values: dict[int, Tensor] = {}
        self._known: dict[int, npt.NDArray[Any]] = {}
        self._constant_bytes = 0
        self._constant_limit = max(1 << 26, _CONSTANT_BYTES_FACTOR * model.byte_count)

    # --- operands -----------------------------------------------------------------------------------------------------------------
    def info(self, op: TfliteOperator, i: int) -> TfliteTensor:
        """What the file says of operand `i`, which must be there."""
        if not self.has(op, i):
            raise HaiError("HAI-Y310", f'{op.kind} "{op.name}" has no operand {i}; the file is damaged')
        return self.model.tensors[op.inputs[i]]

    def result(self, op: TfliteOperator, k: int = 0) -> TfliteTensor:
        """What the file says of result `k`."""
        if k >= len(op.outputs):
            raise HaiError("HAI-Y311", f'{op.kind} "{op.name}" has no result {k}; the file is damaged')
        return self.model.tensors[op.outputs[k]]

    def has(self, op: TfliteOperator, i: int) -> bool:
        """Whether operand `i` is given."""
        return i < len(op.inputs) and op.inputs[i] >= 0

    def known(self, op: TfliteOperator, i: int) -> npt.NDArray[Any] | None:
        """The numbers of operand `i` where they are known now; of objects where some are multiples of the batch."""
        index = self.info(op, i).index
        if index in self._known:
            return self._known[index]
        return self.model.tensors[index].data if index not in self._values else None

    def numbers(self, op: TfliteOperator, i: int, what: str) -> npt.NDArray[Any]:
        """The known numbers of operand `i`, or an error that says `what` it should have been."""
        values = self.known(op, i)
        if values is None or values.dtype == object:
            raise HaiError(
                "HAI-Y312",
                f'{op.kind} "{op.name}": {what} (operand {i}, "{self.info(op, i).name}") must be constant here; '
                "convert the model with fixed shapes",
            )
        return values

    def integers(self, op: TfliteOperator, i: int, what: str) -> list[int]:
        """The same as a flat list of Python integers."""
        values = self.numbers(op, i, what)
        if values.size > 64 or values.dtype.kind not in "iu":
            raise HaiError(
                "HAI-Y313", f'{op.kind} "{op.name}": {what} is {values.dtype} {list(values.shape)}, not a few integers'
            )
        return [int(v) for v in values.reshape(-1)]

    def axis(self, op: TfliteOperator, value: int, rank: int) -> int:
        """An axis counted from the front."""
        if not -rank <= value < rank:
            raise HaiError("HAI-Y314", f'{op.kind} "{op.name}": axis {value} of a tensor with {rank} dimensions')
        return value % rank

    def tensor(self, op: TfliteOperator, i: int) -> Tensor:
        """Operand `i` as a value of the graph; constants are added when they are first asked for."""
        info = self.info(op, i)
        if info.index not in self._values:
            values = self.known(op, i)
            if values is None or values.dtype == object:
                raise HaiError(
                    "HAI-Y315",
                    f'{op.kind} "{op.name}" reads "{info.name}", which nothing before it makes'
                    + (
                        " as a plain tensor (it depends on the free batch)"
                        if values is not None
                        else "; the file is damaged"
                    ),
                )
            self._values[info.index] = self.constant(values, info.name, info.quantization, info.dtype)
        return self._values[info.index]

    def constant(
        self, values: npt.ArrayLike, name: str = "", quantization: Quantization | None = None, dtype: str = ""
    ) -> Tensor:
        """A constant of the graph; their bytes are bounded by the size of the file."""
        array = np.asarray(values)
        self._constant_bytes += array.nbytes
        if self._constant_bytes > self._constant_limit:
            raise HaiError(
                "HAI-Y316",
                f"constants of more than {self._constant_limit} bytes come out of {self.model.byte_count} bytes of file",
            )
        return self.builder.constant(array, name, quantization, dtype="i4" if dtype == "i4" else "")

    def dims(self, tensor: Tensor) -> list[int]:
        """The sizes of a value, the free batch as 1: what the converter saw."""
        return [d if isinstance(d, int) else 1 if isinstance(d, str) else d[0] for d in tensor.shape]

    def has_batch(self, tensor: Tensor, axis: int) -> bool:
        """Whether the free batch is in this axis."""
        return not isinstance(tensor.shape[axis], int)

    def refuse_batch(self, op: TfliteOperator, tensor: Tensor, axis: int) -> None:
        """For operators that mix what lies along `axis`: the batch cannot be free there."""
        if self.has_batch(tensor, axis):
            raise HaiError("HAI-Y317", f'{op.kind} "{op.name}" works along axis {axis}, which holds the free batch')

    # --- results ------------------------------------------------------------------------------------------------------------------
    def declared(self, info: TfliteTensor) -> tuple[str, Quantization | None] | None:
        """The type that an integer result needs to be told."""
        if info.quantization is None or info.dtype not in INTEGER_ACTIVATIONS:
            return None
        if info.quantization.axis >= 0:
            raise HaiError("HAI-Y318", f'tensor "{info.name}" has a scale per channel; HAI knows that for weights only')
        return info.dtype, info.quantization

    def emit(
        self,
        core: str,
        inputs: Sequence[Tensor | None],
        attributes: Mapping[str, Attribute] | None = None,
        *,
        name: str = "",
        value_name: str = "",
        like: TfliteTensor | None = None,
    ) -> Tensor:
        """Appends a core operator with one result; `like` gives the type of an integer result."""
        declared = self.declared(like) if like is not None else None
        return self.builder.append(
            core, inputs, attributes, name, declared=[declared] if declared else [], output_names=[value_name or name]
        )[0]

    def set(self, op: TfliteOperator, tensor: Tensor, k: int = 0) -> None:
        """Result `k` of an operator is this value."""
        index = self.result(op, k).index
        if index in self._values or index in self._known or self.model.tensors[index].data is not None:
            raise HaiError(
                "HAI-Y319",
                f'{op.kind} "{op.name}" writes "{self.result(op, k).name}", which is there already; the file is damaged',
            )
        self._values[index] = tensor

    def set_known(self, op: TfliteOperator, values: npt.ArrayLike, k: int = 0) -> None:
        """Result `k` of an operator is these numbers."""
        array = np.asarray(values)
        if array.size > 1 << 20 and array.nbytes > self._constant_limit:
            raise HaiError("HAI-Y320", f'{op.kind} "{op.name}" makes a constant of {array.nbytes} bytes')
        self._known[self.result(op, k).index] = array

    def activate(self, op: TfliteOperator, tensor: Tensor, code: int) -> Tensor:
        """The fused activation behind a value that has the operator's result type."""
        out = self.result(op)
        if self.declared(out) is None:
            return self.activate_real(op, tensor, code)
        word = self._fused(op, code)
        low, high = _FUSED_BOUNDS.get(word, (None, None))
        if word == "tanh":
            raise HaiError("HAI-Y321", f'{op.kind} "{op.name}": a fused tanh of integers is not known to HAI')
        bounds = clamp_bounds(out, low, high)
        if not bounds:
            return tensor
        return self.emit("clip", [tensor], bounds, name=f"{op.name}/{word}", value_name=op.name, like=out)

    def activate_real(self, op: TfliteOperator, tensor: Tensor, code: int) -> Tensor:
        """The fused activation behind a float value."""
        word = self._fused(op, code)
        if word == "none":
            return tensor
        attributes = {"min": -1.0, "max": 1.0} if word == "relu_n1_to_1" else {}
        return self.emit(
            "clip" if attributes else word, [tensor], attributes, name=f"{op.name}/{word}", value_name=op.name
        )

    def _fused(self, op: TfliteOperator, code: int) -> str:
        word = _FUSED.get(code, f"number {code}")
        if word not in ("none", "tanh", *_FUSED_BOUNDS):
            raise HaiError("HAI-Y324", f'{op.kind} "{op.name}": the fused activation {word} is not known to HAI')
        return word

    def finish(
        self, op: TfliteOperator, core: str, inputs: Sequence[Tensor | None], attributes: Mapping[str, Attribute]
    ) -> None:
        """The core operator of a result, its fused activation (where the options have one), and `set`."""
        code = op.option("FusedActivationFunction", 0)
        inner = f"{op.name}/before_activation" if code else op.name
        value = self.emit(core, inputs, attributes, name=op.name, value_name=inner, like=self.result(op))
        self.set(op, self.activate(op, value, code))

    def rounding(self, x: Tensor) -> dict[str, Attribute]:
        """The attribute by which products and average pools of 8-bit integers round as TensorFlow Lite does."""
        eight_bits = x.quantization is not None and x.dtype in ("i8", "u8")
        return {"rounding": "fixed_point"} if self.fixed_point and eight_bits else {}

    def real(self, op: TfliteOperator, i: int) -> Tensor:
        """Operand `i` as floats: a quantized one is dequantized."""
        value = self.tensor(op, i)
        return self.emit("dequantize", [value]) if value.quantization else value

    def real_name(self, op: TfliteOperator) -> str:
        """What the float value in front of `set_real` is called."""
        return op.name if self.declared(self.result(op)) is None else f"{op.name}/real"

    def set_real(self, op: TfliteOperator, value: Tensor, k: int = 0) -> None:
        """Result `k` is this float value, quantized where the file says so."""
        info = self.result(op, k)
        if self.declared(info) is not None:
            value = self.emit("quantize", [value], name=f"{op.name}/quantize", value_name=info.name, like=info)
        self.set(op, value, k)

    # --- the whole ----------------------------------------------------------------------------------------------------------------
    def add_input(self, index: int) -> None:
        """A graph input, as integers, or as floats and a quantization."""
        info = self.model.tensors[index]
        if index in self._values:
            raise HaiError("HAI-Y322", f'input "{info.name}" is listed twice; the file is damaged')
        shape: list[int | str | tuple[int, str]] = list(info.shape)
        if self.batch_is_free and shape:
            shape[0] = "N"
        declared = self.declared(info)
        if declared and self.float_io:
            real = self.builder.input(info.name, shape)
            self._values[index] = self.emit("quantize", [real], name=f"{info.name}/quantize", like=info)
        else:
            self._values[index] = self.builder.input(info.name, shape, info.dtype, declared[1] if declared else None)

    def add_output(self, index: int) -> None:
        """A graph output; integers come out as floats where asked for."""
        info = self.model.tensors[index]
        value = self._values.get(index)
        if value is None:
            if index in self._known and self._known[index].dtype != object:
                value = self.constant(self._known[index], info.name, info.quantization)
            else:
                raise HaiError("HAI-Y323", f'output "{info.name}" is made by no operator; the file is damaged')
        if value.quantization and self.float_io:
            value = self.emit("dequantize", [value], name=f"{info.name}/dequantize")
        self.builder.output(value, info.name)


def clamp_bounds(out: TfliteTensor, low: float | None, high: float | None) -> dict[str, float]:
    """Attributes of the clip that clamps to the integers that TensorFlow Lite computes; empty where the type clamps as
    much.

    TensorFlow rounds `bound / scale` in f32 with halves away from zero. The attributes are those integers as real
    numbers.
    """
    quantization = out.quantization
    assert quantization is not None
    scale, zero = quantization.scale, quantization.zero_point
    least, most = _RANGES[out.dtype]

    def stored(bound: float) -> int:
        units = min(max(float(np.float32(bound) / np.float32(scale)), -1e6), 1e6)
        return zero + int(math.copysign(math.floor(abs(units) + 0.5), units))

    bounds: dict[str, float] = {}
    if low is not None and stored(low) > least:
        bounds["min"] = scale * (min(stored(low), most) - zero)
    if high is not None and stored(high) < most:
        bounds["max"] = scale * (max(stored(high), least) - zero)
    return bounds
