"""The transformer inside ``C3TR``: self-attention over the pixels of a map, as operators of the graph.

Attention is Vaswani et al., "Attention is all you need", 2017: softmax(Q K' / sqrt(d)) V for each head, between projections. The
published block has neither normalization nor activation: a learnt linear term of position, then layers of attention and two
linear maps, each with a shortcut. Tokens are [N, pixels, channels].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph import GraphBuilder, Tensor
from ..state_dict.tensors import shown
from .layer import Layer

_MOST_TOKENS = 1 << 14


def write_block(graph: GraphBuilder, layer: Layer, x: Tensor, write: Callable[[Layer, Tensor], Tensor]) -> Tensor:
    """A ``TransformerBlock`` on a map [N, H, W, C]; `write` writes the layers that are no transformer."""
    before = layer.optional_child("conv")
    if before is not None:
        x = write(before, x)
    _, height, width, channels = x.shape
    if not isinstance(height, int) or not isinstance(width, int) or height * width > _MOST_TOKENS:
        raise layer.error("HAI-Y242", f"a map of {height}x{width} gives more than {_MOST_TOKENS} tokens")
    tokens = graph.reshape(x, (0, height * width, int(str(channels))))
    tokens = graph.add(tokens, _linear(graph, layer.child("linear"), tokens), name=f"{layer.path}.position")
    for inner in layer.child("tr").children():
        tokens = _layer(graph, inner, tokens)
    return graph.reshape(tokens, (0, height, width, int(str(channels))), name=layer.path)


def _linear(graph: GraphBuilder, layer: Layer, x: Tensor) -> Tensor:
    outputs = layer.integer("out_features", 1, 1 << 20)
    weight = layer.tensor("weight", (outputs, layer.integer("in_features", 1, 1 << 20)))
    return graph.matmul(x, weight, layer.optional_tensor("bias", (outputs,)), name=layer.path)


def _layer(graph: GraphBuilder, layer: Layer, x: Tensor) -> Tensor:
    parts = [_linear(graph, layer.child(name), x) for name in ("q", "k", "v")]
    x = graph.add(_attention(graph, layer.child("ma"), parts), x, name=f"{layer.path}.add1")
    y = _linear(graph, layer.child("fc2"), _linear(graph, layer.child("fc1"), x))
    return graph.add(y, x, name=f"{layer.path}.add2")


def _attention(graph: GraphBuilder, layer: Layer, parts: list[Tensor]) -> Tensor:
    width, heads = layer.integer("embed_dim", 1, 1 << 16), layer.integer("num_heads", 1, 1 << 10)
    for name in ("batch_first", "add_zero_attn"):
        if layer.value(name, False) is not False:
            raise layer.error("HAI-Y243", f"{name} is {shown(layer.value(name))}; False is known")
    tokens = parts[0].shape[1]
    if width % heads or not isinstance(tokens, int):
        raise layer.error("HAI-Y244", f"{width} channels do not divide into {heads} heads")
    weight = layer.tensor("in_proj_weight", (3 * width, width)).reshape(3, width, width)
    bias = layer.optional_tensor("in_proj_bias", (3 * width,))
    biases: Any = [None] * 3 if bias is None else bias.reshape(3, width)
    split = []
    for index, (name, x) in enumerate(zip("qkv", parts)):
        projected = graph.matmul(x, weight[index], biases[index], name=f"{layer.path}.{name}")
        projected = graph.reshape(projected, (0, tokens, heads, width // heads))
        split.append(graph.transpose(projected, (0, 2, 1, 3)))
    query = graph.mul(split[0], graph.constant(np.float32(1 / math.sqrt(width // heads))))
    scores = graph.append("matmul", [query, split[1]], {"transpose_b": 1}, f"{layer.path}.scores")[0]
    mixed = graph.append("matmul", [graph.softmax(scores), split[2]], {}, f"{layer.path}.mix")[0]
    joined = graph.reshape(graph.transpose(mixed, (0, 2, 1, 3)), (0, tokens, width))
    return _linear(graph, layer.child("out_proj"), joined)
