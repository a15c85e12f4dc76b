"""UNIDIRECTIONAL_SEQUENCE_LSTM, unrolled into core operators.

Method: Hochreiter and Schmidhuber's cell as TensorFlow writes it: gates input, forget, cell, output of x W^T + h R^T +
b; c = f c + i g; h = o act(c), with peepholes, a projection, coupled gates (no input gate) and clips where the file has
them. The product with x is made once for all steps. The state is zero at the start of every run: TensorFlow Lite's
interpreter keeps it between runs until `reset_all_variables()`. Layer normalisation and integer activations are refused
by name.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import HaiError
from ..graph import Tensor
from .importer import Importer, converts
from .reader import TfliteOperator

_MAX_STEPS = 1024
_GATES = ("input", "forget", "cell", "output")


@dataclass
class _Cell:
    """The numbers of one layer; gates in the order of `_GATES`, the input gate missing where it is coupled."""

    gates: tuple[str, ...]
    kernel: npt.NDArray[np.float32]
    recurrent: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    peepholes: dict[str, npt.NDArray[np.float32]]
    projection: npt.NDArray[np.float32] | None
    projection_bias: npt.NDArray[np.float32] | None
    units: int


def _real(g: Importer, op: TfliteOperator, i: int) -> npt.NDArray[np.float32]:
    """A constant operand as real numbers; integers (hybrid models) are dequantized."""
    values, info = g.numbers(op, i, "a weight"), g.info(op, i)
    if values.dtype.kind == "f":
        return values.astype(np.float32)
    if info.quantization is None or info.quantization.axis > 0:
        raise HaiError("HAI-Y390", f'LSTM "{op.name}": operand {i} is {info.dtype} without a scale')
    g.metadata["tflite.hybrid"] = (
        "integer weights of float operators are used as their real values; activations stay f32"
    )
    scales = np.asarray(info.quantization.scales, np.float32).reshape((-1,) + (1,) * (values.ndim - 1))
    return values.astype(np.float32) * scales


def _read_cell(g: Importer, op: TfliteOperator) -> _Cell:
    gates = _GATES if g.has(op, 1) else _GATES[1:]
    position = {gate: i for i, gate in enumerate(_GATES)}
    kernel = [_real(g, op, 1 + position[gate]) for gate in gates]
    recurrent = [_real(g, op, 5 + position[gate]) for gate in gates]
    bias = [_real(g, op, 12 + position[gate]).reshape(-1) for gate in gates]
    units = len(bias[0])
    peepholes = {
        gate: _real(g, op, 9 + i).reshape(-1)
        for i, gate in enumerate(("input", "forget", "output"))
        if g.has(op, 9 + i)
    }
    projection = _real(g, op, 16) if g.has(op, 16) else None
    width = projection.shape[0] if projection is not None and projection.ndim == 2 else units
    fits = (
        all(k.ndim == 2 and k.shape == kernel[0].shape and k.shape[0] == units for k in kernel)
        and all(r.shape == (units, width) for r in recurrent)
        and all(len(b) == units for b in bias)
        and all(len(p) == units for p in peepholes.values())
        and (projection is None or projection.shape == (width, units))
    )
    if not fits or units < 1:
        raise HaiError("HAI-Y391", f'LSTM "{op.name}": the weights do not fit each other; the file is damaged')
    projection_bias = _real(g, op, 17).reshape(-1) if projection is not None and g.has(op, 17) else None
    return _Cell(
        gates,
        np.concatenate(kernel),
        np.concatenate(recurrent),
        np.concatenate(bias),
        peepholes,
        projection,
        projection_bias,
        units,
    )


def _clip(g: Importer, value: Tensor, bound: float) -> Tensor:
    return g.emit("clip", [value], {"min": -bound, "max": bound}) if bound > 0 else value


def _step(
    g: Importer, op: TfliteOperator, cell: _Cell, sums: Tensor, state: Tensor | None, name: str
) -> tuple[Tensor, Tensor]:
    """One step: h and c, from the gates' sums [N, gates * units] and the former c (None: zero)."""
    parts = g.builder.append(
        "split", [sums], {"axis": 1, "sizes": [cell.units] * len(cell.gates)}, f"{name}/gates", len(cell.gates),
        output_names=[f"{name}/{gate}_sum" for gate in cell.gates],
    )  # fmt: skip
    raw = dict(zip(cell.gates, parts))
    word = {1: "relu", 3: "relu6", 4: "tanh"}.get(op.option("FusedActivationFunction"), "")
    if not word:
        raise HaiError(
            "HAI-Y392", f'LSTM "{op.name}": activation {op.option("FusedActivationFunction")} is not known to HAI'
        )

    def gate(which: str, peep: Tensor | None) -> Tensor:
        value = raw[which]
        if peep is not None and which in cell.peepholes:
            value = g.emit("add", [value, g.emit("mul", [peep, g.constant(cell.peepholes[which])])])
        return g.emit("sigmoid", [value], name=f"{name}/{which}")

    forget = gate("forget", state)
    candidate = g.emit(word, [raw["cell"]], name=f"{name}/candidate")
    enter = gate("input", state) if "input" in raw else g.emit("sub", [g.constant(np.float32(1)), forget])
    new_state = g.emit("mul", [enter, candidate])
    if state is not None:
        new_state = g.emit("add", [g.emit("mul", [forget, state]), new_state], name=f"{name}/c")
    new_state = _clip(g, new_state, float(op.option("CellClip", 0.0)))
    out = gate("output", new_state)
    hidden = g.emit("mul", [out, g.emit(word, [new_state])], name=f"{name}/h")
    if cell.projection is not None:
        operands = [hidden, g.constant(cell.projection)]
        if cell.projection_bias is not None:
            operands.append(g.constant(cell.projection_bias))
        hidden = _clip(
            g,
            g.emit("matmul", operands, {"transpose_b": 1}, name=f"{name}/projection"),
            float(op.option("ProjClip", 0.0)),
        )
    return hidden, new_state


