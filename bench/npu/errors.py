"""How far the NPU's modelled time is from its peers': `./dev bench npu_errors --peers FOLDER [--tflite FOLDER] [--chips FOLDER]`.

Per layer against Vela (profile ethos-u85-2048, compute cycles), three layers against SCALE-Sim, whole networks against published
chips, and both compilers' own cost. Reads what `./dev bench npu_peers` wrote; what is missing is skipped by name with the reason.
Writes docs/reference/npu_errors.md and a JSON file of all figures. Cycles and times are modelled and the same in every run; only
the last table (CPU seconds and memory of the compilers) is measured.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.accuracy.photos import CHECKOUT
from bench.npu import error_table, ours
from bench.npu import error_words as words
from bench.npu.error_table import head, row
from bench.npu.layers import Layer, read_layers
from bench.npu.matching import Pair, match
from bench.npu.peers import MODELS, model_file
from bench.npu.tflite_networks import FRESH
from bench.reasons import Skipped, exit_status

PROFILE = "ethos-u85-2048"
# The profile's values before Vela's structure was put into it: the product's rules with 2048 products a cycle.
_BEFORE: dict[str, float] = {
    "array_input_channels": 16, "array_output_channels": 32, "array_pixels": 4, "array_taps": 1, "array_steps": 1,
    "block_load_cycles": 4, "accumulator_bytes": 65536, "depthwise_outputs": 64, "depthwise_taps": 16, "post_values": 64,
    "pool_values": 64, "pool_pixels": 1, "table_values": 64, "copy_values": 64, "sram_read_bytes": 64,
    "sram_write_bytes": 64, "start_cycles": 0,
}  # fmt: skip
_WIDE = {"sram_bytes": 4 << 20}
FORMS: dict[str, dict[str, float]] = {
    "product's rules": _BEFORE,
    "structure, nothing fitted, 4 MiB": {"start_cycles": 0, **_WIDE},
    "fitted start, 384 KiB": {},
    "fitted start, 4 MiB": {**_WIDE},
}
_FITTED, _HALVES = "fitted start, 4 MiB", {"fitted half": 0, "predicted half": 1}
FIT_GRID = (0, 100, 200, 250, 300, 350, 400, 450)
_OUT = CHECKOUT / "docs" / "reference" / "npu_errors.md"
_SCALE_SIM_SHAPES = {
    "conv2_x 3x3": ((56, 56, 64), (56, 56, 64)),
    "conv4_x 3x3": ((14, 14, 256), (14, 14, 256)),
    "conv5_x 1x1": ((7, 7, 512), (7, 7, 2048)),
}


@dataclass(frozen=True)
class Published:
    """A time that somebody else states for a chip."""

    profile: str
    network: str
    milliseconds: float
    why: str


CHIPS = (
    Published("hi3403v100-svp", "yolov5s", 1000 / 85.4, words.YOLO_ON_SVP),
    Published("rk3588-core", "yolov5s", 18.84, words.NO_DRIVER),
    Published("rk3588-core", "resnet50", 9.2, words.NO_DRIVER),
    Published("rk3588-core", "mobilenet_v2", 2.31, words.SMALL_NETWORK),
)


@dataclass
class Report:
    """Lines of the page, and the same as data."""

    lines: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)


def run_on(graph: Path, profile: str, values: Mapping[str, float], given: Path | None = None) -> tuple[ours.Ours, bool]:
    """The network on a profile with other values; with a larger scratchpad, and True, where the compiler needs that."""
    with tempfile.TemporaryDirectory() as folder:
        machine = Path(folder) / "machine.json"
        for more in ({}, _WIDE):
            machine.write_text(
                json.dumps({"profile": "variant", "based_on": profile, "values": {**values, **more}}),
            )
            try:
                return ours.simulate(graph, str(machine), given=given), bool(more)
            except Skipped as refusal:
                if more or ours.TOO_LARGE not in str(refusal):
                    raise
    raise AssertionError("unreachable")


@dataclass
class Network:
    """One network as Vela and we see it."""

    name: str
    facts: dict[str, Any]
    layers: list[Layer]
    graph: Path
    runs: dict[str, ours.Ours] = field(default_factory=dict)
    pairs: dict[str, list[Pair]] = field(default_factory=dict)
    alone: tuple[int, int] = (0, 0)
    more_sram: bool = False


def load(name: str, peers: Path, tflite: Path, graphs: Path) -> Network:
    """Vela's layers and our graph; Skipped with the reason."""
    path = peers / f"vela_{name}.json"
    if not path.exists():
        raise Skipped(f"no {path.name}: ./dev bench npu_peers {name} --out {peers.name}")
    facts, layers = read_layers(path)
    return Network(name, facts, layers, ours.to_graph(model_file(name, tflite), graphs))


