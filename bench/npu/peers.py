"""What the peers of the NPU's model of time say, layer by layer: `./dev bench npu_peers [--out FOLDER] [--tflite FOLDER]`.

Writes vela_MODEL.json for each network and scale_sim.json: shapes, MACs, bytes, cycles (`layers.py`). Vela gets the integer
models of MLPerf Tiny (HAI_TEST_DATA) and the networks of `tflite_networks.py`, which TensorFlow makes when missing. Cycles are the
peers' own estimates (modelled); the CPU seconds and the memory of Vela as a compiler are measured here.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.accuracy.environments import interpreter
from bench.accuracy.photos import CHECKOUT, test_data
from bench.npu import scale_sim, vela
from bench.npu.layers import Layer, write_layers
from bench.npu.tflite_networks import FRESH, NETWORKS
from bench.reasons import Skipped, exit_status

TINY = ("pretrainedResnet_quant", "vww_96_int8", "kws_ref_model", "ad01_int8")
MODELS = (*TINY, *NETWORKS)
KNOWN = (*MODELS, *FRESH)
_OUT, _TFLITE = Path("build/bench/npu"), Path("build/models")


def model_file(name: str, folder: Path) -> Path:
    """The .tflite of `name`; made by TensorFlow where it may be made. Skipped with the reason where it cannot be had."""
    if name in TINY:
        path = test_data() / "models" / "mlperf_tiny" / f"{name}.tflite"
        if not path.exists():
            raise Skipped(f"no {path.name} in HAI_TEST_DATA")
        return path
    path = folder / f"{name}.tflite"
    if not path.exists():
        command = [str(interpreter("tensorflow")), "-m", "bench.npu.tflite_networks", str(folder.resolve()), name]
        done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Skipped(f"TensorFlow does not make {name}: {done.stderr.strip()[-200:]}")
    return path


def _facts(**more: Any) -> dict[str, Any]:
    return {"date": time.strftime("%Y-%m-%d"), "command": "./dev bench npu_peers " + " ".join(sys.argv[2:]), **more}


def _version(peer: str, package: str) -> str:
    site = interpreter(peer).parents[1] / "lib"
    found = [d for folder in site.glob("python3*/site-packages") for d in metadata.distributions(path=[str(folder)])]
    return next((f"{d.name} {d.version}" for d in found if d.name == package), package)


def _vela_row(name: str, out: Path, folder: Path) -> str:
    estimate = vela.estimate(model_file(name, folder))
    compiler = {"cpu_seconds": round(estimate.cpu_seconds, 2), "peak_bytes": estimate.peak_bytes}
    facts = _facts(
        peer=_version("vela", "ethos-u-vela"), options=list(vela.OPTIONS), compiler=compiler, totals=estimate.totals
    )
    write_layers(out / f"vela_{name}.json", facts, estimate.layers)
    totals = estimate.totals
    return (
        f"| {name} | {len(estimate.layers)} | {totals['nn_macs'] / 1e6:.1f} | {totals['cycles_npu'] / 1e3:.0f} | "
        f"{totals['cycles_dram_access'] / 1e3:.0f} | {totals['cycles_total'] / 1e3:.0f} | "
        f"{totals['dram_total_bytes'] / 1e6:.2f} | {estimate.cpu_seconds:.1f} | {estimate.peak_bytes / 1e6:.0f} |"
    )


def _print_vela(models: Sequence[str], out: Path, folder: Path) -> None:
    print("\nVela's estimates (modelled), and Vela itself (measured)\n")
    print(
        "| model | layers | MMAC | compute, k cycles | DRAM, k cycles | total, k cycles | DRAM, MB | CPU s | peak, MB |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name in models:
        try:
            row = _vela_row(name, out, folder)
        except Skipped as reason:
            row = f"| {name} | skipped: {reason} |" + " |" * 7
        print(row, flush=True)


def _print_scale_sim(out: Path) -> None:
    layers: list[Layer] = []
    print(f"\nSCALE-Sim, {scale_sim.ROWS} x {scale_sim.COLUMNS} (modelled)\n")
    print("| layer of ResNet-50 | dataflow | compute cycles | of the peak | with DRAM |\n|---|---|---|---|---|")
    for dataflow, title in scale_sim.DATAFLOWS.items():
        try:
            found = scale_sim.simulate(dataflow)
        except Skipped as reason:
            print(f"| all | {title} | skipped: {reason} | | |", flush=True)
            continue
        layers += found
        for layer in found:
            share = layer.detail["utilisation"]
            print(
                f"| {layer.name} | {title} | {layer.compute_cycles} | {share:.1%} | {layer.total_cycles} |", flush=True
            )
    if layers:
        write_layers(out / "scale_sim.json", _facts(peer=_version("scalesim", "scalesim")), layers)


def measure(
    models: Sequence[str] = (), out: Path = _OUT, tflite: Path = _TFLITE, without_scale_sim: bool = False
) -> bool:
    """Print the tables and write the files; no goal is set here."""
    _print_vela(models or MODELS, out, tflite)
    if not without_scale_sim:
        _print_scale_sim(out)
    print(f"\nlayers: {out}")
    return True


def main(words: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="./dev bench npu_peers", description=__doc__)
    parser.add_argument(
        "models", nargs="*", metavar="MODEL", help=f"of {', '.join(KNOWN)}; by default all but {', '.join(FRESH)}"
    )
    parser.add_argument("--out", type=Path, default=_OUT, help="folder of the JSON files (default: %(default)s)")
    parser.add_argument("--tflite", type=Path, default=_TFLITE, help="folder of made networks (default: %(default)s)")
    parser.add_argument("--without-scale-sim", action="store_true", help="Vela only")
    arguments = parser.parse_args(words)
    unknown = [name for name in arguments.models if name not in KNOWN]
    if unknown:
        parser.error(f"unknown model {unknown[0]}; known: {', '.join(KNOWN)}")
    return exit_status(lambda: measure(arguments.models, arguments.out, arguments.tflite, arguments.without_scale_sim))


if __name__ == "__main__":
    sys.exit(main())
