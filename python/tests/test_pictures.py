"""Pictures of every kind, folders with bad ones, and the proof that a model is fed the same bytes everywhere."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import hai_toolkit as hai
import numpy as np
import pytest
from hai_toolkit.calibration_data import CalibrationData
from hai_toolkit.datasets import Dataset
from hai_toolkit.evaluation import class_scores
from PIL import Image

PROGRAM = Path(os.environ.get("HAI_PROGRAM", Path(__file__).resolve().parents[2] / "build" / "bin" / "hai"))


def pixels(height: int, width: int, seed: int = 1) -> np.ndarray:
    """A smooth picture with some noise, as photographs are."""
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([x * 255 / width, y * 255 / height, (x + y) * 255 / (width + height)], axis=-1)
    return (base + np.random.default_rng(seed).integers(-20, 21, base.shape)).clip(0, 255).astype(np.uint8)


def adobe_marker(data: bytes) -> int:
    place = data.index(b"\xff\xee")
    assert data[place + 4 : place + 9] == b"Adobe"
    return place


def test_jpeg_of_every_kind(tmp_path: Path) -> None:
    picture = Image.fromarray(pixels(37, 53))
    for name, mode, options in (
        ("progressive", "RGB", {"progressive": True}),
        ("grey", "L", {}),
        ("one", "RGB", {}),
        ("restart", "RGB", {"restart_marker_blocks": 3}),
    ):
        path = tmp_path / f"{name}.jpg"
        shown = picture.resize((1, 1)) if name == "one" else picture
        shown.convert(mode).save(path, quality=92, **options)
        assert np.array_equal(hai.read_image(path), np.asarray(Image.open(path).convert("RGB"))), name


def test_inks_are_read_as_pillow_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "inks.jpg"
    Image.fromarray(pixels(24, 40)).convert("CMYK").save(path, quality=95)
    data = bytearray(path.read_bytes())
    place = adobe_marker(bytes(data))
    ycck = bytearray(data)
    ycck[place + 15] = 2  # Adobe's transform byte: inks as YCCK
    without = data[:place] + data[place + 2 + int.from_bytes(data[place + 2 : place + 4], "big") :]
    for name, content in (("adobe", data), ("ycck", ycck), ("without_marker", without)):
        path.write_bytes(content)
        theirs = np.asarray(Image.open(path).convert("RGB")).astype(int)
        assert np.abs(hai.read_image(path).astype(int) - theirs).max() <= 1, name  # rounding of ink * black / 255


def interlaced_png(picture: np.ndarray) -> bytes:
    """Adam7, which Pillow reads and does not write."""
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b""
    for y, x, step_y, step_x in (
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ):
        part = picture[y::step_y, x::step_x]
        if part.size:
            rows += b"".join(b"\0" + row.tobytes() for row in part)
    header = struct.pack(">IIBBBBB", picture.shape[1], picture.shape[0], 8, 2, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_png_of_every_kind(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    picture = pixels(19, 13)
    path.write_bytes(interlaced_png(picture))
    assert np.array_equal(hai.read_image(path), picture)
    assert np.array_equal(hai.read_image(path), np.asarray(Image.open(path).convert("RGB")))
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(values).save(path)
    expected = ((values.astype(np.uint32) * 255 + 32895) >> 16).astype(np.uint8)  # to the nearest of 8 bits
    assert np.array_equal(hai.read_image(path)[..., 1], expected)
    transparent = Image.fromarray(picture).quantize(16)
    transparent.save(path, transparency=3)
    assert np.array_equal(hai.read_image(path), np.asarray(transparent.convert("RGB")))
    Image.fromarray(picture[:1, :1]).save(path)
    assert np.array_equal(hai.read_image(path), picture[:1, :1])
    Image.fromarray(picture).save(tmp_path / "wrong.jpg", "PNG")  # the content decides, not the suffix
    assert np.array_equal(hai.read_image(tmp_path / "wrong.jpg"), picture)


def test_a_folder_with_bad_pictures(tmp_path: Path) -> None:
    for i in range(6):
        Image.fromarray(pixels(20 + i, 30, i)).save(tmp_path / f"p{i}.jpg")
    whole = (tmp_path / "p3.jpg").read_bytes()
    (tmp_path / "p3.jpg").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / "blank.png")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    folder = hai.PictureFolder(tmp_path)
    for _ in range(2):  # the second time the same
        names = [Path(path).name for path, _ in folder]
        assert names == ["blank.png", "p0.jpg", "p1.jpg", "p2.jpg", "p4.jpg", "p5.jpg"]
        assert len(folder) == 7
        assert [Path(path).name for path, _ in folder.skipped] == ["p3.jpg"]
        assert "HAI-D00" in folder.skipped[0][1] and "the file" in folder.skipped[0][1]
        assert [Path(path).name for path in folder.blank] == ["blank.png"]
        assert "6 pictures read, 1 skipped, 1 of one colour only" in folder.report()
    chosen = hai.PictureFolder(tmp_path, limit=3)
    assert [Path(path).name for path, _ in chosen] == ["blank.png", "p2.jpg", "p5.jpg"]
    for path in tmp_path.glob("*.*g"):
        path.write_bytes(b"no picture")
    with pytest.raises(hai.HaiError, match=r"none of 7 pictures .*blank.png.*HAI-D014"):
        list(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(hai.HaiError, match="HAI-D012"):
        hai.PictureFolder(tmp_path / "empty")


RULES: dict[str, dict[str, Any]] = {
    "short_side": {"resize_rule": "short_side", "resize_size": 23, "mean": (127, 127, 127), "scale": (1 / 128,) * 3},
    "letterbox": {"resize_rule": "letterbox", "pad_value": 114, "scale": (1 / 255,) * 3, "interpolation": "nearest"},
    "letterbox_top_left": {"resize_rule": "letterbox_top_left", "pad_value": 114, "color_order": "bgr"},
    "stretch": {"interpolation": "bicubic", "mean": (1, 2, 3), "scale": (0.5, 0.25, 2)},
}


def fed(rule: hai.Preprocessing) -> hai.Model:
    """A network whose first output is what it was fed, and whose second has something to quantize."""
    random = np.random.default_rng(3)
    graph = hai.GraphBuilder("fed", batch=(1, 16))
    image = graph.input("image", ("N", 3, 17, 19))
    x = graph.transpose(image, (0, 2, 3, 1))
    graph.output(graph.conv2d(x, random.normal(0, 1, (4, 3, 3, 3)).astype(np.float32), name="conv"), "y")
    graph.output(x, "seen")
    return hai.Model(graph.native, rule)


@pytest.mark.skipif(not PROGRAM.exists(), reason=f"{PROGRAM} is not built")
@pytest.mark.parametrize("name", list(RULES))
def test_a_model_is_fed_the_same_in_calibration_evaluation_and_the_field(tmp_path: Path, name: str) -> None:
    rule = hai.Preprocessing(width=19, height=17, input="image", **RULES[name])
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, size in enumerate([(40, 31), (17, 19), (25, 90), (33, 33)]):
        Image.fromarray(pixels(*size, i)).save(folder / f"{i}.{'png' if i % 2 else 'jpg'}")
    paths = sorted(folder.iterdir())
    model = fed(rule)
    model.compile().save(tmp_path / "float.hai")
    expected = [rule(path) for path in paths]

    # The rule that the file holds, and the network itself behind `hai run`.
    loaded = hai.load(tmp_path / "float.hai")
    for path, want in zip(paths, expected):
        assert loaded.preprocessing is not None and np.array_equal(loaded.preprocessing(path), want)
        out = tmp_path / "out"
        command = [str(PROGRAM), "run", str(tmp_path / "float.hai"), str(path), "-o", str(out)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        assert np.array_equal(np.load(out / "seen.npy").transpose(0, 3, 1, 2), want)

    # Calibration and evaluation from Python.
    data = CalibrationData(folder, model.inputs, rule)
    assert all(np.array_equal(sample["image"], want) for sample, want in zip(data, expected))
    assert data.read == len(expected)
    seen: list[np.ndarray] = []

    def network(x: np.ndarray) -> np.ndarray:
        seen.append(np.array(x))
        return np.zeros((1, 2), np.float32)

    class_scores(network, Dataset("fed", paths), rule)
    assert all(np.array_equal(got, want) for got, want in zip(seen, expected)) and len(seen) == len(expected)

    # Calibration from the command line: ranges and bias corrections follow from the pixels, and equal those of Python's
    # calibration with `expected`.
    command = [str(PROGRAM), "compile", str(tmp_path / "float.hai"), "-o", str(tmp_path / "cli.hai")]
    command += ["--quantize", "int8", "--calibration", str(folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    hai.Model.from_file(tmp_path / "float.hai").quantize(calibration=expected).compile().save(tmp_path / "python.hai")
    assert weights_and_scales(tmp_path / "cli.hai") == weights_and_scales(tmp_path / "python.hai")
    other = [(x * 1.1).astype(np.float32) for x in expected]  # brighter: the comparison notices
    hai.Model.from_file(tmp_path / "float.hai").quantize(calibration=other).compile().save(tmp_path / "python.hai")
    assert weights_and_scales(tmp_path / "cli.hai") != weights_and_scales(tmp_path / "python.hai")


def weights_and_scales(path: Path) -> dict[str, str]:
    """Digests of what quantization decided: graph, program and weights."""
    result = subprocess.run([str(PROGRAM), "inspect", "--json", str(path)], check=True, capture_output=True, text=True)
    kept = ("graph", "program", "weights", "weight_digests")
    return {s["kind"]: s["sha256"] for s in json.loads(result.stdout)["sections"] if s["kind"] in kept}


def test_a_picture_too_long_for_the_rule_is_named_and_skipped(tmp_path: Path, tiny_model: hai.Model) -> None:
    for i in range(4):
        Image.fromarray(pixels(24, 40, i)).save(tmp_path / f"{i}.png")
    Image.fromarray(pixels(4000, 1)).save(tmp_path / "2_long.png")
    rule = hai.Preprocessing(19, 19, resize_rule="short_side", resize_size=20, scale=(1 / 64,) * 3)
    warnings: list[str] = []
    data = CalibrationData(tmp_path, tiny_model.inputs, rule, warn=warnings.append)
    assert len(list(data)) == data.read == 4
    assert len(data.skipped) == 1 and len(warnings) == 1
    for text in (data.skipped[0], warnings[0]):
        assert "2_long.png" in text and "1x4000" in text and "HAI-D025" in text
    assert len(list(CalibrationData(tmp_path, tiny_model.inputs, rule, limit=4))) == 4  # another one stands in
    quantized = hai.Quantizer(quiet=True).convert(tiny_model, calibration=tmp_path, preprocessing=rule)
    assert quantized.report()["samples"] == 4
    with pytest.raises(hai.HaiError, match=r"none of the 1 calibration pictures can be used.*2_long.png") as caught:
        list(CalibrationData([tmp_path / "2_long.png"], tiny_model.inputs, rule))
    assert caught.value.code == "HAI-Y261"


def test_a_rule_that_no_picture_fits_is_an_error_at_once(tmp_path: Path, tiny_model: hai.Model) -> None:
    Image.fromarray(pixels(24, 40)).save(tmp_path / "a.png")
    rule = hai.Preprocessing(19, 19, scale=(0, 0, 0))
    data = CalibrationData(tmp_path, tiny_model.inputs, rule)
    with pytest.raises(hai.HaiError) as caught:
        list(data)
    assert caught.value.code == "HAI-D022" and not data.skipped


def test_an_empty_path_is_not_the_current_folder(
    tmp_path: Path, tiny_model: hai.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = hai.Preprocessing(19, 19, scale=(1 / 64,) * 3)
    for i in range(4):
        Image.fromarray(pixels(24, 40, i)).save(tmp_path / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    for empty in ("", b"", Path("")):
        with pytest.raises(hai.HaiError, match="as where a variable is not set") as caught:
            hai.Quantizer(quiet=True).convert(tiny_model, calibration=empty, preprocessing=rule)
        assert caught.value.code == "HAI-Y267" and repr(empty) in str(caught.value)
    assert len(list(CalibrationData(".", tiny_model.inputs, rule))) == 4


def test_paths_in_bytes(tmp_path: Path, tiny_model: hai.Model) -> None:
    rule = hai.Preprocessing(19, 19, scale=(1 / 64,) * 3)
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for i, path in enumerate(paths):
        Image.fromarray(pixels(24, 40, i)).save(path)
    for source in (os.fsencode(tmp_path), [os.fsencode(path) for path in paths]):
        quantized = hai.Quantizer(quiet=True).convert(tiny_model, calibration=source, preprocessing=rule)
        assert quantized.report()["samples"] == 4
    cut = CalibrationData([b"a\0.png"], tiny_model.inputs, rule)
    with pytest.raises(hai.HaiError, match="NUL character"):
        list(cut)
