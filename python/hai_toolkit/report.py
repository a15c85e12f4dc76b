"""Where a quantized model loses accuracy: layer by layer, as text, JSON and one self-contained HTML page."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from . import _core
from .errors import HaiError
from .model import Model, Sample, _sample_reader, from_onnx
from .paths import path_text
from .preprocessing import Preprocessing, list_images

ModelOrPath = Model | str | os.PathLike[str]


class Report(dict[str, Any]):
    """The accuracy report, a dictionary: ``outputs``, ``layers`` (in the order in which they run), ``advice``, ...

    ``print(report)`` shows the worst layers first; :meth:`html` writes a page with pictures of the distributions.
    """

    def text(self, layers: int = 10) -> str:
        """The report for people, with the ``layers`` worst layers (0: all)."""
        text: str = _core.accuracy_text(json.dumps(self), layers)
        return text

    def __str__(self) -> str:
        # Without a comparison (a model that came quantized) there is only what the quantizer chose.
        return self.text() if "document" in self else json.dumps(self, indent=1)

    def json(self, path: str | os.PathLike[str]) -> None:
        """Writes the whole report as JSON."""
        _core.write_file(path_text(path), json.dumps(self, indent=1) + "\n")

    def html(self, path: str | os.PathLike[str]) -> None:
        """Writes one HTML page that needs no other file."""
        _core.write_file(path_text(path), _core.accuracy_html(json.dumps(self)))

    @property
    def worst_layers(self) -> list[dict[str, Any]]:
        """Layers by their isolated error, worst first; layers without one last."""

        def error(layer: dict[str, Any]) -> float:
            isolated = layer["isolated"]
            exact = isolated is None or isolated["sqnr_db"] is None
            return float("inf") if exact else float(isolated["sqnr_db"])

        return sorted(self["layers"], key=error)


def compare(
    float_model: ModelOrPath,
    quantized_model: ModelOrPath,
    inputs: str | os.PathLike[str] | Iterable[Sample],
    *,
    samples: int = 32,
    examined_layers: int = 8,
    mixed: dict[str, Any] | None = None,
    threads: int = 0,
) -> Report:
    """Compares a quantized model with its float model, layer by layer.

    Models are :class:`Model` objects or files (``.onnx``, ``.hai``). ``inputs`` is a folder of pictures, which go through the
    model's own preprocessing, or arrays (dictionaries by name for several inputs); at most ``samples`` are used (0: all).
    The ``examined_layers`` worst layers are tried at 16 bits.
    """
    reference, reference_name = _load(float_model, "float model")
    quantized, quantized_name = _load(quantized_model, "quantized model")
    skipped: list[tuple[str, str]] = []
    if isinstance(inputs, (str, os.PathLike)):
        rule = quantized.preprocessing or reference.preprocessing
        if rule is None:
            raise HaiError(
                "HAI-Y080", f"{os.fspath(inputs)}: neither model says how pictures become its input; set .preprocessing"
            )
        source: Iterable[Sample] = _pictures(_spread(list_images(inputs), samples), rule, skipped)
    else:
        source = _first(inputs, samples)
    document = _core.measure_layers(
        reference._graph,
        quantized._graph,
        _sample_reader(iter(source), reference.inputs, None),
        reference_name,
        quantized_name,
        skipped,
        json.dumps(quantized.quantization_report) if quantized.quantization_report else "",
        json.dumps(mixed) if mixed else "",
        examined_layers,
        threads,
    )
    report = Report(json.loads(document))
    report["skipped"] = [{"sample": name, "reason": reason} for name, reason in skipped]
    return report


def _load(model: ModelOrPath, word: str) -> tuple[Model, str]:
    if isinstance(model, Model):
        return model, word
    path = Path(path_text(model))
    if path.suffix == ".onnx":
        return from_onnx(path), path.name
    if path.suffix == ".hai":
        return Model.from_file(path), path.name
    raise HaiError("HAI-Y081", f"{path} is neither .onnx nor .hai; pass a hai_toolkit.Model for other sources")


def _spread(paths: Sequence[str], wanted: int) -> list[str]:
    """Every k-th path, so that a sorted folder gives all its parts."""
    if wanted <= 0 or wanted >= len(paths):
        return list(paths)
    return [paths[i * len(paths) // wanted] for i in range(wanted)]


def _pictures(paths: Sequence[str], rule: Preprocessing, skipped: list[tuple[str, str]]) -> Iterable[Sample]:
    for path in paths:
        try:
            yield rule(path)
        except HaiError as problem:
            skipped.append((path, str(problem)))
    if len(skipped) == len(paths):
        raise HaiError(
            "HAI-Y082", f"none of {len(paths)} pictures could be read, first {skipped[0][0]}: {skipped[0][1]}"
        )


def _first(samples: Iterable[Sample], wanted: int) -> Iterable[Sample]:
    for index, sample in enumerate(samples):
        if wanted > 0 and index >= wanted:
            return
        yield sample
