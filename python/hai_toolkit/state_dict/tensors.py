"""Storages and tensors as a checkpoint describes them, checked and turned into numpy arrays.

A tensor is a window on a storage: offset, shape and strides, in elements. Whatever the file says is checked against the
bytes that are there before numpy sees it. bfloat16, which numpy lacks, is widened to float32, exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import HaiError
from .pickle_subset import Global, Value

_MOST_DIMENSIONS = 32
_MOST_ELEMENTS = 1 << 62

DTYPES: dict[str, np.dtype[Any]] = {
    "float64": np.dtype(np.float64),
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(np.uint16),  # its bits
    "int64": np.dtype(np.int64),
    "int32": np.dtype(np.int32),
    "int16": np.dtype(np.int16),
    "int8": np.dtype(np.int8),
    "uint64": np.dtype(np.uint64),
    "uint32": np.dtype(np.uint32),
    "uint16": np.dtype(np.uint16),
    "uint8": np.dtype(np.uint8),
    "bool": np.dtype(np.bool_),
}
"""Element types by PyTorch's name, and how numpy holds their bits."""

STORAGE_DTYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "UntypedStorage": "uint8",
}
"""PyTorch's storage classes, which name the element type of a typed storage."""


@dataclass(slots=True, eq=False)
class Storage:
    """A run of elements; `data` is filled in once the container has been read."""

    key: str
    dtype_name: str
    count: int
    data: bytes | bytearray | None = None
    big_endian: bool = False

    @property
    def size_bytes(self) -> int:
        """What the elements take in the file."""
        return self.count * DTYPES[self.dtype_name].itemsize


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """What `torch._utils._rebuild_tensor_v2` was given, checked for type but not yet for bounds."""

    storage: Storage
    dtype_name: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def shown(value: Value) -> str:
    """A value of the file, for an error message: short, and safe for integers of any length."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 1 << 64:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, bool | int | float | str | bytes | None):
        return repr(value[:80] if isinstance(value, str | bytes) else value)
    return f"a {type(value).__name__}"


def is_count(value: Value) -> bool:
    """A whole number that can be a size, an offset or a stride."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST_ELEMENTS


def _counts(value: Value, what: str, where: str) -> tuple[int, ...]:
    if not isinstance(value, tuple) or len(value) > _MOST_DIMENSIONS:
        size = f" of {len(value)}" if isinstance(value, tuple) else ""
        raise HaiError(
            "HAI-Y120", f"{where}: {what} is a {type(value).__name__}{size}; at most {_MOST_DIMENSIONS} numbers"
        )
    for item in value:
        if not is_count(item):
            raise HaiError("HAI-Y121", f"{where}: {what} contains {shown(item)}, which is no size")
    return value


def rebuild_tensor(arguments: tuple[Value, ...], where: str, dtype: Value = None) -> Tensor:
    """The record for (storage, offset, shape, strides, ...); `dtype` reinterprets an untyped storage."""
    if len(arguments) < 4 or not isinstance(arguments[0], Storage) or not is_count(arguments[1]):
        given = ", ".join(shown(argument) for argument in arguments[:4])
        raise HaiError(
            "HAI-Y122",
            f"{where}: a tensor is described by ({given}); storage, offset, shape, strides expected. Save the checkpoint "
            "again with torch.save, or load it with PyTorch and pass what it gives",
        )
    storage, offset = arguments[0], arguments[1]
    shape = _counts(arguments[2], "a shape", where)
    strides = _counts(arguments[3], "a tensor's strides", where)
    if len(shape) != len(strides):
        raise HaiError("HAI-Y123", f"{where}: a tensor has {len(shape)} dimensions but {len(strides)} strides")
    name = storage.dtype_name
    if dtype is not None:
        name = dtype.name.removeprefix("torch.") if isinstance(dtype, Global) else ""
        if name not in DTYPES:
            raise HaiError("HAI-Y124", f"{where}: a tensor's dtype is {shown(dtype)}; known: {', '.join(DTYPES)}")
    return Tensor(storage, name, offset, shape, strides)


def check_bounds(tensor: Tensor, name: str, where: str) -> bool:
    """Raise unless the tensor lies inside its storage; says whether its elements are contiguous."""
    item = DTYPES[tensor.dtype_name].itemsize
    held = tensor.storage.size_bytes // item
    if 0 in tensor.shape:
        return True
    last = tensor.offset + sum((d - 1) * s for d, s in zip(tensor.shape, tensor.strides, strict=True))
    if last >= held:
        raise HaiError(
            "HAI-Y125",
            f"{where}: tensor {name!r} of shape {tensor.shape}, strides {tensor.strides}, offset {tensor.offset} needs "
            f"element {last} of storage {tensor.storage.key!r}, which has {held}",
        )
    count = math.prod(tensor.shape)
    if count > held:
        raise HaiError(
            "HAI-Y126",
            f"{where}: tensor {name!r} has {count} elements in a storage of {held}: it repeats some; save it with "
            ".contiguous()",
        )
    expected = 1
    for extent, stride in zip(reversed(tensor.shape), reversed(tensor.strides), strict=True):
        if extent != 1 and stride != expected:
            return False
        expected *= extent
    return True


def array_bytes(tensor: Tensor) -> int:
    """What `to_array` allocates when it copies."""
    return math.prod(tensor.shape) * (4 if tensor.dtype_name == "bfloat16" else DTYPES[tensor.dtype_name].itemsize)


def to_array(tensor: Tensor) -> NDArray[Any]:
    """The tensor's elements, contiguous, in the machine's byte order; bounds must have been checked."""
    dtype = DTYPES[tensor.dtype_name]
    if 0 in tensor.shape:
        return np.zeros(tensor.shape, np.float32 if tensor.dtype_name == "bfloat16" else dtype)
    stored = dtype.newbyteorder(">") if tensor.storage.big_endian else dtype
    assert tensor.storage.data is not None
    flat = np.frombuffer(tensor.storage.data, stored, tensor.storage.size_bytes // dtype.itemsize)
    strides = tuple(stride * dtype.itemsize for stride in tensor.strides)
    view = np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides)
    if tensor.dtype_name == "bfloat16":
        widened: NDArray[Any] = (view.astype(np.uint32, order="C") << 16).astype(np.uint32).view(np.float32)
        return widened
    if tensor.dtype_name == "bool":
        truth: NDArray[Any] = np.asarray(view.view(np.uint8) != 0, order="C")  # a byte past 1 is no valid bool
        return truth
    return np.asarray(view, dtype, order="C")
