"""Why a measurement cannot run here, and what that means for a program's exit status."""

from __future__ import annotations

from collections.abc import Callable

_OPTIONAL = {"torch": "PyTorch", "onnxruntime": "ONNX Runtime", "onnxscript": "onnxscript", "PIL": "Pillow"}


class Skipped(Exception):  # noqa: N818 (a reason, not an error)
    """A measurement that cannot run on this machine; says why and what would let it run."""


def exit_status(measure: Callable[[], bool]) -> int:
    """1 if `measure` says that a goal was missed; a measurement that cannot run is skipped with its reason."""
    try:
        return 0 if measure() else 1
    except Skipped as reason:
        print(f"skipped: {reason}", flush=True)
    except ModuleNotFoundError as missing:
        if missing.name not in _OPTIONAL:
            raise
        print(f"skipped: {_OPTIONAL[missing.name]} is not installed", flush=True)
    return 0
