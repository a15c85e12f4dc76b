"""Reads the tensors of a published PyTorch checkpoint without PyTorch and without executing anything in it.

`read_state_dict("weights.pth")` gives a dict from parameter name to numpy array. Both containers of `torch.save` are
read, through an own interpreter for the few pickle operations that a state dict needs (`pickle_subset`). A file that
holds anything else, such as a whole module, is refused by the name of what it asked for.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..errors import HaiError
from ..paths import path_text
from .archive import Accepted, Limits, read_legacy, read_zip
from .pickle_subset import Value
from .tensors import Tensor, array_bytes, check_bounds, shown, to_array

__all__ = ["Accepted", "Limits", "StateDict", "read_state_dict", "read_value"]

_WRAPPERS = ("state_dict", "model_state_dict", "model", "params", "net", "weights")
_COPY_FACTOR = 2  # of the stored bytes: how much non-contiguous tensors may copy, since many can view one storage


class StateDict(dict[str, NDArray[Any]]):
    """Parameter name to array, in the order of the file; arrays are read-only and may share memory."""

    widened: tuple[str, ...] = ()
    """Names of bfloat16 tensors, which are float32 here."""
    skipped: tuple[str, ...] = ()
    """Names of entries beside the tensors that were left out (numbers, strings, None)."""


def read_state_dict(path: str | os.PathLike[str], key: str | None = None, limits: Limits | None = None) -> StateDict:
    """Read the tensors of a `.pth` or `.pt` file.

    A training checkpoint holds its state dict under a name; `key` says which, and may be left out for the usual ones.
    Raises HaiError for a file that is damaged, hostile or not a state dict.
    """
    return _to_arrays(_find_state_dict(read_value(path, limits), key, Path(path).name), Path(path).name)


def read_value(path: str | os.PathLike[str], limits: Limits | None = None, more: Accepted | None = None) -> Value:
    """The object that the file holds: containers, numbers, strings and `Tensor` records, and what `more` accepts."""
    limits = limits or Limits()
    where = Path(path).name
    try:
        with open(path_text(path), "rb", opener=_open_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > limits.file_bytes:
                raise HaiError(
                    "HAI-Y160",
                    f"{where}: {status.st_size} bytes; a regular file of at most {limits.file_bytes} is read",
                )
            # A zip archive is read entry by entry; the older container has to be scanned for the ends of its pickles.
            if file.read(4) == b"PK\x03\x04":
                return read_zip(file, where, status.st_size, limits, more)
            file.seek(0)
            return read_legacy(file.read(status.st_size), where, limits, more)
    except OSError as cause:
        raise HaiError("HAI-Y161", f"{where}: cannot be read: {cause.strerror or cause}") from None


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a named pipe would block for ever


def _find_state_dict(value: Value, key: str | None, where: str) -> dict[str, Value]:
    if not isinstance(value, dict):
        raise HaiError("HAI-Y162", f"{where}: the file holds {shown(value)}, not a dict of tensors")
    if key is not None:
        value = value.get(key)
        if not isinstance(value, dict) or not _has_tensors(value):
            raise HaiError("HAI-Y163", f"{where}: entry {key!r} is {shown(value)}, not a dict of tensors")
        return value
    if _has_tensors(value):
        return value
    found = [name for name in _WRAPPERS if isinstance(value.get(name), dict) and _has_tensors(value[name])]
    if not found:
        names = ", ".join(shown(name) for name in list(value)[:12])
        raise HaiError("HAI-Y164", f"{where}: no tensors in the file; its entries are {names or 'none'}; give `key`")
    nested: dict[str, Value] = value[found[0]]
    return nested


def _has_tensors(value: dict[Value, Value]) -> bool:
    return any(isinstance(item, Tensor) for item in value.values())


def _to_arrays(entries: dict[str, Value], where: str) -> StateDict:
    result = StateDict()
    widened: list[str] = []
    skipped: list[str] = []
    stored = {id(t.storage): t.storage.size_bytes for t in entries.values() if isinstance(t, Tensor)}
    copy_budget = _COPY_FACTOR * sum(stored.values())
    for name, value in entries.items():
        if not isinstance(name, str):
            raise HaiError("HAI-Y165", f"{where}: an entry is named {shown(name)}, which is no string")
        if not isinstance(value, Tensor):
            if isinstance(value, dict | list | tuple) and value:
                raise HaiError("HAI-Y166", f"{where}: entry {shown(name)} is {shown(value)}, not a tensor; give `key`")
            skipped.append(name)
            continue
        contiguous = check_bounds(value, name, where)
        copies = not contiguous or value.storage.big_endian or value.dtype_name in ("bfloat16", "bool")
        copy_budget -= array_bytes(value) if copies else 0
        if copy_budget < 0:
            raise HaiError("HAI-Y167", f"{where}: tensors view one storage too often; save them with .contiguous()")
        array = to_array(value)
        array.flags.writeable = False
        result[name] = array
        if value.dtype_name == "bfloat16":
            widened.append(name)
    result.widened = tuple(widened)
    result.skipped = tuple(skipped)
    return result
