"""The one exception that hai_toolkit raises for what a user or a file did wrong, and text as a terminal can show it."""

from __future__ import annotations

import re

# Control characters but line ends, and the marks that turn the direction of writing: as src/base/utf8.h has them.
_STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"


def printable(text: str) -> str:
    """What a terminal would obey, and what is no text, as escapes: names from files may hold anything."""
    return _STEERING.sub(_escape, text.encode("utf-8", "backslashreplace").decode())


class HaiError(Exception):
    """Says what went wrong, where, and what to do; `code` (`HAI-`, a letter, three digits) is stable."""

    def __init__(self, code: str, message: str) -> None:
        message = printable(message)
        super().__init__(f"{message} [{code}]")
        self.code = code
        self.message = message
