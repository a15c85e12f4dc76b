"""Keras files and SavedModels: through TensorFlow's own converter, in a process of its own.

TensorFlow is large (1.3 GB) and pins other packages, so HAI neither needs nor imports it: `_run_converter.py` runs
under an interpreter that has it (this one, or the one that HAI_TENSORFLOW_PYTHON names) and writes a `.tflite` file,
which `from_tflite` reads. A model file may carry code: Lambda layers and Python objects are refused by that script
before Keras sees them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import HaiError
from ..model import Model
from ..preprocessing import Preprocessing
from .convert import from_tflite

_SCRIPT = Path(__file__).parent / "_run_converter.py"
_VARIABLE = "HAI_TENSORFLOW_PYTHON"


def tensorflow_python() -> str:
    """The interpreter that has TensorFlow, or an error that says how to get one."""
    named = os.environ.get(_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise HaiError(
                "HAI-Y410",
                f"{_VARIABLE} names {named}, which is no file; it must be a Python interpreter with TensorFlow",
            )
        return named
    if importlib.util.find_spec("tensorflow") is not None:
        return sys.executable
    raise HaiError(
        "HAI-Y411",
        "Keras files and SavedModels are converted by TensorFlow, which is not installed here. Either pip install "
        "tensorflow-cpu, or make an environment of its own (python3 -m venv tf; tf/bin/pip install tensorflow-cpu) and set "
        f"{_VARIABLE}=tf/bin/python. "
        "A .tflite file needs neither: hai_toolkit.from_tflite(path)",
    )


def convert_to_tflite(
    path: str | os.PathLike[str],
    *,
    quantize: Literal["none", "int8", "int16x8", "dynamic", "float16"] = "none",
    calibration: Iterable[Mapping[str, npt.ArrayLike] | npt.ArrayLike] | None = None,
    timeout_s: float = 900,
) -> bytes:
    """A ``.keras`` or ``.h5`` file or a SavedModel folder as the bytes of a ``.tflite`` file, by TensorFlow's
    converter.

    ``quantize`` leaves the quantization to TensorFlow (``int8`` and ``int16x8`` need ``calibration``); HAI's own is
    ``Model.quantize``.
    """
    source = Path(path)
    if not source.exists():
        raise HaiError("HAI-Y412", f"{source}: no such file or folder")
    if source.is_dir() and not (source / "saved_model.pb").is_file():
        raise HaiError("HAI-Y413", f"{source}: a folder without saved_model.pb is no SavedModel")
    python = tensorflow_python()
    with tempfile.TemporaryDirectory() as folder:
        request: dict[str, Any] = {
            "model": str(source.resolve()),
            "out": str(Path(folder) / "model.tflite"),
            "quantize": quantize,
        }
        if calibration is not None:
            request["calibration"] = _write_samples(Path(folder), calibration)
        request_path = Path(folder) / "request.json"
        request_path.write_text(json.dumps(request))
        environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="2", TF_ENABLE_ONEDNN_OPTS="0", CUDA_VISIBLE_DEVICES="-1")
        try:
            result = subprocess.run(
                [python, "-I", str(_SCRIPT), str(request_path)],
                capture_output=True, text=True, errors="replace", timeout=timeout_s, env=environment, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise HaiError(
                "HAI-Y414", f"{source.name}: {python} could not run TensorFlow's converter: {error}"
            ) from error
        if result.returncode:
            lines = [
                line for line in result.stderr.strip().splitlines() if line.startswith("hai: ")
            ] or result.stderr.strip().splitlines()[-3:]
            raise HaiError("HAI-Y415", f"{source.name}: TensorFlow did not convert it: {' '.join(lines)[:2000]}")
        return (Path(folder) / "model.tflite").read_bytes()


def _write_samples(folder: Path, samples: Iterable[Mapping[str, npt.ArrayLike] | npt.ArrayLike]) -> list[str]:
    paths = []
    for i, sample in enumerate(samples):
        arrays = (
            {str(k): np.asarray(v) for k, v in sample.items()}
            if isinstance(sample, Mapping)
            else {"0": np.asarray(sample)}
        )
        paths.append(str(folder / f"{i}.npz"))
        np.savez(paths[-1], **arrays)  # type: ignore[arg-type]
    return paths


def from_tensorflow(
    path: str | os.PathLike[str],
    *,
    batch: tuple[int, int] = (1, 16),
    preprocessing: Preprocessing | None = None,
    timeout_s: float = 900,
) -> Model:
    """Imports ``.keras``, ``.h5`` (Keras 2 and 3), a SavedModel folder or a ``.tflite`` file.

    All but ``.tflite`` need TensorFlow, here or in the interpreter that ``HAI_TENSORFLOW_PYTHON`` names.
    """
    if Path(path).suffix.lower() == ".tflite":
        return from_tflite(path, batch=batch, preprocessing=preprocessing)
    model = from_tflite(convert_to_tflite(path, timeout_s=timeout_s), batch=batch, preprocessing=preprocessing)
    model._graph.set_metadata("source", Path(path).name)
    return model
