"""The part of a detector that every system leaves in float: what follows its last convolutions, that is the decoding."""

from __future__ import annotations

from pathlib import Path

import onnx


def head_nodes(path: Path) -> set[str]:
    """Names of the nodes after which no convolution comes, convolutions themselves left out, and of their outputs."""
    graph = onnx.load(str(path), load_external_data=False).graph
    readers: dict[str, list[int]] = {}
    for index, node in enumerate(graph.node):
        for name in node.input:
            readers.setdefault(name, []).append(index)
    before_convolution = [False] * len(graph.node)
    for index in range(len(graph.node) - 1, -1, -1):
        before_convolution[index] = any(
            graph.node[reader].op_type in ("Conv", "ConvTranspose") or before_convolution[reader]
            for name in graph.node[index].output
            for reader in readers.get(name, [])
        )
    names: set[str] = set()
    fed = {name for node in graph.node if node.op_type == "Conv" for name in node.output}
    for index, node in enumerate(graph.node):
        # Shape arithmetic that hangs on no convolution's output is no part of the head.
        after = any(name in fed for name in node.input)
        if after:
            fed.update(node.output)
        if after and not before_convolution[index] and node.op_type != "Conv":
            names.add(node.name)
    return names - {""}
