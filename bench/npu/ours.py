"""What our own NPU model says of the layers of a network: compiled by `hai`, run once by the simulator (modelled cycles).

Shapes come from the graph as `hai inspect --graph` prints it; the simulator's layers carry the names of the graph's operators.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.accuracy.photos import CHECKOUT
from bench.npu.layers import Shape
from bench.reasons import Skipped

HAI = CHECKOUT / "build" / "bin" / "hai"
_OPERATORS = {
    "matmul": "dense", "max_pool": "pool", "average_pool": "pool", "global_average_pool": "pool", "reduce_mean": "pool",
    "add": "elementwise", "mul": "elementwise", "sub": "elementwise", "concat": "copy", "pad": "copy", "slice": "copy",
    "split": "copy", "transpose": "copy", "resize": "resize",
}  # fmt: skip
_NODE = re.compile(
    r'^\s*%(?P<output>.+?): \w+\[(?P<shape>[^\]]*)\].*? = (?P<op>\w+)\((?P<inputs>.*?)\)(?: \{(?P<more>.*)\})? @ "(?P<name>.*)"$'
)
_TENSOR = re.compile(r"^\s*(?:input|const) %(?P<output>.+?): \w+\[(?P<shape>[^\]]*)\]")
_INPUT_TYPES = {"i8": np.int8, "u8": np.uint8, "i16": np.int16, "f32": np.float32}
_LIMIT_S = 900
TOO_LARGE = "too large for the NPU's memories"
"""What `hai compile` warns of where layers fall back to the CPU."""


@dataclass(frozen=True)
class Node:
    """An operator of the graph; shapes without the batch of an input of 4 dimensions, (1, 1, channels) of one of 2."""

    name: str
    kind: str
    inputs: tuple[Shape, ...]
    output: Shape
    kernel: Shape
    tensor: str = ""
    """Its result's name, and those of its operands."""
    reads: tuple[str, ...] = ()


@dataclass
class OurLayer:
    """A layer of ours: all that the simulator charges to the operator, its fills and copies too."""

    node: Node
    compute_cycles: float = 0
    cycles: float = 0
    products: int = 0


@dataclass(frozen=True)
class Ours:
    """One network on one machine."""

    layers: list[OurLayer]
    seconds: float
    products: int
    ddr_bytes: int
    elsewhere: int
    """Operators that the CPU runs."""
    cpu_seconds: float
    """Of the compiler, from the quantized graph."""
    peak_bytes: int
    unknown: list[str] = field(default_factory=list)
    """Layers that the graph has no operator for."""


def _plane(text: str) -> Shape:
    sizes = tuple(1 if not word.strip().isdigit() else int(word) for word in text.split(",")) if text.strip() else ()
    return (1,) * (4 - len(sizes)) + sizes if len(sizes) < 4 else sizes


def _numbers(more: str, name: str, otherwise: Shape) -> Shape:
    found = re.search(rf"{name} = \[([^\]]*)\]", more)
    return tuple(int(word) for word in found[1].split(",")) if found else otherwise


def read_graph(text: str) -> list[Node]:
    """The operators of a graph in text, in order."""
    shapes: dict[str, Shape] = {}
    nodes = []
    for line in text.splitlines():
        tensor, node = _TENSOR.match(line), _NODE.match(line)
        if tensor:
            shapes[tensor["output"]] = _plane(tensor["shape"])
        elif node:
            output = shapes[node["output"]] = _plane(node["shape"])
            inputs = [word.lstrip("%") for word in node["inputs"].split(", ")]
            nodes.append(_node(node, [name for name in inputs if name in shapes], shapes, output))
    return nodes


def _node(found: re.Match[str], reads: Sequence[str], shapes: Mapping[str, Shape], output: Shape) -> Node:
    op, more, inputs = found["op"], found["more"] or "", [shapes[name] for name in reads]
    kind = _OPERATORS.get(op, "table")
    kernel: Shape = (1, 1)
    if op == "conv2d" and len(inputs) > 1:
        groups = re.search(r"groups = (\d+)", more)
        kind = "depthwise" if groups and int(groups[1]) > 1 else "conv"
        kernel = inputs[1][1:3]
    elif kind == "pool":
        kernel = _numbers(more, "kernel", inputs[0][1:3] if inputs else (1, 1))
    parts = tuple(shape[1:] for shape in inputs[:2])
    return Node(found["name"], kind, parts, output[1:], kernel, found["output"], tuple(reads))


