"""The quantizer: from any trained model to one of integers, with or without calibration data.

    import torch
    from hai_toolkit import Quantizer
    model = torch.load('yolov5s.pt')
    quantized_model = Quantizer(bit_width=8, method='symmetrical').convert(model)
    quantized_model.save('yolov5s_int8.hai')

``Quantizer`` holds the options, ``convert`` finds out what it was given (``sources``), calibrates (``calibration_data``, or
``distill`` without data) and quantizes; ``QuantizedModel`` is the result.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .calibration_data import CalibrationData
from .errors import HaiError
from .model import Model
from .preprocessing import Preprocessing
from .runtime import Session, load
from .sources import Hints, Source, resolve

_METHODS = ("symmetrical", "asymmetrical")


def _peek(calibration: Any) -> tuple[Any, Callable[[], Any]]:
    """The calibration data, and a function for its first sample, which is not lost by looking at it."""
    if isinstance(calibration, str | PathLike | Mapping | np.ndarray) or not isinstance(calibration, Iterable):
        return calibration, lambda: None
    if isinstance(calibration, Sequence):
        return calibration, lambda: calibration[0] if calibration else None
    items = iter(calibration)
    head = list(itertools.islice(items, 1))
    return itertools.chain(head, items), lambda: head[0] if head else None


class QuantizedModel:
    """A quantized model: run it, look at it, save it."""

    def __init__(self, model: Model, float_model: Model | None, threads: int = 0) -> None:
        self.model = model
        """The quantized graph."""
        self.float_model = float_model
        """The graph it was made from; None for a model that came quantized."""
        self._threads = threads
        self._session: Session | None = None

    def run(self, inputs: npt.NDArray[Any] | Mapping[str, npt.ArrayLike]) -> dict[str, npt.NDArray[Any]]:
        """Runs the quantized model on the CPU: an array for a single input, or arrays by name; results by name."""
        if self._session is None:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.hai"
                self.save(path)
                self._session = load(path).session(threads=self._threads)
        return self._session.run(inputs)

    def save(self, path: str | PathLike[str]) -> None:
        """Compiles for the CPU and writes the ``.hai`` file, which keeps the portable graph for other devices."""
        self.model.compile(device="cpu").save(path)

    def report(self) -> dict[str, Any]:
        """What was chosen, per layer and per tensor."""
        return self.model.quantization_report


class Quantizer:
    """Post-training quantization; the options are those of one run and can be used for many models."""

    def __init__(
        self,
        bit_width: int | Literal["mixed"] = 8,
        method: Literal["symmetrical", "asymmetrical"] = "symmetrical",
        *,
        observer: Literal["mse", "minmax"] = "mse",
        bias_correction: bool = True,
        keep_float: Sequence[str] = (),
        threads: int = 0,
        seed: int = 1,
        quiet: bool = False,
    ) -> None:
        if method not in _METHODS:
            raise HaiError("HAI-Y280", f'method "{method}" does not exist; choose one of {", ".join(_METHODS)}')
        self.bit_width = bit_width
        self.method = method
        self.observer = observer
        self.bias_correction = bias_correction
        self.keep_float = list(keep_float)
        self.threads = threads
        self.seed = seed
        self.quiet = quiet

    def convert(
        self,
        model: Any,
        calibration: Any = None,
        samples: int | None = None,
        example_inputs: Any = None,
        preprocessing: Preprocessing | None = None,
        module: Any = None,
    ) -> QuantizedModel:
        """Quantizes a model.

        ``model``: an ``nn.Module``; what ``torch.load`` gave for a YOLOv5 checkpoint; a state dict with ``module=``; a path to
        ``.pt``, ``.onnx``, ``.tflite``, ``.h5``, ``.keras`` or a SavedModel folder; a ``hai_toolkit`` model or graph builder.
        Models that are quantized already keep their integers.
        ``calibration``: a folder of pictures, an iterable of arrays, dictionaries or paths, or a data loader; ``samples``
        limits how many are read. Without it ranges come from data distilled from the model's own statistics.
        ``example_inputs``: a tensor or tuple, where the input's shape is not known otherwise. ``preprocessing``: how pictures
        become the input.
        """
        calibration, first_sample = _peek(calibration)
        source = resolve(model, Hints(example_inputs, preprocessing, module, first_sample))
        self._say(source.description)
        if source.quantized:
            self._say("it is quantized already: its integers are kept as they are")
            return QuantizedModel(source.model, None, self.threads)
        data = CalibrationData(
            self._calibration(source, calibration), source.model.inputs, source.model.preprocessing, samples, self._warn
        )
        quantized = source.model.copy()
        quantized.quantize(
            8 if self.bit_width == "mixed" else self.bit_width,
            data,
            method=self.method,
            observer=self.observer,
            bias_correction=self.bias_correction,
            keep_float=self.keep_float,
            threads=self.threads,
        )
        self._say(f"calibrated on {data.read} samples" + (f", {len(data.skipped)} skipped" if data.skipped else ""))
        return QuantizedModel(quantized, source.model, self.threads)

    def _calibration(self, source: Source, calibration: Any) -> Any:
        if calibration is not None:
            return calibration
        from .distill import distilled_samples

        return distilled_samples(source.model, self.seed, self._say, self.threads)

    def _say(self, message: str) -> None:
        if not self.quiet and message:
            print(f"hai: {message}", file=sys.stderr)

    def _warn(self, message: str) -> None:
        print(f"hai: warning: {message}", file=sys.stderr)
