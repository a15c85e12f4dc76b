"""The table of the NPU model's errors: graphs read, layers matched, residuals put into words; on small recorded data."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.npu import error_table, errors, matching, ours
from bench.npu.layers import Layer, write_layers
from bench.reasons import Skipped

# As `hai inspect --graph` prints it.
_GRAPH = """
graph "net" {
  input %x:0: i8[N, 8, 8, 3] quant(0.0078, 0)
  const %a/weights: i8[16, 3, 3, 3] quant(axis 0, scales [0.1, 0.2])
  const %a/bias: i32[16]
  %a/before_activation: i8[N, 4, 4, 16] quant(0.1, -128) = conv2d(%x:0, %a/weights, %a/bias) {groups = 1, strides = [2, 2]} @ "a"
  const %b/weights: i8[16, 3, 3, 1]
  %b: i8[N, 4, 4, 16] quant(0.1, -128) = conv2d(%a/before_activation, %b/weights) {groups = 16, pads = [1, 1, 1, 1]} @ "b"
  %s: i8[N, 4, 4, 16] = sigmoid(%b) @ "s"
  %m: i8[N, 4, 4, 16] = mul(%b, %s) @ "m"
  %p: i8[N, 1, 1, 16] = average_pool(%m) {kernel = [4, 4], pads = [0, 0, 0, 0], strides = [4, 4]} @ "p"
  %f: i8[N, 16] = reshape(%p) {shape = [-1, 16]} @ "f"
  const %d/weights: i8[10, 16]
  %d: i8[N, 10] = matmul(%f, %d/weights) {transpose_b = 1} @ "d"
  output %d
}
"""


def _vela(
    name: str, operator: str, inputs: tuple[int, ...], output: tuple[int, ...], cycles: int, **more: Any
) -> Layer:
    kernel = more.pop("kernel", (1, 1))
    return Layer(
        model="net", name=name, operator=operator, inputs=((1, *inputs),), output=(1, *output), kernel=kernel, stride=(1, 1),
        macs=0, weight_bytes=0, compute_cycles=cycles, dram_cycles=0, total_cycles=cycles, dram_bytes=0, detail=more,
    )  # fmt: skip


_VELA = [
    _vela("a;a/conv", "Conv2D", (8, 8, 3), (4, 4, 16), 1000, kernel=(3, 3), chained=["Relu"], memories=["Dram"]),
    _vela("b", "DepthwiseConv2D", (4, 4, 16), (4, 4, 16), 4000, kernel=(3, 3)),
    _vela("elsewhere", "LUT", (4, 4, 16), (4, 4, 16), 500, chained=["Mul"]),
    _vela("p_intermediate", "DepthwiseConv2D", (4, 4, 16), (1, 1, 16), 300, kernel=(4, 4)),
    _vela("d", "FullyConnected", (1, 1, 16), (1, 1, 10), 250),
    _vela("softmax", "MaxPool", (1, 10, 1), (1, 1, 1), 19, kernel=(1, 10)),
    _vela("upper", "Conv2D", (4, 4, 16), (8, 8, 8), 900, kernel=(2, 2), output_stride=(2, 2)),
    _vela("unknown", "Conv2D", (4, 4, 16), (4, 4, 99), 700),
]

_HALVES = [1, 0, 1, 0]  # of the first four


def _said(name: str, compute: float) -> dict[str, Any]:
    return {"name": name, "compute_cycles": compute, "cycles": compute + 1, "products": {"i8": 5, "f16": 1}}


_SEGMENTS = [
    {"layers": [_said("a.pad", 100), _said("a", 800), _said("b", 2000), _said("s", 200), _said("m", 250)]},
    {"layers": [_said("p", 60), _said("d", 275), _said("nobody's", 9)]},
]


def _ours() -> list[ours.OurLayer]:
    layers, unknown = ours.charge(ours.read_graph(_GRAPH), _SEGMENTS)
    assert unknown == ["nobody's"]
    return layers


def test_a_graph_becomes_operators_with_shapes() -> None:
    nodes = {node.name: node for node in ours.read_graph(_GRAPH)}
    assert list(nodes) == ["a", "b", "s", "m", "p", "f", "d"]
    assert (nodes["a"].kind, nodes["a"].inputs[0], nodes["a"].output, nodes["a"].kernel) == (
        "conv", (8, 8, 3), (4, 4, 16), (3, 3),
    )  # fmt: skip
    assert nodes["b"].kind == "depthwise"
    assert nodes["m"].reads == ("b", "s")
    assert nodes["p"].kernel == (4, 4)
    assert (nodes["d"].kind, nodes["d"].output) == ("dense", (1, 1, 10))


def test_a_layer_is_charged_its_fills_and_operators_without_time_are_left_out() -> None:
    layers = {layer.node.name: layer for layer in _ours()}
    assert list(layers) == ["a", "b", "s", "m", "p", "d"]
    assert layers["a"].compute_cycles == 900
    assert layers["a"].products == 12


def test_layers_match_by_shape_with_what_vela_chains() -> None:
    matched = matching.match(_VELA, _ours())
    assert [(pair.vela.name, pair.ours.node.name, pair.kind) for pair in matched.pairs] == [
        ("a;a/conv", "a", "conv"),
        ("b", "b", "depthwise"),
        ("elsewhere", "s", "table"),
        ("p_intermediate", "p", "pool"),
        ("d", "d", "dense"),
    ]
    assert [round(pair.residual, 3) for pair in matched.pairs] == [-0.1, -0.5, -0.1, -0.8, 0.1]
    assert [layer.name for layer in matched.vela_alone] == ["unknown"]
    assert matched.ours_alone == []  # the product rides on the table


def test_among_equal_shapes_the_name_decides_then_the_order() -> None:
    first, second = (_vela(name, "Conv2D", (4, 4, 8), (4, 4, 8), 1000) for name in ("left", "right"))
    node = ours.Node("right", "conv", ((4, 4, 8),), (4, 4, 8), (1, 1))
    layers = [ours.OurLayer(node, 7, 7), ours.OurLayer(replace(node, name="other"), 8, 8)]
    pairs = matching.match([first, second], layers).pairs
    assert [(pair.vela.name, pair.cycles) for pair in pairs] == [("left", 8), ("right", 7)]
    assert [p.cycles for p in matching.match([first, first], layers).pairs] == [7, 8]
    assert matching.match([replace(first, output=(1, 4, 4, 9))], layers).pairs == []


def test_halves_follow_from_shapes_alone() -> None:
    assert [matching.half_of(layer) for layer in _VELA[:4]] == _HALVES
    assert matching.half_of(replace(_VELA[0], name="x", model="y", compute_cycles=3)) == _HALVES[0]


def test_residuals_as_tables() -> None:
    pairs = matching.match(_VELA, _ours()).pairs
    assert error_table.by_class(pairs)["all"] == {
        "layers": 5, "median": pytest.approx(0.1), "signed": pytest.approx(-0.1), "ninety": pytest.approx(0.8),
        "within_15": 0.6, "within_30": 0.6,
    }  # fmt: skip
    lines = error_table.residual_table({"plain": pairs}, {"": None})
    assert lines[0] == "| class | layers | plain |"
    assert "| depthwise | 1 | 50.0% (-50.0%), 0% |" in lines
    assert lines[-1] == "| all | 5 | 10.0% (-10.0%), 60% |"


def test_every_layer_that_is_far_off_is_listed_with_its_class() -> None:
    pairs = matching.match(_VELA, _ours()).pairs
    lines = error_table.far_table([*pairs, pairs[1]])
    assert lines[0] == "3 of 6 layers are off by more than 30%."
    assert "| net | depthwise | 4x4x16 | 4x4x16 | 3x3 | 4000 | 2000 | -50% | 2 | depthwise |" in lines
    assert any(
        line.startswith("| net | pool | 4x4x16 | 1x1x16 | 4x4 | 300 | 60 | -80% | 1 | short |") for line in lines
    )


@pytest.mark.parametrize(
    ("change", "residual", "expected"),
    [
        ({}, 0.5, "commands"),
        ({"operator": "LUT", "detail": {"chained": ["Mul"]}}, 0.5, "behind"),
        ({"compute_cycles": 1999}, -0.5, "short"),
        ({"detail": {"weight_buffering": ""}}, -0.5, "stream"),
        ({"detail": {"traversal": "PartKernel"}}, -0.5, "part"),
        ({"detail": {"chained": ["Add"], "output_cycles": 9, "mac_cycles": 10}}, -0.5, "chained"),
        ({"detail": {"memories": ["Dram", ""]}}, -0.5, "input"),
        ({}, -0.5, "blocks"),
    ],
)
def test_classes_of_layers_that_are_far_off(change: dict[str, Any], residual: float, expected: str) -> None:
    layer = replace(_vela("a", "Conv2D", (4, 4, 8), (4, 4, 8), 9000), **change)
    node = ours.Node("a", "conv", ((4, 4, 8),), (4, 4, 8), (1, 1))
    kind = matching.kind_of(layer)
    assert kind
    pair = matching.Pair(layer, kind, ours.OurLayer(node), layer.compute_cycles * (1 + residual))
    assert error_table.reason(pair) == expected
    assert expected in error_table.REASONS


def test_the_page_is_the_same_twice_and_names_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    result = ours.Ours(_ours(), 0.001, 60, 1000, 1, 0.25, 40_000_000)
    monkeypatch.setattr(ours, "to_graph", lambda tflite, folder: tmp_path / "net.hai")
    monkeypatch.setattr(errors, "model_file", lambda name, folder: tmp_path / f"{name}.tflite")
    monkeypatch.setattr(ours, "simulate", lambda graph, machine, options=(), given=None: result)
    write_layers(tmp_path / "vela_ad01_int8.json", {"compiler": {"cpu_seconds": 0.5, "peak_bytes": 50_000_000}}, _VELA)
    pages = []
    for name in ("one.md", "two.md"):
        assert errors.measure(tmp_path, tmp_path, tmp_path, tmp_path / name, ("ad01_int8", "resnet50"))
        pages.append((tmp_path / name).read_text())
    assert pages[0] == pages[1]
    assert "| ad01_int8 | 0.25 | 40 | 0.5 | 50 |" in pages[0]
    assert "- resnet50: no vela_resnet50.json" in pages[0]
    assert "SCALE-Sim: resnet50 is missing" in pages[0]
    assert "- yolov5s on rk3588-core: no yolov5s_int8.hai" in pages[0]
    data = json.loads((tmp_path / "one.json").read_text())
    assert set(data["vela"]) == set(errors.FORMS)
    assert data["chips"] == []


def test_without_any_network_there_is_no_page(tmp_path: Path) -> None:
    with pytest.raises(Skipped, match=r"no network can be compared: ad01_int8: no vela_ad01_int8\.json"):
        errors.measure(tmp_path, tmp_path, tmp_path, tmp_path / "page.md", ("ad01_int8",))
    assert not (tmp_path / "page.md").exists()


def test_a_larger_scratchpad_only_where_the_compiler_asks_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    def simulate(graph: Path, machine: str, options: object = (), given: Path | None = None) -> str:
        asked.append(json.loads(Path(machine).read_text())["values"])
        if "sram_bytes" not in asked[-1]:
            raise Skipped(words)
        return "done"

    monkeypatch.setattr(ours, "simulate", simulate)
    words = f"hai compile: layers are {ours.TOO_LARGE}"
    assert errors.run_on(tmp_path, "rk3588-core", {"cores": 1}) == ("done", True)
    assert asked == [{"cores": 1}, {"cores": 1, "sram_bytes": 4 << 20}]
    words = "hai compile: no such file"
    with pytest.raises(Skipped, match="no such file"):
        errors.run_on(tmp_path, "rk3588-core", {})
