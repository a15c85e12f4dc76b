"""Export to ONNX, in the four forms that users bring, and the check that each answers as PyTorch does.

Without a suffix: `dynamo=False` at opset 17 with BatchNorm kept as operators, so that folding is the compiler's work.
`_dynamo`: PyTorch's default with the weights in a file of their own beside the model. Each with the batch fixed to 1 or
free (`_batch`).
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

FORMS = ("", "_batch", "_dynamo", "_dynamo_batch")
"""Suffixes of the file names: the exporter, then whether the batch is free."""

_OPSET = 17
_BATCH_MOST = 16


def export_network(net: nn.Module, example: NDArray[np.float32], path: Path, form: str) -> None:
    """Write `net` to `path` in one of `FORMS`; the input is named `input`, the output `output`."""
    dynamo, free = "dynamo" in form, form.endswith("batch")
    # A free batch of 1 would be taken for a constant while tracing.
    data = torch.from_numpy(np.concatenate([example[:1]] * 2) if free else example[:1])
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        if dynamo:
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)
            shapes = ({0: torch.export.Dim("batch", min=1, max=_BATCH_MOST)},) if free else None
            torch.onnx.export(
                net, (data,), str(path), dynamo=True, external_data=True, dynamic_shapes=shapes,
                input_names=["input"], output_names=["output"], verbose=False,
            )  # fmt: skip
        else:
            torch.onnx.export(
                net, (data,), str(path), dynamo=False, opset_version=_OPSET,
                training=torch.onnx.TrainingMode.PRESERVE,  # EVAL would fold BatchNorm
                dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}} if free else None,
                input_names=["input"], output_names=["output"],
            )  # fmt: skip


def onnxruntime_session(path: Path, threads: int = 1) -> onnxruntime.InferenceSession:
    """A CPU session with a fixed number of threads that do not spin while idle."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def relative_difference(actual: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Largest absolute difference over the largest absolute expected value."""
    if actual.shape != expected.shape:
        raise ValueError(f"shapes differ: {actual.shape} and {expected.shape}")
    difference = np.abs(actual.astype(np.float64) - expected.astype(np.float64)).max()
    return float(difference / max(float(np.abs(expected).max()), 1e-30))


def check_export(net: nn.Module, pictures: NDArray[np.float32], path: Path, form: str) -> float:
    """ONNX Runtime against PyTorch on `pictures`; returns the relative difference."""
    onnx.checker.check_model(str(path))
    session = onnxruntime_session(path)
    with torch.no_grad():
        expected = net(torch.from_numpy(pictures)).numpy()
    batches = [pictures] if form.endswith("batch") else [pictures[i : i + 1] for i in range(len(pictures))]
    actual = np.concatenate([session.run(None, {"input": batch})[0] for batch in batches])
    return relative_difference(actual, expected)
