"""ONNX Runtime as the peer: its float answers, and its static INT8 quantization with the settings it recommends for x86."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.version_converter
import onnxruntime
from numpy.typing import NDArray
from onnxruntime import quantization
from onnxruntime.quantization import preprocess

Array = NDArray[np.float32]
PER_CHANNEL_OPSET = 13
"""The first in which quantization has an axis."""


def onnxruntime_session(path: Path, threads: int = 1, optimized: bool = True) -> onnxruntime.InferenceSession:
    """A CPU session with a fixed number of threads that do not spin while idle."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run_all(session: onnxruntime.InferenceSession, inputs: Iterable[Array]) -> list[list[Array]]:
    """The outputs for each input of a network with one input."""
    name = session.get_inputs()[0].name
    return [session.run(None, {name: data}) for data in inputs]


class _Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, name: str, inputs: Iterable[Array]) -> None:
        self._items: Iterator[dict[str, Any]] = iter([{name: data} for data in inputs])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._items, None)


def quantize_statically(path: Path, calibration: Iterable[Array], out: Path, float_nodes: Sequence[str] = ()) -> None:
    """Write ONNX Runtime's INT8 model: QDQ, uint8 activations by min-max, int8 weights per channel; some nodes float."""
    name = onnxruntime_session(path).get_inputs()[0].name
    logging.getLogger().setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        prepared = os.path.join(folder, "prepared.onnx")
        model = onnx.load(str(path))
        if model.opset_import[0].version < PER_CHANNEL_OPSET:
            model = onnx.version_converter.convert_version(model, PER_CHANNEL_OPSET)
        preprocess.quant_pre_process(model, prepared)
        quantization.quantize_static(
            prepared,
            str(out),
            _Reader(name, calibration),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            nodes_to_exclude=list(float_nodes),
            calibrate_method=quantization.CalibrationMethod.MinMax,
        )
