"""Names that are not UTF-8: inside models they are refused with their place, as names of files they just work."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hai_toolkit as hai
import numpy as np
import pytest

NOT_TEXT = "n\udcff"  # how Python shows the bytes 6e ff
SURROGATE = "n\ud800"  # stands for no byte at all


def graph_of(**names: str) -> hai.Model:
    """A network of one operator whose parts may be called anything."""
    graph = hai.GraphBuilder(names.get("graph", "g"))
    x = graph.input(names.get("input", "x"), ("N", 3))
    graph.output(graph.unary("relu", x, name=names.get("node", "node")), names.get("output", "y"))
    return hai.Model(graph.native)


@pytest.mark.parametrize("part", ["input", "node", "output"])
@pytest.mark.parametrize("name", [NOT_TEXT, SURROGATE])
def test_a_graph_builder_refuses_them(part: str, name: str) -> None:
    with pytest.raises(hai.HaiError, match=r'"n\\x.*not UTF-8') as caught:
        graph_of(**{part: name})
    assert caught.value.code == "HAI-Y019"


def test_what_a_terminal_would_obey_is_escaped_in_errors() -> None:
    error = hai.HaiError("HAI-Y000", "a\x1b[2J\tb\x7f\x9b\u202ec\udcff\u00e9\nnext line")
    assert error.message == "a\\x1b[2J\\x09b\\x7f\\u009b\\u202ec\\udcff\u00e9\nnext line"


def test_the_name_of_a_network_is_escaped(tmp_path: Path) -> None:
    graph_of(graph=NOT_TEXT).compile().save(tmp_path / "a.hai")
    assert hai.load(tmp_path / "a.hai").name == "n\\xff"


def onnx_bytes() -> bytes:
    helper = pytest.importorskip("onnx.helper")
    value = lambda name: helper.make_tensor_value_info(name, 1, [2])  # noqa: E731
    node = helper.make_node("Relu", ["input__"], ["output__"], name="node__")
    graph = helper.make_graph([node], "graph__", [value("input__")], [value("output__")])
    data: bytes = helper.make_model(graph).SerializeToString()
    return data


@pytest.mark.parametrize("name", ["input__", "output__", "node__", "graph__"])
def test_onnx_files_with_them_are_refused(name: str, tmp_path: Path) -> None:
    data = onnx_bytes()
    assert name.encode() in data
    (tmp_path / "a.onnx").write_bytes(data.replace(name.encode(), name.encode()[:-1] + b"\xe4"))
    with pytest.raises(hai.HaiError, match=r"\\xe4\".*not UTF-8") as caught:
        hai.from_onnx(tmp_path / "a.onnx")
    assert caught.value.code == "HAI-X033"


def test_hai_files_with_them_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.hai"
    graph_of(graph="graph__", input="input__", node="node__", output="output__").compile().save(path)
    good = path.read_bytes()
    sections = int.from_bytes(good[16:20], "little")
    places = set()
    for name in (b"graph__", b"input__", b"node__", b"output__"):
        at = good.find(name)
        while at >= 0:
            data = bytearray(good)
            data[at + len(name) - 1] = 0xFF
            for entry in range(64, 64 + 256 * sections, 256):
                offset, size = (int.from_bytes(data[entry + i : entry + i + 8], "little") for i in (8, 16))
                if offset <= at < offset + size:
                    data[entry + 64 : entry + 96] = hashlib.sha256(data[offset : offset + size]).digest()
            data[32:64] = hashlib.sha256(data[:32] + data[64 : 64 + 256 * sections]).digest()
            path.write_bytes(data)
            for read in (hai.load, hai.Model.from_file):
                with pytest.raises(hai.HaiError, match="not UTF-8") as caught:
                    read(path)
                places.add(caught.value.code)
            at = good.find(name, at + 1)
    assert places >= {"HAI-F030", "HAI-F031", "HAI-F070"}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names of files are text")
def test_files_may_have_any_name(tmp_path: Path, tiny_model: hai.Model) -> None:
    def named(ending: str) -> Path:
        return Path(os.fsdecode(bytes(tmp_path) + b"/\xff\xfe" + ending.encode()))

    named(".onnx").write_bytes(onnx_bytes())
    hai.from_onnx(named(".onnx")).compile().save(named(".hai"))
    assert [t.name for t in hai.load(named(".hai")).inputs] == ["input__"]
    x = np.asarray([-1, 2], np.float32)
    assert hai.Model.from_file(named(".hai")).interpret({"input__": x})["output__"].tolist() == [0, 2]
    missing: list[Callable[[Path], Any]] = [
        hai.load,
        hai.from_onnx,
        hai.read_image,
        hai.from_tflite,
        hai.Model.from_file,
    ]
    for read in missing:
        with pytest.raises(hai.HaiError) as caught:
            read(named(".missing"))
        str(caught.value).encode()  # text, whatever the file is called
