"""The `hai` program: every command on a small network, JSON, exit codes, errors that say what to do."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import hai_toolkit as hai
import numpy as np
import onnx
import onnx.helper
import pytest
from test_toolkit import onnx_file

PROGRAM = Path(os.environ.get("HAI_PROGRAM", Path(__file__).resolve().parents[2] / "build" / "bin" / "hai"))

pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason=f"{PROGRAM} is not built")


def run(*arguments: object, code: int = 0, environment: dict[str, str] | None = None, output: bool = False) -> str:
    """Standard output; of what fails standard error, without ``output``."""
    result = subprocess.run(
        [str(PROGRAM), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **(environment or {})},
        check=False,
    )
    assert result.returncode == code, f"{result.returncode}: {result.stdout}{result.stderr}"
    return result.stdout if code == 0 or output else result.stderr


@pytest.fixture
def compiled(tmp_path: Path) -> Path:
    run("compile", onnx_file(tmp_path / "small.onnx"), "-o", tmp_path / "small.hai", "--std", "255")
    return tmp_path / "small.hai"


def photo(path: Path, seed: int = 0) -> Path:
    from PIL import Image

    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)).save(path)
    return path


def test_compile_and_run(tmp_path: Path, compiled: Path) -> None:
    x = np.random.default_rng(1).normal(0, 1, (2, 3, 8, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    text = run("run", compiled, "--input", f"x={tmp_path / 'x.npy'}", "-o", tmp_path / "out")
    assert "y: f32 [2, 4]" in text
    expected = hai.load(compiled).session(threads=1).run({"x": x})["y"]
    assert np.array_equal(np.load(tmp_path / "out" / "y.npy"), expected)
    answer = json.loads(run("run", compiled, photo(tmp_path / "p.png"), "--json", "--top", 2))
    assert len(answer["outputs"][0]["top"]) == 2
    (tmp_path / "names.txt").write_text("ant\nbee\ncat\ndog\n")
    assert any(
        n in run("run", compiled, tmp_path / "p.png", "--labels", tmp_path / "names.txt")
        for n in ("ant", "bee", "cat", "dog")
    )


def test_a_trace_is_written(tmp_path: Path, compiled: Path) -> None:
    run("run", compiled, photo(tmp_path / "p.png"), "--profile", tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())
    assert any("conv" in str(event) for event in (events["traceEvents"] if isinstance(events, dict) else events))


def test_messages_have_lines_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(4):
        photo(folder / f"{i}.png", i)
    model, out = onnx_file(tmp_path / "small.onnx"), tmp_path / "small.hai"
    arguments = ["compile", model, "-o", out, "--calibration", folder, "--std", 64]
    failed = run(*arguments, "--quantize", "mixed", "--max-drop", 1, code=1)
    assert failed.splitlines()[0] == "calibrating: 4 of 4 pictures"
    assert failed.splitlines()[1].startswith("hai: error: ") and failed.count("\n") == 2 and "\r" not in failed
    done = subprocess.run(
        [str(PROGRAM), *map(str, arguments), "--quantize", "int8"], capture_output=True, text=True, check=True
    ).stderr.splitlines()
    assert done[0] == "calibrating: 4 of 4 pictures" and done[-1].startswith("calibration: 4 ")
    assert all(line.startswith("warning: ") for line in done[1:-1]) and len(done) > 2
    (folder / "9.png").write_bytes(b"no picture")
    compared = subprocess.run(
        [str(PROGRAM), "compare", str(model), str(out), "-i", str(folder)], capture_output=True, text=True, check=True
    ).stderr.splitlines()
    assert compared[0] == "comparing: 5 of 5 samples" and compared[1].startswith("skipped: ") and len(compared) == 2


def test_names_that_are_not_there_are_refused_before_pictures_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    photo(folder / "0.png")
    arguments = ["compile", onnx_file(tmp_path / "small.onnx"), "-o", tmp_path / "small.hai", "--std", 64]
    for flag, value, code in (("--layer", "zz=w4a8", "HAI-Q011"), ("--keep-float", "zz", "HAI-Q010")):
        for quantize in (["--quantize", "int8"], ["--quantize", "mixed", "--max-drop", 1]):
            error = run(*arguments, "--calibration", folder, *quantize, flag, value, code=1)
            assert code in error and "calibrating" not in error


def test_nothing_to_quantize_and_what_onnx_cannot_say(tmp_path: Path) -> None:
    x, y = (onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 3, 8, 8]) for n in "xy")
    path = tmp_path / "lonely.onnx"

    def write(node: onnx.NodeProto) -> None:
        graph = onnx.helper.make_graph([node], "lonely", [x], [y])
        opset = onnx.helper.make_opsetid("", 17)
        onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8), path)

    write(onnx.helper.make_node("Relu", ["x"], ["y"]))
    arguments = [str(PROGRAM), "compile", str(path), "-o", str(tmp_path / "lonely.hai"), "--quantize", "w8"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stderr.startswith("warning: nothing_quantized: ")
    report = json.loads(run("inspect", tmp_path / "lonely.hai", "--json"))["quantization"]
    assert [warning["id"] for warning in report["warnings"]] == ["nothing_quantized"]
    write(onnx.helper.make_node("Constant", [], ["y"], value_string="text"))
    error = run("compile", path, "-o", tmp_path / "lonely.hai", code=1)
    assert "HAI-X040" in error and "; export the model without it" in error


def test_quantize_from_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(4):
        photo(folder / f"{i}.png", i)
    (folder / "broken.png").write_bytes(b"not a picture")
    out = tmp_path / "int8.hai"
    arguments = [
        "compile",
        onnx_file(tmp_path / "small.onnx"),
        "-o",
        out,
        "--quantize",
        "int8",
        "--calibration",
        folder,
    ]
    run(*arguments, "--resize", "short:10", "--mean", 127, "--std", "64,64,64")
    facts = json.loads(run("inspect", out, "--json"))
    assert facts["quantization"]["samples"] == 4  # the broken one is named and skipped
    assert facts["preprocessing"]["resize_size"] == 10
    assert "i8[" in run("inspect", out, "--graph")
    assert facts["quantization"]["method"] == "affine"
    flags = ["--method", "symmetrical", "--no-widen", "--no-wide-points", "--no-bias-correction", "--no-self-check"]
    flags += ["--smooth", "--equalize", "--seed", 3, "--threads", 1, "--sample-memory-bytes", 0, "--std", 64]
    run(*arguments, *flags)
    quantization = json.loads(run("inspect", out, "--json"))["quantization"]
    assert quantization["method"] == "symmetric" and quantization["self_check"]["not_run"] == "switched off"
    assert "winograd" not in quantization
    run(*arguments, "--winograd", "all", "--std", 64)
    assert json.loads(run("inspect", out, "--json"))["quantization"]["winograd"]["choice"] == "all"
    assert "HAI-Q076" in run(*arguments, "--winograd", "auto", "--adaround", "--std", 64, code=1)
    run(*arguments, "--winograd", "F4", "--std", 64, code=2)
    for flag, learned in (("--no-adaround", False), ("--adaround", True), (None, True)):
        small = ["int4" if a == "int8" else a for a in arguments]
        small += ["--options-json", '{"force": true}', "--std", 64, *([flag] if flag else [])]
        run(*small)
        layers = json.loads(run("inspect", out, "--json"))["quantization"]["layers"]
        assert {layer["precision"] for layer in layers} == {"w4a8"}
        assert any("rounding" in layer for layer in layers) == learned
    for bad in (["--method", "odd"], ["--seed", -1], ["--threads", 9999], ["--sample-memory-bytes", -1]):
        run(*arguments, *bad, "--std", 64, code=2)
    for flag, number in (("--percentile", "nan"), ("--sparsity", "nan"), ("--winograd-loss-db", "nan")):
        assert "HAI-L063" in run(*arguments, flag, number, "--std", 64, code=1)
    for text in ('{"percentile": NaN}', '{"percentile": 1e999}'):
        error = run(*arguments, "--options-json", text, "--std", 64, code=1)
        assert '"percentile" is no finite number; give a number in [50, 100] [HAI-Q050]' in error
    for lonely in (["--smooth"], ["--calibration", folder], ["--no-widen"], ["--sparsity", 0.5], ["--winograd", "all"]):
        assert "--quantize" in run("compile", tmp_path / "small.onnx", "-o", out, *lonely, code=2)
    assert "HAI-L055" in run(*arguments, code=1)  # nothing says how pictures become the input
    (tmp_path / "empty").mkdir()
    arguments[-1] = tmp_path / "empty"
    assert "HAI-D012" in run(*arguments, "--std", 255, code=1)


def test_mixed_precision_by_goal(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(9):
        photo(folder / f"{i}.png", i)
    out = tmp_path / "mixed.hai"
    arguments = ["compile", onnx_file(tmp_path / "small.onnx"), "-o", out, "--calibration", folder, "--std", "64"]
    goal = [*arguments, "--quantize", "mixed"]
    text = run(*goal, "--max-drop", "90")
    assert "Pareto front" in text and "90 points" in text
    facts = json.loads(run("inspect", out, "--json"))
    assert facts["quantization"]["mixed"]["max_drop"] == 90
    document = json.loads(run(*goal, "--max-drop", 50.5, "--options-json", '{"seed": 3}', "--json"))
    assert document["mixed"]["max_drop"] == 50.5
    assert {layer["precision"] for layer in document["mixed"]["layers"]} <= {"w4a8", "w8a8", "w16a16", "float"}
    before = out.read_bytes()
    for wrong in ("nan", "inf", "-inf"):
        assert "HAI-L063" in run(*goal, f"--max-drop={wrong}", code=1), wrong
    for wrong in ("0", "-1", "100.5", "1e300"):
        assert "HAI-Q050" in run(*goal, f"--max-drop={wrong}", code=1), wrong
    for wrong in ("", "one", "1,5", "0x", "1 2"):
        run(*goal, f"--max-drop={wrong}", code=2)
    assert "HAI-L062" in run(*goal, code=1)
    assert "HAI-Q058" in run(*arguments, "--quantize", "int8", "--max-drop", 1, code=1)
    assert "HAI-Q058" in run(*goal, "--max-drop", 1, "--options-json", '{"precision": "w8a8"}', code=1)
    assert "HAI-Q050" in run(*goal, "--options-json", '{"max_drop": "1"}', code=1)
    assert "--quantize" in run(*arguments, "--max-drop", 1, code=2)
    for i in range(2):
        (folder / f"{i}.png").unlink()
    assert "HAI-Q080" in run(*goal, "--max-drop", 1, code=1)
    assert out.read_bytes() == before  # a failure leaves what was there


def test_a_hai_file_compiles_again(tmp_path: Path, compiled: Path) -> None:
    run("compile", compiled, "-o", tmp_path / "again.hai")
    x = np.ones((1, 3, 8, 8), np.float32)
    first, second = (hai.load(p).session(threads=1).run({"x": x})["y"] for p in (compiled, tmp_path / "again.hai"))
    assert np.array_equal(first, second)


def test_inspect_and_bench(compiled: Path) -> None:
    facts = json.loads(run("inspect", compiled, "--json", "--verify"))
    assert {s["kind"] for s in facts["sections"]} >= {"graph", "program", "weights"}
    assert "conv2d" in run("inspect", compiled, "--program")
    figures = json.loads(run("bench", compiled, "--runs", 5, "--json", "--batch", 2))
    assert figures["median_ms"] > 0
    assert figures["layers"]
    assert "median" in run("bench", compiled, "--runs", 5)


def test_lists() -> None:
    assert "cpu" in run("devices")
    assert json.loads(run("devices", "--json"))[0]["name"] == "cpu"
    assert "conv2d" in run("ops")
    assert "strides" in run("ops", "conv2d")
    run("ops", "--matrix", "--check")
    assert "## conv2d" in run("ops", "--markdown")


def test_help_has_examples() -> None:
    assert "compile" in run("--help")
    for command in ("compile", "run", "inspect", "bench", "ops"):
        assert "Examples:" in run(command, "--help")


def test_exit_codes_and_errors(tmp_path: Path, compiled: Path) -> None:
    run(code=2)
    run("fly", code=2)
    run("compile", code=2)
    assert "HAI-" in run("compile", tmp_path / "gone.onnx", "-o", tmp_path / "x.hai", code=1)
    (tmp_path / "bad.onnx").write_bytes(b"\x08\x01\x12\xff\xff")
    assert "HAI-X" in run("compile", tmp_path / "bad.onnx", "-o", tmp_path / "x.hai", code=1)
    assert not (tmp_path / "x.hai").exists()
    assert "HAI-" in run("run", tmp_path / "gone.hai", "x.npy", code=1)
    assert "HAI-L0" in run("run", compiled, "--input", "nothing=x.npy", code=1)
    assert "HAI-" in run("bench", compiled, "--batch", 1000, code=1)
    assert "HAI-" in run("bench", compiled, code=1, environment={"HAI_CPU": "abacus"})
    assert "HAI-L041" in run("ops", "convolve", code=1)
    assert "HAI-L059" in run("compile", tmp_path / "small.onnx", "-o", tmp_path / "small.onnx", code=1)
    assert "HAI-L059" in run("compile", compiled, "-o", compiled, code=1)


def test_no_command_replaces_what_it_reads(tmp_path: Path, compiled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "pictures"
    (folder / "y").mkdir(parents=True)
    picture = photo(folder / "y" / "a.png")
    array, model, labels = tmp_path / "y.npy", tmp_path / "small.onnx", tmp_path / "names.txt"
    np.save(array, np.ones((1, 3, 8, 8), np.float32))
    labels.write_text("ant\n")
    (tmp_path / "link.json").symlink_to(compiled)
    os.link(picture, tmp_path / "hard.json")
    before = {path: path.read_bytes() for path in (picture, array, model, compiled, labels)}
    monkeypatch.chdir(tmp_path)  # where relative names are other spellings of the same files
    commands: list[list[object]] = [
        ["compile", model, "-o", picture, "--quantize", "int8", "--calibration", folder, "--std", 64],
        ["run", compiled, picture, "--labels", labels, "--profile", labels],
        ["run", compiled, array, "-o", "pictures/.."],  # the output is called y
        *(["run", compiled, picture, "--profile", p] for p in ("small.hai", picture, "hard.json", "link.json")),
    ]
    for flag in ("--json", "--html"):
        paths = ("./pictures/../small.hai", model, picture, "hard.json", "link.json")
        commands += [["compare", model, compiled, "-i", folder, flag, p] for p in paths]
    for command in commands:
        error = run(*command, code=1)
        assert "HAI-L064" in error and "would replace" in error and "comparing" not in error, command
    twice: list[list[object]] = [
        ["compare", model, compiled, "-i", folder, "--json", "new", "--html", tmp_path / "pictures" / ".." / "new"],
        ["run", compiled, picture, "-o", "out", "--profile", "out/y.npy"],
    ]
    for command in twice:
        assert "HAI-L065" in run(*command, code=1), command
    assert not (tmp_path / "new").exists() and not (tmp_path / "out").exists()
    assert before == {path: path.read_bytes() for path in before}
    run("compare", model, compiled, "-i", folder, "--json", folder / "r.json")
    run("compare", model, compiled, "-i", folder, "--json", folder / "r.json", "--html", folder / "r.html")
    assert json.loads((folder / "r.json").read_text()) and (folder / "r.html").exists()


def test_weights_beside_a_model_are_not_replaced(tmp_path: Path, compiled: Path) -> None:
    weights, model = tmp_path / "w.data", tmp_path / "beside.onnx"
    loaded = onnx.load(tmp_path / "small.onnx")
    onnx.save(loaded, model, save_as_external_data=True, location=weights.name, size_threshold=0)
    before = weights.read_bytes()
    folder = tmp_path / "pictures"
    folder.mkdir()
    photo(folder / "a.png")
    assert "HAI-X016" in run("compile", model, "-o", weights, code=1)
    for flag in ("--json", "--html"):
        assert "HAI-X016" in run("compare", model, compiled, "-i", folder, flag, weights, code=1)
    assert weights.read_bytes() == before
    run("compile", model, "-o", tmp_path / "beside.hai")


def network_of_symbols(path: Path) -> Path:
    """A convolution over pictures whose batch, height and width have names."""
    value = onnx.helper.make_tensor_value_info
    weights = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [4, 3, 3, 3], np.linspace(-1, 1, 108))
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])],
        "net",
        [value("x", onnx.TensorProto.FLOAT, ["N", 3, "height", "width"])],
        [value("y", onnx.TensorProto.FLOAT, ["N", 4, "height", "width"])],
        [weights],
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_dimensions_of_onnx_models_are_bound(tmp_path: Path) -> None:
    model, out = network_of_symbols(tmp_path / "net.onnx"), tmp_path / "net.hai"
    picture = ["--dim", "height=7", "--dim", "width=9"]

    def compiled(*dims: str) -> tuple[str, list[dict[str, object]]]:
        run("compile", model, "-o", out, *dims)
        facts = json.loads(run("inspect", out, "--json"))
        return facts["inputs"][0]["shape"], facts["symbols"]

    assert compiled(*picture) == ("[N, 3, 7, 9]", [{"name": "N", "min": 1, "max": 16}])
    assert compiled(*picture, "--dim", "N=2..64") == ("[N, 3, 7, 9]", [{"name": "N", "min": 2, "max": 64}])
    assert compiled(*picture, "--dim", "N=3") == ("[3, 3, 7, 9]", [])
    x = np.random.default_rng(0).random((3, 3, 7, 9), dtype=np.float32)
    bound = hai.from_onnx(model, dims={"height": 7, "width": np.int64(9), "N": (1, 5)})
    bound.compile(dims={"N": 3}).save(tmp_path / "python.hai")
    values = [hai.load(path).session(threads=1).run(x)["y"] for path in (out, tmp_path / "python.hai")]
    np.testing.assert_array_equal(*values)
    for wrong in ("hight=7", "batch=1..4"):
        error = run("compile", model, "-o", out, *picture, "--dim", wrong, code=1)
        assert "HAI-X069" in error and "free ones are N, height, width" in error
    assert "HAI-X054" in run("compile", model, "-o", out, "--dim", "height=7", code=1)
    assert "HAI-X054" in run("compile", model, "-o", out, *picture[:2], "--dim", "width=1..9", code=1)
    assert "HAI-K021" in run("compile", model, "-o", out, *picture, "--dim", "width=8", code=1)
    run("compile", model, "-o", out, *picture)
    error = run("compile", out, "-o", tmp_path / "again.hai", "--dim", "height=7", code=1)
    assert f"{out}: the model has no dimension" in error and "free ones are N [HAI-K014]" in error
    with pytest.raises(hai.HaiError, match="HAI-X069"):
        hai.from_onnx(model, dims={"height": 7, "width": 9, "depth": 1})
    for given in ("7", 7.5, True, (1, 2, 3), None, 1 << 63, (1, 1 << 70)):
        with pytest.raises(hai.HaiError, match="HAI-Y038"):
            hai.from_onnx(model, dims={"height": given, "width": 9})  # type: ignore[dict-item]


def test_what_is_said_twice_or_changes_nothing_is_refused(tmp_path: Path, compiled: Path) -> None:
    a, b = photo(tmp_path / "a.png"), photo(tmp_path / "b.png", 1)
    for inputs in ([f"x={a}", f"x={b}"], [a, f"x={b}"]):
        error = run("run", compiled, *inputs, code=1)
        assert "HAI-L026" in error and str(a) in error and str(b) in error
    folder = tmp_path / "pictures"
    folder.mkdir()
    photo(folder / "a.png")
    model = tmp_path / "small.onnx"
    quantize = ["compile", model, "-o", tmp_path / "q.hai", "--quantize", "int8", "--calibration", folder, "--std", 64]
    error = run(*quantize, "--layer", "c0=w8a16", "--layer", "c0=w4a8", code=1)
    assert "HAI-L066" in error and '"c0" is given before as w8a16' in error
    assert "HAI-Q048" in run(*quantize, "--layer", "c0=w8a8", "--keep-float", "c0", code=1)
    assert not (tmp_path / "q.hai").exists()
    error = run("compare", compiled, compiled, "-i", folder, "--dim", "height=640", code=1)
    assert "HAI-L068" in error and "height=640" in error
    assert "HAI-L067" in run("compare", model, compiled, "-i", folder, "--dim", "N=1..16", code=1)
    run("compare", model, compiled, "-i", folder, "--dim", "batch=1")
    assert "HAI-X069" in run("compare", model, compiled, "-i", folder, "--dim", "N=1", code=1)


def test_inputs_of_another_kind_are_told_what_to_do(tmp_path: Path, compiled: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 3, 8, 8)))
    assert "is f32, and f64 was given; convert it to f32 [HAI-R022]" in run(
        "run", compiled, "--input", tmp_path / "x.npy", code=1
    )
    model = hai.from_onnx(tmp_path / "small.onnx")
    with pytest.raises(hai.HaiError, match=r"the sample is f32 \[1, 3, 9, 8\]; .*hai_toolkit.Preprocessing") as error:
        model.quantize(8, [np.zeros((1, 3, 9, 8), np.float32)])
    assert error.value.code == "HAI-Q024"


def test_numbers_that_no_integer_holds_are_refused(tmp_path: Path) -> None:
    arguments = ["compile", onnx_file(tmp_path / "small.onnx"), "-o", tmp_path / "q.hai", "--quantize", "w8"]
    for flag in ("--seed", "--sample-memory-bytes"):
        for number in ("99999999999999999999", "9223372036854775808", "-1", "1e3", "+1", "0x10"):
            assert f"{number} is no whole number from 0 to 9223372036854775807" in run(
                *arguments, f"{flag}={number}", code=2
            )
    assert "9223372036854775807; give a whole number" in run(
        *arguments, "--sample-memory-bytes", 9223372036854775807, code=1
    )
    run(*arguments, "--seed", 9223372036854775807)


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, compiled: Path) -> None:
    before = compiled.read_bytes()
    script = f'ulimit -f 1; trap "" XFSZ; exec "{PROGRAM}" compile "{tmp_path / "small.onnx"}" -o "{compiled}"'
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1, result.stderr
    assert "HAI-B" in result.stderr
    assert compiled.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["small.hai", "small.onnx"]  # no temporary file stays


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_that_does_not_get_out_is_an_error(compiled: Path) -> None:
    for arguments in (
        ["devices"],
        ["isa"],
        ["isa", "--json"],
        ["inspect", compiled],
        ["ops", "--markdown"],
        ["--help"],
    ):
        with open("/dev/full", "w") as full:
            done = subprocess.run([PROGRAM, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 1, arguments
        assert "standard output takes no more: No space left on device" in done.stderr, arguments
        assert "HAI-L097" in done.stderr


def test_an_unknown_command_is_named() -> None:
    text = run("complie", "x.onnx", code=2)
    assert 'no command "complie"' in text and "compile" in text and "inspect" in text
    assert "subcommand is required" in run(code=2)


def test_errors_are_json_for_who_asks_for_json(tmp_path: Path) -> None:
    command = [str(PROGRAM), "inspect", str(tmp_path / "gone.hai"), "--json"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    error = json.loads(result.stdout)["error"]
    assert error["code"].startswith("HAI-") and error["message"] and error["code"] in result.stderr
    result = subprocess.run(command[:-1], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1 and result.stdout == "" and "HAI-" in result.stderr


def test_weights_are_compressed_where_it_pays(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    graph = hai.GraphBuilder("wide", batch=(1, 16))
    x = graph.input("x", ("N", 300))
    weights = random.normal(0, 0.1, (400, 300)) * (random.random((400, 300)) < 0.5)  # half of them pruned
    graph.output(graph.matmul(x, weights.astype(np.float32), name="layer"), "y")
    model = hai.Model(graph.native)
    sizes = {}
    for compress in (None, True, False):
        path = tmp_path / f"{compress}.hai"
        model.compile(compress=compress).save(path)
        sizes[compress] = path.stat().st_size
        values = random.normal(0, 1, (3, 300)).astype(np.float32)
        expected = model.interpret({"x": values})["y"]
        assert np.allclose(hai.load(path).session(threads=1).run({"x": values})["y"], expected, atol=1e-4)
        sections = {s["kind"]: s for s in json.loads(run("inspect", path, "--json", "--verify"))["sections"]}
        stored = sections["weights" if compress is False else "compressed_weights"]
        assert stored["expanded_bytes"] == 480000
        assert stored["size_bytes"] == 480000 if compress is False else stored["size_bytes"] < 420000
    assert sizes[None] == sizes[True] < sizes[False]
    run("compile", tmp_path / "None.hai", "-o", tmp_path / "again.hai", "--no-compress")
    summary = json.loads(run("compile", tmp_path / "False.hai", "-o", tmp_path / "json.hai", "--json"))
    assert summary["file_bytes"] == (tmp_path / "json.hai").stat().st_size
    assert summary["weights_bytes"] == 480000 > summary["stored_weights_bytes"]
    assert " stored in " in run("compile", tmp_path / "False.hai", "-o", tmp_path / "json.hai")
    assert " stored in " not in run("compile", tmp_path / "False.hai", "-o", tmp_path / "json.hai", "--no-compress")
    assert (tmp_path / "again.hai").stat().st_size == sizes[False]
    assert "excludes" in run("compile", "x.onnx", "-o", "y.hai", "--compress", "--no-compress", code=2)
    assert "compressed_weights" in run("inspect", tmp_path / "None.hai")
