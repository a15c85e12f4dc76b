"""The labelled photos of HAI_TEST_DATA, and how each published network wants its pictures.

The rules are hai_toolkit's own Preprocessing: the code that calibrates and runs in the field. The data is not part of the
repository; without it `test_data` says so by name and the benchmarks that need it are skipped.
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import hai_toolkit as hai

from bench.reasons import Skipped

CHECKOUT = Path(__file__).resolve().parents[2]

CLASSIFIER = hai.Preprocessing(
    width=224, height=224, resize_rule="short_side", resize_size=256, mean=(127, 127, 127), scale=(1 / 128, 1 / 128, 1 / 128)
)  # fmt: skip
YOLOV5 = hai.Preprocessing(
    width=640, height=640, resize_rule="letterbox", pad_value=114, scale=(1 / 255, 1 / 255, 1 / 255)
)
YOLOX = hai.Preprocessing(width=416, height=416, resize_rule="letterbox_top_left", pad_value=114, color_order="bgr")
FASTESTDET = hai.Preprocessing(width=352, height=352, color_order="bgr", scale=(1 / 255, 1 / 255, 1 / 255))


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
