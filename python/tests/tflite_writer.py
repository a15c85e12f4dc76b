"""Writes small TensorFlow Lite models, operator by operator, for the tests: no TensorFlow, only the schema in ai-edge-litert."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

_TYPES = {"f32": 0, "f16": 1, "i32": 2, "u8": 3, "i64": 4, "bool": 6, "i16": 7, "i8": 9}
_NUMPY = {
    "f32": np.float32, "f16": np.float16, "i32": np.int32, "u8": np.uint8, "i64": np.int64, "bool": np.bool_, "i16": np.int16,
    "i8": np.int8,
}  # fmt: skip


def schema() -> Any:
    """The generated schema, with classes that can be written."""
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert (the reference interpreter) is not installed")
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


class TfliteWriter:
    """One subgraph. Tensors are numbers; constants have data."""

    def __init__(self) -> None:
        self.schema = schema()
        self.tensors: list[Any] = []
        self.buffers: list[Any] = [self._buffer(None)]
        self.operators: list[Any] = []
        self.codes: list[tuple[int, str]] = []
        self.inputs: list[int] = []
        self.outputs: list[int] = []

    def _buffer(self, data: bytes | None) -> Any:
        buffer = self.schema.BufferT()
        if data is not None:
            buffer.data = np.frombuffer(data, np.uint8)
        return buffer

    def tensor(
        self, name: str, shape: tuple[int, ...], dtype: str = "f32", *, scale: Any = None, zero: Any = 0, axis: int = 0,
        data: Any = None, signature: tuple[int, ...] | None = None, variable: bool = False,
    ) -> int:  # fmt: skip
        t = self.schema.TensorT()
        t.name, t.shape, t.type, t.isVariable = name, np.asarray(shape, np.int32), _TYPES[dtype], variable
        if signature is not None:
            t.shapeSignature = np.asarray(signature, np.int32)
        if scale is not None:
            t.quantization = self.schema.QuantizationParametersT()
            t.quantization.scale = np.atleast_1d(np.asarray(scale, np.float32))
            t.quantization.zeroPoint = np.broadcast_to(np.asarray(zero, np.int64), t.quantization.scale.shape).copy()
            t.quantization.quantizedDimension = axis
        t.buffer = 0
        if data is not None:
            self.buffers.append(self._buffer(np.ascontiguousarray(data, _NUMPY[dtype]).tobytes()))
            t.buffer = len(self.buffers) - 1
        self.tensors.append(t)
        return len(self.tensors) - 1

    def input(self, name: str, shape: tuple[int, ...], dtype: str = "f32", **kwargs: Any) -> int:
        self.inputs.append(self.tensor(name, shape, dtype, **kwargs))
        return self.inputs[-1]

    def constant(self, name: str, data: Any, dtype: str = "f32", **kwargs: Any) -> int:
        array = np.asarray(data, _NUMPY[dtype])
        return self.tensor(name, array.shape, dtype, data=array, **kwargs)

    def operator(self, kind: str, inputs: list[int], outputs: list[int], options: str = "", **fields: Any) -> None:
        """`options`: the name of the schema's table; fields as the schema's writer calls them (strideW, ...)."""
        op = self.schema.OperatorT()
        custom = kind.removeprefix("CUSTOM:") if kind.startswith("CUSTOM:") else ""
        code = (self.schema.BuiltinOperator.CUSTOM if custom else getattr(self.schema.BuiltinOperator, kind), custom)
        if code not in self.codes:
            self.codes.append(code)
        op.opcodeIndex, op.inputs, op.outputs = (
            self.codes.index(code),
            np.asarray(inputs, np.int32),
            np.asarray(outputs, np.int32),
        )
        if custom and "custom" in fields:
            op.customOptions = np.frombuffer(fields.pop("custom"), np.uint8)
        if options:
            op.builtinOptions = getattr(self.schema, options + "T")()
            for name, value in fields.items():
                assert hasattr(op.builtinOptions, name), name
                setattr(op.builtinOptions, name, value)
            op.builtinOptionsType = getattr(self.schema.BuiltinOptions, options)
        self.operators.append(op)

    def bytes(self) -> bytes:
        import flatbuffers

        s = self.schema
        model, graph = s.ModelT(), s.SubGraphT()
        graph.tensors, graph.operators, graph.name = self.tensors, self.operators, "main"
        graph.inputs, graph.outputs = np.asarray(self.inputs, np.int32), np.asarray(self.outputs, np.int32)
        model.version, model.subgraphs, model.buffers, model.description = 3, [graph], self.buffers, "written by a test"
        model.operatorCodes = []
        for number, custom in self.codes:
            code = s.OperatorCodeT()
            code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), 1
            if custom:
                code.customCode = custom
            model.operatorCodes.append(code)
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())
