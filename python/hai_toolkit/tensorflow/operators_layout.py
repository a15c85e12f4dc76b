"""Operators of TensorFlow Lite that move, choose or reduce elements: shapes, slices, pools, resizing, reductions.

Shapes that a model computes are known numbers (see `importer`): SHAPE starts them, and each of these operators also
works on known numbers, with numpy. A reshape whose input has the free batch keeps it in front.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import HaiError
from ..graph import Attribute, Tensor
from .importer import BatchMultiple, Importer, converts
from .operators_products import four_dims, paddings, whole
from .reader import TfliteOperator


def _small(values: npt.NDArray[Any] | None) -> npt.NDArray[Any] | None:
    """Known numbers that are worth to be computed here: shapes and the like."""
    return (
        values
        if values is not None and (values.dtype == object or (values.size <= 4096 and values.dtype.kind in "iub"))
        else None
    )


def _small_operand(g: Importer, op: TfliteOperator, i: int) -> npt.NDArray[Any] | None:
    return _small(g.known(op, i)) if g.info(op, i).quantization is None else None


# --- shapes -----------------------------------------------------------------------------------------------------------------------
@converts("SHAPE")
def shape(g: Importer, op: TfliteOperator) -> None:
    """The sizes of a tensor; the free batch stays a symbol."""
    values = g.known(op, 0)
    if values is not None:
        g.set_known(op, np.asarray(values.shape, np.int32))
        return
    dims = g.tensor(op, 0).shape
    entries = [d if isinstance(d, int) else BatchMultiple(1 if isinstance(d, str) else d[0]) for d in dims]
    symbolic = any(isinstance(d, BatchMultiple) for d in entries)
    g.set_known(op, np.array(entries, object) if symbolic else np.asarray(entries, np.int32))


def reshape_to(g: Importer, op: TfliteOperator, x: Tensor, target: Sequence[Any], name: str = "") -> Tensor:
    """x in another shape; entries of `target` are numbers (one may be -1) or multiples of the batch."""
    sizes = [-1 if isinstance(v, BatchMultiple) else int(v) for v in target]
    held = [axis for axis in range(len(x.shape)) if g.has_batch(x, axis)]
    if held:
        total = int(np.prod(g.dims(x)))
        if sizes.count(-1) == 1:
            rest = int(np.prod([s for s in sizes if s != -1]))
            sizes[sizes.index(-1)] = total // rest if rest else 0
        factor = g.dims(x)[0]
        if held != [0] or not sizes or sizes[0] < 1 or sizes[0] % factor or int(np.prod(sizes)) != total:
            raise HaiError(
                "HAI-Y353", f'{op.kind} "{op.name}": {list(x.shape)} to {sizes} does not keep the free batch in front'
            )
        sizes[0] = -1
    elif sizes.count(-1) > 1:
        raise HaiError("HAI-Y354", f'{op.kind} "{op.name}": shape {sizes} leaves more than one size open')
    if 0 in sizes and -1 not in sizes and 0 not in g.dims(x):
        raise HaiError("HAI-Y355", f'{op.kind} "{op.name}": shape {sizes} holds nothing')
    return g.emit("reshape", [x], {"shape": sizes}, name=name or op.name)


def _target(g: Importer, op: TfliteOperator) -> list[Any]:
    if g.has(op, 1):
        values = g.known(op, 1)
        if values is not None and values.size <= 8 and values.dtype.kind in "iuO":
            return list(values.reshape(-1))
    else:
        new_shape = op.option("NewShape", [])
        if new_shape:
            return list(new_shape)
    out = g.result(op)
    if -1 in out.signature and not g.batch_is_free:
        raise HaiError(
            "HAI-Y356", f'RESHAPE "{op.name}": the new shape depends on data; convert the model with fixed shapes'
        )
    return list(out.shape)


@converts("RESHAPE")
def reshape(g: Importer, op: TfliteOperator) -> None:
    """The target is an operand, an option, or the shape of the result."""
    target, values = _target(g, op), g.known(op, 0)
    if (
        _small_operand(g, op, 0) is not None
        and values is not None
        and not any(isinstance(v, BatchMultiple) for v in target)
    ):
        g.set_known(op, values.reshape([int(v) for v in target]))
        return
    g.set(op, reshape_to(g, op, g.tensor(op, 0), target))


@converts("SQUEEZE", "EXPAND_DIMS")
def squeeze(g: Importer, op: TfliteOperator) -> None:
    """Axes of size 1 taken away or put in."""
    values = _small_operand(g, op, 0)
    dims: list[Any] = list(values.shape) if values is not None else list(g.dims(g.tensor(op, 0)))
    if op.kind == "EXPAND_DIMS":
        position = g.axis(op, g.integers(op, 1, "the axis")[0], len(dims) + 1)
        dims.insert(position, 1)
    else:
        chosen = [g.axis(op, a, len(dims)) for a in op.option("SqueezeDims", [])]
        chosen = chosen or _ones(g, op, dims)
        for axis in chosen:
            if dims[axis] != 1:
                raise HaiError("HAI-Y357", f'SQUEEZE "{op.name}": axis {axis} has size {dims[axis]}')
        dims = [d for a, d in enumerate(dims) if a not in chosen]
    if values is not None:
        g.set_known(op, values.reshape(dims))
    else:
        g.set(op, reshape_to(g, op, g.tensor(op, 0), dims))


def _ones(g: Importer, op: TfliteOperator, dims: list[Any]) -> list[int]:
    """All axes of size 1; a free batch is none of them."""
    values = g.known(op, 0)
    return [a for a, d in enumerate(dims) if d == 1 and (values is not None or not g.has_batch(g.tensor(op, 0), a))]


@converts("TRANSPOSE")
def transpose(g: Importer, op: TfliteOperator) -> None:
    """The axes in another order."""
    x = g.tensor(op, 0)
    order = [g.axis(op, a, len(x.shape)) for a in g.integers(op, 1, "the order of the axes")]
    g.set(op, g.emit("transpose", [x], {"permutation": order}, name=op.name))


@converts("BROADCAST_TO")
def broadcast_to(g: Importer, op: TfliteOperator) -> None:
    """Axes of size 1 repeated; the free batch stays."""
    x, target = g.tensor(op, 0), g.known(op, 1)
    if target is None:
        raise HaiError("HAI-Y358", f'BROADCAST_TO "{op.name}": the shape must be known')
    sizes = [-1 if isinstance(v, BatchMultiple) else int(v) for v in target.reshape(-1)]
    g.set(op, g.emit("expand", [x], {"shape": sizes}, name=op.name))


@converts("FILL")
def fill(g: Importer, op: TfliteOperator) -> None:
    """A constant of one value."""
    value = g.numbers(op, 1, "the value").reshape(-1)
    sizes = g.integers(op, 0, "the shape")
    if len(value) != 1 or len(sizes) > 8 or any(s < 0 for s in sizes) or np.prod([float(s) for s in sizes]) > 1 << 24:
        raise HaiError("HAI-Y359", f'FILL "{op.name}": {len(value)} values into shape {sizes}')
    g.set_known(op, np.full(sizes, value[0]))


@converts("RANGE")
def range_(g: Importer, op: TfliteOperator) -> None:
    """Numbers from start to limit."""
    start, limit, delta = (g.numbers(op, i, "an end of the range").reshape(-1)[0] for i in range(3))
    if delta == 0 or abs((limit - start) / delta) > 1 << 20:
        raise HaiError("HAI-Y360", f'RANGE "{op.name}" from {start} to {limit} by {delta}')
    g.set_known(op, np.arange(start, limit, delta))


@converts("TILE")
def tile(g: Importer, op: TfliteOperator) -> None:
    """Repeats along each axis: [a, b] becomes [1, a, 1, b], is expanded, and folded back."""
    x = g.tensor(op, 0)
    times = g.integers(op, 1, "the repetitions")
    dims = g.dims(x)
    if len(times) != len(dims) or len(dims) > 4 or any(t < 1 for t in times):
        raise HaiError("HAI-Y361", f'TILE "{op.name}": {times} times {dims}')
    repeated = [a for a, t in enumerate(times) if t > 1]
    for axis in repeated:
        g.refuse_batch(op, x, axis)
        if times[axis] > 64:
            raise HaiError("HAI-Y362", f'TILE "{op.name}" repeats {times} times; 64 along an axis are possible')
        name = op.name if axis == repeated[-1] else f"{op.name}/{axis}"
        x = g.emit("concat", [x] * times[axis], {"axis": axis}, name=name)
    g.set(op, x)


# --- joining and cutting ----------------------------------------------------------------------------------------------------------
@converts("CONCATENATION")
def concatenation(g: Importer, op: TfliteOperator) -> None:
    """Along an axis; integers are rescaled to the result's scale."""
    known = [_small_operand(g, op, i) for i in range(len(op.inputs))]
    if known and all(v is not None for v in known):
        axis = g.axis(op, op.option("Axis"), max(known[0].ndim, 1))  # type: ignore[union-attr]
        g.set_known(op, np.concatenate([v for v in known if v is not None], axis))
        return
    tensors = [g.tensor(op, i) for i in range(len(op.inputs))]
    axis = g.axis(op, op.option("Axis"), len(tensors[0].shape)) if tensors else 0
    for tensor in tensors:
        if axis < len(tensor.shape):
            g.refuse_batch(op, tensor, axis)
    g.finish(op, "concat", tensors, {"axis": axis})


