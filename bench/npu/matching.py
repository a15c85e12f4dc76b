"""Which of our layers is which of Vela's: of equal kind, shapes and window, and of these by name, or else by order.

Both compilers fuse, each in its way: a function or a sum that one runs by itself may ride on a convolution of the other's. Layers
without a counterpart are counted, not compared.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from bench.npu.layers import Layer, Shape
from bench.npu.ours import Node, OurLayer

LEAST_CYCLES = 200
"""A layer of fewer of Vela's cycles is start-up alone (the scalars of a softmax)."""
_KINDS = {
    "Conv2D": "conv", "TransposeConv2D": "conv", "DepthwiseConv2D": "depthwise", "FullyConnected": "dense", "MatMul": "dense",
    "MaxPool": "pool", "AvgPool": "pool", "LUT": "table", "Quantize": "table", "Mul": "elementwise", "Add": "elementwise",
    "Sub": "elementwise", "MemoryCopy": "copy", "Resize": "resize",
}  # fmt: skip
Signature = tuple[str, Shape, Shape, int]


@dataclass(frozen=True)
class Pair:
    """One layer as both see it."""

    vela: Layer
    kind: str
    ours: OurLayer
    cycles: float
    """Ours, of arithmetic."""

    @property
    def residual(self) -> float:
        """Ours / Vela - 1."""
        return self.cycles / self.vela.compute_cycles - 1


@dataclass(frozen=True)
class Matched:
    """The pairs in Vela's order, and what has no counterpart."""

    pairs: list[Pair]
    vela_alone: list[Layer]
    ours_alone: list[OurLayer]


def kind_of(layer: Layer) -> str | None:
    """The class of a layer of Vela's; None for what cannot be compared."""
    kind = _KINDS.get(layer.operator)
    if tuple(layer.detail.get("output_stride", (1, 1))) != (1, 1):
        return None  # a quarter of a transposed convolution, charged for the whole
    if kind == "depthwise" and layer.output[1:3] == (1, 1) and layer.kernel == layer.inputs[0][1:3]:
        return "pool"  # an average of the plane
    if kind == "dense" or (kind == "conv" and layer.output[1:3] == (1, 1) and layer.kernel == (1, 1)):
        return "dense"
    return kind


def _signature(kind: str, inputs: Shape, output: Shape, kernel: Shape) -> Signature:
    if kind in ("table", "elementwise", "copy", "resize"):
        return kind, output, (1, 1), 0
    if kind == "dense":
        return kind, (1, 1, output[-1]), (1, 1), inputs[-1]
    return kind, output, kernel, inputs[-1]


def signature_of_vela(layer: Layer, kind: str) -> Signature:
    """What must be equal: kind, output, window, input channels."""
    return _signature(kind, layer.inputs[0][1:], layer.output[1:], layer.kernel)


def signature_of_ours(node: Node) -> Signature:
    """The same of an operator of ours."""
    kind, inputs = node.kind, node.inputs[0]
    if kind == "conv" and node.output[:2] == (1, 1) and node.kernel == (1, 1):
        kind = "dense"
    if kind == "dense":  # rows of a product are batch or plane
        return _signature(kind, inputs, node.output, node.kernel)
    kernel = inputs[:2] if kind == "pool" and node.output[:2] == (1, 1) else node.kernel
    return _signature(kind, inputs, node.output, kernel)


def match(vela: Sequence[Layer], ours: Sequence[OurLayer]) -> Matched:
    """Pairs; every layer is in one at most."""
    waiting: dict[Signature, list[OurLayer]] = {}
    for mine in ours:
        waiting.setdefault(signature_of_ours(mine.node), []).append(mine)
    compared = [(layer, kind) for layer in vela if layer.compute_cycles >= LEAST_CYCLES and (kind := kind_of(layer))]
    found: dict[int, OurLayer] = {}
    for by_name in (True, False):  # names first: two branches may come in either order
        for index, (layer, kind) in enumerate(compared):
            candidates = waiting.get(signature_of_vela(layer, kind), [])
            names = layer.name.split(";")
            same = [c for c in candidates if c.node.name in names] if by_name else candidates
            if index not in found and same:
                found[index] = same[0]
                candidates.remove(same[0])
    alone = {id(mine): mine for left in waiting.values() for mine in left}
    pairs = []
    for index, (layer, kind) in enumerate(compared):
        if index in found:
            cycles = sum(part.compute_cycles for part in (found[index], *_riders(layer, found[index], alone)))
            pairs.append(Pair(layer, kind, found[index], cycles))
    return Matched(pairs, [layer for i, (layer, _) in enumerate(compared) if i not in found], list(alone.values()))


def _riders(vela: Layer, ours: OurLayer, alone: dict[int, OurLayer]) -> list[OurLayer]:
    """Sums and products that Vela chains behind the layer and we run by themselves; taken out of `alone`."""
    riders: list[OurLayer] = []
    for operator in vela.detail.get("chained", ()):
        if _KINDS.get(operator) != "elementwise":
            continue
        made = (riders[-1] if riders else ours).node.tensor
        rider = next((l for l in alone.values() if l.node.kind == "elementwise" and made in l.node.reads), None)
        if rider is None:
            break
        riders.append(alone.pop(id(rider)))
    return riders


def half_of(layer: Layer) -> int:
    """0: fitted, 1: predicted. By the shapes, so that equal layers of different networks fall into one half."""
    words = (
        layer.operator,
        layer.inputs,
        layer.output,
        layer.kernel,
        layer.stride,
        tuple(layer.detail.get("chained", ())),
    )
    return zlib.crc32(repr(words).encode()) & 1
