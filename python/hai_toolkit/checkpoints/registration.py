"""Makes the modules of published checkpoints loadable with ``torch.load`` and its default ``weights_only=True``.

PyTorch lets a program declare a class safe under a published name (``torch.serialization.add_safe_globals``). That is
done when both packages are there: at once if PyTorch is loaded already, else right after the user imports it, through a
finder that takes itself off ``sys.meta_path`` the first time. ``hai_toolkit`` never imports PyTorch by itself.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType

from .allowed import DETECTOR_MODULES, FORMER_LAYERS, TORCH_LAYERS

_state: dict[str, str | None] = {"problem": "PyTorch has not been imported"}


def registration_problem() -> str | None:
    """Why ``torch.load`` does not know the modules, or None when it does."""
    return _state["problem"]


def register_with_torch() -> None:
    """Registers now if PyTorch is loaded, else as soon as it is."""
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "serialization") and hasattr(torch, "nn"):
        _register()
    elif not any(isinstance(finder, _AfterTorch) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterTorch())


def _register() -> None:
    if _state["problem"] is None:
        return
    try:
        import torch

        from . import modules

        pairs: list[object] = [(getattr(modules, own), name) for name, own in DETECTOR_MODULES.items()]
        for name, now in ({name: name for name in TORCH_LAYERS} | FORMER_LAYERS).items():
            module, _, attribute = now.rpartition(".")
            layer = getattr(importlib.import_module(module), attribute, None)
            if layer is not None:
                pairs.append((layer, name))
        # Protocol 2 pickles of Python 3 call it `__builtin__`; a module keeps names of buffers in one.
        pairs += [(set, "builtins.set"), (set, "__builtin__.set")]
        torch.serialization.add_safe_globals(pairs)
        _state["problem"] = None
    except Exception as cause:  # a PyTorch that is too old or too new must still be importable
        _state["problem"] = f"this PyTorch does not take safe globals: {type(cause).__name__}: {cause}"


class _AfterTorch(importlib.abc.MetaPathFinder):
    """Finds PyTorch as the other finders do, and has ``_register`` called after it has loaded."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("torch")
        if spec is None or spec.loader is None:
            sys.meta_path.insert(0, self)  # not installed: it may be later
            return spec
        loader = spec.loader
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            del loader.exec_module  # the instance's attribute: the class has its own
            execute(module)
            _register()

        loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
