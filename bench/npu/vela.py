"""Vela (PyPI `ethos-u-vela`): what Arm's compiler estimates for each layer on an Ethos-U85 with 2048 MACs a cycle.

It runs in an environment of its own, on INT8 .tflite files, with the system of its own configuration file that is nearest to
our profile `ethos-u85-2048`: 1 GHz, 384 KiB of SRAM for the NPU, DRAM of 12e9 bytes a second (Vela prints that as 11.18 GB/s,
of 2**30 bytes). Figures are read from its debug database: tables in CSV inside XML, a row for each scheduled command.
Operators that Vela chains behind another have rows of zeros; here they are names in that other's `chained`.
"""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.accuracy.environments import interpreter
from bench.npu.layers import Layer
from bench.reasons import Skipped

OPTIONS = (
    "--accelerator-config", "ethos-u85-2048", "--config", "Arm/vela.ini", "--system-config", "Ethos_U85_SYS_DRAM_Mid",
    "--memory-mode", "Dedicated_Sram_384KB", "--enable-debug-db",
)  # fmt: skip
_LIMIT_S = 900
_MAIN_COLUMNS = {"mac_cycles": "mac_cycles", "ao_cycles": "output_cycles", "cmd_cycles": "command_cycles"}
_WEIGHTED = ("Conv2D", "DepthwiseConv2D", "FullyConnected", "TransposeConv2D", "MatMul")
Table = list[dict[str, str]]


@dataclass(frozen=True)
class Estimate:
    """One model: its layers, the totals of Vela's summary, and what the compiler itself cost."""

    layers: list[Layer]
    totals: dict[str, float]
    cpu_seconds: float
    peak_bytes: int


def read_tables(database: str) -> dict[str, Table]:
    """The tables of a debug database by name; ValueError where it is none."""
    try:
        root = ElementTree.fromstring(database)
    except ElementTree.ParseError as error:
        raise ValueError(f"not a debug database: {error}") from error
    tables = {}
    for element in root.iter("table"):
        rows = csv.DictReader(io.StringIO((element.text or "").strip()), skipinitialspace=True)
        tables[element.get("name", "")] = list(rows)
    if "perf" not in tables or "perf_debug" not in tables:
        raise ValueError(f"no tables perf and perf_debug, only: {', '.join(tables) or 'none'}")
    return tables


def _number(row: dict[str, str], column: str) -> int:
    return int(row.get(column) or 0)


def _shape(row: dict[str, str], name: str) -> tuple[int, ...]:
    return tuple(_number(row, f"{name}_{axis}") for axis in "nhwc")


def _operand(row: dict[str, str], name: str) -> tuple[int, ...]:
    """What the command reads or writes: a slice where the tensor is a part of a concatenation or split."""
    part = _shape(row, f"{name}_slice")
    return part if all(part) else _shape(row, f"{name}_shape")


def _bytes(row: dict[str, str], memory: str) -> int:
    """Read and written, for whatever purpose."""
    column = re.compile(rf"{memory}(FeatureMap|Weights|Scales|Lut)_(read|write)")
    return sum(_number(row, name) for name in row if column.fullmatch(name))


def _weight_bytes(operator: str, kernel: tuple[int, ...], inputs: int, outputs: int) -> int:
    if operator == "DepthwiseConv2D":
        return kernel[0] * kernel[1] * outputs
    return kernel[0] * kernel[1] * inputs * outputs


def _detail(
    cycles: dict[str, str], shapes: dict[str, str], main: dict[str, str], decoder: dict[str, str]
) -> dict[str, Any]:
    detail: dict[str, Any] = {
        "sram_cycles": _number(cycles, "Sram_ac"),
        "sram_bytes": _bytes(shapes, "Sram"),
        "dram_feature_bytes": _number(shapes, "DramFeatureMap_read") + _number(shapes, "DramFeatureMap_write"),
        "encoded_weight_bytes": _number(shapes, "weight_total_bytes"),
        "dilation": (_number(shapes, "kernel_dilation_y"), _number(shapes, "kernel_dilation_x")),
        "memories": [shapes.get(f"{name}_memory", "") for name in ("ifm", "ifm2", "ofm")],
        "formats": [shapes.get(f"{name}_format", "") for name in ("ifm", "ifm2", "ofm")],
        "output_stride": (_number(shapes, "ofm_strides_h"), _number(shapes, "ofm_strides_w")),
        "weight_buffering": shapes.get("weight_buffering", ""),
        "types": [shapes.get(f"{name}_dtype", "") for name in ("ifm", "ifm2", "ofm")],
        "cascade": _number(shapes, "cascade"),
        "output_stripe": _shape(shapes, "ofm_stripe"),
        "depth_slices": [int(end) for end in shapes.get("ofm_depth_slices", "").split("|") if end],
        "weight_decoder_cycles": _number(decoder, "wd_cycles"),
        "input_read_cycles": _number(shapes, "est_ifm_read_cycles"),
        "weight_read_cycles": _number(shapes, "est_weight_read_cycles"),
        "dram_read_efficiency": float(shapes.get("Dram_read_efficiency") or 1),
        "dram_write_efficiency": float(shapes.get("Dram_write_efficiency") or 1),
    }
    if main:
        detail["traversal"] = main["traversal"]
        detail |= {ours: _number(main, theirs) for theirs, ours in _MAIN_COLUMNS.items()}
        detail |= {f"{name}_block": _shape(main, f"{name}_block") for name in ("ifm", "ofm")}
        detail["micro_block"] = _shape(main, "ofm_ublock")
    return detail


