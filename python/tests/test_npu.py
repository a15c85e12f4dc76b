"""The SD3403's NPU from the command line and from Python: exact values, modelled tables, texts of programs, wrong input."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import hai_toolkit as hai
import numpy as np
import onnx
import onnx.helper
import pytest
from numpy.typing import NDArray
from test_command_line import PROGRAM, run

pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason=f"{PROGRAM} is not built")


def network(path: Path, columns: int = 20) -> Path:
    """Convolutions (one depthwise), a residual, a pool and a classifier over 3 x 24 x 20 pictures."""
    draw = np.random.default_rng(3)
    constants: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = []

    def constant(name: str, *shape: int) -> str:
        values = draw.normal(0, 0.3, shape).astype(np.float32)
        constants.append(onnx.helper.make_tensor(name, onnx.TensorProto.FLOAT, shape, values.tobytes(), raw=True))
        return name

    def conv(x: str, y: str, outputs: int, depth: int, size: int = 3, **attributes: int) -> str:
        weights = constant(y + ".w", outputs, depth, size, size)
        pads = [size // 2] * 4
        nodes.append(
            onnx.helper.make_node(
                "Conv", [x, weights, constant(y + ".b", outputs)], [y + ".c"], name=y + ".conv", pads=pads, **attributes
            )
        )
        nodes.append(onnx.helper.make_node("Relu", [y + ".c"], [y]))
        return y

    stem = conv("x", "stem", 24, 3, strides=[2, 2])
    depthwise = conv(stem, "depthwise", 24, 1, group=24)
    point = conv(depthwise, "point", 24, 24, size=1)
    nodes.append(onnx.helper.make_node("Add", [stem, point], ["sum"]))
    wide = conv("sum", "wide", 40, 24)
    nodes.append(onnx.helper.make_node("GlobalAveragePool", [wide], ["mean"]))
    nodes.append(onnx.helper.make_node("Flatten", ["mean"], ["flat"]))
    nodes.append(
        onnx.helper.make_node("Gemm", ["flat", constant("fc.w", 40, 10), constant("fc.b", 10)], ["y"], name="fc")
    )
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "net",
        [value("x", onnx.TensorProto.FLOAT, ["N", 3, 24, columns])],
        [value("y", onnx.TensorProto.FLOAT, ["N", 10])],
        constants,
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


def pictures(count: int, seed: int = 0, columns: int = 20) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random((count, 3, 24, columns), dtype=np.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """cpu.hai and npu.hai of one INT8 network, and x.npy."""
    folder = tmp_path_factory.mktemp("npu")
    model = hai.from_onnx(network(folder / "net.onnx"))
    model.quantize(8, list(pictures(8)[:, None]))
    model.compile().save(folder / "cpu.hai")
    model.compile(device="sd3403").save(folder / "npu.hai")
    np.save(folder / "x.npy", pictures(1, 5))
    return folder


def test_values_are_those_of_the_cpu(files: Path) -> None:
    x = pictures(5, 7)
    for batch in (1, 5):
        cpu = hai.load(files / "cpu.hai").session(threads=1).run({"x": x[:batch]})["y"]
        npu = hai.load(files / "npu.hai").session(threads=2).run({"x": x[:batch]})["y"]
        assert np.array_equal(cpu, npu)


MIXES: dict[str, dict[str, str]] = {
    "w16a16": {},
    "w8a16": {},
    "w4a8": {},
    "f16": {},
    "every": {
        "stem.conv": "w8a16",
        "depthwise.conv": "f16",
        "point.conv": "w4a8",
        "wide.conv": "f16",
        "fc": "w16a16",
    },
    "f16 inside": {"depthwise.conv": "f16", "point.conv": "f16"},
    "f16 outside": {"stem.conv": "f16", "fc": "f16"},
}


@pytest.mark.parametrize("mix", MIXES)
def test_layers_of_any_precision_are_those_of_the_cpu(files: Path, tmp_path: Path, mix: str) -> None:
    model = hai.from_onnx(files / "net.onnx")
    model.compile().save(tmp_path / "real.hai")
    real = hai.load(tmp_path / "real.hai").session().run({"x": pictures(3, 7)})["y"]
    whole = {} if MIXES[mix] else {"precision": mix}
    model.quantize(8, list(pictures(8)[:, None]), layers=MIXES[mix], adaround=False, **whole)
    model.compile().save(tmp_path / "cpu.hai")
    cpu = hai.load(tmp_path / "cpu.hai").session().run({"x": pictures(3, 7)})["y"]
    report = json.loads(
        run("compile", tmp_path / "cpu.hai", "--device", "sd3403", "-o", tmp_path / "npu.hai", "--json")
    )
    on_npu = sum(place["macs"] for place in report["placement"] if place["device"] == "npu")
    assert on_npu == report["macs"] > 0
    npu = hai.load(tmp_path / "npu.hai").session().run({"x": pictures(3, 7)})["y"]
    assert np.array_equal(cpu, npu)
    assert np.abs(cpu - real).max() < (0.01 if mix in ("f16", "w16a16") else 0.35) * np.abs(real).max()


def test_rates_of_precisions(files: Path, tmp_path: Path) -> None:
    """Products a cycle: 16 lanes of i8, with half the weights of i4, 8 of i16 x i8, 4 of i16 x i16 and f16."""
    cycles = {}
    for name in ("w8a8", "w4a8", "w8a16", "w16a16", "f16"):
        model = hai.from_onnx(files / "net.onnx")
        model.quantize(8, list(pictures(8)[:, None]), precision=name, adaround=False, widen=False)
        model.compile(device="sd3403").save(tmp_path / "npu.hai")
        text = run("disasm", tmp_path / "npu.hai")
        assert ("weights=i4" in text) == (name == "w4a8")
        assert ("weights=f16" in text) == (name == "f16")
        assert ("narrow_sums=1" in text) == (name == "w8a16")
        answer = json.loads(run("run", tmp_path / "npu.hai", "--input", files / "x.npy", "--json"))
        wide = [layer for layer in answer["npu"]["segments"][0]["layers"] if layer["name"].startswith("wide")]
        cycles[name] = sum(layer["compute_cycles"] for layer in wide)
    # Fewer bytes may be fewer commands.
    assert cycles["w4a8"] == pytest.approx(cycles["w8a8"], rel=0.1)
    # 24 channels are 2 steps of 16 lanes, 3 of 8 and 6 of 4; starting and draining is in it too.
    assert cycles["w8a16"] / cycles["w8a8"] == pytest.approx(1.5, rel=0.15)
    assert cycles["w16a16"] / cycles["w8a8"] == pytest.approx(3.0, rel=0.15)
    assert cycles["f16"] == pytest.approx(cycles["w16a16"], rel=0.1)


def test_the_report_says_where_everything_ran(files: Path) -> None:
    text = run("compile", files / "cpu.hai", "--device", "sd3403", "-o", files / "again.hai", "--verbose")
    assert "npu0:" in text and "lower bound" in text
    assert "quantize) on cpu: quantize (" in text
    report = json.loads(run("compile", files / "cpu.hai", "--device", "sd3403", "-o", files / "again.hai", "--json"))
    on_npu = sum(place["macs"] for place in report["placement"] if place["device"] == "npu")
    assert on_npu == report["macs"] > 0
    assert (files / "again.hai").read_bytes() == (files / "npu.hai").read_bytes()  # deterministic


def test_a_batch_shares_the_weights_in_the_cache(files: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x4.npy", pictures(4, 5))
    assert "batch of 4" in run("run", files / "npu.hai", "--input", tmp_path / "x4.npy")
    said = json.loads(run("run", files / "npu.hai", "--input", tmp_path / "x4.npy", "--json"))["npu"]["segments"][0]
    assert said["batch"]["samples"] == 4
    assert said["batch"]["resident_weight_bytes"] > 10_000  # all of this network's
    one = json.loads(run("run", files / "npu.hai", "--input", files / "x.npy", "--json"))["npu"]["segments"][0]
    assert "batch" not in one
    assert one["seconds"] < said["batch"]["modelled_seconds"] < 4 * one["seconds"]


def test_all_passes_of_a_batch_are_in_table_and_trace(files: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x4.npy", pictures(4, 5))
    trace = tmp_path / "trace.json"
    arguments = ("run", files / "npu.hai", "--profile", trace)
    one = json.loads(run(*arguments, "--input", files / "x.npy", "--json"))["npu"]["segments"][0]
    assert all("pass" not in e["args"] for e in json.loads(trace.read_text())["traceEvents"])
    assert "4 passes: " in run(*arguments, "--input", tmp_path / "x4.npy")
    four = json.loads(run(*arguments, "--input", tmp_path / "x4.npy", "--json"))["npu"]["segments"][0]
    assert (one["passes"], four["passes"]) == (1, 4)
    assert four["seconds"] == pytest.approx(four["batch"]["modelled_seconds"], abs=1e-12)
    assert four["frames_a_second"] == pytest.approx(4 / four["seconds"], rel=1e-6)
    for a, b in zip(one["layers"] + [one["total"]], four["layers"] + [four["total"]]):
        assert b["products"] == {kind: 4 * count for kind, count in a["products"].items()}
        assert b["ddr_bytes_written"] == 4 * a["ddr_bytes_written"]
    assert four["total"]["cycles"] == pytest.approx(sum(layer["cycles"] for layer in four["layers"]), abs=0.1)
    assert four["total"]["ddr_weight_bytes_read"] == one["total"]["ddr_weight_bytes_read"]  # they stay
    events = [e for e in json.loads(trace.read_text())["traceEvents"] if e["ph"] == "X"]
    ends = [max(e["ts"] + e["dur"] for e in events if e["args"]["pass"] == i) for i in range(4)]
    begins = [min(e["ts"] for e in events if e["args"]["pass"] == i) for i in range(4)]
    assert all(end <= begin for end, begin in zip(ends, begins[1:]))
    assert ends[3] == pytest.approx(four["seconds"] * 1e6, abs=0.1)
    kinds = [sorted(e["args"]["kind"] for e in events if e["args"]["pass"] == i) for i in range(4)]
    assert "weight_load" in kinds[0] and "weight_load" not in kinds[1]
    assert kinds[1] == kinds[2] == kinds[3]


def test_a_fixed_batch_runs(files: Path, tmp_path: Path) -> None:
    target = tmp_path / "one.hai"
    run("compile", files / "cpu.hai", "--device", "sd3403", "--dim", "N=1", "-o", target)
    said = json.loads(run("run", target, "--input", files / "x.npy", "--json"))
    assert "batch" not in said["npu"]["segments"][0]


def test_run_prints_modelled_time_and_energy(files: Path, tmp_path: Path) -> None:
    text = run("run", files / "npu.hai", "--input", files / "x.npy", "--profile", tmp_path / "trace.json")
    for word in ("modelled, profile sd3403", "NPU + DRAM", "SoC", "fps", "wide"):
        assert word in text
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert len(events) > 50
    answer = json.loads(run("run", files / "npu.hai", "--input", files / "x.npy", "--json"))
    assert answer["npu"]["segments"][0]["segment"] == "npu0"


def test_clock_and_deadline(files: Path) -> None:
    arguments = ("run", files / "npu.hai", "--input", files / "x.npy")
    assert "400 MHz" in run(*arguments, "--clock", "400")
    assert "200 MHz" in run(*arguments, "--deadline", "1000")
    assert "N043" in run(*arguments, "--clock", "123", code=1)
    assert "N085" in run(*arguments, "--deadline", "0.00001", code=1)
    assert "L082" in run(*arguments, "--deadline", "3", "--clock", "400", code=1)
    assert "--clock: nan is no number from 0.001 to 1e+06" in run(*arguments, "--clock", "nan", code=2)
    for flag in ("--clock", "--deadline"):
        for wrong in ("nan", "-nan", "inf", "-1", "0", "soon", "4e", ""):
            run(*arguments, f"{flag}={wrong}", code=2)
    assert "in 1e-05 ms" in run(*arguments, "--deadline", "0.00001", code=1)


def test_options_of_the_npu_for_a_model_without_one(files: Path, tmp_path: Path) -> None:
    arguments = ("run", "--input", files / "x.npy", "-o", tmp_path / "out")
    empty = tmp_path / "empty.hai"  # of the device, and nothing of it on the NPU
    run("compile", files / "net.onnx", "--device", "sd3403", "-o", empty)
    for model in (files / "cpu.hai", empty):
        for flag, value in (("--clock", "600"), ("--deadline", "4"), ("--camera", "640x480")):
            error = run(*arguments, model, flag, value, code=1)
            assert "HAI-L084" in error and flag in error
    for flag in (["--machine", "sd3403"], ["--machine", "rk3588-core"], ["--no-cascade"], ["--halo", "auto"]):
        error = run("compile", files / "cpu.hai", "-o", tmp_path / "no.hai", *flag, code=1)
        assert "HAI-L060" in error and flag[0] in error
    assert "N091" in run(*arguments, empty, "--inject", "semaphore,number=1", code=1)
    assert not (tmp_path / "out").exists() and not (tmp_path / "no.hai").exists()


def test_a_model_without_anything_on_the_npu_is_said_to_be_one(
    files: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "o.hai"
    cases = (
        ((files / "net.onnx",), "--quantize int8"),
        ((files / "net.onnx", "--quantize", "w8"), "--quantize int8"),
        ((files / "net.onnx", "--quantize", "w4"), "or --quantize f16"),
        ((files / "cpu.hai", "--dim", "N=3"), "leave the batch free, or bind it to 1"),
    )
    for arguments, step in cases:
        command = [PROGRAM, "compile", *arguments, "--device", "sd3403", "-o", target]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "hai: warning: nothing of the model runs on the NPU: all " in done.stderr
        assert step in done.stderr
        assert "npu: 0 operators, 0.00 % of the MACs" in done.stdout
        told = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
        report = json.loads(told.stdout)
        assert report["segments"] == []
        assert {place["device"] for place in report["placement"]} == {"cpu"}
        error = run("disasm", target, code=1)
        assert "HAI-L085" in error and "there is no NPU program in it" in error
        run("run", target, "--input", files / "x.npy", "--json") if step != cases[-1][1] else None
    good = [PROGRAM, "compile", files / "cpu.hai", "--device", "sd3403", "-o", target]
    assert subprocess.run(good, capture_output=True, text=True, check=True).stderr == ""
    compiled = hai.from_onnx(files / "net.onnx").compile(device="sd3403")
    (warning,) = compiled.report["warnings"]
    assert warning.startswith("nothing of the model runs on the NPU") and warning in capfd.readouterr().err


def test_what_the_simulation_takes_is_measured(files: Path) -> None:
    arguments = (files / "npu.hai", "--json")
    said = json.loads(run("run", *arguments, "--input", files / "x.npy"))["npu"]["simulation"]
    assert said["kind"] == "measured" and said["loading_ms"] > 0
    parts = [said[f"{part}_ms"] for part in ("values", "cycles", "energy")]
    assert min(parts) > 0 and said["simulation_ms"] == pytest.approx(sum(parts))
    assert "before it loading and packing" in run("run", files / "npu.hai", "--input", files / "x.npy")
    frame = json.loads(run("bench", *arguments, "--runs", 5))["simulation"]
    assert min(frame.values()) > 0 and frame["median_ms"] > frame["cycles_ms"]
    assert "simulation" not in json.loads(run("bench", files / "cpu.hai", "--json", "--runs", 5))
    assert "simulation of a run: median" in run("bench", files / "npu.hai", "--runs", 5)


def test_the_camera_pipeline(files: Path) -> None:
    arguments = ("run", files / "npu.hai", "--input", files / "x.npy")
    text = run(*arguments, "--camera", "1280x720")
    for word in ("pre-processing", "boxes and drawing", "A73 only", "one after the other", "pipelined"):
        assert word in text
    board = json.loads(run(*arguments, "--camera", "640x480", "--json"))["npu"]["board"]
    total = sum(stage["modelled_seconds"] for stage in board["stages"])
    assert board["modelled_latency_seconds"] == pytest.approx(total, rel=1e-9)
    assert board["modelled_period_seconds"] < total < board["modelled_host_only_seconds"] * 10
    for wrong in ("wide", "0x720", "1280x", "1280x720x3", "-1x5", "99999999999999999999x1"):
        assert "L083" in run(*arguments, f"--camera={wrong}", code=1)
    assert "L083" in run(*arguments, "--camera", "", code=1)
    run(*arguments, "--camera=", code=2)


def test_injected_faults_are_reported(files: Path, tmp_path: Path) -> None:
    arguments = ("run", files / "npu.hai", "--input", files / "x.npy")
    stopped = (*arguments, "-o", tmp_path / "out", "--profile", tmp_path / "t.json")
    stuck = run(*stopped, "--inject", "semaphore,number=1", code=3, output=True)
    for word in ("semaphore,number=1: detected", "N056", "command ", "queue", "layer", "since cycle", "stopped:"):
        assert word in stuck
    assert not (tmp_path / "out").exists()
    trace = json.loads((tmp_path / "t.json").read_text())
    assert trace["faults"][0]["verdict"] == "detected"
    document = json.loads(run(*arguments, "--inject", "dma,core=0,channel=0,transfer=3", "--json", code=3, output=True))
    assert document["stopped"]["code"] == "HAI-N057"
    fault = document["npu"]["faults"][0]
    assert fault["verdict"] == "detected"
    assert fault["modelled_cycle"] > 0
    assert {"command", "core", "queue", "layer", "channel"} <= set(fault)
    both = json.loads(run(*arguments, "--json", "--inject", "flip,seed=1,image=2", "--inject", "semaphore,number=60"))
    assert [fault["verdict"] for fault in both["npu"]["faults"]] == ["contained", "masked"]
    assert both["npu"]["segments"]
    assert both["outputs"]
    for fault, word in (("melt", "N093"), ("flip,image=x9,byte=0,bit=0", "N088"), ("flip,seed=-1", "N093")):
        assert word in run(*arguments, f"--inject={fault}", code=1)
    assert run(*arguments, "--inject=flip,image=x9,byte=0,bit=0", code=1).split("npu.hai: ")[1].count("npu0") == 1
    assert "nor a seed" in run(*arguments, "--inject=flip", code=1)
    assert "R030" in run("run", files / "cpu.hai", "--input", files / "x.npy", "--inject", "flip,seed=1", code=1)


def test_the_trace_of_a_stopped_run_ends_at_the_fault(files: Path, tmp_path: Path) -> None:
    def events(*flags: str, code: int = 3) -> list[dict[str, Any]]:
        trace = tmp_path / "trace.json"
        run("run", files / "npu.hai", "--input", files / "x.npy", "--profile", trace, *flags, code=code, output=True)
        return [event for event in json.loads(trace.read_text())["traceEvents"] if event["ph"] == "X"]

    whole = events(code=0)
    for fault in ("semaphore,number=1", "dma,core=0,channel=0,transfer=3", "flip,image=constants,seed=4"):
        stopped = events("--inject", fault)
        assert 0 < len(stopped) < len(whole), fault
        document = json.loads(
            run("run", files / "npu.hai", "--input", files / "x.npy", "--inject", fault, "--json", code=3, output=True)
        )
        (found,) = document["npu"]["faults"]
        if "channel" in found or fault.startswith("flip"):  # of a semaphore it is a wait, of the queue that stands
            assert found["command"] in {event["args"]["command"] for event in stopped}, fault
        until = found["modelled_cycle"] / 1e3  # 1 GHz, microseconds
        before = [event for event in whole if event["ts"] + event["dur"] < until]
        kept = {(event["args"]["command"], event["tid"], event["ts"], event["dur"]) for event in stopped}
        same = [e for e in before if (e["args"]["command"], e["tid"], e["ts"], e["dur"]) in kept]
        assert before and same == before, fault  # what ended before the fault is as ever
    assert events("--inject", "flip,image=commands,byte=0,bit=7") == []  # no such opcode: the decoder refuses the words


def test_injected_faults_in_python(files: Path) -> None:
    model = hai.load(files / "npu.hai")
    x = pictures(2, 5)
    right = model.session(threads=1).run({"x": x})["y"]
    session = model.session(threads=1, inject=["flip,seed=1,image=2"])
    assert [fault["verdict"] for fault in session.faults] == ["not reached"]
    wrong = session.run({"x": x})["y"]
    assert not np.array_equal(wrong[0], right[0])
    assert np.array_equal(wrong[1], right[1])
    assert [fault["verdict"] for fault in session.faults] == ["contained"]
    damaged = model.session(threads=1, inject=["flip,image=constants,seed=4"])
    with pytest.raises(hai.HaiError) as error:
        damaged.run({"x": x})
    assert error.value.code == "HAI-N058"
    assert damaged.faults[0]["layer"]
    with pytest.raises(hai.HaiError, match="there is no fault"):
        model.session(inject=["melt"])
    assert model.session(threads=1).faults == []
    assert [fault["fault"] for fault in model.session(threads=1, inject="flip,seed=1").faults] == ["flip,seed=1"]
    for wrong in (3, None, b"flip,seed=1", ["flip,seed=1", 3], {"flip": 1}, [b"flip,seed=1"]):
        with pytest.raises(hai.HaiError, match="HAI-Y043"):
            model.session(threads=1, inject=wrong)  # type: ignore[arg-type]


def test_names_from_files_do_not_steer_the_terminal(
    files: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = onnx.load(files / "net.onnx")
    evil = "x\x1b[2J\x9b31m\nhai: all is well"
    for node in model.graph.node:
        node.name = node.name.replace("wide", evil)
        node.output[:] = [name if name != "y" else evil for name in node.output]
    model.graph.output[0].name = evil
    model.metadata_props.add(key="k\x1b", value="v\x07")
    onnx.save(model, tmp_path / "evil.onnx")
    quantized = hai.from_onnx(tmp_path / "evil.onnx")
    quantized.quantize(8, list(pictures(8)[:, None]))
    quantized.compile(device="sd3403").save(tmp_path / "npu.hai")
    quantized.compile().save(tmp_path / "cpu.hai")
    assert "\x1b" not in capfd.readouterr().err
    inputs = ("--input", files / "x.npy")
    commands: list[list[object]] = [
        ["run", tmp_path / "npu.hai", *inputs],
        ["run", tmp_path / "npu.hai", *inputs, "--inject", "semaphore,number=1"],
        ["compile", tmp_path / "npu.hai", "--device", "sd3403", "-o", tmp_path / "o.hai", "-v"],
        ["compile", tmp_path / "evil.onnx", "--device", "sd3403", "-o", tmp_path / "o.hai", "-v"],
        ["inspect", tmp_path / "npu.hai", "--program"],
        ["inspect", tmp_path / "npu.hai", "--graph"],
        ["bench", tmp_path / "cpu.hai", "--runs", "2", "--layers", "0"],
        ["disasm", tmp_path / "npu.hai"],
        ["run", tmp_path / "npu.hai", "--input", f"{evil}={files / 'x.npy'}"],
        ["compare", tmp_path / "evil.onnx", tmp_path / "cpu.hai", "-i", tmp_path / "samples", "--layers", "0"],
    ]
    (tmp_path / "samples").mkdir()
    np.save(tmp_path / "samples" / "x\x1b[2J.npy", pictures(1, 6))
    (tmp_path / "samples" / "y\x1b[2J.npy").write_bytes(b"no array")
    shown = 0
    for command in commands:
        done = subprocess.run([PROGRAM, *map(str, command)], capture_output=True, text=True, check=False)
        text = done.stdout + done.stderr
        assert not [c for c in text if c != "\n" and (ord(c) < 32 or 127 <= ord(c) < 160)], command
        assert "\nhai: all is well" not in text, command
        shown += "\\x1b[2J" in text
    assert shown >= 8
    (tmp_path / "net.s").write_text(run("disasm", tmp_path / "npu.hai"))
    run("asm", tmp_path / "net.s", "-o", tmp_path / "net.words")


def test_text_of_a_program_comes_back(files: Path, tmp_path: Path) -> None:
    text = run("disasm", files / "npu.hai")
    assert "convolve " in text and "# wide" in text
    (tmp_path / "net.s").write_text(text)
    run("asm", tmp_path / "net.s", "-o", tmp_path / "net.words")
    bare = "".join(line.split("  #")[0] + "\n" for line in text.splitlines() if not line.startswith("#"))
    assert run("disasm", tmp_path / "net.words") == bare
    assert run("disasm", files / "npu.hai", "--segment", "npu0") == text


def test_texts_that_are_no_program(files: Path, tmp_path: Path) -> None:
    assert "L080" in run("disasm", files / "cpu.hai", code=1)
    assert "L081" in run("disasm", files / "npu.hai", "--segment", "npu7", code=1)
    assert "B011" in run("disasm", tmp_path / "none.hai", code=1)
    (tmp_path / "bad.s").write_text("end\nconvolve speed=3\n")
    error = run("asm", tmp_path / "bad.s", "-o", tmp_path / "o", code=1)
    assert "line 2" in error and "N012" in error
    assert not (tmp_path / "o").exists()
    (tmp_path / "odd.words").write_bytes(b"x" * 100)
    assert "N006" in run("disasm", tmp_path / "odd.words", code=1)
    (tmp_path / "wild.words").write_bytes(b"\xff" * 128)
    assert "N004" in run("disasm", tmp_path / "wild.words", code=1)
    assert "L064" in run("asm", tmp_path / "bad.s", "-o", tmp_path / "bad.s", code=1)


def test_the_reference_of_commands() -> None:
    names = [command["name"] for command in json.loads(run("isa", "--json"))["commands"]]
    assert {"dma_load", "weight_load", "convolve"} <= set(names)
    assert all(f"## {name}" in run("isa") for name in names)


@pytest.mark.parametrize(
    ("profile", "word"),
    [
        ('{"profile": "a", "values": {"sram_bytes": -1}}', "sram_bytes"),
        ('{"profile": "a", "values": {"sram_banks": 0}}', "sram_banks"),
        ('{"profile": "a", "values": {"clock_mhz": "fast"}}', "clock_mhz"),
        ('{"profile": "a", "values": {"ddr_gigabytes": 1e300}}', "ddr_gigabytes"),
        ('{"profile": "a", "based_on": "tpu"}', "tpu"),
        ('{"profile": "sd3403", "values": {"sram_bytes": 1048576}}', "built-in"),
        ('{"profile": "a"', "JSON"),
        ("", "JSON"),
    ],
)
def test_absurd_machines_are_refused(files: Path, tmp_path: Path, profile: str, word: str) -> None:
    (tmp_path / "machine.json").write_text(profile)
    error = run(
        "compile", files / "cpu.hai", "--device", "sd3403", "--machine", tmp_path / "machine.json", "-o",
        tmp_path / "o.hai", code=1,
    )  # fmt: skip
    assert word in error
    assert not (tmp_path / "o.hai").exists()


def test_the_machine_is_not_written_over(files: Path, tmp_path: Path) -> None:
    machine = tmp_path / "machine.json"
    machine.write_text('{"profile": "half", "based_on": "sd3403", "values": {"sram_bytes": 1048576}}')
    before = machine.read_text()
    command = ["compile", files / "cpu.hai", "--device", "sd3403", "--machine", machine, "-o", machine]
    assert "L064" in run(*command, code=1)
    assert machine.read_text() == before


def test_small_machines_give_the_same_values(files: Path, tmp_path: Path) -> None:
    small = {"profile": "small", "values": {"sram_bytes": 16384, "weight_cache_bytes": 8192, "cores": 1}}
    (tmp_path / "small.json").write_text(json.dumps(small))
    outputs = []
    for name, machine in (("small", tmp_path / "small.json"), ("ethos", "ethos-u85-2048"), ("whole", "sd3403")):
        target = tmp_path / f"{name}.hai"
        run("compile", files / "cpu.hai", "--device", "sd3403", "--machine", machine, "-o", target)
        outputs.append(hai.load(target).session(threads=1).run({"x": pictures(2, 9)})["y"])
    assert all(np.array_equal(outputs[0], other) for other in outputs[1:])


def test_every_halo_gives_the_same_values(files: Path, tmp_path: Path) -> None:
    # Little room and slow memory: layers run in groups of stripes.
    tight = {"profile": "tight", "values": {"sram_bytes": 16384, "ddr_gigabytes": 0.5}}
    (tmp_path / "tight.json").write_text(json.dumps(tight))
    given = {"x": pictures(2, 9)}
    want = hai.load(files / "cpu.hai").session(threads=1).run(given)["y"]
    recomputed = {}
    for halo in ("auto", "kept", "recomputed"):
        target = tmp_path / f"{halo}.hai"
        report = run(
            "compile", files / "cpu.hai", "--device", "sd3403", "--machine", tmp_path / "tight.json", "--halo", halo,
            "-o", target, "--json",
        )  # fmt: skip
        recomputed[halo] = sum(segment["recomputed_groups"] for segment in json.loads(report)["segments"])
        assert np.array_equal(hai.load(target).session(threads=1).run(given)["y"], want)
    assert recomputed["kept"] == 0 < recomputed["recomputed"]
    model = hai.Model.from_file(files / "cpu.hai")
    for halo in ("kept", "recomputed"):
        model.compile(device="sd3403", halo=halo).save(tmp_path / "again.hai")
        assert np.array_equal(hai.load(tmp_path / "again.hai").session(threads=1).run(given)["y"], want)


def test_a_halo_that_does_not_exist_is_refused(files: Path, tmp_path: Path) -> None:
    arguments = ("compile", files / "cpu.hai", "--device", "sd3403", "-o", tmp_path / "o.hai")
    for wrong in ("none", "", "Kept"):
        run(*arguments, f"--halo={wrong}", code=2)
    run(*arguments, "--halo", "kept", "--no-cascade", code=2)
    model = hai.Model.from_file(files / "cpu.hai")
    for bad in ("none", "", 3):
        with pytest.raises(hai.HaiError, match=r"choose one of auto, kept, recomputed.*N111"):
            model.compile(device="sd3403", halo=bad)  # type: ignore[arg-type]
    with pytest.raises(hai.HaiError, match=r"for device sd3403.*Y039"):
        model.compile(halo="kept")
    assert not (tmp_path / "o.hai").exists()


def test_what_is_too_large_runs_on_the_cpu(tmp_path: Path) -> None:
    model = hai.from_onnx(network(tmp_path / "net.onnx", 200))
    model.quantize(8, list(pictures(4, columns=200)[:, None]))
    model.compile().save(tmp_path / "cpu.hai")
    (tmp_path / "tiny.json").write_text(json.dumps({"profile": "tiny", "values": {"sram_bytes": 16384}}))
    target = tmp_path / "tiny.hai"
    command = [PROGRAM, "compile", tmp_path / "cpu.hai", "--device", "sd3403", "--machine", tmp_path / "tiny.json"]
    done = subprocess.run([*command, "-o", target, "--json"], capture_output=True, text=True, check=True)
    assert "too large for the NPU's memories" in done.stderr
    document = json.loads(done.stdout)
    large = [place for place in document["placement"] if "scratchpad of 16384 bytes" in place["reason"]]
    assert large
    assert all(place["device"] == "cpu" and "rows of" in place["reason"] for place in large)
    assert any(place["device"] == "npu" for place in document["placement"])
    given = {"x": pictures(2, 9, 200)}
    want = hai.load(tmp_path / "cpu.hai").session(threads=1).run(given)["y"]
    assert np.array_equal(hai.load(target).session(threads=1).run(given)["y"], want)


def test_a_damaged_program_is_refused(files: Path, tmp_path: Path) -> None:
    good = bytearray((files / "npu.hai").read_bytes())
    for at in range(len(good) // 7, len(good), len(good) // 7):
        bad = bytearray(good)
        bad[at] ^= 0x10
        (tmp_path / "bad.hai").write_bytes(bad)
        run("run", tmp_path / "bad.hai", "--input", files / "x.npy", code=1)