@converts("PACK")
def pack(g: Importer, op: TfliteOperator) -> None:
    """Tensors side by side along a new axis."""
    known = [_small_operand(g, op, i) for i in range(len(op.inputs))]
    if known and all(v is not None for v in known):
        entries = [v for v in known if v is not None]
        g.set_known(op, np.stack(entries, g.axis(op, op.option("Axis"), entries[0].ndim + 1)))
        return
    parts = []
    axis = 0
    for i in range(len(op.inputs)):
        x = g.tensor(op, i)
        dims: list[Any] = g.dims(x)
        axis = g.axis(op, op.option("Axis"), len(dims) + 1)
        dims.insert(axis, 1)
        if g.batch_is_free and axis == 0:
            raise HaiError("HAI-Y363", f'PACK "{op.name}" puts a new axis before the free batch')
        parts.append(reshape_to(g, op, x, dims, f"{op.name}/{i}"))
    g.set(op, g.emit("concat", parts, {"axis": axis}, name=op.name, like=g.result(op)))


@converts("UNPACK")
def unpack(g: Importer, op: TfliteOperator) -> None:
    """The slices of an axis, without it."""
    values = _small_operand(g, op, 0)
    if values is not None:
        axis = g.axis(op, op.option("Axis"), max(values.ndim, 1))
        for k in range(len(op.outputs)):
            g.set_known(op, np.take(values, k, axis), k)
        return
    x = g.tensor(op, 0)
    dims: list[Any] = g.dims(x)
    axis = g.axis(op, op.option("Axis"), len(dims))
    g.refuse_batch(op, x, axis)
    if dims[axis] != len(op.outputs):
        raise HaiError("HAI-Y364", f'UNPACK "{op.name}": {len(op.outputs)} results of an axis of size {dims[axis]}')
    names = [f"{op.name}/{k}" for k in range(len(op.outputs))]
    parts = g.builder.append(
        "split", [x], {"axis": axis, "sizes": [1] * len(names)}, op.name, len(names), output_names=names
    )
    for k, part in enumerate(parts):
        g.set(op, reshape_to(g, op, part, dims[:axis] + dims[axis + 1 :], g.result(op, k).name), k)


