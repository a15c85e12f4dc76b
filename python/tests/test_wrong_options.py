"""Options of the wrong kind, names that are no text, and places where nothing can be written: one clear HaiError each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import hai_toolkit as hai
import numpy as np
import pytest


@pytest.mark.parametrize(
    ("code", "options"),
    [
        ("HAI-Y420", {"percentile": float("nan")}),
        ("HAI-Y420", {"sparsity": float("inf")}),
        ("HAI-Y420", {"winograd_loss_db": float("nan")}),
        ("HAI-Y420", {"bit_width": "mixed", "max_drop": "much"}),
        ("HAI-Y420", {"bit_width": "mixed", "max_drop": True}),
        ("HAI-Y421", {"layers": "head"}),
        ("HAI-Y421", {"layers": 5}),
        ("HAI-Y421", {"layers": {"head": 8}}),
        ("HAI-Y422", {"keep_float": "head"}),
        ("HAI-Y422", {"keep_float": None}),
        ("HAI-Y422", {"keep_float": [""]}),
    ],
)
def test_quantizer(code: str, options: dict[str, Any]) -> None:
    with pytest.raises(hai.HaiError) as error:
        hai.Quantizer(**options)
    assert error.value.code == code


def test_numbers_of_numpy_are_numbers() -> None:
    builder = hai.GraphBuilder("small")
    builder.output(builder.matmul(builder.input("x", ("N", 8)), np.eye(8, dtype=np.float32), name="fc"), "y")
    model = hai.Model(builder.native)
    samples = [np.random.default_rng(i).normal(size=(1, 8)).astype(np.float32) for i in range(9)]

    def ranges(kind: Any, whole: Any) -> Any:
        quantizer = hai.Quantizer(
            whole(8), observer="percentile", percentile=kind(75), sparsity=kind(0.5), seed=whole(3), quiet=True
        )
        return quantizer.convert(model, calibration=samples, samples=whole(8)).model.text()

    expected = ranges(float, int)
    for kind, whole in ((np.float32, np.int64), (np.float64, np.uint8), (np.float16, np.int32)):
        assert ranges(kind, whole) == expected
    for wrong in (np.float32("nan"), np.float64("inf"), np.bool_(True), np.array([99.0])):
        with pytest.raises(hai.HaiError) as error:
            hai.Quantizer(percentile=wrong)
        assert error.value.code == "HAI-Y420"


def test_a_layer_has_one_precision() -> None:
    builder = hai.GraphBuilder("small")
    builder.output(builder.matmul(builder.input("x", ("N", 8)), np.eye(8, dtype=np.float32), name="fc"), "y")
    samples = [np.ones((1, 8), np.float32)] * 8
    for goal in ({}, {"bit_width": "mixed", "max_drop": 1.0}):
        quantizer = hai.Quantizer(layers={"fc": "w8a8"}, keep_float=["fc"], quiet=True, **goal)  # type: ignore[arg-type]
        with pytest.raises(hai.HaiError, match=r'"fc" is in "layers" as w8a8 and in "keep_float"') as error:
            quantizer.convert(builder, calibration=samples)
        assert error.value.code == "HAI-Q048"


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_number_inside_an_option_that_is_not_finite(number: float) -> None:
    builder = hai.GraphBuilder("small")
    builder.output(builder.matmul(builder.input("x", ("N", 8)), np.eye(8, dtype=np.float32), name="fc"), "y")
    model = hai.Model(builder.native)
    sample = np.ones((1, 8), np.float32)
    with pytest.raises(hai.HaiError, match=r'"adaround.learning_rate" is no finite number; give .* \[1e-06, 1\]'):
        hai.Quantizer(adaround={"learning_rate": number}, quiet=True).convert(model, calibration=[sample] * 8)
    with pytest.raises(hai.HaiError, match=r'"percentile" is no finite number; give .* \[50, 100\]'):
        model.quantize(calibration=[sample] * 8, percentile=number)


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        ("HAI-Y416", {"color_order": "xyz"}),
        ("HAI-Y416", {"layout": "abc"}),
        ("HAI-Y416", {"resize_rule": "fit"}),
        ("HAI-Y417", {"width": 10**9}),
        ("HAI-Y417", {"height": -1}),
        ("HAI-Y417", {"width": "32"}),
        ("HAI-Y417", {"resize_size": 10**8}),
        ("HAI-Y418", {"mean": None}),
        ("HAI-Y418", {"scale": (1.0, 2.0)}),
        ("HAI-Y418", {"scale": (1.0, 2.0, float("nan"))}),
        ("HAI-Y418", {"pad_value": float("inf")}),
    ],
)
def test_preprocessing(code: str, fields: dict[str, Any]) -> None:
    with pytest.raises(hai.HaiError) as error:
        hai.Preprocessing(**({"width": 32, "height": 32} | fields))
    assert error.value.code == code


def test_a_picture_whose_name_is_no_utf8(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    for name in (b"a.png", b"\xff.png"):
        image.fromarray(np.full((9, 9, 3), 7, np.uint8)).save(tmp_path / "made.png")
        os.rename(tmp_path / "made.png", os.fsencode(tmp_path) + b"/" + name)
    (tmp_path / os.fsdecode(b"\xfe.png")).write_bytes(b"no picture")
    folder = hai.PictureFolder(tmp_path)
    assert sorted(os.fsencode(Path(path).name) for path, _ in folder) == [b"a.png", b"\xff.png"]
    assert [os.fsencode(Path(path).name) for path, _ in folder.skipped] == [b"\xfe.png"]
    assert "\\xfe" in folder.report()


def test_reports_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    report = hai.Report({"document": "nothing"})
    for path, code in ((tmp_path / "missing" / "r.json", "HAI-B004"), (tmp_path, "HAI-B014")):
        with pytest.raises(hai.HaiError) as error:
            report.json(path)
        assert error.value.code == code, error.value
    assert list(tmp_path.iterdir()) == []
    # What is no file is left alone, a link is followed, a file keeps its mode.
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(hai.HaiError, match="no regular file"):
        report.json(tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "target").write_text("old")
    (tmp_path / "target").chmod(0o600)
    (tmp_path / "link").symlink_to("target")
    report.json(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and "document" in (tmp_path / "target").read_text()
    assert (tmp_path / "target").stat().st_mode & 0o777 == 0o600
    if Path("/dev/full").exists():
        with pytest.raises(hai.HaiError):
            report.json("/dev/full/r.json")


def test_a_model_is_not_replaced_by_what_is_compiled_from_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hai_toolkit.__main__ import main

    model = tmp_path / "m.tflite"
    model.write_bytes(b"a model")
    (tmp_path / "link.hai").symlink_to(model)
    monkeypatch.chdir(tmp_path)
    for output in ("m.tflite", tmp_path / "link.hai"):
        assert main(["compile", str(model), "-o", str(output)]) == 1
        assert "would be replaced" in (error := capsys.readouterr().err) and "HAI-Y425" in error
    assert model.read_bytes() == b"a model"


def test_no_path_is_cut_at_a_nul_character(tmp_path: Path) -> None:
    builder = hai.GraphBuilder("small")
    x = builder.input("x", ("N", 8))
    builder.output(builder.matmul(x, np.eye(8, dtype=np.float32), name="fc"), "y")
    samples = [np.random.default_rng(i).normal(size=(1, 8)).astype(np.float32) for i in range(4)]
    quantized = hai.Quantizer(quiet=True).convert(hai.Model(builder.native), calibration=samples)
    good = tmp_path / "a.hai"
    quantized.save(good)
    before = good.read_bytes()
    report = quantized.report()
    cut = f"{good}\0.hai"
    for use in (
        quantized.save,
        quantized.model.compile().save,
        report.json,
        report.html,
        hai.load,
        hai.Model.from_file,
        hai.from_onnx,
        hai.read_image,
        hai.list_images,
        hai.PictureFolder,
        hai.Quantizer(quiet=True).convert,
        lambda path: hai.Quantizer(quiet=True).convert(hai.Model(builder.native), calibration=path),
        lambda path: hai.compare(path, good, samples),
        lambda path: hai.load(Path(path)),
    ):
        with pytest.raises(hai.HaiError) as error:
            use(cut)
        assert error.value.code == "HAI-Y424" and "NUL character" in str(error.value) and "\0" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.hai"] and good.read_bytes() == before
    assert hai.load(os.fsencode(good)).name == hai.load(good).name


def test_names_are_checked_before_samples_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    builder = hai.GraphBuilder("small")
    x = builder.input("x", ("N", 8, 8, 3))
    builder.output(builder.conv2d(x, np.ones((4, 3, 3, 3), np.float32), name="c"), "y")
    model = hai.Model(builder.native, hai.Preprocessing(8, 8))
    read: list[int] = []

    def samples() -> Iterator[np.ndarray]:
        for index in range(9):
            read.append(index)
            yield np.ones((1, 8, 8, 3), np.float32)

    def distilled(*_: Any) -> Iterator[np.ndarray]:
        return samples()

    monkeypatch.setattr("hai_toolkit.quantizer.distilled_samples", distilled)
    for options, code in (({"layers": {"zz": "w8a16"}}, "HAI-Q011"), ({"keep_float": ["zz"]}, "HAI-Q010")):
        for goal in ({}, {"bit_width": "mixed", "max_drop": 1.0}):
            with pytest.raises(hai.HaiError, match=code):
                hai.Quantizer(quiet=True, **options, **goal).convert(model)  # type: ignore[arg-type]
            with pytest.raises(hai.HaiError, match=code):
                model.copy().quantize(calibration=samples(), **options)
    assert not read
    assert hai.Quantizer(quiet=True).convert(model).model.is_quantized and len(read) == 9


def test_a_model_with_nothing_to_quantize_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    builder = hai.GraphBuilder("lonely")
    builder.output(builder.unary("relu", builder.input("x", ("N", 8))), "y")
    samples = [np.ones((1, 8), np.float32)] * 8
    quantized = hai.Quantizer(quiet=True).convert(hai.Model(builder.native), calibration=samples)
    assert "hai: warning: nothing_quantized: " in capfd.readouterr().err
    assert [warning["id"] for warning in quantized.report()["warnings"]][:1] == ["nothing_quantized"]


@pytest.mark.parametrize("gain", [1e6, 1e9, 1e15])
@pytest.mark.parametrize("bits", [4, 8, 16])
def test_channels_of_very_different_size(gain: float, bits: Literal[4, 8, 16], tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    builder = hai.GraphBuilder("sizes")
    x = builder.input("x", ("N", 9, 9, 3))
    weights = random.normal(size=(8, 3, 3, 3)).astype(np.float32)
    weights[3] *= gain
    x = builder.unary("relu", builder.conv2d(x, weights, name="a"))
    builder.output(builder.conv2d(x, random.normal(size=(5, 3, 3, 8)).astype(np.float32), name="b"), "y")
    model = hai.Model(builder.native)
    samples = [random.normal(size=(1, 9, 9, 3)).astype(np.float32) for _ in range(16)]
    quantized = hai.Quantizer(bits, quiet=True).convert(model, calibration=samples)
    quantized.save(tmp_path / "sizes.hai")
    expected = model.interpret({"x": samples[0]})["y"].astype(np.float64)
    actual = quantized.run(samples[0])["y"]
    assert np.linalg.norm(actual - expected) < 0.3 * np.linalg.norm(expected)
