"""Sparse constants of TensorFlow Lite made dense.

Method: the levels are walked in the order in which they were stored; a dense level gives each parent all its indices, a
compressed one the indices between two segments; what the last level gives is the order of the stored values. A level
beyond the rank is the inside of a block of the axis that `block_map` names. Everything is vectorised and bounded by the
number of stored values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import HaiError
from .importer import Importer, converts
from .reader import TfliteOperator, TfliteTensor


def densify(info: TfliteTensor) -> npt.NDArray[Any]:
    """The dense values of a constant with `sparsity`."""
    sparsity, values = info.sparsity, info.data

    def error(what: str) -> HaiError:
        return HaiError("HAI-Y399", f'sparse constant "{info.name}": {what}; the file is damaged')

    if sparsity is None or values is None:
        raise error("no values")
    rank = len(info.shape)
    if sorted(sparsity.order) != list(range(len(sparsity.order))) or any(not 0 <= a < rank for a in sparsity.block_map):
        raise error("its axes are in no order")
    parents = np.zeros(1, np.int64)
    index_of: list[npt.NDArray[np.int64]] = []
    sizes: dict[int, int] = {}
    for axis, level in zip(sparsity.order, sparsity.axes):
        if level.segments is None or level.indices is None:
            if not level.size >= 1 or len(parents) * level.size > values.size:
                raise error(f"{len(parents)} times {level.size} positions for {values.size} values")
            counts = np.full(len(parents), level.size, np.int64)
            own = np.tile(np.arange(level.size), len(parents))
            sizes[axis] = level.size
        else:
            if len(level.segments) != len(parents) + 1 or level.segments[0] != 0 or (np.diff(level.segments) < 0).any():
                raise error("its segments are in no order")
            if level.segments[-1] != len(level.indices) or len(level.indices) > values.size:
                raise error("its segments and indices differ")
            counts, own = np.diff(level.segments), level.indices
        index_of = [np.repeat(previous, counts) for previous in index_of] + [own]
        parents = np.arange(len(own))
    if len(parents) != values.size:
        raise error(f"{values.size} values for {len(parents)} positions")
    by_axis = dict(zip(sparsity.order, index_of))
    position = [by_axis[axis] for axis in range(rank)]
    for block, axis in enumerate(sparsity.block_map):
        if rank + block not in sizes:
            raise error("a block without a size")
        position[axis] = position[axis] * sizes[rank + block] + by_axis[rank + block]
    if any(len(p) and not (p.min() >= 0 and p.max() < size) for p, size in zip(position, info.shape)):
        raise error("an index outside of the shape")
    if info.element_count > 1 << 28:
        raise error(f"{info.element_count} elements; 2^28 are possible")
    dense = np.zeros(info.shape, values.dtype)
    dense[tuple(position)] = values
    return dense


@converts("DENSIFY")
def convert_densify(g: Importer, op: TfliteOperator) -> None:
    """A sparse constant as a dense one."""
    g.set_known(op, densify(g.info(op, 0)))
