"""Models before they are compiled: import, quantize, compile, save."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from . import _core
from .dtypes import dtype_name, numpy_dtype
from .errors import HaiError, printable
from .graph import Quantization
from .paths import path_text
from .preprocessing import Preprocessing

Dim = int | str | tuple[int, str]
Sample = npt.ArrayLike | Mapping[str, npt.ArrayLike]


@dataclass(frozen=True)
class TensorInfo:
    """An input or output: its name, element type and shape (symbols by name, multiples as ``(factor, name)``)."""

    name: str
    dtype: str
    shape: tuple[Dim, ...]
    quantization: Quantization | None = None
    """Of integers that stand for real numbers."""

    def quantize(self, real: npt.ArrayLike) -> npt.NDArray[Any]:
        """Real numbers as the integers of this tensor, by the rule of the operator ``quantize``; others in its element type."""
        if self.quantization is None:
            return np.asarray(real).astype(numpy_dtype(self.dtype))
        dtype = numpy_dtype(self.dtype)
        units = np.asarray(real, np.float32) / np.float32(self.quantization.scale)
        low, high = (bound - self.quantization.zero_point for bound in (np.iinfo(dtype).min, np.iinfo(dtype).max))
        clamped = np.clip(np.nan_to_num(units, nan=low, posinf=high, neginf=low), low, high)
        stored: npt.NDArray[Any] = (np.rint(clamped) + self.quantization.zero_point).astype(dtype)
        return stored

    def dequantize(self, stored: npt.ArrayLike) -> npt.NDArray[Any]:
        """The real numbers that integers of this tensor stand for; floats as they are."""
        if self.quantization is None:
            return np.asarray(stored)
        centred = np.asarray(stored).astype(np.int64) - self.quantization.zero_point
        real: npt.NDArray[Any] = centred.astype(np.float32) * np.float32(self.quantization.scale)
        return real


@dataclass(frozen=True)
class WrittenFile:
    """What a ``.hai`` file takes, and of it the weights: as they are, and as they are stored."""

    file_bytes: int
    weights_bytes: int
    stored_weights_bytes: int
    """Less than ``weights_bytes`` where they are compressed, without loss."""


class CompiledModel:
    """A model compiled for a device, ready to be written."""

    def __init__(self, native: _core.CompiledModel, compress: bool | None = None) -> None:
        self._native = native
        self._compress = compress

    def save(self, path: str | os.PathLike[str]) -> WrittenFile:
        """Writes the ``.hai`` file; an older file of that name stays until the new one is whole."""
        return WrittenFile(*self._native.save(path_text(path), {None: 0, False: 1, True: 2}[self._compress]))

    @property
    def report(self) -> dict[str, Any]:
        """What the compiler did: passes, placement, memory plan (bytes), multiply-accumulates, warnings; ``text`` for people."""
        report: dict[str, Any] = self._native.report()
        return report


class Model:
    """A graph of HAI's operators that can be quantized and compiled."""

    def __init__(self, native: _core.Graph, preprocessing: Preprocessing | None = None) -> None:
        self._graph = native
        self._whole: Any = None
        self.preprocessing = preprocessing
        """How pictures become the input; written into the file. May be set."""
        self.quantization_report: dict[str, Any] = {}
        """What :meth:`quantize` chose: ranges, scales, errors of weights, warnings."""

    @property
    def inputs(self) -> list[TensorInfo]:
        """The model's inputs, in order."""
        return self._infos(self._graph.inputs(), self._graph.input_ids())

    @property
    def outputs(self) -> list[TensorInfo]:
        """The model's outputs, in order."""
        return self._infos(self._graph.outputs(), self._graph.output_ids())

    def _infos(self, described: Sequence[tuple[str, str, list[Dim]]], ids: Sequence[int]) -> list[TensorInfo]:
        scales = [self._graph.quantization(i) for i in ids]
        return [
            TensorInfo(name, dtype, tuple(shape), Quantization.from_native(q))
            for (name, dtype, shape), q in zip(described, scales)
        ]

    @property
    def is_quantized(self) -> bool:
        """Some tensor is made of integers that stand for real numbers."""
        return bool(self._graph.is_quantized())

    def copy(self) -> Model:
        """Another model with the same graph; constants are shared."""
        other = Model(self._graph.copy(), self.preprocessing)
        other.quantization_report = dict(self.quantization_report)
        return other

    @staticmethod
    def from_file(path: str | os.PathLike[str]) -> Model:
        """The portable graph and the preprocessing that a ``.hai`` file holds."""
        native = _core.load(path_text(path)).info()["preprocessing"]
        rule = None if native is None else Preprocessing.from_native(native)
        return Model(_core.read_graph(path_text(path)), rule)

    def text(self, max_constant_bytes: int = 64) -> str:
        """The graph in HAI's text form; larger constants are elided."""
        text: str = self._graph.text(max_constant_bytes)
        return text

    def interpret(self, inputs: Mapping[str, npt.ArrayLike]) -> dict[str, npt.NDArray[Any]]:
        """Runs the exact, slow reference: the judge of every device."""
        arrays = [_matching(info, inputs) for info in self.inputs]
        results = self._graph.interpret([_flat(a) for a in arrays], [list(a.shape) for a in arrays])
        return {
            info.name: np.frombuffer(data, numpy_dtype(dtype)).reshape(shape)
            for info, (dtype, shape, data) in zip(self.outputs, results)
        }

    def training_step(self, train: str | Mapping[str, str | float]) -> Model:
        """One step of training as a graph, for :meth:`interpret`: in f64 where the model is, to judge gradients by.

        Inputs are the model's, ``target``, ``learning_rate``, ``step`` for Adam, then the states; outputs the model's,
        ``loss``, ``gradient_norm``, then what the states become (``NAME/next``).
        """
        return Model(_core.training_step(self._graph, _training_text(train) or ""))

    def quantize(
        self,
        bit_width: int = 8,
        calibration: Iterable[Sample] | None = None,
        *,
        method: Literal["symmetrical", "asymmetrical"] = "asymmetrical",
        progress: Callable[[int], None] | None = None,
        rounding_progress: Callable[[str, int, int, float], None] | None = None,
        **options: Any,
    ) -> Model:
        """Quantizes in place with samples like those the model will see, and returns itself.

        ``calibration`` gives arrays (for a single input) or dictionaries by input name, each a batch in the model's own
        layout; it is read once, one sample at a time. ``progress`` is called with the number of samples read;
        ``rounding_progress``, with ``adaround``, before each layer with its name, its number, how many there are and the
        seconds left.
        ``options`` are the quantizer's, by name: ``observer`` ("mse", "minmax", "percentile", "kl"),
        ``bias_correction``, ``keep_float`` (names of nodes that stay f32), ``precision`` and ``layers`` ("w8a8",
        "w4a8", "w8a16", "w16a16", "w8", "w4", "f16", "float"; by node name), ``equalize``, ``adaround``, ``threads``,
        ``seed``, ``force``, ...; an unknown one is an error that lists them.
        """
        widths = {4: "w4a8", 8: "w8a8", 16: "w16a16"}
        if bit_width not in widths:
            raise HaiError("HAI-Y030", f"bit_width {bit_width} does not exist; choose one of 4, 8, 16")
        if method not in ("symmetrical", "asymmetrical"):
            raise HaiError("HAI-Y035", f'method "{method}" does not exist; choose one of symmetrical, asymmetrical')
        if isinstance(calibration, np.ndarray):
            raise HaiError("HAI-Y036", "calibration is one array; give a list of samples: [array] for a single one")
        if calibration is None:
            raise HaiError(
                "HAI-Y031", "quantization needs calibration=: 16 to 500 samples like those the model will see"
            )
        chosen = {"precision": widths[bit_width], "symmetric": method == "symmetrical", **options}
        graph, report, warnings, self._whole = _core.quantize(
            self._graph,
            _sample_reader(iter(calibration), self.inputs, progress),
            _options_json(chosen),
            rounding_progress,
        )
        self._graph = graph
        self.quantization_report = json.loads(report)
        for warning in warnings:
            print(f"hai: warning: {warning}", file=sys.stderr)
        return self

    def compile(
        self,
        device: str = "cpu",
        *,
        dims: Mapping[str, int | tuple[int, int]] | None = None,
        disabled_passes: Sequence[str] = (),
        print_ir: Sequence[str] = (),
        print_sink: Callable[[str, str], None] | None = None,
        compress: bool | None = None,
        halo: str | None = None,
        train: str | Mapping[str, str | float] | None = None,
    ) -> CompiledModel:
        """Compiles for ``device``.

        ``train`` also compiles a step of training, for :class:`Trainer`: ``{"loss": "cross_entropy", "optimizer": "adamw",
        "trainable": "last:2"}``, or the same as text, as after ``hai compile --train``.

        ``compress``: store weights compressed; ``None``: where that saves at least a tenth (f32: a fifth) of them.
        ``dims`` binds symbols, or gives the batch symbol a range; ``print_ir`` takes ``before:PASS`` and ``after:PASS``.
        ``halo``, of device ``sd3403``: rows that two stripes of a cascade need are ``kept``, ``recomputed``, or, by
        default, ``auto``: what is quicker.
        """
        if halo is not None and device != "sd3403":
            raise HaiError(
                "HAI-Y039", f"halo= is for device sd3403, and the model is compiled for {device}; leave it out"
            )
        sink = print_sink or (lambda place, text: print(printable(f"// {place}\n{text}")))
        report = json.dumps(self.quantization_report) if self.quantization_report else ""
        rule = self.preprocessing.to_native() if self.preprocessing is not None else None
        compiled = CompiledModel(
            _core.compile(
                self._graph,
                device,
                _dim_ranges(dims),
                list(disabled_passes),
                list(print_ir),
                sink,
                rule,
                report,
                "auto" if halo is None else str(halo),
                _training_text(train),
                self._whole,
            ),
            compress,
        )
        for warning in compiled.report["warnings"]:
            print(f"hai: warning: {warning}", file=sys.stderr)
        return compiled