def charge(nodes: Sequence[Node], segments: Sequence[dict[str, Any]]) -> tuple[list[OurLayer], list[str]]:
    """The simulator's layers by the operators that they belong to, in the graph's order; names that the graph lacks."""
    layers: dict[str, OurLayer] = {}
    for node in nodes:  # where several have one name, the first is the one that computes
        layers.setdefault(node.name, OurLayer(node))
    unknown = []
    for segment in segments:
        for said in segment["layers"]:
            name = said["name"]
            while name not in layers and "." in name:
                name = name.rpartition(".")[0]
            if name not in layers:
                unknown.append(said["name"])
                continue
            layer = layers[name]
            layer.compute_cycles += said["compute_cycles"]
            layer.cycles += said["cycles"]
            layer.products += sum(said["products"].values())
    return [layer for layer in layers.values() if layer.cycles > 0], unknown


def run_tool(words: Sequence[str]) -> str:
    """What `hai` prints; Skipped with its words where it fails."""
    if not HAI.exists():
        raise Skipped(f"no {HAI.relative_to(CHECKOUT)}: ./dev build")
    done = subprocess.run([str(HAI), *words], capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    if done.returncode:
        raise Skipped(f"hai {words[0]}: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout


def to_graph(tflite: Path, folder: Path) -> Path:
    """The .tflite as a .hai, with HAI's own rounding, which the NPU has; made when missing."""
    path = folder / f"{tflite.stem}.hai"
    if not path.exists() or path.stat().st_mtime < tflite.stat().st_mtime:
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "hai_toolkit", "compile", str(tflite), "--rounding", "hai", "-o", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Skipped(f"HAI does not read {tflite.name}: {done.stderr.strip()[-300:]}")
    return path


def _inputs(model: Path, folder: Path) -> list[str]:
    words = []
    for index, tensor in enumerate(json.loads(run_tool(["inspect", str(model), "--json"]))["inputs"]):
        shape = _plane(tensor["shape"].strip("[]"))[-len(tensor["shape"].split(",")) :]
        path = folder / f"input{index}.npy"
        values = np.random.default_rng(3).integers(-100, 100, shape)
        np.save(path, values.astype(_INPUT_TYPES[tensor["dtype"]]))
        words += ["--input", f"{tensor['name']}={path}"]
    return words


def _measured(words: Sequence[str]) -> tuple[float, int]:
    """CPU seconds and peak bytes of `hai`; of this child alone."""
    process = subprocess.Popen([str(HAI), *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Skipped(f"hai {words[0]}: {said.strip()[-300:]}")
    if TOO_LARGE in said:
        raise Skipped(f"hai {words[0]}: layers are {TOO_LARGE}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


def simulate(graph: Path, machine: str, options: Sequence[str] = (), given: Path | None = None) -> Ours:
    """Compile a quantized graph for `machine` and run it once. `given`: the input, else integers at random."""
    nodes = read_graph(run_tool(["inspect", str(graph), "--graph"]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = folder / "npu.hai"
        command = ["compile", str(graph), "--device", "sd3403", "--machine", machine, *options, "-o", str(program)]
        cpu_seconds, peak = _measured([*command])
        inputs = ["--input", str(given)] if given else _inputs(graph, folder)
        said = json.loads(run_tool(["run", str(program), "--device", "sd3403", *inputs, "--json"]))
    segments = said.get("npu", {}).get("segments", [])
    if not segments:
        raise Skipped("no layer runs on the NPU")
    layers, unknown = charge(nodes, segments)
    totals = [segment["total"] for segment in segments]
    names = ("ddr_activation_bytes_read", "ddr_weight_bytes_read", "ddr_bytes_written")
    return Ours(
        layers=layers,
        seconds=sum(segment["seconds"] for segment in segments),
        products=sum(sum(total["products"].values()) for total in totals),
        ddr_bytes=sum(total[key] for total in totals for key in names),
        elsewhere=len({node.name for node in nodes}) - len({layer.node.name for layer in layers}),
        cpu_seconds=cpu_seconds,
        peak_bytes=peak,
        unknown=unknown,
    )
