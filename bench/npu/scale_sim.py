"""SCALE-Sim (PyPI `scalesim`): cycles of three layers of ResNet-50 on a systolic array of 32 x 64, in an environment of its own.

It simulates cycle by cycle and computes no values. Weight-stationary folds the sum over rows and output channels over columns;
output-stationary pixels over rows. The buffers together hold 384 KiB. DRAM is as wide as the array asks (mode CALC): told a
bandwidth (USER), version 3.0 fetches the weights of conv5_x 27 to 46 times over, which says nothing of a machine with DMA. It knows
no padding: the inputs carry the border. Layouts of banks are off; the file is wanted all the same.
"""

from __future__ import annotations

import csv
import io
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.accuracy.environments import interpreter
from bench.npu.layers import Layer
from bench.reasons import Skipped

ROWS, COLUMNS = 32, 64
DATAFLOWS = {"ws": "weight stationary", "os": "output stationary"}
_LIMIT_S = 500
_CONFIGURATION = """
[general]
run_name = peer
[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
[architecture_presets]
ArrayHeight = {rows}
ArrayWidth = {columns}
ifmapsramszkB = 128
filtersramszkB = 128
ofmapsramszkB = 128
IfmapOffset = 0
FilterOffset = 10000000
OfmapOffset = 20000000
Dataflow = {dataflow}
Bandwidth = 12
ReadRequestBuffer = 64
WriteRequestBuffer = 64
[layout]
IfmapCustomLayout = False
FilterCustomLayout = False
IfmapSRAMBankBandwidth = 64
IfmapSRAMBankNum = 16
IfmapSRAMBankPort = 2
FilterSRAMBankBandwidth = 64
FilterSRAMBankNum = 16
FilterSRAMBankPort = 2
[sparsity]
SparsitySupport = false
"""
_PROGRAM = """
from scalesim.scale_sim import scalesim
run = scalesim(save_disk_space=True, verbose=False, config="peer.cfg", topology="layers.csv", layout="layout.csv")
run.run_scale(top_path="said")
"""


@dataclass(frozen=True)
class Convolution:
    """Square, stride 1, "same" border."""

    name: str
    side: int
    kernel: int
    inputs: int
    outputs: int


LAYERS = (
    Convolution("conv2_x 3x3", 56, 3, 64, 64),
    Convolution("conv4_x 3x3", 14, 3, 256, 256),
    Convolution("conv5_x 1x1", 7, 1, 512, 2048),
)


def topology(layers: tuple[Convolution, ...] = LAYERS) -> str:
    """Its input: a line for each layer, every line closed by a comma."""
    lines = ["Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,"]
    for layer in layers:
        side = layer.side + layer.kernel - 1
        lines.append(
            f"{layer.name}, {side}, {side}, {layer.kernel}, {layer.kernel}, {layer.inputs}, {layer.outputs}, 1,"
        )
    return "\n".join(lines) + "\n"


def _rows(report: str) -> list[dict[str, float]]:
    rows = csv.DictReader(io.StringIO(report), skipinitialspace=True)
    return [{name.strip(): float(value) for name, value in row.items() if name and value} for row in rows]


def parse(dataflow: str, compute: str, accesses: str, layers: tuple[Convolution, ...] = LAYERS) -> list[Layer]:
    """The layers of its reports COMPUTE_REPORT.csv and DETAILED_ACCESS_REPORT.csv."""
    cycles, traffic = _rows(compute), _rows(accesses)
    if not len(cycles) == len(traffic) == len(layers):
        raise ValueError(f"{len(layers)} layers asked, {len(cycles)} and {len(traffic)} answered")
    result = []
    for layer, row, moved in zip(layers, cycles, traffic, strict=True):
        total, compute_cycles = int(row["Total Cycles (incl. prefetch)"]), int(row["Total Cycles"])
        macs = layer.side**2 * layer.kernel**2 * layer.inputs * layer.outputs
        names = ("DRAM IFMAP Reads", "DRAM Filter Reads", "DRAM OFMAP Writes")
        result.append(
            Layer(
                model="resnet50",
                name=layer.name,
                operator="Conv2D",
                inputs=((1, layer.side, layer.side, layer.inputs),),
                output=(1, layer.side, layer.side, layer.outputs),
                kernel=(layer.kernel, layer.kernel),
                stride=(1, 1),
                macs=macs,
                weight_bytes=layer.kernel**2 * layer.inputs * layer.outputs,
                compute_cycles=compute_cycles,
                dram_cycles=total - compute_cycles,
                total_cycles=total,
                dram_bytes=sum(int(moved[name]) for name in names),
                detail={
                    "dataflow": dataflow,
                    "array": (ROWS, COLUMNS),
                    "utilisation": macs / (compute_cycles * ROWS * COLUMNS),
                    "mapping_efficiency": row["Mapping Efficiency %"] / 100,
                },
            )
        )
    return result


def simulate(dataflow: str) -> list[Layer]:
    """Run it; about a minute for each dataflow."""
    python = interpreter("scalesim")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "peer.cfg").write_text(_CONFIGURATION.format(rows=ROWS, columns=COLUMNS, dataflow=dataflow))
        (folder / "layers.csv").write_text(topology())
        layouts = [f"{layer.name}," + "1," * 20 for layer in LAYERS]
        (folder / "layout.csv").write_text("\n".join(["Layer name,", *layouts]) + "\n")
        try:
            done = subprocess.run(
                [str(python), "-c", _PROGRAM], cwd=folder, capture_output=True, text=True, timeout=_LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired as late:
            raise Skipped(f"SCALE-Sim took more than {_LIMIT_S} s") from late
        reports = [folder / "said" / "peer" / f"{part}_REPORT.csv" for part in ("COMPUTE", "DETAILED_ACCESS")]
        if done.returncode or not all(report.exists() for report in reports):
            raise Skipped(f"SCALE-Sim does not run: {done.stderr.strip()[-300:]}")
        return parse(dataflow, reports[0].read_text(), reports[1].read_text())
