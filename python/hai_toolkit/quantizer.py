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
import math
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from . import evaluation
from .calibration_data import CalibrationData, Sample
from .distill import distilled_samples
from .errors import HaiError, printable
from .mixed import search_mixed
from .model import Model, WrittenFile
from .preprocessing import Preprocessing
from .report import Report, compare
from .runtime import Session, load
from .sources import Hints, resolve

_METHODS = ("symmetrical", "asymmetrical")
_WIDTHS = (4, 8, 16)
_WITHOUT_PICTURES = ("w8", "w4", "f16")
_KEPT_SAMPLES = 16
_KEPT_BYTES = 128 << 20


def _peek(calibration: Any) -> tuple[Any, Callable[[], Any]]:
    """The calibration data, and a function for its first sample, which is not lost by looking at it."""
    if isinstance(calibration, str | bytes | PathLike | Mapping | np.ndarray) or not isinstance(calibration, Iterable):
        return calibration, lambda: None
    if isinstance(calibration, Sequence):
        return calibration, lambda: calibration[0] if calibration else None
    items = iter(calibration)
    head = list(itertools.islice(items, 1))
    return itertools.chain(head, items), lambda: head[0] if head else None


class QuantizedModel:
    """A quantized model: run it, measure it, look at where it loses accuracy, save it."""

    def __init__(
        self, model: Model, float_model: Model | None, samples: Sequence[Sample] = (), threads: int = 0
    ) -> None:
        self.model = model
        """The quantized graph."""
        self.float_model = float_model
        """The graph it was made from; None for a model that came quantized."""
        self._samples = list(samples)
        self._threads = threads
        self._session: Session | None = None
        self._written: WrittenFile | None = None

    def run(self, inputs: npt.NDArray[Any] | Mapping[str, npt.ArrayLike]) -> dict[str, npt.NDArray[Any]]:
        """Runs the quantized model on the CPU: an array for a single input, or arrays by name; results by name."""
        if self._session is None:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.hai"
                self.model.compile(device="cpu").save(path)
                self._session = load(path).session(threads=self._threads)
        return self._session.run(inputs)

    def save(self, path: str | PathLike[str], *, compress: bool | None = None) -> WrittenFile:
        """Compiles for the CPU and writes the ``.hai`` file, which keeps the portable graph for other devices.

        ``compress``: store weights compressed, without loss; ``None``: where that saves at least a tenth (f32: a fifth) of
        them. What it brought is returned, and said by later reports (``file``).
        """
        self._written = self.model.compile(device="cpu", compress=compress).save(path)
        return self._written

    def evaluate(self, dataset: Any, metric: Any = None, **options: Any) -> evaluation.Figure:
        """Runs over a dataset (:func:`hai_toolkit.evaluation.evaluate`): ``top1``, ``map``, ...

        ``agreement``, ``mean_kl`` and ``fidelity`` compare with the float model.
        """
        if metric in ("agreement", "mean_kl", "fidelity") and self.float_model is not None:
            options.setdefault("reference", self.float_model)
        return evaluation.evaluate(self.model, dataset, metric, threads=self._threads, **options)

    def report(self, inputs: Any = None, samples: int = 16) -> Report:
        """Where accuracy goes, layer by layer: bits, scales, SQNR, cosine; with ``print``, ``.json(path)``, ``.html(path)``.

        Measured on ``inputs`` (a folder of pictures, or arrays), by default on samples kept from calibration.
        """
        chosen = self.model.quantization_report
        source = inputs if inputs is not None else self._samples
        if (
            self.float_model is None
            or not self.model.is_quantized
            or not (isinstance(source, str | PathLike) or len(source))
        ):
            return self._with_file(Report(chosen))
        measured = compare(
            self.float_model, self.model, source, samples=samples, mixed=chosen.get("mixed"), threads=self._threads
        )
        for key, value in chosen.items():
            measured.setdefault(key, value)
        return self._with_file(measured)

    def _with_file(self, report: Report) -> Report:
        if self._written is not None:
            report["file"] = asdict(self._written)
        return report


def _is_finite(value: Any) -> bool:
    kinds = (int, float, np.integer, np.floating)
    return isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)