def parse(model: str, database: str) -> list[Layer]:
    """The layers of a debug database, in the order of the schedule."""
    tables = read_tables(database)
    by_id = {name: {row["id"]: row for row in tables.get(name, [])} for name in ("perf_debug", "perf_debug_main")}
    decoder = {row["id"]: row for row in tables.get("perf_debug_wd", [])}
    leader = {row["id"]: row["group_id"] for row in tables.get("group", [])}
    names = {row["id"]: row["operator"] for row in tables["perf"]}
    chained: dict[str, list[str]] = {}
    for follower, first in leader.items():
        if follower != first:
            chained.setdefault(first, []).append(names.get(follower, "?"))
    layers = []
    for cycles in tables["perf"]:
        key = cycles["id"]
        if leader.get(key, key) != key:
            continue
        if key not in by_id["perf_debug"]:
            raise ValueError(f"command {key} ({cycles['operator']}) has cycles and no shapes")
        shapes = by_id["perf_debug"][key]
        kernel = (_number(shapes, "kernel_size_y"), _number(shapes, "kernel_size_x"))
        output, operator = _operand(shapes, "ofm"), cycles["operator"]
        inputs = [_operand(shapes, name) for name in ("ifm", "ifm2")]
        has_weights = operator in _WEIGHTED and _number(shapes, "weight_total_bytes") > 0
        detail = _detail(cycles, shapes, by_id["perf_debug_main"].get(key, {}), decoder.get(key, {}))
        layers.append(
            Layer(
                model=model,
                name=cycles["name"],
                operator=operator,
                inputs=tuple(shape for shape in inputs if all(shape)),
                output=output,
                kernel=kernel,
                stride=(_number(shapes, "kernel_stride_y"), _number(shapes, "kernel_stride_x")),
                macs=_number(cycles, "mac_count"),
                weight_bytes=_weight_bytes(operator, kernel, inputs[0][3], output[3]) if has_weights else 0,
                compute_cycles=_number(cycles, "npu_cycles"),
                dram_cycles=_number(cycles, "Dram_ac"),
                total_cycles=_number(cycles, "op_cycles"),
                dram_bytes=_bytes(shapes, "Dram"),
                detail={"chained": chained.get(key, []), **detail},
            )
        )
    return layers


def totals(summary: str) -> dict[str, float]:
    """The numbers of Vela's summary (CSV of one row) by their own names."""
    rows = list(csv.DictReader(io.StringIO(summary)))
    if len(rows) != 1:
        raise ValueError(f"a summary has one row, this has {len(rows)}")
    numbers = {}
    for name, value in rows[0].items():
        try:
            numbers[name] = float(value)
        except ValueError:
            continue
    return numbers


def _peak_bytes(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # it has just ended
    return 0


def _children_s() -> float:
    times = os.times()
    return times.children_user + times.children_system


def estimate(model: Path) -> Estimate:
    """Compile `model` and read what Vela says; Skipped, with its words, where it refuses."""
    vela = interpreter("vela").parent / "vela"
    with tempfile.TemporaryDirectory() as folder:
        command = [str(vela), *OPTIONS, "--output-dir", folder, str(model)]
        begin, end, peak = _children_s(), time.monotonic() + _LIMIT_S, 0
        with open(Path(folder) / "said", "w+") as said:
            process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
            while process.poll() is None:
                peak = max(peak, _peak_bytes(process.pid))
                if time.monotonic() > end:
                    process.kill()
                    process.wait()
                    raise Skipped(f"Vela took more than {_LIMIT_S} s on {model.name}")
                time.sleep(0.005)
            if process.returncode:
                said.seek(0)
                raise Skipped(f"Vela does not compile {model.name}: {said.read().strip()[-300:]}")
        cpu_seconds = _children_s() - begin
        database = (Path(folder) / f"{model.stem}_debug.xml").read_text()
        summary = next(Path(folder).glob(f"{model.stem}_summary_*.csv")).read_text()
    return Estimate(parse(model.stem, database), totals(summary), cpu_seconds, peak)
