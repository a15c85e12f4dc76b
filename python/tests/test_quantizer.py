"""`Quantizer.convert` on what needs no PyTorch: graphs, ONNX files, pictures; calibration data of every kind, good and bad."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import hai_toolkit as hai
import numpy as np
import pytest
from hai_toolkit.calibration_data import CalibrationData
from test_command_line import PROGRAM, run


def samples(count: int = 4, size: int = 19) -> list[np.ndarray]:
    random = np.random.default_rng(1)
    return [random.normal(0, 1, (1, 3, size, size)).astype(np.float32) for _ in range(count)]


@pytest.fixture
def rule() -> hai.Preprocessing:
    return hai.Preprocessing(
        width=19, height=19, resize_rule="stretch", mean=(127,) * 3, scale=(1 / 64,) * 3, input="image"
    )


@pytest.mark.parametrize("method", ["symmetrical", "asymmetrical"])
def test_a_graph_is_quantized_run_reported_and_saved(method: Any, tiny_model: hai.Model, tmp_path: Path) -> None:
    before = tiny_model.text()
    quantized = hai.Quantizer(8, method, quiet=True).convert(tiny_model, calibration=samples())
    assert tiny_model.text() == before and not tiny_model.is_quantized
    assert quantized.model.is_quantized and quantized.float_model is not None
    batch = np.concatenate(samples(3))
    logits = quantized.run(batch)["logits"]
    tiny_model.compile().save(tmp_path / "float.hai")
    expected = hai.load(tmp_path / "float.hai").session().run(batch)["logits"]
    # 8 bits: a few steps of 1/255 of the range.
    assert np.abs(logits - expected).max() <= 0.05 * np.abs(expected).max()
    np.testing.assert_array_equal(logits, quantized.run({"image": batch})["logits"])
    quantized.save(tmp_path / "int8.hai")
    np.testing.assert_array_equal(hai.load(tmp_path / "int8.hai").session().run(batch)["logits"], logits)
    report = quantized.report()
    assert 0 < report["weights"]["integer_bytes"] < report["weights"]["float_bytes"]
    assert [layer["name"] for layer in report["layers"] if layer["weight_bits"] == 8] == ["stem", "depthwise", "head"]
    assert report["samples"] and "stem" in str(report)
    report.html(tmp_path / "report.html")
    assert "depthwise" in (tmp_path / "report.html").read_text()


def test_the_report_says_how_weights_are_stored(tiny_model: hai.Model, tmp_path: Path) -> None:
    quantized = hai.Quantizer(sparsity=0.6, quiet=True, force=True).convert(tiny_model, calibration=samples())
    path = tmp_path / "small.hai"
    assert "file" not in quantized.report() and "in the file" not in str(quantized.report())
    for compress in (False, True):
        written = quantized.save(path, compress=compress)
        assert written.file_bytes == path.stat().st_size
        assert (written.stored_weights_bytes < 0.8 * written.weights_bytes) == compress
        assert written.weights_bytes >= quantized.report()["weights"]["integer_bytes"] > 0
        report = quantized.report()
        report.json(tmp_path / "report.json")
        assert json.loads((tmp_path / "report.json").read_text())["file"] == {
            "file_bytes": written.file_bytes,
            "weights_bytes": written.weights_bytes,
            "stored_weights_bytes": written.stored_weights_bytes,
        }
        stored = next(line for line in str(report).splitlines() if line.startswith("Weights: "))
        assert ("compressed without loss" if compress else "not compressed") in stored
        report.html(tmp_path / "report.html")
        assert stored in (tmp_path / "report.html").read_text()
    # The report inside the file is what the quantizer chose, not what an earlier save did.
    first = path.read_bytes()
    quantized.save(path, compress=True)
    assert path.read_bytes() == first
    again = hai.Quantizer(quiet=True).convert(path)
    assert "file" not in again.report()
    again.save(tmp_path / "again.hai")
    assert again.report()["file"]["file_bytes"] == (tmp_path / "again.hai").stat().st_size


def test_an_already_quantized_model_keeps_its_integers(tiny_model: hai.Model, tmp_path: Path) -> None:
    first = hai.Quantizer(quiet=True).convert(tiny_model, calibration=samples())
    again = hai.Quantizer(quiet=True).convert(first.model)
    assert again.model.text(1 << 20) == first.model.text(1 << 20) and again.float_model is None
    first.save(tmp_path / "int8.hai")
    from_file = hai.Quantizer(quiet=True).convert(tmp_path / "int8.hai")
    batch = samples(1)[0]
    np.testing.assert_array_equal(from_file.run(batch)["logits"], first.run(batch)["logits"])


def test_a_graph_builder_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(2)
    graph = hai.GraphBuilder("line")
    x = graph.input("x", ("N", 5))
    graph.output(graph.matmul(x, random.normal(size=(3, 5)).astype(np.float32)), "y")
    data = [random.normal(size=(2, 5)).astype(np.float32) for _ in range(3)]
    quantized = hai.Quantizer().convert(graph, calibration=data)
    assert quantized.run(data[0])["y"].shape == (2, 3)
    assert "calibrated on 3 samples" in capsys.readouterr().err


def test_kinds_of_calibration_data_give_the_same_samples(
    tiny_model: hai.Model, rule: hai.Preprocessing, pictures: Path
) -> None:
    names = [pictures / "coffee.png", pictures / "chelsea.png"]
    pixels = [hai.read_image(name) for name in names]
    arrays = [rule(name) for name in names]
    kinds: list[Any] = [
        names,
        [str(name) for name in names],
        pixels,
        arrays,
        [a[0] for a in arrays],
        [{"image": a} for a in arrays],
        [(a, 3) for a in arrays],
        (a.astype(np.float64) for a in arrays),
        {"a": 1} and iter(arrays),
    ]
    for kind in kinds:
        got = [sample["image"] for sample in CalibrationData(kind, tiny_model.inputs, rule)]
        assert len(got) == 2
        for sample, expected in zip(got, arrays):
            assert sample.dtype == np.float32
            np.testing.assert_array_equal(sample, expected)


def test_a_folder_with_bad_pictures(
    tmp_path: Path, tiny_model: hai.Model, rule: hai.Preprocessing, pictures: Path
) -> None:
    folder = tmp_path / "calibration"
    (folder / "deeper").mkdir(parents=True)
    for name in ("coffee.png", "chelsea.png", "rocket.jpg"):
        shutil.copy(pictures / name, folder / "deeper" / name)
    good = (pictures / "coffee.png").read_bytes()
    (folder / "cut.png").write_bytes(good[: len(good) // 3])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("not a picture")
    warnings: list[str] = []
    data = CalibrationData(folder, tiny_model.inputs, rule, warn=warnings.append)
    assert len(list(data)) == data.read == 3 and len(data.skipped) == 3
    assert all(any(name in w for w in warnings) for name in ("cut.png", "empty.jpg", "text.jpg"))
    # A limit is filled with readable ones.
    assert len(list(CalibrationData(folder, tiny_model.inputs, rule, limit=3))) == 3
    assert len(list(CalibrationData(folder, tiny_model.inputs, rule, limit=1))) == 1
    for name in ("coffee.png", "chelsea.png", "rocket.jpg"):
        (folder / "deeper" / name).unlink()
    with pytest.raises(hai.HaiError, match=r"none of the 3 calibration pictures") as caught:
        list(CalibrationData(folder, tiny_model.inputs, rule))
    assert caught.value.code == "HAI-Y261"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ([], "no samples"),
        (np.zeros((1, 3, 19, 19), np.float32), r"\[array\]"),
        ({"image": np.zeros(3)}, r"\[dictionary\]"),
        (7, "calibration is a int"),
        ("no/such/folder", "no such calibration folder"),
        ([np.zeros((1, 3, 18, 19), np.float32)], r"shape \[1, 3, 18, 19\].*takes \['N', 3, 19, 19\]"),
        ([np.zeros((1, 3, 19, 19), np.complex64)], "complex64"),
        ([{"picture": np.zeros((1, 3, 19, 19), np.float32)}], "names 'picture'"),
        ([()], "sample 0 is empty"),
        (["a.png"], "preprocessing="),
    ],
)
def test_bad_calibration_data(source: Any, words: str, tiny_model: hai.Model) -> None:
    with pytest.raises(hai.HaiError, match=words):
        hai.Quantizer(quiet=True).convert(tiny_model, calibration=source)


def test_an_empty_folder_and_bad_limits(tmp_path: Path, tiny_model: hai.Model) -> None:
    with pytest.raises(hai.HaiError, match=r"no \.jpg, \.jpeg or \.png file"):
        hai.Quantizer().convert(tiny_model, calibration=tmp_path)
    for limit in (0, -1, 2.5, True):
        with pytest.raises(hai.HaiError, match="samples is"):
            hai.Quantizer().convert(tiny_model, calibration=samples(), samples=limit)  # type: ignore[arg-type]
    data = CalibrationData(samples(9), tiny_model.inputs, None, limit=4)
    assert len(list(data)) == 4


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (7, "a int cannot be quantized"),
        ("missing.onnx", "no such file"),
        ({}, "holds no network: its entries are none"),
        ({"epoch": 3, "optimizer": None}, "'epoch', 'optimizer'"),
        ({"a.weight": np.zeros(3)}, "weights only.*module="),
    ],
)
def test_what_is_no_model(model: Any, words: str) -> None:
    with pytest.raises(hai.HaiError, match=words):
        hai.Quantizer().convert(model)


def test_files_that_are_no_models(tmp_path: Path) -> None:
    with pytest.raises(hai.HaiError, match=r"saved_model\.pb"):
        hai.Quantizer().convert(tmp_path)
    for name, words in (("net.bin", "suffix"), ("net.onnx", "net.onnx"), ("net.pt", "net.pt"), ("net.hai", "net.hai")):
        path = tmp_path / name
        path.write_bytes(b"nothing of the kind" * 9)
        with pytest.raises(hai.HaiError, match=words):
            hai.Quantizer().convert(path)


def test_mixed_precision_by_goal(tiny_model: hai.Model) -> None:
    quantized = hai.Quantizer("mixed", "asymmetrical", max_drop=20.0, adaround=False, quiet=True).convert(
        tiny_model, calibration=samples(16)
    )
    bits = {layer["weight_bits"] for layer in quantized.report()["layers"] if layer["op"] in ("conv2d", "matmul")}
    assert bits <= {4, 8, 16, 32} and "front" in quantized.model.quantization_report["mixed"]
    for wrong in ({"bit_width": "mixed"}, {"bit_width": 8, "max_drop": 1.0}):
        with pytest.raises(hai.HaiError, match="belong together"):
            hai.Quantizer(**wrong)  # type: ignore[arg-type]
    with pytest.raises(hai.HaiError, match="bit_width 5"):
        hai.Quantizer(5)


def option_names(model: hai.Model) -> set[str]:
    """All that the quantizer knows, from the error of one that it does not."""
    with pytest.raises(hai.HaiError, match="HAI-Q057") as caught:
        model.copy().quantize(calibration=samples(), no_such_option=1)
    return set(caught.value.message.split("there are ")[1].split(", "))


def test_every_option_can_be_reached_and_is_documented(tiny_model: hai.Model) -> None:
    names = option_names(tiny_model)
    assert {"observer", "widen", "sample_memory_bytes"} <= names and len(names) >= 18
    given = hai.Quantizer(precision="w8a8", adaround=False, equalize=False).options
    assert names == given.keys() | {"symmetric", "max_drop"}  # these are arguments of their own
    page = (Path(__file__).parents[2] / "docs/how_to/quantization.md").read_text()
    assert [name for name in sorted(names) if f"`{name}`" not in page] == []
    if PROGRAM.exists():
        called = {"precision": "quantize", "symmetric": "method", "layers": "layer", "trainable": "train"}
        text = run("compile", "--help")
        for name in sorted(names):
            flag = called.get(name, name.replace("_", "-"))
            assert f"--{flag}" in text or f"--no-{flag}" in text, name


def test_options_arrive(tiny_model: hai.Model) -> None:
    wide = hai.Quantizer(precision="w8a16", quiet=True).convert(tiny_model, calibration=samples())
    assert {layer["precision"] for layer in wide.model.quantization_report["layers"]} == {"w8a16"}
    for precision in ("w8", "w4"):  # no samples, no distillation
        alone = hai.Quantizer(precision=precision, quiet=True).convert(tiny_model)
        assert {layer["precision"] for layer in alone.model.quantization_report["layers"]} == {precision}
        assert alone.model.quantization_report["samples"] == 0
        assert np.isfinite(alone.run(samples(1)[0])["logits"]).all()
    # A loud channel in front of a depthwise layer gets 16 bits, unless told not to.
    graph = hai.GraphBuilder("loud", batch=(1, 16))
    random = np.random.default_rng(4)
    weights = random.normal(0, 0.2, (16, 3, 3, 3)).astype(np.float32)
    weights *= np.where(np.arange(16) == 3, 300, 0.02)[:, None, None, None].astype(np.float32)
    x = graph.transpose(graph.input("image", ("N", 3, 19, 19)), (0, 2, 3, 1))
    x = graph.unary("silu", graph.conv2d(x, weights, padding=1, name="stem"))
    kernel = random.normal(0, 0.3, (16, 3, 3, 1)).astype(np.float32)
    x = graph.unary("sigmoid", graph.conv2d(x, kernel, padding=1, groups=16, name="depthwise"))
    for name, width in (("wide", 64), ("last", 64)):
        kernel = random.normal(0, 0.1, (width, 3, 3, x.shape[-1])).astype(np.float32)
        x = graph.unary("relu", graph.conv2d(x, kernel, padding=1, name=name))
    graph.output(graph.conv2d(x, random.normal(0, 0.1, (4, 1, 1, 64)).astype(np.float32), name="head"), "y")
    for widen in (True, False):
        quantizer = hai.Quantizer(8, "asymmetrical", widen=widen, self_check=False, quiet=True)
        report = quantizer.convert(hai.Model(graph.native), calibration=samples(8)).model.quantization_report
        assert bool(report["widened"]) == widen, report["widened"]


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "w3a8"},
        {"precision": "w8a8", "bit_width": 4},
        {"precision": "w8a8", "bit_width": "mixed", "max_drop": 1.0},
        {"sample_memory_bytes": -1},
        {"sample_memory_bytes": "much"},
        {"widen": "yes"},
        {"threads": 2.5},
        {"adaround": {"iterations": 1e9}},
    ],
    ids=str,
)
def test_options_that_make_no_sense(options: dict[str, Any], tiny_model: hai.Model) -> None:
    with pytest.raises(hai.HaiError, match=r"HAI-[QY]"):
        hai.Quantizer(quiet=True, **options).convert(tiny_model, calibration=samples())


def test_an_unknown_method_is_an_error() -> None:
    with pytest.raises(hai.HaiError, match="choose one of symmetrical, asymmetrical"):
        hai.Quantizer(8, "symmetric")  # type: ignore[arg-type]


def test_evaluate_compares_with_the_float_model(
    tiny_model: hai.Model, rule: hai.Preprocessing, pictures: Path, tmp_path: Path
) -> None:
    for name in ("coffee.png", "chelsea.png", "rocket.jpg"):
        shutil.copy(pictures / name, tmp_path / name)
    quantized = hai.Quantizer(8, "asymmetrical", quiet=True).convert(tiny_model, tmp_path, preprocessing=rule)
    figure = quantized.evaluate(tmp_path, "mean_kl")
    assert 0 <= figure.value < 0.05 and figure.count == 3
    with pytest.raises(hai.HaiError, match="no metric"):
        quantized.evaluate(tmp_path, "beauty")
