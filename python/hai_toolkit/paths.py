"""Paths on their way to the operating system, which would cut them at a NUL character without a word."""

from __future__ import annotations

import os

from .errors import HaiError


def path_text(path: str | bytes | os.PathLike[str]) -> str:
    """The path as text; bytes that are no UTF-8 stay as Python passes them (PEP 383)."""
    text = os.fsdecode(path)
    if "\0" in text:
        raise HaiError(
            "HAI-Y424",
            f"the path {text!r} holds a NUL character at position {text.index(chr(0))}; no file can be called so: "
            "take it out",
        )
    return text