def _check_names(layers: Any, keep_float: Any) -> None:
    if layers is not None and not (
        isinstance(layers, Mapping) and all(isinstance(word, str) for item in layers.items() for word in item)
    ):
        raise HaiError("HAI-Y421", f'layers is {layers!r}; it must be names with precisions: {{"head": "w8a16"}}')
    listed = isinstance(keep_float, Sequence) and not isinstance(keep_float, (str, bytes))
    if not listed or not all(isinstance(name, str) and name for name in keep_float):
        raise HaiError("HAI-Y422", f'keep_float is {keep_float!r}; it must be a list of names of nodes: ["head"]')


class Quantizer:
    """Post-training quantization; the options are those of one run and can be used for many models."""

    def __init__(
        self,
        bit_width: int | Literal["mixed"] = 8,
        method: Literal["symmetrical", "asymmetrical"] = "symmetrical",
        *,
        observer: Literal["mse", "minmax", "percentile", "kl"] = "mse",
        percentile: float = 99.99,
        max_drop: float | None = None,
        precision: str | None = None,
        layers: Mapping[str, str] | None = None,
        keep_float: Sequence[str] = (),
        bias_correction: bool = True,
        largest_scales: bool = False,
        equalize: bool | None = None,
        smooth: bool = False,
        widen: bool = True,
        wide_points: bool = True,
        adaround: bool | Mapping[str, Any] | None = None,
        winograd: Literal["off", "auto", "all"] = "off",
        winograd_loss_db: float = 10.0,
        sparsity: float = 0.0,
        self_check: bool = True,
        force: bool = False,
        seed: int = 1,
        threads: int = 0,
        sample_memory_bytes: int = 256 << 20,
        trainable: str = "",
        rebuild: bool = True,
        quiet: bool = False,
    ) -> None:
        """``bit_width``: 4 (weights, with activations of 8), 8, 16, or "mixed": bits for every layer such that the drop of
        accuracy stays under ``max_drop`` points. ``method``: whether activations have zero point 0. ``precision``: the widths
        by name, instead of ``bit_width``: "w8a8", "w4a8", "w8a16", "w16a16", or "w8" and "w4" (weights alone) and "f16", which
        need no samples; ``layers``: likewise by node name, and "float".

        ``observer``: how ranges are chosen from what was seen. ``equalize``, ``smooth``, ``bias_correction``, ``adaround``:
        methods that make the weights fit (docs/how_to/quantization.md); without a word ``adaround`` is on for 4 bits and
        ``equalize`` where there are no pictures.
        ``largest_scales``: 4-bit weights on the grid of their channel's largest, for a model that was trained for it (``qat=``).
        ``widen``: 16-bit activations for the few layers that 8 bits are too coarse for. ``wide_points``: 16 bits for what a
        function or an addition rounds to 8 at once (False for devices with tables of 256 entries). ``winograd``: 3x3
        convolutions of stride 1 in 8 bits or f16 by Winograd's tiles, where modelled cycles fall and a layer loses no more than
        ``winograd_loss_db`` of its signal over noise ("auto"), or all of them. ``sparsity``: share of the weights to prune.
        ``force``: hand out a model that failed the self-check. ``sample_memory_bytes``: calibration samples beyond it go to a
        temporary file. ``trainable``: the model will be trained, and only what no step changes becomes integer: "head",
        "last:8" (docs/how_to/training.md); with ``rebuild`` the compiled file also holds INT8 of the whole, which a device makes
        again after a training (docs/design/0021). ``quiet``: no progress on standard error; warnings are still printed.
        """
        if method not in _METHODS:
            raise HaiError("HAI-Y280", f'method "{method}" does not exist; choose one of {", ".join(_METHODS)}')
        if bit_width not in (*_WIDTHS, "mixed"):
            raise HaiError("HAI-Y275", f'bit_width {bit_width!r} does not exist; choose 4, 8, 16 or "mixed"')
        if (max_drop is not None) != (bit_width == "mixed"):
            raise HaiError(
                "HAI-Y279", 'max_drop= and bit_width="mixed" belong together: Quantizer("mixed", max_drop=0.5)'
            )
        _check_names(layers, keep_float)
        numbers = {
            "max_drop": max_drop,
            "percentile": percentile,
            "sparsity": sparsity,
            "winograd_loss_db": winograd_loss_db,
        }
        for name, number in numbers.items():
            if number is not None and not _is_finite(number):
                raise HaiError("HAI-Y420", f"{name} is {number!r}; it must be a finite number")
        if precision is not None and bit_width != 8:
            raise HaiError(
                "HAI-Y423", f"precision={precision!r} and bit_width={bit_width!r} both say the widths; give one"
            )
        self.bit_width = bit_width
        self.method = method
        self.max_drop = max_drop
        self.seed = seed
        self.threads = threads
        self.quiet = quiet
        self.options: dict[str, Any] = {
            "observer": observer,
            "percentile": percentile,
            "layers": dict(layers or {}),
            "keep_float": list(keep_float),
            "bias_correction": bias_correction,
            "largest_scales": largest_scales,
            "smooth": smooth,
            "widen": widen,
            "wide_points": wide_points,
            "winograd": winograd,
            "winograd_loss_db": winograd_loss_db,
            "sparsity": sparsity,
            "self_check": self_check,
            "force": force,
            "seed": seed,
            "threads": threads,
            "sample_memory_bytes": sample_memory_bytes,
            "trainable": trainable,
            "rebuild": rebuild,
        }
        """The quantizer's options by name (``src/quantizer/options.h``)."""
        if precision is not None:
            self.options["precision"] = precision
        if adaround is None and (bit_width == 4 or precision in ("w4a8", "int4")):
            adaround = True  # nearest rounding to 4 bits loses too much
        if equalize is not None:
            self.options["equalize"] = equalize
        if adaround is not None:
            self.options["adaround"] = dict(adaround) if isinstance(adaround, Mapping) else adaround

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
            return QuantizedModel(source.model, None, threads=self.threads)
        if calibration is None and self.options.get("precision") in _WITHOUT_PICTURES and not self.options["layers"]:
            quantized = source.model.copy()
            self._quantize(quantized, ())
            return QuantizedModel(quantized, source.model, threads=self.threads)
        made_up = calibration is None
        if made_up:
            # Not before the first is asked for: names in layers and keep_float are checked by then.
            calibration = _when_asked(lambda: distilled_samples(source.model, self.seed, self._say, self.threads))
        data = CalibrationData(
            calibration, source.model.inputs, source.model.preprocessing, None if made_up else samples, self._warn
        )
        kept: list[Sample] = []
        quantized = source.model.copy()
        self._quantize(quantized, _keeping(data, kept), made_up)
        if not made_up:
            self._say(f"calibrated on {data.read} samples" + (f", {len(data.skipped)} skipped" if data.skipped else ""))
        self._say("save(path) writes it; report() shows where accuracy goes; evaluate(dataset) measures it")
        return QuantizedModel(quantized, source.model, kept, self.threads)

    def _quantize(self, model: Model, samples: Iterable[Sample], made_up: bool = False) -> None:
        options = {"equalize": made_up} | self.options
        if self.bit_width == "mixed":
            assert self.max_drop is not None
            symmetric = self.method == "symmetrical"
            search_mixed(model, samples, max_drop=self.max_drop, say=self._say, symmetric=symmetric, **options)
            return
        model.quantize(int(self.bit_width), samples, method=self.method, **options)

    def _say(self, message: str) -> None:
        if not self.quiet and message:
            print(f"hai: {printable(message)}", file=sys.stderr, flush=True)

    def _warn(self, message: str) -> None:
        print(f"hai: warning: {printable(message)}", file=sys.stderr, flush=True)


def _when_asked(make: Callable[[], Iterable[Any]]) -> Iterable[Any]:
    """What ``make`` gives, made when the first of it is wanted."""
    yield from make()


def _keeping(data: Iterable[Sample], kept: list[Sample]) -> Iterable[Sample]:
    """The samples; the first few are kept for the report, as far as memory allows."""
    room = _KEPT_BYTES
    for sample in data:
        room -= sum(array.nbytes for array in sample.values())
        if room >= 0 and len(kept) < _KEPT_SAMPLES:
            kept.append(sample)
        yield sample
