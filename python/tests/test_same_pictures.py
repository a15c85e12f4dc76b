"""A model sees one picture the same in training, calibration, evaluation and the field, to the last bit.

Training: code written here with Pillow and numpy, as a training script has it. Calibration: the quantizer reading a folder.
Evaluation: `evaluate`. Field: the `hai` program reading the picture by the rule inside the `.hai` file.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import hai_toolkit as hai
import numpy as np
import pytest
from PIL import Image

PROGRAM = Path(os.environ.get("HAI_PROGRAM", Path(__file__).resolve().parents[2] / "build" / "bin" / "hai"))
SIDE = 19
RULES = {
    "short_side": hai.Preprocessing(
        width=SIDE,
        height=SIDE,
        resize_rule="short_side",
        resize_size=23,
        mean=(127, 126, 125),
        scale=(0.5, 0.25, 0.125),
    ),
    "letterbox": hai.Preprocessing(
        width=SIDE, height=SIDE, resize_rule="letterbox", color_order="bgr", pad_value=114, interpolation="bicubic"
    ),
    "letterbox_top_left": hai.Preprocessing(width=SIDE, height=SIDE, resize_rule="letterbox_top_left", pad_value=114),
    "stretch": hai.Preprocessing(width=SIDE, height=SIDE, color_order="bgr", scale=(1 / 255, 1 / 255, 1 / 255)),
}


def resized(image: Image.Image, size: tuple[int, int], kind: Image.Resampling) -> Image.Image:
    """Along the width, then along the height: Pillow 13 chooses the order by the picture's shape, a step of rounding."""
    return image.resize((size[0], image.height), kind).resize(size, kind)


def in_training(path: Path, rule: hai.Preprocessing) -> np.ndarray:
    """The same rule by Pillow and numpy alone."""
    image = Image.open(path).convert("RGB")
    kind = Image.Resampling.BICUBIC if rule.interpolation == "bicubic" else Image.Resampling.BILINEAR
    if rule.resize_rule == "stretch":
        pixels = np.asarray(resized(image, (SIDE, SIDE), kind))
    elif rule.resize_rule.startswith("letterbox"):
        factor = min(SIDE / image.width, SIDE / image.height)
        half = 0.5 if rule.resize_rule == "letterbox" else 0.0  # YOLOX rounds down
        width, height = (max(1, int(side * factor + half)) for side in image.size)
        pixels = np.full((SIDE, SIDE, 3), 114, np.uint8)
        centred = rule.resize_rule == "letterbox"
        left, top = ((SIDE - width) // 2, (SIDE - height) // 2) if centred else (0, 0)
        pixels[top : top + height, left : left + width] = np.asarray(resized(image, (width, height), kind))
    else:
        shorter = min(image.size)
        width, height = (side * rule.resize_size // shorter for side in image.size)
        left, top = round((width - SIDE) / 2), round((height - SIDE) / 2)
        pixels = np.asarray(resized(image, (width, height), kind).crop((left, top, left + SIDE, top + SIDE)))
    if rule.color_order == "bgr":
        pixels = pixels[:, :, ::-1]
    values = (pixels.astype(np.float32) - np.float32(rule.mean)) * np.float32(rule.scale)
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of several sizes, colour and grey, JPEG and PNG."""
    where = tmp_path / "pictures"
    where.mkdir()
    random = np.random.default_rng(11)
    for number, (height, width) in enumerate([(40, 31), (23, 64), (19, 19), (127, 70), (13, 50)]):
        coarse = random.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        if number == 1:
            picture = picture.convert("L")
        picture.save(where / (f"{number}.jpg" if number % 2 else f"{number}.png"))
    return where


@pytest.mark.parametrize("name", RULES)
def test_training_evaluation_and_field_see_the_same_numbers(tmp_path: Path, folder: Path, name: str) -> None:
    rule = RULES[name]
    paths = sorted(folder.iterdir())
    expected = [in_training(path, rule) for path in paths]
    seen: list[np.ndarray] = []

    def model(data: np.ndarray) -> np.ndarray:
        seen.append(data.copy())
        return data.reshape(1, -1)

    hai.evaluate(model, folder, "agreement", reference=lambda data: data.reshape(1, -1), preprocessing=rule)
    for path, wanted, got in zip(paths, expected, seen, strict=True):
        assert np.array_equal(got, wanted), path.name
    if not PROGRAM.exists():
        pytest.skip(f"{PROGRAM} is not built: the field was not looked at")
    graph = hai.GraphBuilder("echo", batch=None)
    image = graph.input("image", (1, 3, SIDE, SIDE))
    graph.output(graph.concat([image, image], 1), "twice")
    hai.Model(graph.native, rule).compile().save(tmp_path / "echo.hai")
    for path, wanted in zip(paths, expected, strict=True):
        command = [str(PROGRAM), "run", str(tmp_path / "echo.hai"), str(path), "-o", str(tmp_path / path.stem)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        assert np.array_equal(np.load(tmp_path / path.stem / "twice.npy"), np.concatenate([wanted, wanted], 1)), (
            path.name
        )


@pytest.mark.parametrize("name", RULES)
def test_calibration_sees_the_same_numbers(folder: Path, tiny_model: hai.Model, name: str) -> None:
    rule = RULES[name]
    given = [in_training(path, rule) for path in sorted(folder.iterdir())]
    quantizer = hai.Quantizer(bit_width=8, quiet=True)
    from_folder = quantizer.convert(tiny_model, calibration=folder, preprocessing=rule)
    from_arrays = quantizer.convert(tiny_model, calibration=given, preprocessing=rule)
    # Every scale, zero point and integer weight is in the text.
    assert from_folder.model.text(1 << 20) == from_arrays.model.text(1 << 20)
    moved = quantizer.convert(tiny_model, calibration=[data * np.float32(1.01) for data in given], preprocessing=rule)
    assert moved.model.text(1 << 20) != from_arrays.model.text(1 << 20)
