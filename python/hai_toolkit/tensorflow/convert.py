"""`from_tflite`: a TensorFlow Lite file, float or integer, as a model of HAI.

Only operators that an output needs are looked at; those that HAI does not have are refused all at once, by name, before
anything is built. A batch that the file leaves free stays free where every operator allows it; where one does not, the
model is built for the batch that it was converted with, and the reason is printed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Literal

from ..errors import HaiError, printable
from ..model import Model
from ..preprocessing import Preprocessing
from . import operators_detection, operators_elementwise, operators_layout, operators_lstm, operators_products, sparse
from .importer import CONVERTERS, Importer
from .reader import TfliteModel, TfliteOperator, read_tflite

_REGISTERED = (operators_detection, operators_elementwise, operators_layout, operators_lstm, operators_products, sparse)

_REMEDIES = {
    "WHILE": "a loop: convert the layer unrolled (Keras: unroll=True), or as a fused LSTM",
    "IF": "a branch that depends on data: convert the branch that is wanted",
    "CALL_ONCE": "a model with variables: export it without state",
    "VAR_HANDLE": "a model with variables: export it without state",
    "READ_VARIABLE": "a model with variables: export it without state",
    "ASSIGN_VARIABLE": "a model with variables: export it without state",
    "ARG_MAX": 'cut before it, from_tflite(path, outputs=["{input}"]), and use numpy.argmax',
    "TOPK_V2": 'cut before it, from_tflite(path, outputs=["{input}"])',
    "NON_MAX_SUPPRESSION_V4": "cut before it with outputs=[...]",
    "NON_MAX_SUPPRESSION_V5": "cut before it with outputs=[...]",
    "BIDIRECTIONAL_SEQUENCE_LSTM": "convert it as two layers, forward and backward",
}


def from_tflite(
    source: str | os.PathLike[str] | bytes,
    *,
    float_io: bool = False,
    rounding: Literal["tflite", "hai"] = "tflite",
    outputs: Sequence[str] | None = None,
    batch: tuple[int, int] = (1, 16),
    free_batch: bool = False,
    preprocessing: Preprocessing | None = None,
) -> Model:
    """Imports a ``.tflite`` file (or the bytes of one). Integer models keep their integers, scales and zero points
    exactly.

    ``rounding="tflite"`` also rounds the sums of convolutions, matrix products and average pools of 8-bit integers as
    TensorFlow Lite does, so that outputs are the reference interpreter's; ``"hai"`` rounds as models that HAI quantizes
    do: faster, and other devices than the CPU know only that.

    An int8 model takes and gives int8 arrays (``model.inputs[0].quantize(x)`` makes them); ``float_io=True`` puts the
    conversion into the model. ``outputs`` names tensors of the file to end at. A batch that the file leaves free stays
    free within ``batch``; ``free_batch`` frees one that was converted as 1, where the operators allow it.
    """
    if rounding not in ("tflite", "hai"):
        raise HaiError("HAI-Y327", f'rounding "{rounding}" does not exist; choose tflite or hai')
    fixed_point = rounding == "tflite"
    file = read_tflite(source)
    ends = _outputs(file, outputs)
    operators = _needed(file, ends)
    _refuse_unknown(file, operators)
    first = [file.tensors[i] for i in file.inputs]
    free = bool(first) and all(t.shape and t.shape[0] == 1 and (free_batch or t.signature[0] == -1) for t in first)
    if free and batch[1] > 1:
        try:
            return _build(file, operators, ends, batch, float_io, fixed_point, preprocessing)
        except HaiError as error:
            model = _build(file, operators, ends, None, float_io, fixed_point, preprocessing)
            _warn(file.name, [f"the batch stays {first[0].shape[0]}: {error.message}"])
            return model
    return _build(file, operators, ends, None, float_io, fixed_point, preprocessing)


def _warn(name: str, warnings: Sequence[str]) -> None:
    for warning in warnings[:8]:
        print(f"hai: warning: {printable(name)}: {printable(warning)}", file=sys.stderr)
    if len(warnings) > 8:
        print(f"hai: warning: {printable(name)}: and {len(warnings) - 8} more like these", file=sys.stderr)


def _outputs(file: TfliteModel, names: Sequence[str] | None) -> list[int]:
    if names is None:
        return list(file.outputs)
    by_name = {t.name: t.index for t in reversed(file.tensors)}
    missing = [name for name in names if name not in by_name]
    if missing or not names:
        made = [file.tensors[op.outputs[0]].name for op in file.operators if op.outputs]
        raise HaiError("HAI-Y325", f"{file.name}: no tensor is called {missing}; the last ones are {made[-5:]}")
    return [by_name[name] for name in names]


def _needed(file: TfliteModel, ends: Sequence[int]) -> list[TfliteOperator]:
    """The operators that the outputs need, in order."""
    wanted = set(ends)
    needed: list[TfliteOperator] = []
    for op in reversed(file.operators):
        if not wanted.isdisjoint(op.outputs):
            needed.append(op)
            wanted.update(i for i in op.inputs if i >= 0)
    return needed[::-1]


def _refuse_unknown(file: TfliteModel, operators: Sequence[TfliteOperator]) -> None:
    unknown: dict[str, list[TfliteOperator]] = {}
    for op in operators:
        if op.kind not in CONVERTERS:
            unknown.setdefault(op.kind, []).append(op)
    if not unknown:
        return
    parts = []
    for kind, ops in sorted(unknown.items()):
        first = ops[0]
        source = file.tensors[first.inputs[0]].name if first.inputs and first.inputs[0] >= 0 else ""
        remedy = _REMEDIES.get(kind, "").replace("{input}", source)
        more = f" and {len(ops) - 1} more" if len(ops) > 1 else ""
        parts.append(f'{kind} ("{first.name}"{more})' + (f": {remedy}" if remedy else ""))
    raise HaiError(
        "HAI-Y326",
        f"{file.name}: operators that HAI does not have: {'; '.join(parts)}. The other parts can be imported: "
        "from_tflite(path, outputs=[names of tensors before them])",
    )


def _dilations(
    file: TfliteModel, operators: Sequence[TfliteOperator], ends: Sequence[int]
) -> dict[int, tuple[TfliteOperator, TfliteOperator]]:
    """Convolutions with stride 1 between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND of the same block that nothing else
    reads.
    """
    readers: dict[int, list[TfliteOperator]] = {}
    makers: dict[int, TfliteOperator] = {}
    for op in operators:
        for i in set(op.inputs):
            readers.setdefault(i, []).append(op)
        for i in op.outputs:
            makers[i] = op
    found = {}
    for op in operators:
        if op.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D") or not op.inputs or not op.outputs:
            continue
        before, after = makers.get(op.inputs[0]), readers.get(op.outputs[0], [])
        if (
            before is None
            or before.kind != "SPACE_TO_BATCH_ND"
            or len(after) != 1
            or after[0].kind != "BATCH_TO_SPACE_ND"
        ):
            continue
        alone = len(readers.get(before.outputs[0], [])) == 1 and not {before.outputs[0], op.outputs[0]} & set(ends)
        ones = all(op.options.get(key, 1) == 1 for key in ("StrideW", "StrideH", "DilationWFactor", "DilationHFactor"))
        blocks = [
            file.tensors[o.inputs[1]].data if len(o.inputs) == 3 and o.inputs[1] >= 0 else None
            for o in (before, after[0])
        ]
        pairs = [b.tolist() for b in blocks if b is not None and b.shape == (2,)]
        if alone and ones and len(pairs) == 2 and pairs[0] == pairs[1]:
            found[op.index] = (before, after[0])
    return found


def _build(
    file: TfliteModel,
    operators: Sequence[TfliteOperator],
    ends: Sequence[int],
    batch: tuple[int, int] | None,
    float_io: bool,
    fixed_point: bool,
    preprocessing: Preprocessing | None,
) -> Model:
    g = Importer(file, batch, float_io, fixed_point)
    g.dilated = _dilations(file, operators, ends)
    folded = {op.index for pair in g.dilated.values() for op in pair}
    for index in file.inputs:
        g.add_input(index)
    cut: set[int] = set()
    for op in operators:
        if op.index in folded:
            continue
        try:
            CONVERTERS[op.kind](g, op)
        except HaiError as error:
            if op.kind in error.message:
                raise
            raise HaiError(error.code, f'{file.name}: {op.kind} "{op.name}": {error.message}') from error
        except (TypeError, ValueError, IndexError, OverflowError, MemoryError, ZeroDivisionError) as error:
            raise HaiError(
                "HAI-Y328",
                f'{file.name}: {op.kind} "{op.name}" has operands or options that do not fit it '
                f"({type(error).__name__}: {error}); the file is damaged",
            ) from error
        if op.kind == "CUSTOM:TFLite_Detection_PostProcess":
            cut.update(op.outputs)
    for index in ends:
        if index not in cut:
            g.add_output(index)
    native = g.builder.native
    for tensor, name in g.extra_outputs:
        g.builder.output(tensor, "" if tensor.id in native.input_ids() else name)  # an input keeps its name
    for key, value in {"tflite.description": file.description, **g.metadata}.items():
        if value:
            native.set_metadata(key, value)
    native.verify()
    _warn(file.name, g.warnings)
    return Model(native, preprocessing)
