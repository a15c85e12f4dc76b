"""What a caller adds to a checkpoint of a training, as the file keeps it and back.

Whole numbers, floats and bytes are stored as what they are, so that C++ reads them too. All else is stored as JSON text, and
the names of those under one name of our own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import HaiError

_JSON_NAMES = "hai.json"  # which of the byte strings are JSON text
_DEEPEST = 64


@dataclass
class StoredValues:
    """The values by the types that the file knows."""

    integers: dict[str, int] = field(default_factory=dict)
    reals: dict[str, float] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)


def _as_json(name: str, value: object, depth: int = 0) -> Any:
    """The value in the types that JSON gives back: tuples become lists, numbers of numpy those of Python."""
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, np.generic) and isinstance(value.item(), (bool, int, float)):
        return value.item()
    if depth < _DEEPEST and isinstance(value, (list, tuple)):
        return [_as_json(name, item, depth + 1) for item in value]
    if depth < _DEEPEST and isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _as_json(name, item, depth + 1) for key, item in value.items()}
    raise HaiError(
        "HAI-Y067",
        f'"{name}" holds a {type(value).__name__}, which a checkpoint cannot keep; give numbers, text, bytes, or lists and '
        "dictionaries (with text as keys) of numbers and text: .tolist() or .tobytes() of an array",
    )


def to_stored(values: Mapping[str, object]) -> StoredValues:
    """For the file."""
    stored = StoredValues()
    json_names = []
    for name, value in values.items():
        if name == _JSON_NAMES:
            raise HaiError("HAI-Y068", f'"{name}" is a name that checkpoints use themselves; take another')
        plain = value.item() if isinstance(value, np.generic) else value
        if isinstance(plain, (bytes, bytearray, memoryview)):
            stored.texts[name] = bytes(plain)
        elif isinstance(plain, float):
            stored.reals[name] = plain
        elif isinstance(plain, int) and not isinstance(plain, bool) and -(2**63) <= plain < 2**63:
            stored.integers[name] = plain
        else:
            stored.texts[name] = json.dumps(_as_json(name, plain)).encode()
            json_names.append(name)
    if json_names:
        stored.texts[_JSON_NAMES] = json.dumps(json_names).encode()
    return stored


def from_stored(values: dict[str, Any]) -> dict[str, Any]:
    """Of the file: numbers, bytes, lists of numbers; what is marked as JSON is read."""
    out = {name: value for name, value in values.items() if name != _JSON_NAMES}
    try:
        for name in json.loads(values.get(_JSON_NAMES, b"[]")):
            out[name] = json.loads(out[name])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise HaiError("HAI-Y069", f"what was added to the checkpoint is no JSON text: {error}") from error
    return out