def run(network: Network, forms: Mapping[str, Mapping[str, float]]) -> Network:
    """Fill in our side."""
    for form, values in forms.items():
        result, more = run_on(network.graph, PROFILE, values)
        matched = match(network.layers, result.layers)
        network.runs[form], network.pairs[form] = result, matched.pairs
        network.alone = (len(matched.vela_alone), len(matched.ours_alone))
        network.more_sram |= more
    return network


def collect(names: Sequence[str], peers: Path, tflite: Path, report: Report) -> list[Network]:
    """All networks that can be had."""
    networks = []
    for name in names:
        try:
            networks.append(run(load(name, peers, tflite, CHECKOUT / "build" / "bench" / "npu_graphs"), FORMS))
            print(f"{name}: {len(networks[-1].pairs[_FITTED])} layers matched", flush=True)
        except Skipped as why:
            report.skipped.append(f"{name}: {why}")
            print(f"skipped: {report.skipped[-1]}", flush=True)
    return networks


def _pairs(networks: Sequence[Network]) -> dict[str, list[Pair]]:
    return {form: [pair for network in networks for pair in network.pairs[form]] for form in FORMS}


def add_vela(report: Report, networks: Sequence[Network], fresh: Sequence[Network]) -> None:
    """Residuals by class, by network, of fresh networks, and the layers that are far off."""
    forms = _pairs(networks)
    report.lines += ["", "## Vela, layer by layer", "", *words.VELA, ""]
    report.lines += error_table.residual_table(forms, _HALVES)
    report.data["vela"] = {
        form: {half: error_table.by_class(pairs, index) for half, index in _HALVES.items()}
        for form, pairs in forms.items()
    }
    report.lines += [
        "",
        "| network | layers matched | Vela's alone | ours alone | median, fitted start, 4 MiB | sum | compiles for 384 KiB |",
    ]
    report.lines.append("|---|---|---|---|---|---|---|")
    for network in (*networks, *fresh):
        pairs = network.pairs[_FITTED]
        total = sum(pair.cycles for pair in pairs) / sum(pair.vela.compute_cycles for pair in pairs) - 1
        median = error_table.spread([pair.residual for pair in pairs])["median"]
        room = "no" if network.more_sram else "yes"
        report.lines.append(row([network.name, len(pairs), *network.alone, f"{median:.1%}", f"{total:+.1%}", room]))
    if fresh:
        known = {_shape_key(pair) for pair in forms[_FITTED]}
        new = {form: [pair for pair in pairs if _shape_key(pair) not in known] for form, pairs in _pairs(fresh).items()}
        report.lines += ["", "### Fresh networks: predicted", "", *words.FRESH, ""]
        report.lines += error_table.residual_table(new, {"": None})
        report.data["fresh"] = {form: error_table.by_class(pairs) for form, pairs in new.items() if pairs}
    report.lines += ["", "### Layers off by more than 30 %", ""]
    report.lines += [
        "With the fitted start and 4 MiB; fresh networks too. The classes are rules over what Vela says of a layer, not proofs."
    ]
    report.lines += error_table.far_table([*forms[_FITTED], *_pairs(fresh)[_FITTED]])


