"""What a peer says of one layer, and the JSON file that keeps it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """One command of the peer's schedule; shapes are NHWC, bytes and cycles are of one inference."""

    model: str
    name: str
    operator: str
    inputs: tuple[Shape, ...]
    output: Shape
    kernel: Shape
    stride: Shape
    macs: int
    weight_bytes: int
    """As the model has them: before compression, without padding."""
    compute_cycles: int
    dram_cycles: int
    total_cycles: int
    """With what overlaps: the longest of the engines' times."""
    dram_bytes: int
    detail: dict[str, Any] = field(default_factory=dict)
    """What this peer says beyond that: blocks, traversal, the parts of the cycles."""


def write_layers(path: Path, facts: dict[str, Any], layers: Sequence[Layer]) -> None:
    """One JSON object: `facts` (date, command, versions, totals) and `layers`, a line each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join("  " + json.dumps(asdict(layer)) for layer in layers)
    head = json.dumps(facts, indent=1)[1:-1].rstrip()
    path.write_text("{" + head + (",\n" if facts else "") + ' "layers": [\n' + lines + "\n ]\n}\n")


def read_layers(path: Path) -> tuple[dict[str, Any], list[Layer]]:
    """What `write_layers` wrote."""
    content = json.loads(path.read_text())
    layers = [
        Layer(**{**entry, "inputs": tuple(map(tuple, entry["inputs"])), **_shapes(entry)})
        for entry in content.pop("layers")
    ]
    return content, layers


def _shapes(entry: dict[str, Any]) -> dict[str, Shape]:
    return {key: tuple(entry[key]) for key in ("output", "kernel", "stride")}
