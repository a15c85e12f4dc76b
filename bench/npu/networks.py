"""What the NPU compiler makes of real networks: values held against the CPU's, modelled rates, bytes and energy.

`./dev bench npu [network ...] [--inputs N]`. Every network is quantized to INT8 once (kept in the cache folder), compiled for
`cpu` and for `sd3403` with and without cascades, and run on N inputs on both. Outputs must have the same bits. Rates and
energies are modelled; only the compile time and the time of the simulation are measured, on this machine as it is: the values
of one input, and values, cycles and energy together (`hai bench`), neither with loading.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hai_toolkit as hai
import numpy as np
from numpy.typing import NDArray

from bench.accuracy.photos import test_data
from bench.accuracy.tasks import TASKS, cache_folder
from bench.reasons import Skipped

Array = NDArray[np.float32]
PROGRAM = Path(__file__).resolve().parents[2] / "build" / "bin" / "hai"
_CALIBRATION = 32
_TIMED_RUNS = 20


@dataclass(frozen=True)
class Subject:
    """A network: its float model, what calibrates it, and inputs that it has not seen."""

    name: str
    title: str
    model: Callable[[], Any]
    calibration: Callable[[], list[Array]]
    inputs: Callable[[int], list[Array]]
    least_fps: float = 0.0  # modelled, 0: no goal
    least_use: float = 0.0  # of the MACs
    most_simulation_ms: float = 0.0  # of one frame on two cores without other load, 0: no goal
    picture: str = ""


def _task(name: str, title: str, least_fps: float = 0.0) -> Subject:
    task = TASKS[name]

    def read(paths: list[Path]) -> list[Array]:
        return [np.asarray(task.rule(path), np.float32) for path in paths]

    return Subject(
        name,
        title,
        lambda: hai.from_onnx(str(task.onnx())),
        lambda: read(task.calibration()[:_CALIBRATION]),
        lambda count: read(task.pictures()[:count]),
        least_fps,
        picture="1280x720" if task.kind == "boxes" else "",
    )


def _catalogue(
    name: str, title: str, least_fps: float = 0.0, least_use: float = 0.0, most_simulation_ms: float = 0.0
) -> Subject:
    def model() -> Any:
        from bench.models.catalogue import NETWORKS
        from bench.models.export import export_network

        path = cache_folder() / f"{name}.onnx"
        if not path.exists():
            network = NETWORKS[name]
            export_network(network.build(), network.pictures(1, 1), path, "")
        return hai.from_onnx(str(path))

    def pictures(count: int, seed: int) -> list[Array]:
        from bench.models.catalogue import NETWORKS

        return [picture[None] for picture in NETWORKS[name].pictures(count, seed)]

    return Subject(
        name,
        title,
        model,
        lambda: pictures(8, 77),
        lambda count: pictures(count, 5),
        least_fps,
        least_use,
        most_simulation_ms,
    )


def _tiny(file: str, title: str) -> Subject:
    def model() -> Any:
        return hai.from_tflite(str(test_data() / "models" / "mlperf_tiny" / file))

    def draw(count: int, seed: int) -> list[Array]:
        shape = [1 if not isinstance(size, int) else size for size in model().inputs[0].shape]
        random = np.random.default_rng(seed)
        return [random.random(shape, dtype=np.float32) for _ in range(count)]

    return Subject(file.split(".")[0], title, model, lambda: draw(16, 3), lambda count: draw(count, 4))


SUBJECTS = (
    _task("efficientnet_lite0", "EfficientNet-Lite0 224"),
    _task("yolov5n", "YOLOv5n 640", 450),
    _task("yolox_nano", "YOLOX-nano 416"),
    _task("fastestdet", "FastestDet 352"),
    _tiny("pretrainedResnet.tflite", "ResNet-8 (MLPerf Tiny)"),
    _tiny("vww_96_float.tflite", "visual wake words (MLPerf Tiny)"),
    _tiny("kws_ref_model_float32.tflite", "keywords (MLPerf Tiny)"),
    _tiny("ad01_fp32.tflite", "anomaly detection (MLPerf Tiny)"),
    _catalogue("mobilenet_v2", "MobileNetV2 224", 1500, most_simulation_ms=50),
    _catalogue("mobilenet_v3_large", "MobileNetV3-large 224"),
    _catalogue("resnet50", "ResNet-50 224", 300, 0.6),
    _catalogue("yolov5s", "YOLOv5s 640", 140, most_simulation_ms=250),
    _catalogue("yolov8n", "YOLOv8n 640"),
    _catalogue("unet", "U-Net 256"),
    _catalogue("vit_tiny", "ViT-Tiny 224"),
)


def _quantized(subject: Subject) -> Path:
    path = cache_folder() / f"{subject.name}_npu_int8.hai"
    if not path.exists():
        model = subject.model()
        model.quantize(8, subject.calibration())
        model.compile().save(path)
    return path


def _hai(*arguments: object) -> tuple[str, float]:
    """Standard output and CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([str(PROGRAM), *map(str, arguments)], capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _segment_sums(run: dict[str, Any]) -> dict[str, float]:
    """Over all segments of a run."""
    segments = run["npu"]["segments"]
    total = {
        "seconds": sum(s["seconds"] for s in segments),
        "joules": sum(s["npu_and_dram"]["joules_a_frame"] for s in segments),
        "bytes": 0.0,
        "use": 0.0,
    }
    for s in segments:
        t = s["total"]
        total["bytes"] += t["ddr_activation_bytes_read"] + t["ddr_weight_bytes_read"] + t["ddr_bytes_written"]
        total["use"] += t["utilisation"] * s["seconds"] / total["seconds"]
    return total


def measure_one(subject: Subject, count: int) -> dict[str, Any]:
    """All figures of one network."""
    quantized = _quantized(subject)
    inputs = subject.inputs(count)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        np.save(folder / "x.npy", inputs[0])
        _hai("compile", quantized, "-o", folder / "cpu.hai", "--no-compress")
        runs = {}
        for name, flags in (("whole", ["--no-cascade"]), ("cascade", [])):
            target = folder / f"{name}.hai"
            report, seconds = _hai(
                "compile", quantized, "--device", "sd3403", "-o", target, "--no-compress", "--json", *flags
            )
            camera = ["--camera", subject.picture] if subject.picture else []
            run, _ = _hai("run", target, "--input", folder / "x.npy", "--json", *camera)
            runs[name] = (json.loads(report), json.loads(run), seconds)
        timed, _ = _hai("bench", folder / "cascade.hai", "--threads", 2, "--runs", _TIMED_RUNS, "--json")
        report, run, compile_seconds = runs["cascade"]
        cpu = hai.load(folder / "cpu.hai").session(threads=2)
        npu = hai.load(folder / "cascade.hai").session(threads=2)
        key = hai.load(folder / "cpu.hai").inputs[0].name
        equal = 0
        times = []
        for data in inputs:
            wanted = cpu.run({key: data})
            begin = time.perf_counter()
            got = npu.run({key: data})
            times.append(time.perf_counter() - begin)
            equal += all(np.array_equal(wanted[name], got[name]) for name in wanted)
    on_npu = sum(place["macs"] for place in report["placement"] if place["device"] == "npu")
    sums = _segment_sums(run)
    return {
        "network": subject.title,
        "inputs": count,
        "equal": equal,
        "segments": len(report["segments"]),
        "npu_macs_share": on_npu / report["macs"],
        "modelled_fps": 1 / sums["seconds"],
        "modelled_macs_used": sums["use"],
        "modelled_ddr_bytes": sums["bytes"],
        "modelled_ddr_bytes_without_cascades": _segment_sums(runs["whole"][1])["bytes"],
        "ddr_lower_bound_bytes": sum(s["external_lower_bound_bytes"] for s in report["segments"]),
        "modelled_fps_per_watt": 1 / sums["joules"],
        "modelled_fps_per_watt_without_cascades": 1 / _segment_sums(runs["whole"][1])["joules"],
        "board": run["npu"]["board"],
        "compile_cpu_seconds": compile_seconds,
        "simulation_seconds": sorted(times)[len(times) // 2],
        "simulation_ms": json.loads(timed)["simulation"],
        "most_simulation_ms": subject.most_simulation_ms,
        "least_fps": subject.least_fps,
        "least_use": subject.least_use,
    }


def _row(r: dict[str, Any]) -> str:
    goal = f" (>= {r['least_fps']:.0f})" if r["least_fps"] else ""
    parts = r["simulation_ms"]
    most = f" (<= {r['most_simulation_ms']:.0f})" if r["most_simulation_ms"] else ""
    simulation = f"{parts['median_ms']:.1f}{most}: {parts['values_ms']:.1f} + {parts['cycles_ms']:.1f} + {parts['energy_ms']:.2f}"
    return (
        f"| {r['network']} | {r['equal']} of {r['inputs']} | {r['npu_macs_share']:.2%} | {r['segments']} | "
        f"{r['modelled_fps']:.0f}{goal} | {r['modelled_macs_used']:.1%} | {r['modelled_ddr_bytes'] / 1e6:.2f} / "
        f"{r['modelled_ddr_bytes_without_cascades'] / 1e6:.2f} / {r['ddr_lower_bound_bytes'] / 1e6:.2f} | "
        f"{r['modelled_fps_per_watt']:.0f} / {r['modelled_fps_per_watt_without_cascades']:.0f} | "
        f"{r['compile_cpu_seconds']:.2f} | {1e3 * r['simulation_seconds']:.0f} | {simulation} |"
    )


def measure(names: list[str] | None = None, count: int = 20, out: Path | None = None) -> bool:
    """Print the table; false where bits differ or a goal is missed."""
    if not PROGRAM.exists():
        raise Skipped(f"{PROGRAM} is not built: ./dev build")
    print(
        "| network | equal to the CPU | MACs on the NPU | segments | modelled fps, NPU alone | MACs used (modelled) | DDR, MB: "
        "cascades / none / bound (modelled) | fps/W of NPU + DRAM: cascades / none (modelled) | compile, CPU s | simulation, "
        "ms | one frame: values + cycles + energy, ms |\n|---|---|---|---|---|---|---|---|---|---|---|"
    )
    good = True
    results = []
    for subject in SUBJECTS:
        if names and subject.name not in names:
            continue
        try:
            result = measure_one(subject, count)
        except (Skipped, ModuleNotFoundError, FileNotFoundError) as reason:
            print(f"| {subject.title} | skipped: {reason} | | | | | | | | | |", flush=True)
            continue
        results.append(result)
        print(_row(result), flush=True)
        good = good and result["equal"] == result["inputs"] and result["modelled_fps"] >= result["least_fps"]
        good = good and result["modelled_macs_used"] >= result["least_use"]
    for result in results:
        if result["network"].startswith("YOLOv5n"):
            board = result["board"]
            print(
                f"\nCamera of 1280x720 with {result['network']} (modelled): A73 only "
                f"{1e3 * board['modelled_host_only_seconds']:.1f} ms, one after the other "
                f"{1e3 * board['modelled_latency_seconds']:.1f} ms, pipelined {1 / board['modelled_period_seconds']:.1f} fps"
            )
    if out is not None:
        out.write_text(json.dumps(results, indent=1) + "\n")
    return good


def main(arguments: list[str]) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="bench/run.py npu", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NETWORK", help=f"of {', '.join(s.name for s in SUBJECTS)}")
    parser.add_argument("--inputs", type=int, default=20, help="of each network (default 20)")
    parser.add_argument("--out", type=Path, help="JSON file of all figures")
    chosen = parser.parse_args(arguments)
    unknown = sorted(set(chosen.names) - {s.name for s in SUBJECTS})
    if unknown:
        parser.error(f"unknown network {unknown[0]}")
    return 0 if measure(chosen.names, chosen.inputs, chosen.out) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