def _shape_key(pair: Pair) -> tuple[object, ...]:
    vela = pair.vela
    return vela.operator, vela.inputs, vela.output, vela.kernel, vela.stride


def add_scale_sim(report: Report, networks: Sequence[Network], peers: Path) -> None:
    """Three layers of ResNet-50."""
    report.lines += ["", "## SCALE-Sim, three layers of ResNet-50", ""]
    resnet = next((network for network in networks if network.name == "resnet50"), None)
    path = peers / "scale_sim.json"
    if resnet is None or not path.exists():
        report.skipped.append("SCALE-Sim: " + ("no scale_sim.json" if resnet else "resnet50 is missing"))
        report.lines.append(f"Skipped: {report.skipped[-1]}.")
        return
    said = {(layer.name, layer.detail["dataflow"]): layer for layer in read_layers(path)[1]}
    titles = [
        "layer",
        "MMAC",
        "at 100 %",
        "weight stationary",
        "output stationary",
        "ours, product's rules",
        "ours, profile",
    ]
    report.lines += head(titles)
    report.data["scale_sim"] = {}
    for name, (inputs, output) in _SCALE_SIM_SHAPES.items():
        weight, out = said[name, "ws"], said[name, "os"]
        mine = [_one_layer(resnet.runs[form], inputs, output, weight.macs) for form in ("product's rules", _FITTED)]
        cells = [f"{cycles:.0f}" for cycles in mine]
        report.lines.append(
            row(
                [
                    name,
                    f"{weight.macs / 1e6:.1f}",
                    weight.macs // 2048,
                    weight.compute_cycles,
                    out.compute_cycles,
                    *cells,
                ]
            )
        )
        report.data["scale_sim"][name] = {"ws": weight.compute_cycles, "os": out.compute_cycles, "ours": mine}
    report.lines += ["", *words.SCALE_SIM]


def _one_layer(result: ours.Ours, inputs: tuple[int, ...], output: tuple[int, ...], macs: int) -> float:
    for layer in result.layers:
        if layer.node.inputs[0] == inputs and layer.node.output == output and layer.products == macs:
            return layer.compute_cycles
    raise Skipped(f"no layer of {inputs} to {output} in our resnet50")


def add_chips(report: Report, chips: Path) -> None:
    """Whole networks against published times."""
    report.lines += [
        "",
        "## Published chips",
        "",
        "Plausibility only: other compilers, other networks' details, times with driver calls.",
        "",
    ]
    report.lines += head(["profile", "network", "published, ms", "ours, ms (modelled)", "published / ours", "why"])
    report.data["chips"] = []
    for chip in CHIPS:
        graph, given = chips / f"{chip.network}_int8.hai", chips / f"{chip.network}_x.npy"
        try:
            if not graph.exists() or not given.exists():
                raise Skipped(f"no {graph.name} and {given.name} in --chips")
            result, more = run_on(graph, chip.profile, {}, given)
        except Skipped as why:
            report.skipped.append(f"{chip.network} on {chip.profile}: {why}")
            report.lines.append(row([chip.profile, chip.network, f"{chip.milliseconds:.2f}", "skipped", "-", why]))
            continue
        milliseconds = result.seconds * 1e3
        note = chip.why + (
            "; with a scratchpad of 4 MiB, as 384 KiB are too small for some of its layers" if more else ""
        )
        ratio = chip.milliseconds / milliseconds
        report.lines.append(
            row([chip.profile, chip.network, f"{chip.milliseconds:.2f}", f"{milliseconds:.2f}", f"{ratio:.2f}", note])
        )
        report.data["chips"].append({**asdict(chip), "ours_milliseconds": milliseconds, "more_sram": more})


