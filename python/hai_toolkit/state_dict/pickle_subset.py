"""An interpreter for the part of pickle that a state dict needs.

Python's own unpickler runs what a file tells it to run, and even with its look-up restricted a file can set attributes
on whatever that look-up returns. This one is a small stack machine over `pickletools`, which only decodes: the values
on its stack are numbers, strings, tuples, lists, dicts and three opaque records; the only calls are those of the table
it is given; every other opcode and every other global is refused by name. Nothing in a file is executed or imported.

Objects (NEWOBJ, BUILD) are made only where the caller gives `set_state`, and then as that caller's records (`checkpoints`).
Not supported on purpose: extension codes, out-of-band buffers, OBJ, INST, sets.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..errors import HaiError

Value: TypeAlias = Any
"""What the stack holds: int, float, str, bytes, bool, None, tuple, list, dict, or a record of this package."""


@dataclass(frozen=True, slots=True)
class Global:
    """A name that the file mentions and the table knows; `make` is None for a name that is only a constant."""

    name: str
    make: Callable[[tuple[Value, ...]], Value] | None = None


class _Mark:
    """The stack's MARK; never leaves this file."""


_MARK = _Mark()
_CONSTANTS: dict[str, Value] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
    "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
}  # fmt: skip
_KEY_TYPES = (str, int, float, bytes, type(None))  # a deep tuple as a key would overflow the C stack in hash()


class _Window:
    """A file for `pickletools`, over part of a buffer: its reads never allocate more than the buffer holds."""

    def __init__(self, data: memoryview) -> None:
        self._data, self._at = data, 0

    def read(self, count: int) -> bytes:
        start = self._at
        self._at = min(len(self._data), start + max(count, 0))
        return bytes(self._data[start : self._at])

    def readline(self) -> bytes:
        end = self._at
        while end < len(self._data):
            block = bytes(self._data[end : end + 4096])
            found = block.find(b"\n")
            if found >= 0:
                return self.read(end + found + 1 - self._at)
            end += len(block)
        return self.read(end - self._at)

    def tell(self) -> int:
        return self._at


