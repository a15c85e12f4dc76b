"""The one exception that hai_toolkit raises for what a user or a file did wrong."""

from __future__ import annotations


class HaiError(Exception):
    """Says what went wrong, where, and what to do; `code` (`HAI-`, a letter, three digits) is stable."""

    def __init__(self, code: str, message: str) -> None:
        # Names of files may hold bytes that are no text; messages are text.
        message = message.encode("utf-8", "backslashreplace").decode()
        super().__init__(f"{message} [{code}]")
        self.code = code
        self.message = message