def _is_whole(number: Any) -> bool:
    return isinstance(number, (int, np.integer)) and not isinstance(number, bool) and abs(int(number)) < 1 << 63


def _dim_ranges(dims: Mapping[str, int | tuple[int, int]] | None) -> dict[str, tuple[int, int]]:
    ranges: dict[str, tuple[int, int]] = {}
    for name, dim in (dims or {}).items():
        numbers = tuple(dim) if isinstance(dim, (tuple, list)) else (dim, dim)
        if len(numbers) != 2 or not all(map(_is_whole, numbers)):
            raise HaiError("HAI-Y038", f"dims: {name} is {dim!r}; give a whole number, or (least, most) for the batch")
        ranges[name] = (int(numbers[0]), int(numbers[1]))
    return ranges


def _training_text(train: str | Mapping[str, str | float] | None) -> str | None:
    if train is None or isinstance(train, str):
        return train
    return ",".join(f"{key}={int(value) if isinstance(value, bool) else value}" for key, value in train.items())


def _options_json(options: Mapping[str, Any]) -> str:
    def plain(value: Any) -> Any:
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, (set, frozenset)):
            return sorted(value)
        raise HaiError(
            "HAI-Y037", f"an option holds {type(value).__name__}; give numbers, strings, lists, dictionaries"
        )

    return json.dumps(options, default=plain)


