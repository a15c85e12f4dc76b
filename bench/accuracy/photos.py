"""The labelled photos of HAI_TEST_DATA and the preprocessing of each network, with Pillow.

The data is not part of the repository; without it `test_data` says so by name and the benchmarks that need it are skipped.
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.reasons import Skipped

CHECKOUT = Path(__file__).resolve().parents[2]


def test_data() -> Path:
    """The folder HAI_TEST_DATA, by default `../shared/data` beside the checkout."""
    folder = Path(os.environ.get("HAI_TEST_DATA", CHECKOUT.parent / "shared" / "data"))
    if not (folder / "imagenet" / "evaluation.tsv").exists():
        raise Skipped(f"no test data at {folder}; set HAI_TEST_DATA")
    return folder


@dataclass(frozen=True)
class Photo:
    """A file and its ImageNet class."""

    path: Path
    label: int


def photos(split: str) -> list[Photo]:
    """The photos of `calibration` or `evaluation`."""
    folder = test_data() / "imagenet"
    with open(folder / f"{split}.tsv", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [Photo(folder / row["file"], int(row["class_index"])) for row in rows]


def classifier_input(path: Path) -> NDArray[np.float32]:
    """EfficientNet-Lite's input: short side 256 (bilinear, antialiased), centre crop 224, RGB, (x - 127) / 128, NCHW."""
    with Image.open(path) as file:
        picture = file.convert("RGB")
    scale = 256 / min(picture.size)
    size = (round(picture.width * scale), round(picture.height * scale))
    if size != picture.size:
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    left, top = (picture.width - 224) // 2, (picture.height - 224) // 2
    pixels = np.asarray(picture.crop((left, top, left + 224, top + 224)), np.float32)
    return np.ascontiguousarray(((pixels - 127) / 128).transpose(2, 0, 1)[None])


def letterboxed(path: Path, side: int) -> NDArray[np.float32]:
    """A square RGB picture in 0..255, the photo in its upper left corner, grey 114 elsewhere; height, width, channel."""
    with Image.open(path) as file:
        picture = file.convert("RGB")
    scale = side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    canvas = np.full((side, side, 3), 114, np.float32)
    canvas[: size[1], : size[0]] = np.asarray(picture.resize(size, Image.Resampling.BILINEAR), np.float32)
    return canvas


def stretched(path: Path, side: int) -> NDArray[np.float32]:
    """A square RGB picture in 0..255 without regard to the aspect ratio; height, width, channel."""
    with Image.open(path) as file:
        return np.asarray(file.convert("RGB").resize((side, side), Image.Resampling.BILINEAR), np.float32)
