"""Reads a TensorFlow Lite file into plain structures, everything checked where it enters.

The layout is the published schema (PyPI `tflite`, code generated from TensorFlow's `schema.fbs`) over the FlatBuffers
runtime for Python. That runtime verifies nothing: an offset of a damaged file may lead anywhere. It cannot leave the
bytes, though (Python checks), so that damage shows up as an exception, which becomes a HaiError here, or as wrong
numbers. So this file bounds every count before it loops, every size against the bytes that are there, every index
against its table, and hands on only plain Python values and views of the bytes. Nothing after it sees the schema.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import HaiError
from ..graph import Quantization
from ..paths import path_text

_MAX_FILE_BYTES = 1 << 32
_MAX_TENSORS = 1 << 17
_MAX_OPERATORS = 1 << 16
_MAX_OPERANDS = 1 << 12
_MAX_RANK = 8
_MAX_ELEMENTS = 1 << 40
_MAX_NAME = 1024

_DTYPES = {
    0: "f32", 1: "f16", 2: "i32", 3: "u8", 4: "i64", 5: "string", 6: "bool", 7: "i16", 8: "complex64", 9: "i8", 10: "f64",
    11: "complex128", 12: "u64", 13: "resource", 14: "variant", 15: "u32", 16: "u16", 17: "i4",
}  # fmt: skip
_NUMPY = {
    "f32": np.float32, "f16": np.float16, "i32": np.int32, "u8": np.uint8, "i64": np.int64, "bool": np.bool_, "i16": np.int16,
    "i8": np.int8, "f64": np.float64, "u64": np.uint64, "u32": np.uint32, "u16": np.uint16,
}  # fmt: skip

# Options by operator: the schema's table and its fields; [] marks a vector.
_OPTIONS: dict[str, tuple[str, str]] = {
    "ADD": ("AddOptions", "FusedActivationFunction"),
    "AVERAGE_POOL_2D": ("Pool2DOptions", "Padding StrideW StrideH FilterWidth FilterHeight FusedActivationFunction"),
    "BATCH_MATMUL": ("BatchMatMulOptions", "AdjX AdjY"),
    "CONCATENATION": ("ConcatenationOptions", "Axis FusedActivationFunction"),
    "CONV_2D": ("Conv2DOptions", "Padding StrideW StrideH FusedActivationFunction DilationWFactor DilationHFactor"),
    "DEPTHWISE_CONV_2D": (
        "DepthwiseConv2DOptions",
        "Padding StrideW StrideH DepthMultiplier FusedActivationFunction DilationWFactor DilationHFactor",
    ),
    "DEPTH_TO_SPACE": ("DepthToSpaceOptions", "BlockSize"),
    "DIV": ("DivOptions", "FusedActivationFunction"),
    "FULLY_CONNECTED": ("FullyConnectedOptions", "FusedActivationFunction WeightsFormat KeepNumDims"),
    "GATHER": ("GatherOptions", "Axis BatchDims"),
    "GELU": ("GeluOptions", "Approximate"),
    "LEAKY_RELU": ("LeakyReluOptions", "Alpha"),
    "L2_NORMALIZATION": ("L2NormOptions", "FusedActivationFunction"),
    "MAX_POOL_2D": ("Pool2DOptions", "Padding StrideW StrideH FilterWidth FilterHeight FusedActivationFunction"),
    "MIRROR_PAD": ("MirrorPadOptions", "Mode"),
    "MUL": ("MulOptions", "FusedActivationFunction"),
    "PACK": ("PackOptions", "ValuesCount Axis"),
    "REDUCE_MAX": ("ReducerOptions", "KeepDims"),
    "REDUCE_MIN": ("ReducerOptions", "KeepDims"),
    "REDUCE_PROD": ("ReducerOptions", "KeepDims"),
    "MEAN": ("ReducerOptions", "KeepDims"),
    "SUM": ("ReducerOptions", "KeepDims"),
    "RESHAPE": ("ReshapeOptions", "NewShape[]"),
    "RESIZE_BILINEAR": ("ResizeBilinearOptions", "AlignCorners HalfPixelCenters"),
    "RESIZE_NEAREST_NEIGHBOR": ("ResizeNearestNeighborOptions", "AlignCorners HalfPixelCenters"),
    "SOFTMAX": ("SoftmaxOptions", "Beta"),
    "SPACE_TO_DEPTH": ("SpaceToDepthOptions", "BlockSize"),
    "SPLIT": ("SplitOptions", "NumSplits"),
    "SPLIT_V": ("SplitVOptions", "NumSplits"),
    "SQUEEZE": ("SqueezeOptions", "SqueezeDims[]"),
    "STRIDED_SLICE": ("StridedSliceOptions", "BeginMask EndMask EllipsisMask NewAxisMask ShrinkAxisMask Offset"),
    "SUB": ("SubOptions", "FusedActivationFunction"),
    "TRANSPOSE_CONV": ("TransposeConvOptions", "Padding StrideW StrideH FusedActivationFunction"),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (
        "UnidirectionalSequenceLSTMOptions",
        "FusedActivationFunction CellClip ProjClip TimeMajor AsymmetricQuantizeInputs DiagonalRecurrentTensors",
    ),
    "UNPACK": ("UnpackOptions", "Num Axis"),
}


@dataclass(frozen=True)
class SparseAxis:
    """One level of a sparse tensor: a dense size, or segments and indices (compressed sparse rows)."""

    size: int
    segments: npt.NDArray[np.int64] | None
    indices: npt.NDArray[np.int64] | None


@dataclass(frozen=True)
class Sparsity:
    """How a sparse constant is stored: order of the levels, blocked axes, the levels."""

    order: tuple[int, ...]
    block_map: tuple[int, ...]
    axes: tuple[SparseAxis, ...]


@dataclass(frozen=True)
class TfliteTensor:
    """A tensor of the file: sizes with the batch as converted, and `signature` with -1 where a size is free."""

    index: int
    name: str
    dtype: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    quantization: Quantization | None
    data: npt.NDArray[Any] | None
    variable: bool
    sparsity: Sparsity | None = None

    @property
    def element_count(self) -> int:
        """Number of elements."""
        count = 1
        for size in self.shape:
            count *= size
        return count


@dataclass(frozen=True)
class TfliteOperator:
    """An operator: the schema's name (`CUSTOM:name` for custom ones), operands as tensor indices, -1 where one is left
    out.
    """

    index: int
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, Any]
    custom_options: bytes
    name: str

    def option(self, key: str, default: Any = None) -> Any:
        """A field of the options; without a default its absence is an error."""
        value = self.options.get(key, default)
        if value is None:
            raise HaiError("HAI-Y300", f'{self.kind} "{self.name}" has no option {key}; the file is damaged')
        return value


@dataclass(frozen=True)
class TfliteModel:
    """The main subgraph of a file."""

    name: str
    description: str
    tensors: tuple[TfliteTensor, ...]
    operators: tuple[TfliteOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    byte_count: int
    metadata: dict[str, str] = field(default_factory=dict)


def _schema() -> Any:
    try:
        import tflite
    except ImportError as error:
        raise HaiError(
            "HAI-Y301",
            "reading .tflite files needs the package `tflite` (150 kB, no TensorFlow): pip install 'hai_toolkit[tensorflow]', or "
            "pip install tflite==2.18.0",
        ) from error
    return tflite


def read_tflite(source: str | os.PathLike[str] | bytes) -> TfliteModel:
    """Reads a file, or the bytes of one."""
    schema = _schema()
    if isinstance(source, bytes):
        name, data = "model", source
    else:
        name, data = Path(source).name, _file_bytes(Path(path_text(source)))
    try:
        return _Reader(schema, name, data).model()
    except (
        struct.error,
        ValueError,
        IndexError,
        TypeError,
        OverflowError,
        MemoryError,
        AttributeError,
        KeyError,
    ) as error:
        raise HaiError(
            "HAI-Y302", f"{name}: damaged or cut short ({type(error).__name__}: {error}); convert the model again"
        ) from error


def _file_bytes(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > _MAX_FILE_BYTES:
            raise HaiError("HAI-Y303", f"{path.name}: {size} bytes, the limit is {_MAX_FILE_BYTES}")
        return path.read_bytes()
    except OSError as error:
        raise HaiError("HAI-Y304", f"{path}: {error.strerror or error}") from error


def _text(raw: Any) -> str:
    """Text of a file; bytes that are not UTF-8 as escapes, so that different names stay different."""
    return bytes(raw[:_MAX_NAME]).decode("utf-8", "backslashreplace").replace("\x00", "") if raw else ""


def _ints(array: Any) -> list[int]:
    """A vector of the schema as Python integers; absent ones read as 0 there."""
    return [] if isinstance(array, int) else [int(v) for v in array]


class _Reader:
    def __init__(self, schema: Any, name: str, data: bytes) -> None:
        self._schema = schema
        self._name = name
        self._data = data
        self._operator_names: set[str] = set()
        if len(data) < 8 or data[4:8] != b"TFL3":
            raise self._error("not a TensorFlow Lite file: bytes 4 to 8 are not TFL3")
        self._model = schema.Model.GetRootAs(data, 0)
        self._kinds = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
        self._tables = {k: v for k, v in vars(schema.BuiltinOptions).items() if isinstance(v, int)}

    def _error(self, what: str) -> HaiError:
        return HaiError("HAI-Y305", f"{self._name}: {what}")

    def _count(self, count: int, what: str, limit: int) -> int:
        # A vector's entries take 4 bytes at least: a count that the file cannot hold is refused before anything loops over it.
        if count > limit or count * 4 > len(self._data):
            raise self._error(f"{count} {what}; at most {limit} are possible and the file has {len(self._data)} bytes")
        return count

    def model(self) -> TfliteModel:
        model = self._model
        if model.Version() != 3:
            raise self._error(f"version {model.Version()} of the format; 3 is known")
        subgraphs = self._count(model.SubgraphsLength(), "subgraphs", _MAX_OPERATORS)
        if subgraphs < 1:
            raise self._error("no subgraph")
        self._buffer_count = self._count(model.BuffersLength(), "buffers", 2 * _MAX_TENSORS)
        graph = model.Subgraphs(0)
        codes = [
            self._kind(model.OperatorCodes(i))
            for i in range(self._count(model.OperatorCodesLength(), "operator codes", _MAX_OPERATORS))
        ]
        tensors = tuple(
            self._tensor(i, graph.Tensors(i))
            for i in range(self._count(graph.TensorsLength(), "tensors", _MAX_TENSORS))
        )
        operators = tuple(
            self._operator(i, graph.Operators(i), codes, tensors)
            for i in range(self._count(graph.OperatorsLength(), "operators", _MAX_OPERATORS))
        )
        inputs = self._indices(graph.InputsLength, graph.InputsAsNumpy, "inputs of the model", len(tensors), 0)
        outputs = self._indices(graph.OutputsLength, graph.OutputsAsNumpy, "outputs of the model", len(tensors), 0)
        if not outputs:
            raise self._error("the model has no outputs")
        return TfliteModel(
            Path(self._name).stem, _text(model.Description()), tensors, operators, inputs, outputs, len(self._data)
        )

    def _kind(self, code: Any) -> str:
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        kind = self._kinds.get(number, f"BUILTIN_{number}")
        return f"CUSTOM:{_text(code.CustomCode())}" if kind == "CUSTOM" else kind

    def _indices(
        self, length: Callable[[], int], values: Callable[[], Any], what: str, limit: int, low: int
    ) -> tuple[int, ...]:
        self._count(length(), what, _MAX_OPERANDS)
        indices = tuple(_ints(values()))
        for index in indices:
            if not low <= index < limit:
                raise self._error(f"{what}: tensor {index} of {limit}")
        return indices

    def _operator(self, i: int, raw: Any, codes: list[str], tensors: tuple[TfliteTensor, ...]) -> TfliteOperator:
        code = raw.OpcodeIndex()
        if code >= len(codes):
            raise self._error(f"operator {i} has code {code} of {len(codes)}")
        kind = codes[code]
        inputs = self._indices(
            raw.InputsLength, raw.InputsAsNumpy, f"inputs of operator {i} ({kind})", len(tensors), -1
        )
        outputs = self._indices(
            raw.OutputsLength, raw.OutputsAsNumpy, f"outputs of operator {i} ({kind})", len(tensors), 0
        )
        custom = raw.CustomOptionsAsNumpy()
        custom_bytes = b"" if isinstance(custom, int) else custom[: 1 << 20].tobytes()
        name = self._short_name(tensors[outputs[0]].name) if outputs else f"operator_{i}"
        return TfliteOperator(i, kind, inputs, outputs, self._options(kind, raw), custom_bytes, name)

    def _short_name(self, name: str) -> str:
        """Of a fused operator the converter joins the names of all its parts with semicolons; the first one will do where no
        other operator has it.
        """
        first = name.partition(";")[0]
        chosen = name if first in self._operator_names else first
        self._operator_names.add(chosen)
        return chosen

    def _options(self, kind: str, raw: Any) -> dict[str, Any]:
        if kind not in _OPTIONS:
            return {}
        table_name, fields = _OPTIONS[kind]
        table = raw.BuiltinOptions()
        if table is None or raw.BuiltinOptionsType() != self._tables[table_name]:
            return {}
        typed = getattr(self._schema, table_name)()
        typed.Init(table.Bytes, table.Pos)
        options: dict[str, Any] = {}
        for name in fields.split():
            if name.endswith("[]"):
                name = name[:-2]
                self._count(getattr(typed, name + "Length")(), f"entries of {name}", _MAX_RANK * 4)
                options[name] = _ints(getattr(typed, name + "AsNumpy")())
            else:
                value = getattr(typed, name)()
                options[name] = value if isinstance(value, (bool, float)) else int(value)
        return options

    def _tensor(self, i: int, raw: Any) -> TfliteTensor:
        name = _text(raw.Name()) or f"tensor_{i}"
        dtype = _DTYPES.get(raw.Type())
        if dtype is None:
            raise self._error(f'tensor "{name}" has element type {raw.Type()}, which is not known')
        self._count(raw.ShapeLength(), f'dimensions of tensor "{name}"', _MAX_RANK)
        shape = tuple(_ints(raw.ShapeAsNumpy()))
        self._count(raw.ShapeSignatureLength(), f'dimensions of tensor "{name}"', _MAX_RANK)
        signature = tuple(_ints(raw.ShapeSignatureAsNumpy())) or shape
        elements = 1
        for size in shape:
            elements *= size
            if size < 0 or elements > _MAX_ELEMENTS:
                raise self._error(
                    f'tensor "{name}" has shape {list(shape)}: sizes are 0 or more, elements at most 2^40'
                )
        if len(signature) != len(shape):
            raise self._error(f'tensor "{name}" has shape {list(shape)} and signature {list(signature)}')
        sparsity = self._sparsity(raw.Sparsity(), name, shape)
        data = self._constant(raw.Buffer(), name, dtype, shape, sparsity is not None)
        quantization = self._quantization(raw.Quantization(), name, dtype, shape)
        return TfliteTensor(i, name, dtype, shape, signature, quantization, data, bool(raw.IsVariable()), sparsity)

    def _quantization(self, raw: Any, name: str, dtype: str, shape: tuple[int, ...]) -> Quantization | None:
        if raw is None or raw.ScaleLength() == 0 or dtype not in ("i8", "u8", "i16", "i32", "i64", "i4"):
            return None
        scales = np.asarray(raw.ScaleAsNumpy(), np.float32)
        zeros = raw.ZeroPointAsNumpy()
        zero_points = (
            np.zeros(len(scales), np.int64) if isinstance(zeros, int) or not len(zeros) else np.asarray(zeros, np.int64)
        )
        if len(zero_points) == 1 and len(scales) > 1:
            zero_points = np.repeat(zero_points, len(scales))
        axis = raw.QuantizedDimension() if len(scales) > 1 else -1
        if len(scales) != len(zero_points) or (axis >= 0 and (axis >= len(shape) or shape[axis] != len(scales))):
            raise self._error(
                f'tensor "{name}" of shape {list(shape)} has {len(scales)} scales, {len(zero_points)} zero points, axis {axis}'
            )
        if (
            not (np.isfinite(scales).all() and (scales >= 0).all())
            or (zero_points != zero_points.astype(np.int32)).any()
        ):
            raise self._error(f'tensor "{name}" has scales or zero points that are no such numbers')
        if (scales == 0).all():
            return None
        return Quantization(tuple(float(s) for s in scales), tuple(int(z) for z in zero_points), axis)

    def _constant(
        self, buffer: int, name: str, dtype: str, shape: tuple[int, ...], sparse: bool
    ) -> npt.NDArray[Any] | None:
        if buffer >= self._buffer_count:
            raise self._error(f'tensor "{name}" names buffer {buffer} of {self._buffer_count}')
        if buffer == 0:
            return None
        raw = self._model.Buffers(buffer)
        content = raw.DataAsNumpy()
        if raw.Offset() > 1:  # of large models: outside of the FlatBuffer
            begin, end = raw.Offset(), raw.Offset() + raw.Size()
            if end > len(self._data):
                raise self._error(
                    f'constant "{name}": bytes {begin} to {end} of {len(self._data)}; is the file cut short?'
                )
            content = np.frombuffer(self._data, np.uint8, end - begin, begin)
        if isinstance(content, int) or len(content) == 0:
            return None
        if dtype == "string":
            return None
        if dtype not in _NUMPY and dtype != "i4":
            raise self._error(f'constant "{name}" has element type {dtype}, which HAI does not have')
        count = 1
        for size in shape:
            count *= size
        if dtype == "i4":
            return _unpack_nibbles(
                content, count, shape, self._error(f'constant "{name}": {len(content)} bytes, {count} nibbles')
            )
        element = np.dtype(_NUMPY[dtype])
        if sparse:
            return np.asarray(content[: len(content) // element.itemsize * element.itemsize].copy().view(element))
        if len(content) != count * element.itemsize:
            raise self._error(f'constant "{name}" of {dtype} {list(shape)} has {len(content)} bytes')
        return np.asarray(
            content.copy().view(element) if content.ctypes.data % element.itemsize else content.view(element)
        ).reshape(shape)

    def _sparsity(self, raw: Any, name: str, shape: tuple[int, ...]) -> Sparsity | None:
        if raw is None:
            return None
        self._count(raw.TraversalOrderLength(), f'levels of sparse tensor "{name}"', 2 * _MAX_RANK)
        self._count(raw.BlockMapLength(), f'blocked axes of sparse tensor "{name}"', _MAX_RANK)
        axes = []
        for i in range(self._count(raw.DimMetadataLength(), f'levels of sparse tensor "{name}"', 2 * _MAX_RANK)):
            level = raw.DimMetadata(i)
            compressed = level.Format() == self._schema.DimensionType.SPARSE_CSR
            segments = self._index_vector(level.ArraySegments(), level.ArraySegmentsType()) if compressed else None
            indices = self._index_vector(level.ArrayIndices(), level.ArrayIndicesType()) if compressed else None
            axes.append(SparseAxis(int(level.DenseSize()), segments, indices))
        sparsity = Sparsity(tuple(_ints(raw.TraversalOrderAsNumpy())), tuple(_ints(raw.BlockMapAsNumpy())), tuple(axes))
        if len(sparsity.order) != len(axes) or len(shape) + len(sparsity.block_map) != len(axes):
            raise self._error(f'sparse tensor "{name}": {len(axes)} levels for {len(shape)} dimensions')
        return sparsity

    def _index_vector(self, table: Any, kind: int) -> npt.NDArray[np.int64]:
        names = {v: k for k, v in vars(self._schema.SparseIndexVector).items() if isinstance(v, int)}
        name = names.get(kind, "NONE")
        if table is None or name == "NONE":
            raise self._error("a sparse tensor without its indices")
        vector = getattr(self._schema, name)()
        vector.Init(table.Bytes, table.Pos)
        values = vector.ValuesAsNumpy()
        return np.asarray([] if isinstance(values, int) else values, np.int64)


def _unpack_nibbles(content: Any, count: int, shape: tuple[int, ...], error: HaiError) -> npt.NDArray[np.int8]:
    """Signed nibbles, two a byte, the low one first."""
    if len(content) != (count + 1) // 2:
        raise error
    both = np.stack([content & 15, content >> 4], axis=1).reshape(-1)[:count].astype(np.int8)
    return np.where(both > 7, both - 16, both).astype(np.int8).reshape(shape)
