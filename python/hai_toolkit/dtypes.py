"""Element types: numpy's names and HAI's, one table."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import HaiError

_NAME_OF: dict[str, str] = {
    "float64": "f64",
    "float32": "f32",
    "float16": "f16",
    "int64": "i64",
    "int32": "i32",
    "int16": "i16",
    "int8": "i8",
    "uint64": "u64",
    "uint32": "u32",
    "uint16": "u16",
    "uint8": "u8",
    "bool": "bool",
}
_NUMPY_OF: dict[str, np.dtype[Any]] = {hai: np.dtype(name) for name, hai in _NAME_OF.items()}


def dtype_name(dtype: np.dtype[Any]) -> str:
    """HAI's name of a numpy element type."""
    name = _NAME_OF.get(dtype.name)
    if name is None or dtype.byteorder == ">":
        raise HaiError(
            "HAI-Y011",
            f"numpy type {dtype} has no counterpart in HAI; convert it, for example with .astype(np.float32)",
        )
    return name


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The numpy element type of a HAI name; bf16 and packed nibbles have none."""
    dtype = _NUMPY_OF.get(name)
    if dtype is None:
        raise HaiError("HAI-Y012", f"numpy has no element type for {name}; cast the tensor to f32 in the graph")
    return dtype
