"""Accuracy reports: comparing models from Python and from the command line, files, folders with broken pictures."""

from __future__ import annotations

import json
from pathlib import Path

import hai_toolkit as hai
import numpy as np
import pytest
from hai_toolkit.mixed import search_mixed
from hai_toolkit.report import Report, compare
from test_command_line import PROGRAM, photo, run
from test_toolkit import onnx_file

RULE = hai.Preprocessing(19, 19, mean=(127, 127, 127), scale=(1 / 64, 1 / 64, 1 / 64), input="image")


def arrays(count: int) -> list[np.ndarray]:
    random = np.random.default_rng(11)
    return [random.normal(0, 1, (1, 3, 19, 19)).astype(np.float32) for _ in range(count)]


@pytest.fixture
def pair(tiny_model: hai.Model) -> tuple[hai.Model, hai.Model]:
    quantized = tiny_model.copy()
    quantized.quantize(calibration=arrays(8))
    return tiny_model, quantized


def test_compare_models(tmp_path: Path, pair: tuple[hai.Model, hai.Model]) -> None:
    report = compare(*pair, arrays(6), examined_layers=2)
    assert isinstance(report, Report)
    assert report["samples"] == 6
    assert {layer["name"] for layer in report["layers"]} >= {"stem", "depthwise", "head"}
    assert not report["unpaired"]
    for layer in report["layers"]:
        if layer["weight_bits"]:
            assert layer["isolated"]["cosine"] > 0.99
            assert sum(layer["histogram"]["float"]) == sum(layer["histogram"]["quantized"]) > 0
    assert report["outputs"][0]["classes"]
    assert 0 <= report["outputs"][0]["mean_kl"] < 0.05
    worst = [layer["isolated"]["sqnr_db"] for layer in report.worst_layers if layer["isolated"]]
    assert worst == sorted(worst)
    assert sum(layer["at_16_bits"] is not None for layer in report["layers"]) == 2
    text = str(report)
    assert "Next step" in text
    assert text.index(report.worst_layers[0]["name"]) > 0
    report.json(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text()) == dict(report)
    report.html(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "<svg" in page
    assert "depthwise" in page
    assert "http" not in page


def test_compare_files_and_folders(tmp_path: Path, pair: tuple[hai.Model, hai.Model]) -> None:
    for model, name in zip(pair, ("f32", "int8")):
        model.preprocessing = RULE
        model.compile().save(tmp_path / f"{name}.hai")
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(3):
        photo(folder / f"{i}.png", i)
    (folder / "broken.png").write_bytes(b"not a picture")
    report = compare(tmp_path / "f32.hai", tmp_path / "int8.hai", folder)
    assert report["samples"] == 3
    assert [Path(s["sample"]).name for s in report["skipped"]] == ["broken.png"]
    assert "broken.png" in str(report)
    assert [layer["accumulated"] for layer in report["layers"]] == [
        layer["accumulated"] for layer in compare(*pair, folder)["layers"]
    ]
    for broken in list(folder.glob("[0-9].png")):
        broken.unlink()
    with pytest.raises(hai.HaiError, match="none of 1 pictures"):
        compare(*pair, folder)


def test_mixed_precision_by_goal(tiny_model: hai.Model, tmp_path: Path) -> None:
    samples = arrays(12)
    lines: list[str] = []
    mixed = search_mixed(tiny_model.copy(), samples, max_drop=50.0, adaround=False, say=lines.append)
    found = mixed.quantization_report["mixed"]
    assert any("sensitivity" in line for line in lines)
    assert {layer["name"] for layer in found["layers"]} == {"stem", "depthwise", "head"}
    assert found["reached"]
    assert found["choice"]["points"] <= 50.0
    assert found["choice"]["average_weight_bits"] == 4.0  # the cheapest, since nearly anything may be lost
    costs = [point["cost"] for point in found["front"]]
    assert costs == sorted(costs)
    report = compare(tiny_model, mixed, samples, mixed=found)
    assert report["average_weight_bits"] == 4.0
    assert "Pareto front" in str(report)
    report.html(tmp_path / "mixed.html")
    assert "Mixed precision" in (tmp_path / "mixed.html").read_text()
    with pytest.raises(hai.HaiError, match="at least 8"):
        search_mixed(tiny_model.copy(), samples[:4])


def test_bad_input(tmp_path: Path, pair: tuple[hai.Model, hai.Model]) -> None:
    bad = arrays(1)[0]
    bad[0, 0, 3, 3] = np.nan
    cases = {
        "HAI-Q067": lambda: compare(*pair, []),
        "HAI-Q069": lambda: compare(*pair, [bad]),
        "HAI-Y081": lambda: compare(tmp_path / "model.pb", pair[1], arrays(1)),
        "HAI-Y080": lambda: compare(*pair, tmp_path),
        "HAI-Q072": lambda: Report({"layers": []}).text(),
    }
    for code, call in cases.items():
        with pytest.raises(hai.HaiError) as caught:
            call()
        assert caught.value.code == code


@pytest.mark.skipif(not PROGRAM.exists(), reason=f"{PROGRAM} is not built")
def test_command_line(tmp_path: Path) -> None:
    model = onnx_file(tmp_path / "small.onnx")
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(4):
        photo(folder / f"{i}.png", i)
    (folder / "broken.jpg").write_bytes(b"not a picture")
    int8 = tmp_path / "int8.hai"
    run("compile", model, "-o", int8, "--quantize", "int8", "--calibration", folder, "--mean", 127, "--std", 64)
    page, document = tmp_path / "report.html", tmp_path / "report.json"
    text = run("compare", model, int8, "--inputs", folder, "--layers", 1, "--html", page, "--json", document)
    assert "4 samples, 1 skipped" in text
    assert "broken.jpg" in text
    report = json.loads(document.read_text())
    assert report["layers"]
    assert report["float_model"] == "small.onnx"
    assert page.read_text().startswith("<!doctype html>")
    swapped = run("compare", int8, model, "--inputs", folder, code=1)
    assert "HAI-Q075" in swapped and "give the float model first" in swapped and "comparing" not in swapped
    with pytest.raises(hai.HaiError, match="HAI-Q075"):
        compare(int8, model, arrays(1))
    x = np.random.default_rng(1).normal(0, 1, (2, 3, 8, 8)).astype(np.float32)
    tensors = tmp_path / "tensors"
    tensors.mkdir()
    np.save(tensors / "a.npy", x)
    np.save(tensors / "wrong.npy", x[:, :, :5])
    assert "1 samples, 1 skipped" in run("compare", model, int8, "--inputs", tensors)
    (tmp_path / "empty").mkdir()
    assert "HAI-L071" in run("compare", model, int8, "--inputs", tmp_path / "empty", code=1)
    assert "HAI-L070" in run("compare", model, int8, "--inputs", tmp_path / "nowhere", code=1)
    run("compile", model, "-o", tmp_path / "plain.hai")
    assert "HAI-L072" in run("compare", model, tmp_path / "plain.hai", "--inputs", folder, code=1)
    (tensors / "a.npy").unlink()
    assert "HAI-L074" in run("compare", model, int8, "--inputs", tensors, code=1)