@converts("UNIDIRECTIONAL_SEQUENCE_LSTM")
def lstm(g: Importer, op: TfliteOperator) -> None:
    """All steps of a layer; the result is the sequence of h."""
    x = g.tensor(op, 0)
    if x.dtype != "f32":
        raise HaiError(
            "HAI-Y393",
            f'LSTM "{op.name}" with {x.dtype} activations is not known to HAI; convert the model without activation quantization',
        )
    if any(g.has(op, i) for i in range(20, 24)):
        raise HaiError("HAI-Y394", f'LSTM "{op.name}" with layer normalisation is not known to HAI')
    if op.option("DiagonalRecurrentTensors", False):
        raise HaiError("HAI-Y395", f'LSTM "{op.name}" with diagonal recurrent weights is not known to HAI')
    cell = _read_cell(g, op)
    time = 0 if op.option("TimeMajor", False) else 1
    dims = g.dims(x)
    if len(dims) != 3 or dims[2] != cell.kernel.shape[1] or g.has_batch(x, time) or not 1 <= dims[time] <= _MAX_STEPS:
        raise HaiError(
            "HAI-Y396",
            f'LSTM "{op.name}": input {list(x.shape)} for {cell.kernel.shape[1]} features and 1 to {_MAX_STEPS} steps',
        )
    sums = g.emit(
        "matmul", [x, g.constant(cell.kernel), g.constant(cell.bias)], {"transpose_b": 1}, name=f"{op.name}/inputs"
    )
    width = len(cell.gates) * cell.units
    recurrent = g.constant(cell.recurrent)
    hidden: Tensor | None = None
    state: Tensor | None = None
    rows = []
    for t in range(dims[time]):
        name = f"{op.name}/{t}"
        at = g.emit(
            "slice", [sums], {"starts": [t], "ends": [t + 1], "axes": [time], "steps": [1]}, name=f"{name}/inputs"
        )
        now = g.emit("reshape", [at], {"shape": [-1, width]})
        if hidden is not None:
            now = g.emit(
                "add", [now, g.emit("matmul", [hidden, recurrent], {"transpose_b": 1}, name=f"{name}/recurrent")]
            )
        hidden, state = _step(g, op, cell, now, state, name)
        size = g.dims(hidden)[-1]
        rows.append(g.emit("reshape", [hidden], {"shape": [1, -1, size] if time == 0 else [-1, 1, size]}))
    g.set(op, g.emit("concat", rows, {"axis": time}, name=op.name) if len(rows) > 1 else rows[0])