@converts("SPLIT", "SPLIT_V")
def split(g: Importer, op: TfliteOperator) -> None:
    """SPLIT: axis, x, equal parts. SPLIT_V: x, sizes, axis."""
    even = op.kind == "SPLIT"
    x = g.tensor(op, 1 if even else 0)
    dims = g.dims(x)
    axis = g.axis(op, g.integers(op, 0 if even else 2, "the axis")[0], len(dims))
    g.refuse_batch(op, x, axis)
    count = len(op.outputs)
    if even:
        if not count or dims[axis] % count:
            raise HaiError("HAI-Y365", f'SPLIT "{op.name}": {dims[axis]} into {count} parts')
        sizes = [dims[axis] // count] * count
    else:
        sizes = g.integers(op, 1, "the sizes")
        if sizes.count(-1) == 1:
            sizes[sizes.index(-1)] = dims[axis] - sum(s for s in sizes if s != -1)
        if len(sizes) != count:
            raise HaiError("HAI-Y366", f'SPLIT_V "{op.name}": {len(sizes)} sizes for {count} results')
    names = [g.result(op, k).name for k in range(count)]
    for k, part in enumerate(
        g.builder.append("split", [x], {"axis": axis, "sizes": sizes}, op.name, count, output_names=names)
    ):
        g.set(op, part, k)


def _slice(g: Importer, op: TfliteOperator, x: Tensor, ranges: list[tuple[int, int, int]], name: str) -> Tensor:
    """x[begin : end : step] of each axis, in the words of HAI's slice; whole axes are left alone, so that one may be
    the batch.
    """
    starts, ends, axes, steps = [], [], [], []
    for axis, (begin, end, step) in enumerate(ranges):
        size = g.dims(x)[axis]
        if begin == 0 and end == size and step == 1:
            continue
        g.refuse_batch(op, x, axis)
        starts.append(begin)
        ends.append(end)
        axes.append(axis)
        steps.append(step)
    if not axes:
        return x
    return g.emit("slice", [x], {"starts": starts, "ends": ends, "axes": axes, "steps": steps}, name=name)


@converts("SLICE")
def slice_(g: Importer, op: TfliteOperator) -> None:
    """Begin and size of each axis; -1 takes the rest."""
    begins, sizes = g.integers(op, 1, "the begin"), g.integers(op, 2, "the size")
    values = _small_operand(g, op, 0)
    dims = list(values.shape) if values is not None else g.dims(g.tensor(op, 0))
    if len(begins) != len(dims) or len(sizes) != len(dims):
        raise HaiError("HAI-Y367", f'SLICE "{op.name}": {begins} and {sizes} for shape {dims}')
    ranges = []
    for begin, size, extent in zip(begins, sizes, dims):
        end = extent if size == -1 else begin + size
        if not 0 <= begin <= end <= extent:
            raise HaiError("HAI-Y368", f'SLICE "{op.name}": {begin} to {end} of {extent}')
        ranges.append((begin, end, 1))
    if values is not None:
        g.set_known(op, values[tuple(slice(b, e) for b, e, _ in ranges)])
    else:
        g.set(op, _slice(g, op, g.tensor(op, 0), ranges, op.name))


def _stride_range(begin: int | None, end: int | None, step: int, size: int) -> tuple[int, int, int]:
    """Python's rule for begin : end : step, with an end of -1 for "through element 0" of a negative step."""
    start, stop, step = slice(begin, end, step).indices(size)
    if step > 0:
        stop = max(start, stop)
    elif stop > start:
        stop = start
    return start, stop, step


@converts("STRIDED_SLICE")
def strided_slice(g: Importer, op: TfliteOperator) -> None:
    """Begin, end and stride of each axis, with bit masks: open ends, an ellipsis, new axes, axes taken away."""
    lists = [g.integers(op, i, what) for i, what in ((1, "the begin"), (2, "the end"), (3, "the strides"))]
    values = _small_operand(g, op, 0)
    dims = list(values.shape) if values is not None else g.dims(g.tensor(op, 0))
    masks = {
        key: int(op.option(key, 0)) for key in ("BeginMask", "EndMask", "EllipsisMask", "NewAxisMask", "ShrinkAxisMask")
    }
    count = len(lists[0])
    if len(lists[1]) != count or len(lists[2]) != count or bin(masks["EllipsisMask"]).count("1") > 1:
        raise HaiError(
            "HAI-Y369", f'STRIDED_SLICE "{op.name}": begin, end and strides have {[len(v) for v in lists]} entries'
        )
    ranges: list[tuple[int, int, int]] = []
    shape_after: list[int] = []
    used = sum(1 for i in range(count) if not (masks["NewAxisMask"] | masks["EllipsisMask"]) >> i & 1)

    def takewhole(times: int) -> None:
        for _ in range(times):
            if len(ranges) < len(dims):
                ranges.append((0, dims[len(ranges)], 1))
                shape_after.append(ranges[-1][1])

    for i in range(count):
        bit = 1 << i
        if masks["EllipsisMask"] & bit:
            takewhole(len(dims) - used)
            continue
        if masks["NewAxisMask"] & bit:
            shape_after.append(1)
            continue
        if len(ranges) >= len(dims):
            raise HaiError("HAI-Y370", f'STRIDED_SLICE "{op.name}": more entries than the {len(dims)} dimensions')
        size, (begin, end, step) = dims[len(ranges)], (v[i] for v in lists)
        if op.option("Offset", False):
            end += begin
        if masks["ShrinkAxisMask"] & bit:
            at = begin + size if begin < 0 else begin
            if not 0 <= at < size:
                raise HaiError("HAI-Y371", f'STRIDED_SLICE "{op.name}": element {begin} of {size}')
            ranges.append((at, at + 1, 1))
            continue
        if step == 0:
            raise HaiError("HAI-Y372", f'STRIDED_SLICE "{op.name}": a stride of 0')
        ranges.append(
            _stride_range(
                None if masks["BeginMask"] & bit else begin, None if masks["EndMask"] & bit else end, step, size
            )
        )
        shape_after.append(len(range(*ranges[-1])))
    takewhole(len(dims) - len(ranges))
    _set_strided(g, op, values, ranges, shape_after)


def _set_strided(
    g: Importer,
    op: TfliteOperator,
    values: npt.NDArray[Any] | None,
    ranges: list[tuple[int, int, int]],
    shape_after: list[int],
) -> None:
    if values is not None:
        taken = values[tuple(slice(b, e if e >= 0 else None, s) for b, e, s in ranges)]
        g.set_known(op, taken.reshape(shape_after))
        return
    x = g.tensor(op, 0)
    sliced = _slice(g, op, x, ranges, f"{op.name}/slice" if len(shape_after) != len(ranges) else op.name)
    same = len(shape_after) == len(ranges) and g.dims(sliced) == shape_after
    g.set(op, sliced if same else reshape_to(g, op, sliced, shape_after))


@converts("REVERSE_V2")
def reverse(g: Importer, op: TfliteOperator) -> None:
    """Axes read backwards."""
    x = g.tensor(op, 0)
    dims = g.dims(x)
    axes = [g.axis(op, a, len(dims)) for a in g.integers(op, 1, "the axes")]
    ranges = [(d - 1, -1, -1) if a in axes and d else (0, d, 1) for a, d in enumerate(dims)]
    g.set(op, _slice(g, op, x, ranges, op.name))


@converts("GATHER", "EMBEDDING_LOOKUP")
def gather(g: Importer, op: TfliteOperator) -> None:
    """Rows chosen by an index; EMBEDDING_LOOKUP has the index first."""
    lookup = op.kind == "EMBEDDING_LOOKUP"
    at, of = (0, 1) if lookup else (1, 0)
    if not lookup and op.option("BatchDims", 0):
        raise HaiError("HAI-Y373", f'GATHER "{op.name}" with batch_dims {op.option("BatchDims")} is not known to HAI')
    values, index = _small_operand(g, op, of), g.known(op, at)
    if values is not None and index is not None and index.dtype != object and values.ndim:
        axis = 0 if lookup else g.axis(op, op.option("Axis", 0), values.ndim)
        if index.size and not (-values.shape[axis] <= index.min() and index.max() < values.shape[axis]):
            raise HaiError("HAI-Y374", f'{op.kind} "{op.name}": an index outside of {values.shape[axis]}')
        g.set_known(op, np.take(values, index.astype(np.int64), axis))
        return
    x = g.tensor(op, of)
    axis = 0 if lookup else g.axis(op, op.option("Axis", 0), len(x.shape))
    g.refuse_batch(op, x, axis)
    g.set(op, g.emit("gather", [x, g.tensor(op, at)], {"axis": axis}, name=op.name))


# --- borders, blocks, sizes of images ---------------------------------------------------------------------------------------------
@converts("PAD", "PADV2")
def pad(g: Importer, op: TfliteOperator) -> None:
    """A constant border: the real 0, or PADV2's value."""
    x = g.tensor(op, 0)
    before, after = _borders(g, op, len(x.shape))
    attributes: dict[str, Attribute] = {"pads": before + after}
    if op.kind == "PADV2":
        value = g.numbers(op, 2, "the value").reshape(-1)
        if len(value) != 1:
            raise HaiError("HAI-Y375", f'PADV2 "{op.name}": {len(value)} values')
        scale = g.info(op, 2).quantization
        attributes["value"] = (int(value[0]) - scale.zero_point) * scale.scale if scale else float(value[0])
    g.set(op, g.emit("pad", [x], attributes, name=op.name, like=g.result(op)))


def _borders(g: Importer, op: TfliteOperator, rank: int) -> tuple[list[int], list[int]]:
    borders = g.integers(op, 1, "the borders")
    if len(borders) != 2 * rank or any(not 0 <= b <= 1 << 20 for b in borders):
        raise HaiError("HAI-Y376", f'{op.kind} "{op.name}": borders {borders} for {rank} dimensions')
    return borders[0::2], borders[1::2]


@converts("MIRROR_PAD")
def mirror_pad(g: Importer, op: TfliteOperator) -> None:
    """REFLECT leaves the edge element out; SYMMETRIC repeats it, and is joined from reversed slices."""
    x = g.tensor(op, 0)
    before, after = _borders(g, op, len(x.shape))
    if op.option("Mode", 0) == 0:
        g.set(op, g.emit("pad", [x], {"pads": before + after, "mode": "reflect"}, name=op.name, like=g.result(op)))
        return
    for axis in range(len(before)):
        size = g.dims(x)[axis]
        if not before[axis] and not after[axis]:
            continue
        g.refuse_batch(op, x, axis)
        if max(before[axis], after[axis]) > size:
            raise HaiError(
                "HAI-Y377", f'MIRROR_PAD "{op.name}": a border of {max(before[axis], after[axis])} around {size}'
            )
        parts = [x]
        if before[axis]:
            parts.insert(0, _reversed(g, x, axis, before[axis] - 1, -1))
        if after[axis]:
            parts.append(_reversed(g, x, axis, size - 1, size - 1 - after[axis]))
        x = g.emit("concat", parts, {"axis": axis}, name=f"{op.name}/{axis}", like=g.result(op))
    g.set(op, x)


def _reversed(g: Importer, x: Tensor, axis: int, first: int, end: int) -> Tensor:
    return g.emit("slice", [x], {"starts": [first], "ends": [end], "axes": [axis], "steps": [-1]})


@converts("DEPTH_TO_SPACE", "SPACE_TO_DEPTH")
def depth_to_space(g: Importer, op: TfliteOperator) -> None:
    """Blocks of the image moved into channels, or back: a reshape, a transpose, a reshape."""
    x = g.tensor(op, 0)
    _, h, w, c = four_dims(g, op, x)
    b = whole(op, "BlockSize", op.option("BlockSize"), 1 << 10)
    to_space = op.kind == "DEPTH_TO_SPACE"
    if (to_space and c % (b * b)) or (not to_space and (h % b or w % b)):
        raise HaiError("HAI-Y378", f'{op.kind} "{op.name}": blocks of {b} do not divide {[h, w, c]}')
    n = -1 if g.has_batch(x, 0) else g.dims(x)[0]
    if to_space:
        split_shape, order, last = [n, h, w, b, b, c // b // b], [0, 1, 3, 2, 4, 5], [n, h * b, w * b, c // b // b]
    else:
        split_shape, order, last = [n, h // b, b, w // b, b, c], [0, 1, 3, 2, 4, 5], [n, h // b, w // b, c * b * b]
    value = g.emit("reshape", [x], {"shape": split_shape})
    value = g.emit("transpose", [value], {"permutation": order})
    g.set(op, g.emit("reshape", [value], {"shape": last}, name=op.name))


@converts("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND")
def space_to_batch(g: Importer, op: TfliteOperator) -> None:
    """Alone, not around one convolution: blocks of the image moved into the batch, or back."""
    x = g.tensor(op, 0)
    n, h, w, c = four_dims(g, op, x)
    blocks = [whole(op, "the block", b, 1 << 10) for b in g.integers(op, 1, "the block sizes")]
    borders = g.integers(op, 2, "the borders")
    if len(blocks) != 2 or len(borders) != 4 or any(not 0 <= b <= 1 << 20 for b in borders):
        raise HaiError(
            "HAI-Y379", f'{op.kind} "{op.name}": blocks {blocks} and borders {borders}; two dimensions are known'
        )
    g.refuse_batch(op, x, 0)
    (b0, b1), (top, bottom, left, right) = blocks, borders
    if op.kind == "SPACE_TO_BATCH_ND":
        h, w = h + top + bottom, w + left + right
        if h % b0 or w % b1:
            raise HaiError("HAI-Y380", f'{op.kind} "{op.name}": blocks of {blocks} do not divide {[h, w]}')
        if any(borders):
            x = g.emit("pad", [x], {"pads": [0, top, left, 0, 0, bottom, right, 0]}, like=g.result(op))
        value = g.emit("reshape", [x], {"shape": [n * (h // b0), b0, w // b1, b1, c]})
        value = g.emit("reshape", [value], {"shape": [n, h // b0, b0, w // b1, b1, c]})
        value = g.emit("transpose", [value], {"permutation": [2, 4, 0, 1, 3, 5]})
        g.set(op, g.emit("reshape", [value], {"shape": [n * b0 * b1, h // b0, w // b1, c]}, name=op.name))
        return
    if n % (b0 * b1):
        raise HaiError("HAI-Y381", f'{op.kind} "{op.name}": a batch of {n} in blocks of {blocks}')
    m = n // (b0 * b1)
    value = g.emit("reshape", [x], {"shape": [b0, b1, m, h, w, c]})
    value = g.emit("transpose", [value], {"permutation": [2, 3, 0, 4, 1, 5]})
    value = g.emit("reshape", [value], {"shape": [m, h * b0, w * b1, c]})
    ranges = [(0, m, 1), (top, h * b0 - bottom, 1), (left, w * b1 - right, 1), (0, c, 1)]
    if any(begin >= end for begin, end, _ in ranges):
        raise HaiError("HAI-Y382", f'{op.kind} "{op.name}": crops {borders} leave nothing of {[h * b0, w * b1]}')
    g.set(op, _slice(g, op, value, ranges, op.name))


@converts("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
def resize(g: Importer, op: TfliteOperator) -> None:
    """Height and width to given sizes; the three rules for coordinates."""
    x = g.tensor(op, 0)
    four_dims(g, op, x)
    sizes = [whole(op, "the size", s) for s in g.integers(op, 1, "the sizes")]
    if len(sizes) != 2:
        raise HaiError("HAI-Y383", f'{op.kind} "{op.name}": sizes {sizes}')
    corners, centres = bool(op.option("AlignCorners", False)), bool(op.option("HalfPixelCenters", False))
    if op.kind == "RESIZE_BILINEAR":
        rule = "align_corners" if corners else "half_pixel" if centres else "asymmetric"
        g.set(
            op,
            g.emit(
                "resize", [x], {"mode": "linear", "sizes": sizes, "coordinates": rule}, name=op.name, like=g.result(op)
            ),
        )
        return
    if corners and centres:
        raise HaiError(
            "HAI-Y384", f'{op.kind} "{op.name}": aligned corners with half-pixel centres are not known to HAI'
        )
    rule, rounding = (
        ("align_corners", "round_prefer_ceil")
        if corners
        else ("half_pixel", "round_prefer_ceil")
        if centres
        else ("asymmetric", "floor")
    )
    attributes: dict[str, Attribute] = {"mode": "nearest", "sizes": sizes, "coordinates": rule, "nearest": rounding}
    g.set(op, g.emit("resize", [x], attributes, name=op.name))


# --- pools and reductions ---------------------------------------------------------------------------------------------------------
@converts("AVERAGE_POOL_2D", "MAX_POOL_2D")
def pool(g: Importer, op: TfliteOperator) -> None:
    """Windows of an image; padding counts in neither."""
    x = g.tensor(op, 0)
    dims = four_dims(g, op, x)
    kernel = (whole(op, "FilterHeight", op.option("FilterHeight")), whole(op, "FilterWidth", op.option("FilterWidth")))
    strides = (whole(op, "StrideH", op.option("StrideH")), whole(op, "StrideW", op.option("StrideW")))
    attributes: dict[str, Attribute] = {
        "kernel": list(kernel),
        "strides": list(strides),
        "pads": paddings(op, dims, kernel, strides),
    }
    if op.kind == "AVERAGE_POOL_2D" and kernel[0] * kernel[1] <= 2048:
        attributes |= g.rounding(x)
    g.finish(op, "average_pool" if op.kind == "AVERAGE_POOL_2D" else "max_pool", [x], attributes)


_REDUCTIONS = {"MEAN": "reduce_mean", "SUM": "reduce_sum", "REDUCE_MAX": "reduce_max", "REDUCE_MIN": "reduce_min"}


@converts(*_REDUCTIONS)
def reduce(g: Importer, op: TfliteOperator) -> None:
    """Along constant axes."""
    x = g.tensor(op, 0)
    axes = sorted({g.axis(op, a, len(x.shape)) for a in g.integers(op, 1, "the axes")})
    for axis in axes:
        g.refuse_batch(op, x, axis)
    keep = int(bool(op.option("KeepDims", False)))
    if not axes:
        g.set(op, x)
        return
    attributes: dict[str, Attribute] = {"axes": axes, "keep_dims": keep}
    if op.kind == "MEAN":
        attributes |= g.rounding(x)
    g.set(op, g.emit(_REDUCTIONS[op.kind], [x], attributes, name=op.name, like=g.result(op)))


@converts("REDUCE_PROD")
def reduce_prod(g: Importer, op: TfliteOperator) -> None:
    """Of known numbers only: element counts."""
    values = g.known(op, 0)
    if values is None or values.size > 64:
        raise HaiError("HAI-Y385", f'REDUCE_PROD "{op.name}" of a tensor is not known to HAI')
    product: Any = 1
    for value in values.reshape(-1):
        product = product * value
    g.set_known(op, np.array(product, object if isinstance(product, BatchMultiple) else values.dtype))
