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
    refit: bool = True,
    say: Callable[[str], None] | None = None,
    **options: Any,
) -> Model:
    """Quantizes ``model`` in place with 4, 8 or 16 bits a layer and returns it.

    Half of the samples choose, the other half measures: the drop of top-1 in points, expected from margins, must stay under
    ``max_drop``; it is given with an 80 % interval. ``model.quantization_report["mixed"]`` holds the Pareto front, the mapping to
    points and ``text`` for people. With ``refit`` the chosen model is quantized once more with all samples. ``say`` hears of the
    progress; ``options`` are those of :meth:`Model.quantize`. Four-bit weights learn their rounding unless ``adaround=False``.
    """
    if calibration is None:
        raise HaiError(
            "HAI-Y084", "a mixed search needs calibration=: 32 or more samples like those the model will see"
        )
    chosen = {"adaround": True, **options}
    chosen.pop("precision", None)
    graph, report, warnings, _, mixed = _core.search_mixed(
        model._graph,
        _sample_reader(iter(calibration), model.inputs, None),
        _options_json(chosen),
        float(max_drop),
        refit,
        say or (lambda line: None),
    )
    model._graph = graph
    model.quantization_report = {**json.loads(report), "mixed": json.loads(mixed)}
    for warning in warnings:
        print(f"hai: warning: {warning}", file=sys.stderr)
    return model
