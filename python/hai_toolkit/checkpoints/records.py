"""Reads a checkpoint that holds a whole pickled module, without PyTorch and without executing anything in it.

The interpreter is that of ``state_dict``, with three more operations: objects of allow-listed classes become a
``ModuleRecord``, a name and a dict, and stay that. No class is looked up, no constructor runs. A file that mentions any other
name is refused by that name.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import HaiError
from ..state_dict import Accepted, Limits, read_value
from ..state_dict.pickle_subset import Value, globals_table
from ..state_dict.tensors import shown
from .allowed import DETECTOR_MODULES, FORMER_LAYERS, INERT, TORCH_LAYERS


@dataclass(slots=True, eq=False)
class ModuleRecord:
    """An object of an allow-listed class as the file describes it."""

    name: str
    """The full name of its class, such as ``models.common.Conv``."""
    attributes: dict[Value, Value] = field(default_factory=dict, repr=False)


def read_checkpoint(path: str | os.PathLike[str], limits: Limits | None = None) -> Any:
    """The object of a ``.pt`` file: dicts, lists, numbers, strings, tensors (records) and module records.

    Raises HaiError for a file that is damaged or asks for anything outside the allow-list.
    """
    where = Path(path).name

    def make(name: str) -> Callable[[tuple[Value, ...]], Value]:
        return lambda arguments: ModuleRecord(name)

    def make_set(arguments: tuple[Value, ...]) -> Value:
        if len(arguments) > 1 or (arguments and not isinstance(arguments[0], list | tuple)):
            raise HaiError("HAI-Y200", f"{where}: a set is made from {shown(arguments)}, not from a list")
        return list(arguments[0]) if arguments else []

    def set_state(target: Value, state: Value) -> None:
        if isinstance(target, dict):
            return
        if not isinstance(target, ModuleRecord):
            raise HaiError("HAI-Y201", f"{where}: the pickle sets the state of {shown(target)}, which has none")
        if target.name in INERT:
            return
        if not isinstance(state, dict):
            raise HaiError("HAI-Y202", f"{where}: the state of a {target.name} is {shown(state)}, not a dict")
        target.attributes.update(state)

    names: dict[str, Callable[[tuple[Value, ...]], Value] | None] = {
        name: make(name) for name in (*TORCH_LAYERS, *FORMER_LAYERS, *DETECTOR_MODULES, *INERT)
    }
    names |= {"builtins.set": make_set, "__builtin__.set": make_set}
    return read_value(path, limits, Accepted(globals_table(names), set_state, _refusal))


def _refusal(name: str) -> str:
    return (
        f"the file asks for {name}, which no known layer needs; nothing of it was run. If you trust the file and it holds a "
        "network of your own, load it where its code is installed and pass the module itself: "
        "Quantizer(...).convert(module, example_inputs=...)"
    )


def is_module(value: Value) -> bool:
    """A record of a layer, not of something inert beside the network."""
    return isinstance(value, ModuleRecord) and value.name not in INERT