class PickleSubset:
    """Reads one pickle after another from `data`, starting at `position`.

    `find_global` maps a dotted name to what the name stands for and raises HaiError for one it does not know;
    `find_storage` turns a persistent id into a record; `set_state` takes a record and its state.
    """

    def __init__(
        self,
        data: memoryview,
        where: str,
        find_global: Callable[[str], Global],
        find_storage: Callable[[Value], Value],
        opcode_limit: int,
        set_state: Callable[[Value, Value], None] | None = None,
    ) -> None:
        self.position = 0
        self._data = data
        self._where = where
        self._find_global = find_global
        self._find_storage = find_storage
        self._opcode_limit = opcode_limit
        self._set_state = set_state
        self._stack: list[Value] = []
        self._memo: dict[int, Value] = {}

    def load(self) -> Value:
        """The value of the pickle at `position`, which moves behind it."""
        self._stack, self._memo = [], {}
        window = _Window(self._data[self.position :])
        count = 0
        try:
            for opcode, argument, _ in pickletools.genops(window):  # type: ignore[arg-type]
                count += 1
                if count > self._opcode_limit:
                    raise self.error("HAI-Y101", f"the pickle has more than {self._opcode_limit} operations")
                if opcode.name == "STOP":
                    break
                self._step(opcode.name, argument)
        except HaiError:
            raise
        except (ValueError, UnicodeError, OverflowError, IndexError, KeyError, Warning) as cause:
            # What pickletools raises on bytes that are no pickle, and an empty stack or an unknown memo entry.
            detail = str(cause)[:200] or type(cause).__name__
            raise self.error("HAI-Y102", f"not a valid pickle near byte {window.tell()}: {detail}") from None
        self.position += window.tell()
        if len(self._stack) != 1:
            raise self.error("HAI-Y103", f"the pickle leaves {len(self._stack)} values where one is expected")
        result = self._stack.pop()
        self._memo = {}
        return result

    def error(self, code: str, message: str) -> HaiError:
        """A HaiError that names the file."""
        return HaiError(code, f"{self._where}: {message}")

    def _step(self, name: str, argument: Value) -> None:
        stack = self._stack
        if name in _LITERALS:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in ("PROTO", "FRAME"):
            pass
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self._memo[argument] = self._top()
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = self._top()
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(self._memo[argument])
        elif name == "MARK":
            stack.append(_MARK)
        else:
            self._step_container(name, argument)

    def _step_container(self, name: str, argument: Value) -> None:
        stack = self._stack
        if name in ("EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT"):
            stack.append({"EMPTY_TUPLE": (), "EMPTY_LIST": [], "EMPTY_DICT": {}}[name])
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            items = [self._pop() for _ in range(int(name[-1]))]
            stack.append(tuple(reversed(items)))
        elif name == "TUPLE":
            stack.append(tuple(self._pop_to_mark()))
        elif name == "LIST":
            stack.append(self._pop_to_mark())
        elif name == "DICT":
            pairs = self._pop_to_mark()
            stack.append({})
            self._set_items(pairs)
        elif name == "APPEND":
            self._extend([self._pop()])
        elif name == "APPENDS":
            self._extend(self._pop_to_mark())
        elif name == "SETITEM":
            value, key = self._pop(), self._pop()
            self._set_items([key, value])
        elif name == "SETITEMS":
            self._set_items(self._pop_to_mark())
        elif name == "POP":
            stack.pop()
        elif name == "POP_MARK":
            self._pop_to_mark()
        else:
            self._step_object(name, argument)

    def _step_object(self, name: str, argument: Value) -> None:
        stack = self._stack
        if name == "GLOBAL":
            module, _, attribute = argument.partition(" ")
            stack.append(self._find_global(f"{module}.{attribute}"))
        elif name == "STACK_GLOBAL":
            attribute, module = self._pop(), self._pop()
            if not isinstance(attribute, str) or not isinstance(module, str):
                raise self.error("HAI-Y104", "the name of a global is not a string")
            stack.append(self._find_global(f"{module}.{attribute}"))
        elif name == "BINPERSID":
            stack.append(self._find_storage(self._pop()))
        elif name == "REDUCE" or (name == "NEWOBJ" and self._set_state is not None):
            arguments, function = self._pop(), self._pop()
            if not isinstance(function, Global) or function.make is None or not isinstance(arguments, tuple):
                what = function.name if isinstance(function, Global) else f"a {type(function).__name__}"
                raise self.error("HAI-Y105", f"the pickle calls {what}, which is not a function of a state dict")
            stack.append(function.make(arguments))
        elif name == "BUILD" and self._set_state is not None:
            state = self._pop()
            self._set_state(self._top(), state)
        elif name == "BUILD":
            self._pop()  # the state: module.state_dict() leaves `_metadata` here, which nothing needs
            if not isinstance(self._top(), dict):
                raise self.error(
                    "HAI-Y106", f"the pickle sets the state of a {type(self._top()).__name__}; only a dict may have one"
                )
        else:
            raise self.error(
                "HAI-Y107", f"the pickle uses {name}, which no state dict needs; save `module.state_dict()` instead"
            )

    def _pop(self) -> Value:
        value = self._stack.pop()
        if value is _MARK:
            raise IndexError("an operand is missing")
        return value

    def _top(self) -> Value:
        value = self._stack[-1]
        if value is _MARK:
            raise IndexError("an operand is missing")
        return value

    def _pop_to_mark(self) -> list[Value]:
        items: list[Value] = []
        while (value := self._stack.pop()) is not _MARK:
            items.append(value)
        items.reverse()
        return items

    def _extend(self, items: list[Value]) -> None:
        target = self._top()
        if not isinstance(target, list):
            raise self.error("HAI-Y108", f"the pickle appends to a {type(target).__name__}")
        target.extend(items)

    def _set_items(self, pairs: list[Value]) -> None:
        target = self._top()
        if not isinstance(target, dict) or len(pairs) % 2:
            raise self.error("HAI-Y109", f"the pickle sets {len(pairs)} keys and values of a {type(target).__name__}")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if not isinstance(key, _KEY_TYPES):
                raise self.error("HAI-Y110", f"a dict key is a {type(key).__name__}; strings and numbers are allowed")
            target[key] = value


def globals_table(entries: Mapping[str, Callable[[tuple[Value, ...]], Value] | None]) -> dict[str, Global]:
    """The table of `find_global` from names and what calling each of them makes."""
    return {name: Global(name, make) for name, make in entries.items()}
