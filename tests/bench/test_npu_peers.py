"""What the NPU's peers print, read back: Vela's debug database and SCALE-Sim's reports, in excerpts of the same form."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.npu import peers, scale_sim, vela
from bench.npu.layers import read_layers, write_layers
from bench.reasons import Skipped

_AXES = ("n", "h", "w", "c")


def _shapes(**shapes: tuple[int, ...]) -> dict[str, str]:
    return {
        f"{name}_{axis}": str(size) for name, shape in shapes.items() for axis, size in zip(_AXES, shape, strict=True)
    }


def _table(name: str, rows: list[dict[str, str]]) -> str:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [columns, *([row.get(column, "") for column in columns] for row in rows)]
    text = "\n".join(",".join(f'"{cell}"' for cell in line) for line in lines)
    return f'<table name="{name}">\n<![CDATA[\n{text}\n]]>\n</table>\n'


_CONVOLUTION = {
    "id": "7",
    **_shapes(ifm_shape=(1, 13, 19, 24), ofm_shape=(1, 7, 10, 64), ofm_slice=(1, 7, 10, 40), ifm_slice=(0, 0, 0, 0)),
    "kernel_size_y": "3",
    "kernel_size_x": "5",
    "kernel_stride_y": "2",
    "kernel_stride_x": "2",
    "weight_total_bytes": "9000",
    "weight_buffering": "Double",
    "ifm_memory": "Dram",
    "ofm_memory": "Sram",
    "ofm_depth_slices": "0|32|40",
    "DramFeatureMap_ac": "99",
    "DramFeatureMap_read": "6000",
    "DramFeatureMap_write": "",
    "DramWeights_read": "9200",
    "DramScales_read": "400",
    "SramFeatureMap_write": "2800",
    "Dram_read_efficiency": "0.500000",
}
_PRODUCT = {
    "id": "9",
    **_shapes(ifm_shape=(1, 7, 10, 40), ifm2_shape=(1, 1, 1, 40), ofm_shape=(1, 7, 10, 40)),
    "kernel_size_y": "1",
    "kernel_size_x": "1",
}
_PERF = [
    {"id": "7", "operator": "Conv2D", "name": "net/conv", "op_cycles": "2100", "npu_cycles": "1900", "mac_count": "1008000",
     "Sram_ac": "88", "Dram_ac": "2100"},
    {"id": "8", "operator": "Relu", "name": "net/conv", "op_cycles": "0", "npu_cycles": "0", "mac_count": "0"},
    {"id": "9", "operator": "Mul", "name": "net/gate", "op_cycles": "90", "npu_cycles": "88", "mac_count": "0",
     "Sram_ac": "90", "Dram_ac": "0"},
]  # fmt: skip
_MAIN = [{"id": "7", "mac_cycles": "1700", "ao_cycles": "600", "cmd_cycles": "50", "traversal": "PartKernel",
          **_shapes(ifm_block=(1, 9, 13, 16), ofm_block=(1, 4, 10, 64), ofm_ublock=(1, 2, 2, 64))}]  # fmt: skip


def _database(perf: list[dict[str, str]] | None = None) -> str:
    tables = [
        _table("perf_debug", [_CONVOLUTION, {"id": "8"}, _PRODUCT]),
        _table("perf", perf or _PERF),
        _table("perf_debug_main", _MAIN),
        _table("perf_debug_wd", [{"id": "7", "wd_cycles": "33"}]),
        _table("group", [{"id": "8", "group_id": "7"}]),
    ]
    return "<?xml version='1.0' encoding='UTF-8'?>\n<debug source=\"net\">\n" + "".join(tables) + "</debug>\n"


def test_a_debug_database_becomes_layers() -> None:
    convolution, product = vela.parse("net", _database())
    assert (convolution.model, convolution.name, convolution.operator) == ("net", "net/conv", "Conv2D")
    assert convolution.inputs == ((1, 13, 19, 24),)
    # A part of a concatenation: the slice, not the tensor it lies in.
    assert convolution.output == (1, 7, 10, 40)
    assert (convolution.kernel, convolution.stride) == ((3, 5), (2, 2))
    assert convolution.macs == 7 * 10 * 40 * 3 * 5 * 24
    assert convolution.weight_bytes == 3 * 5 * 24 * 40
    assert (convolution.compute_cycles, convolution.dram_cycles, convolution.total_cycles) == (1900, 2100, 2100)
    # Bytes of every purpose; the cycles in the column beside them are no bytes.
    assert convolution.dram_bytes == 6000 + 9200 + 400
    detail = convolution.detail
    assert detail["chained"] == ["Relu"] and detail["traversal"] == "PartKernel"
    assert (detail["mac_cycles"], detail["output_cycles"], detail["command_cycles"]) == (1700, 600, 50)
    assert (detail["micro_block"], detail["ofm_block"]) == ((1, 2, 2, 64), (1, 4, 10, 64))
    assert (detail["weight_decoder_cycles"], detail["depth_slices"]) == (33, [0, 32, 40])
    assert (detail["sram_bytes"], detail["dram_read_efficiency"]) == (2800, 0.5)
    assert product.inputs == ((1, 7, 10, 40), (1, 1, 1, 40))
    assert (product.weight_bytes, product.compute_cycles, product.detail["chained"]) == (0, 88, [])
    assert "traversal" not in product.detail


def test_depthwise_weights_are_counted_once_a_channel() -> None:
    perf = [{**_PERF[0], "operator": "DepthwiseConv2D"}]
    assert vela.parse("net", _database(perf))[0].weight_bytes == 3 * 5 * 40


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a debug database"),
        ("<debug><table", "not a debug database"),
        ("<debug></debug>", "only: none"),
        ("<debug>" + _table("perf", _PERF) + "</debug>", "only: perf"),
        (_database([{**_PERF[0], "id": "70"}]), "command 70 .Conv2D. has cycles and no shapes"),
        (_database([{**_PERF[0], "npu_cycles": "many"}]), "many"),
    ],
)
def test_what_is_no_debug_database_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        vela.parse("net", text)


def test_a_summary_gives_its_numbers() -> None:
    assert vela.totals("network,cycles_npu,core_clock\nnet,1988,1000000000.0\n") == {
        "cycles_npu": 1988,
        "core_clock": 1e9,
    }
    with pytest.raises(ValueError, match="this has 0"):
        vela.totals("network,cycles_npu\n")


_COMPUTE = """LayerID, Total Cycles (incl. prefetch), Total Cycles, Stall Cycles, Mapping Efficiency %,
0, 1090, 1000, 0, 87.5,
"""
_ACCESSES = """LayerID, SRAM IFMAP Reads, DRAM IFMAP Start Cycle, DRAM IFMAP Reads, DRAM Filter Reads, DRAM OFMAP Writes,
0, 999, -50.0, 3000, 4608, 1568,
"""
_ASKED = (scale_sim.Convolution("c", 7, 3, 16, 32),)


def test_scale_sim_reports_become_layers() -> None:
    (layer,) = scale_sim.parse("ws", _COMPUTE, _ACCESSES, _ASKED)
    assert layer.macs == 7 * 7 * 3 * 3 * 16 * 32
    assert (layer.compute_cycles, layer.dram_cycles, layer.total_cycles) == (1000, 90, 1090)
    assert (layer.dram_bytes, layer.weight_bytes) == (3000 + 4608 + 1568, 4608)
    assert layer.detail["utilisation"] == layer.macs / (1000 * 2048)
    assert layer.detail["mapping_efficiency"] == 0.875
    with pytest.raises(ValueError, match="3 layers asked, 1 and 1 answered"):
        scale_sim.parse("ws", _COMPUTE, _ACCESSES)


def test_scale_sim_gets_inputs_with_their_border() -> None:
    header, line, end = scale_sim.topology(_ASKED).split("\n")
    assert len(header.split(",")) == len(line.split(",")) == 9 and end == ""
    assert line == "c, 9, 9, 3, 3, 16, 32, 1,"


def test_written_layers_are_read_back(tmp_path: Path) -> None:
    layers = scale_sim.parse("os", _COMPUTE, _ACCESSES, _ASKED)
    layers[0].detail["array"] = [32, 64]  # JSON has no tuples
    facts = {"date": "2026-01-31", "totals": {"cycles": 1.5}}
    write_layers(tmp_path / "new" / "s.json", facts, layers)
    assert read_layers(tmp_path / "new" / "s.json") == (facts, layers)


def test_what_is_missing_is_skipped_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str) -> Path:
        raise Skipped(f"{name} does not install here")

    monkeypatch.setattr(vela, "interpreter", missing)
    monkeypatch.setattr(peers, "interpreter", missing)
    monkeypatch.setattr(scale_sim, "interpreter", missing)
    monkeypatch.setenv("HAI_TEST_DATA", str(tmp_path))
    (tmp_path / "unet.tflite").write_bytes(b"")
    assert peers.measure(["ad01_int8", "resnet50", "unet"], tmp_path / "out", tmp_path)
    printed = capsys.readouterr().out
    assert f"| ad01_int8 | skipped: no test data at {tmp_path}" in printed
    assert "| resnet50 | skipped: tensorflow does not install here |" in printed
    assert "| unet | skipped: vela does not install here |" in printed
    assert printed.count("skipped: scalesim does not install here") == 2
    assert not (tmp_path / "out").exists()
