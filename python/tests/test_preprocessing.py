"""Pictures: the same bytes as Pillow, the rule that travels in the file, hostile files."""

from __future__ import annotations

import io
from pathlib import Path

import hai_toolkit as hai
import numpy as np
import pytest
from hai_toolkit import _core
from PIL import Image

_PILLOW = {1: Image.Resampling.BILINEAR, 2: Image.Resampling.BICUBIC}


def random_pixels(height: int, width: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("interpolation", [1, 2])
@pytest.mark.parametrize("size", [(13, 19), (127, 70), (64, 64), (1, 1), (300, 255), (19, 127)])
def test_resize_gives_pillows_bytes(interpolation: int, size: tuple[int, int]) -> None:
    pixels = random_pixels(64, 97)
    ours = _core.resize(pixels, size[0], size[1], interpolation)
    theirs = np.asarray(Image.fromarray(pixels).resize(size, _PILLOW[interpolation]))
    assert np.array_equal(ours, theirs)


def test_nearest_takes_the_pixel_under_the_centre() -> None:
    pixels = random_pixels(64, 97)
    rows = (2 * np.arange(40) + 1) * 64 // 80
    columns = (2 * np.arange(127) + 1) * 97 // 254
    assert np.array_equal(_core.resize(pixels, 127, 40, 0), pixels[rows][:, columns])


@pytest.mark.parametrize(("mode", "subsampling"), [("RGB", 0), ("RGB", 2), ("L", 0), ("CMYK", 0)])
def test_jpeg_decodes_like_pillow(tmp_path: Path, mode: str, subsampling: int) -> None:
    path = tmp_path / "x.jpg"
    Image.fromarray(random_pixels(37, 53)).resize((106, 74)).convert(mode).save(
        path, quality=90, subsampling=subsampling
    )
    theirs = np.asarray(Image.open(path).convert("RGB")).astype(int)
    ours = hai.read_image(path).astype(int)
    # CMYK has no one conversion to RGB: rounding may differ by one step.
    assert np.abs(ours - theirs).max() <= (1 if mode == "CMYK" else 0)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
def test_png_decodes_like_pillow(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "x.png"
    if mode == "I;16":
        values = np.random.default_rng(2).integers(0, 65536, (13, 19), dtype=np.uint16)
        Image.fromarray(values).save(path)
        ours = hai.read_image(path)
        assert ours.shape == (13, 19, 3)
        assert np.array_equal(ours[..., 0], ours[..., 1])
        return
    Image.fromarray(random_pixels(13, 19)).convert(mode).save(path)
    assert np.array_equal(hai.read_image(path), np.asarray(Image.open(path).convert("RGB")))


def test_the_usual_classification_preprocessing(pictures: Path) -> None:
    rule = hai.Preprocessing(
        width=224,
        height=224,
        resize_rule="short_side",
        resize_size=256,
        mean=(127, 127, 127),
        scale=(1 / 128, 1 / 128, 1 / 128),
    )
    for name in ("coffee.png", "rocket.jpg", "chelsea.png"):
        image = Image.open(pictures / name).convert("RGB")
        scale = 256 / min(image.size)
        width, height = (256 if side == min(image.size) else int(side * scale) for side in image.size)
        resized = image.resize((width, height), Image.Resampling.BILINEAR)
        left, top = round((width - 224) / 2), round((height - 224) / 2)
        pixels = np.asarray(resized.crop((left, top, left + 224, top + 224)), np.float32)
        expected = ((pixels - 127) * np.float32(1 / 128)).transpose(2, 0, 1)[None]
        assert np.array_equal(rule(pictures / name), expected)


def test_the_rule_travels_in_the_file(tmp_path: Path, tiny_model: hai.Model) -> None:
    rule = hai.Preprocessing(
        width=19,
        height=19,
        resize_rule="letterbox",
        interpolation="bicubic",
        color_order="bgr",
        mean=(1, 2, 3),
        scale=(0.5, 0.25, 2),
        pad_value=114,
        input="image",
    )
    tiny_model.preprocessing = rule
    tiny_model.compile().save(tmp_path / "tiny.hai")
    loaded = hai.load(tmp_path / "tiny.hai").preprocessing
    assert loaded == rule
    pixels = random_pixels(40, 31)
    assert np.array_equal(rule(pixels), loaded(pixels))


def test_hostile_pictures_and_rules(tmp_path: Path) -> None:
    rule = hai.Preprocessing(width=8, height=8)
    for content in (b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", bytes(100)):
        (tmp_path / "x.png").write_bytes(content)
        with pytest.raises(hai.HaiError, match=r"HAI-D0"):
            rule(tmp_path / "x.png")
    with pytest.raises(hai.HaiError, match="HAI-D008"):
        rule(tmp_path / "gone.png")
    good = io.BytesIO()
    Image.fromarray(random_pixels(8, 8)).save(good, "PNG")
    for bad in ({"width": 0}, {"height": 10**6}, {"scale": (0, 1, 1)}, {"mean": (float("nan"), 0, 0)}):
        with pytest.raises(hai.HaiError):
            hai.Preprocessing(**{"width": 8, "height": 8, **bad})(random_pixels(8, 8))
    with pytest.raises(hai.HaiError):
        rule(np.zeros((0, 5, 3), np.uint8))