def add_compilers(report: Report, networks: Sequence[Network]) -> None:
    """CPU seconds and memory of both compilers, measured."""
    report.lines += ["", "## The compilers themselves", ""]
    report.lines += [
        "Measured, CPU seconds and peak memory of a process from the quantized network to the program; these vary from run to run.",
        "tpu-mlir is not beside them: its wheel (1.30.2, 312 MB) holds native modules for Python 3.10 alone; Debian 12 has 3.11.",
    ]
    report.lines += ["", *head(["network", "hai, CPU s", "hai, MB", "Vela, CPU s", "Vela, MB"])]
    for network in networks:
        result, vela = network.runs[_FITTED], network.facts.get("compiler", {})
        cells = [f"{result.cpu_seconds:.2f}", f"{result.peak_bytes / 1e6:.0f}"]
        cells += [vela.get("cpu_seconds", "-"), f"{vela['peak_bytes'] / 1e6:.0f}" if "peak_bytes" in vela else "-"]
        report.lines.append(row([network.name, *cells]))


def fit(names: Sequence[str], peers: Path, tflite: Path) -> bool:
    """Print the median of the fitted half for each `start_cycles`; the least is the one to put into profiles.def."""
    networks = []
    for name in names:
        try:
            networks.append(load(name, peers, tflite, CHECKOUT / "build" / "bench" / "npu_graphs"))
        except Skipped as why:
            print(f"skipped: {name}: {why}")
    print("\n".join(head(["start_cycles", "median of the fitted half", "with its sign"])))
    for start in FIT_GRID:
        pairs = []
        for network in networks:
            pairs += match(
                network.layers, run_on(network.graph, PROFILE, {"start_cycles": start, **_WIDE})[0].layers
            ).pairs
        found = error_table.by_class(pairs, 0)["all"]
        print(row([start, f"{found['median']:.2%}", f"{found['signed']:+.2%}"]), flush=True)
    return True


def measure(
    peers: Path, tflite: Path, chips: Path, out: Path = _OUT, names: Sequence[str] = MODELS, fresh: Path | None = None
) -> bool:
    """Make the page."""
    report = Report(
        lines=[
            "# The NPU's modelled time: how far off",
            "",
            "Made by `./dev bench npu_errors`; all cycles are modelled.",
        ]
    )
    networks = collect(names, peers, tflite, report)
    if not networks:
        raise Skipped("no network can be compared: " + "; ".join(report.skipped[:2]))
    new = collect(tuple(FRESH), fresh, fresh / "tflite", report) if fresh else []
    add_vela(report, networks, new)
    add_scale_sim(report, networks, peers)
    add_chips(report, chips)
    add_compilers(report, networks)
    if report.skipped:
        report.lines += ["", "## Skipped", "", *[f"- {why}" for why in report.skipped]]
    out.write_text("\n".join(report.lines) + "\n")
    data = {**report.data, "skipped": report.skipped}
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in data.items())
    out.with_suffix(".json").write_text("{\n" + lines + "\n}\n")
    print(f"{out}")
    return True


def main(words: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="./dev bench npu_errors", description=__doc__)
    parser.add_argument("--peers", type=Path, default=Path("build/bench/npu"), help="JSON of ./dev bench npu_peers")
    parser.add_argument("--tflite", type=Path, default=Path("build/models"), help="the networks' .tflite files")
    parser.add_argument("--fresh", type=Path, help="folder of npu_peers' files of the fresh networks, with tflite/")
    parser.add_argument("--chips", type=Path, default=Path("build/models"), help="NETWORK_int8.hai and NETWORK_x.npy")
    parser.add_argument("--out", type=Path, default=_OUT, help="the page (default: %(default)s)")
    parser.add_argument("--networks", nargs="+", default=MODELS, choices=MODELS, metavar="NETWORK")
    parser.add_argument("--fit", action="store_true", help="choose start_cycles on the fitted half")
    a = parser.parse_args(words)
    if a.fit:
        return exit_status(lambda: fit(a.networks, a.peers, a.tflite))
    return exit_status(lambda: measure(a.peers, a.tflite, a.chips, a.out, a.networks, a.fresh))


if __name__ == "__main__":
    sys.exit(main())