def _flat(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _matching(info: TensorInfo, arrays: Mapping[str, npt.ArrayLike]) -> npt.NDArray[Any]:
    if info.name not in arrays:
        raise HaiError("HAI-Y032", f'no value for input "{info.name}"; given: {", ".join(sorted(arrays)) or "nothing"}')
    array = np.asarray(arrays[info.name])
    if dtype_name(array.dtype) != info.dtype:
        raise HaiError(
            "HAI-Y033", f'input "{info.name}" is {info.dtype}, the array is {array.dtype}; convert it with .astype()'
        )
    return array


def _sample_reader(
    samples: Iterator[Sample], inputs: Sequence[TensorInfo], progress: Callable[[int], None] | None
) -> Callable[[], list[tuple[str, list[int], npt.NDArray[np.uint8]]] | None]:
    count = 0

    def read() -> list[tuple[str, list[int], npt.NDArray[np.uint8]]] | None:
        nonlocal count
        sample = next(samples, None)
        if sample is None:
            return None
        if not isinstance(sample, Mapping):
            if len(inputs) != 1:
                raise HaiError(
                    "HAI-Y034",
                    f"the model has {len(inputs)} inputs: each calibration sample must be a dictionary by name",
                )
            sample = {inputs[0].name: sample}
        count += 1
        if progress is not None:
            progress(count)
        arrays = [_matching(info, sample) for info in inputs]
        return [(dtype_name(a.dtype), list(a.shape), _flat(a)) for a in arrays]

    return read


def from_onnx(
    path: str | os.PathLike[str],
    *,
    dims: Mapping[str, int | tuple[int, int]] | None = None,
    batch: tuple[int, int] = (1, 16),
    free_batch: bool = False,
    preprocessing: Preprocessing | None = None,
) -> Model:
    """Imports an ONNX file. ``dims`` binds its named dimensions; a named first dimension stays free as the batch, within ``batch``
    or the range that ``dims`` gives it. ``compile`` binds what is still free.

    ``free_batch`` gives a model exported for one sample a free batch, where its reshapes allow it.
    """
    return Model(_core.import_onnx(path_text(path), _dim_ranges(dims), batch[0], batch[1], free_batch), preprocessing)


def from_torch(
    module: Any,
    example_inputs: Any,
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    batch: tuple[int, int] | None = (1, 16),
    preprocessing: Preprocessing | None = None,
    optimize: bool = True,
) -> Model:
    """Imports a PyTorch module through PyTorch's own ONNX export; the module is put into evaluation mode for it.

    ``example_inputs`` is a tensor or a tuple of tensors; with ``batch`` their first dimension becomes free within these bounds.
    ``optimize=False`` keeps what PyTorch's exporter would fold, such as BatchNorm with its statistics.
    """
    import tempfile
    from pathlib import Path

    import torch

    inputs = example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
    shapes = None
    if batch is not None and batch[1] > 1:
        n = torch.export.Dim("N", min=batch[0], max=batch[1])
        # An example of one would be taken for a constant by the exporter.
        inputs = tuple(torch.cat([x, x]) if x.shape[0] == 1 else x for x in inputs)
        shapes = tuple({0: n} for _ in inputs)
    training = module.training
    module.eval()
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            torch.onnx.export(
                module,
                inputs,
                path,
                input_names=list(input_names) if input_names else None,
                output_names=list(output_names) if output_names else None,
                dynamic_shapes=shapes,
                external_data=False,
                dynamo=True,
                optimize=optimize,
                verbose=False,
            )
            return from_onnx(path, batch=batch or (1, 1), preprocessing=preprocessing)
    finally:
        module.train(training)
