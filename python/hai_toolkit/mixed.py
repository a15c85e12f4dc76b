"""Mixed precision by goal: bits for every layer, so that the modelled cost is least while the drop stays under a goal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any

from . import _core
from .errors import HaiError
from .model import Model, Sample, _options_json, _sample_reader


def search_mixed(
    model: Model,
    calibration: Iterable[Sample],
    *,
    max_drop: float = 1.0,
    say: Callable[[str], None] | None = None,
    **options: Any,
) -> Model:
    """Quantizes ``model`` in place with 4, 8 or 16 bits or float for each layer and returns it.

    The expected drop of top-1 in points must stay under ``max_drop`` with the upper end of its 80 % interval, measured on
    samples that took no part in rounding or choosing; the result is then quantized with all of them.
    ``model.quantization_report["mixed"]`` holds choice, Pareto front, the mapping to points and ``text`` for people. ``say``
    hears of the progress; ``options`` are those of :meth:`Model.quantize`. Weights are rounded by reconstruction in closed form
    unless ``adaround`` says otherwise.
    """
    if calibration is None:
        raise HaiError(
            "HAI-Y084", "a mixed search needs calibration=: 32 or more samples like those the model will see"
        )
    chosen = {"adaround": {"iterations": 0}, **options, "max_drop": max_drop}
    chosen.pop("precision", None)
    graph, report, warnings, mixed = _core.search_mixed(
        model._graph,
        _sample_reader(iter(calibration), model.inputs, None),
        _options_json(chosen),
        say or (lambda line: None),
    )
    model._graph = graph
    model.quantization_report = {**json.loads(report), "mixed": json.loads(mixed)}
    for warning in warnings:
        print(f"hai: warning: {warning}", file=sys.stderr)
    return model
