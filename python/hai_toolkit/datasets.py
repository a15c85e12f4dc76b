"""Labelled pictures for evaluation: a folder per class, a table of files and class numbers, or COCO's JSON.

Everything is checked when it is read: a missing picture, a class that does not exist, a box outside its picture or an empty
set is an error that names the place, before an hour of evaluation begins.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import HaiError
from .paths import path_text

_PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class TrueBoxes:
    """True boxes of a set, in columns; ``picture`` and ``category`` are positions in the set's lists."""

    picture: npt.NDArray[np.int64]
    category: npt.NDArray[np.int32]
    box: npt.NDArray[np.float64]
    """[boxes, 4]: x, y, width, height in pixels."""
    area: npt.NDArray[np.float64]
    crowd: npt.NDArray[np.uint8]

    @staticmethod
    def of(
        picture: Sequence[int],
        category: Sequence[int],
        box: Sequence[Sequence[float]],
        area: Sequence[float] | None = None,
        crowd: Sequence[int] | None = None,
    ) -> TrueBoxes:
        """From lists; the area is the box's and nothing is a crowd unless said."""
        sides = np.asarray(box, np.float64).reshape(-1, 4)
        return TrueBoxes(
            np.asarray(picture, np.int64),
            np.asarray(category, np.int32),
            sides,
            sides[:, 2] * sides[:, 3] if area is None else np.asarray(area, np.float64),
            np.zeros(len(sides), np.uint8) if crowd is None else np.asarray(crowd, np.uint8),
        )


@dataclass(frozen=True)
class Dataset:
    """Pictures with labels, with boxes, or with neither."""

    name: str
    pictures: list[Path]
    labels: list[int] = field(default_factory=list)
    """Class number of each picture; empty where the set has no classes."""
    boxes: TrueBoxes | None = None
    classes: list[str] = field(default_factory=list)
    """Names in the order of class numbers, where known."""
    sizes: list[tuple[int, int]] = field(default_factory=list)
    """Width and height that the boxes were drawn in; empty where unknown."""

    @property
    def kind(self) -> str:
        """``classes``, ``boxes`` or ``pictures``."""
        return "boxes" if self.boxes is not None else "classes" if self.labels else "pictures"

    def __len__(self) -> int:
        return len(self.pictures)


def read_dataset(
    source: str | os.PathLike[str],
    *,
    images: str | os.PathLike[str] | None = None,
    classes: Sequence[str] | None = None,
) -> Dataset:
    """Reads a set.

    ``source``: a folder with one subfolder per class (class numbers follow ``classes``, else the sorted names, or the names
    themselves where all are numbers); a folder of pictures alone (no labels); a ``.tsv`` or ``.csv`` of file and class
    number (or class name, with ``classes``), with or without a heading line; a COCO ``.json``. ``images``: where the pictures are;
    by default beside the table, and for COCO in the folder of the same name, else beside it.
    """
    path = Path(path_text(source))
    if path.is_dir():
        return _read_folder(path, classes)
    if not path.exists():
        raise HaiError("HAI-Y710", f"{path}: there is no such dataset")
    if path.suffix == ".json":
        return _read_coco(path, None if images is None else Path(images))
    if path.suffix in (".tsv", ".csv", ".txt"):
        return _read_table(path, path.parent if images is None else Path(images), classes)
    raise HaiError(
        "HAI-Y711",
        f"{path}: a dataset is a folder of pictures or of one folder per class, a .tsv of file and class, or a COCO .json",
    )


def _pictures_in(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in _PICTURE_SUFFIXES and p.is_file())


def _read_folder(folder: Path, classes: Sequence[str] | None) -> Dataset:
    subfolders = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    alone = sorted(p for p in folder.iterdir() if p.suffix.lower() in _PICTURE_SUFFIXES)
    if alone and subfolders and any(_pictures_in(p) for p in subfolders):
        raise HaiError(
            "HAI-Y712",
            f"{folder}: pictures lie both here ({alone[0].name}) and in subfolders ({subfolders[0].name}): either one "
            "folder per class or pictures alone",
        )
    if alone:
        return Dataset(folder.name, alone)
    names = [p.name for p in subfolders]
    if classes is not None:
        numbers = {name: number for number, name in enumerate(classes)}
    elif names and all(name.isdecimal() for name in names):
        numbers = {name: int(name) for name in names}
    else:
        numbers = {name: number for number, name in enumerate(names)}
    pictures: list[Path] = []
    labels: list[int] = []
    for subfolder in subfolders:
        if subfolder.name not in numbers:
            raise HaiError(
                "HAI-Y713", f"{subfolder}: the class {subfolder.name!r} is not among the {len(numbers)} of classes="
            )
        found = _pictures_in(subfolder)
        if not found:
            raise HaiError("HAI-Y714", f"{subfolder}: no .jpg, .jpeg or .png in the folder of this class")
        pictures += found
        labels += [numbers[subfolder.name]] * len(found)
    _require_pictures(folder, pictures)
    known = list(classes) if classes is not None else (names if not names[0].isdecimal() else [])
    return Dataset(folder.name, pictures, labels, classes=known)


def _read_table(path: Path, images: Path, classes: Sequence[str] | None) -> Dataset:
    numbers = {name: number for number, name in enumerate(classes or ())}
    pictures: list[Path] = []
    labels: list[int] = []
    with open(path, newline="", encoding="utf-8") as file:
        try:
            lines = list(csv.reader(file, delimiter="," if path.suffix == ".csv" else "\t"))
        except (UnicodeDecodeError, csv.Error) as error:
            raise HaiError("HAI-Y715", f"{path}: not a table of text: {error}") from error
    for line_number, line in enumerate(lines, 1):
        if not line or not any(cell.strip() for cell in line):
            continue
        if len(line) < 2:
            raise HaiError("HAI-Y716", f"{path}:{line_number}: {line[0]!r}: a line must be a file and a class")
        picture, cell = images / line[0].strip(), line[1].strip()
        if line_number == 1 and Path(line[0]).suffix.lower() not in _PICTURE_SUFFIXES:
            continue  # headings
        if cell.isdecimal():
            label = int(cell)
        elif cell in numbers:
            label = numbers[cell]
        else:
            known = f"not among the {len(numbers)} of classes=" if numbers else "not a class number from 0"
            raise HaiError("HAI-Y717", f"{path}:{line_number}: the class {cell!r} is {known}")
        if numbers and label >= len(numbers):
            raise HaiError("HAI-Y718", f"{path}:{line_number}: class {label} of {len(numbers)}")
        _require_file(picture, f"{path}:{line_number}")
        pictures.append(picture)
        labels.append(label)
    _require_pictures(path, pictures)
    return Dataset(path.stem, pictures, labels, classes=list(classes or ()))


def _require_file(picture: Path, place: str) -> None:
    if not picture.is_file():
        raise HaiError("HAI-Y719", f"{place}: the picture {picture} does not exist; is images= right?")


def _require_pictures(source: Path, pictures: Sequence[Path]) -> None:
    if not pictures:
        raise HaiError("HAI-Y720", f"{source}: the dataset is empty: no picture in it")


def _read_coco(path: Path, images: Path | None) -> Dataset:
    try:
        content = json.loads(path.read_bytes())
        entries, annotations, categories = (content[key] for key in ("images", "annotations", "categories"))
        folder = images or (path.with_suffix("") if path.with_suffix("").is_dir() else path.parent)
        ids = sorted(int(category["id"]) for category in categories)
        names = {int(category["id"]): str(category.get("name", category["id"])) for category in categories}
        rows = sorted(entries, key=lambda entry: int(entry["id"]))
        positions = {int(entry["id"]): position for position, entry in enumerate(rows)}
        pictures = [folder / str(entry["file_name"]) for entry in rows]
        sizes = [(int(entry["width"]), int(entry["height"])) for entry in rows]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HaiError(
            "HAI-Y721",
            f"{path}: not COCO's format: {type(error).__name__}: {error}; it needs images (id, file_name, width, height), "
            "annotations (image_id, category_id, bbox) and categories (id)",
        ) from error
    if len(positions) != len(rows):
        raise HaiError("HAI-Y722", f"{path}: two pictures have one id")
    _require_pictures(path, pictures)
    for picture in pictures:
        _require_file(picture, str(path))
    numbers = {identifier: number for number, identifier in enumerate(ids)}
    columns: list[tuple[int, int, list[float], float, int]] = []
    for index, annotation in enumerate(annotations):
        columns.append(_coco_box(path, index, annotation, positions, numbers, sizes))
    picture_of, category, box, area, crowd = (
        [list(column) for column in zip(*columns)] if columns else [[], [], [], [], []]
    )
    return Dataset(
        path.stem,
        pictures,
        boxes=TrueBoxes.of(picture_of, category, box, area, crowd),
        classes=[names[identifier] for identifier in ids],
        sizes=sizes,
    )


def _coco_box(
    path: Path,
    index: int,
    annotation: Any,
    positions: dict[int, int],
    numbers: dict[int, int],
    sizes: Sequence[tuple[int, int]],
) -> tuple[int, int, list[float], float, int]:
    place = f"{path}: annotation {index}"
    try:
        picture, category = int(annotation["image_id"]), int(annotation["category_id"])
        x, y, width, height = (float(number) for number in annotation["bbox"])
        area = float(annotation.get("area", width * height))
        crowd = int(bool(annotation.get("iscrowd", 0)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HaiError(
            "HAI-Y723", f"{place}: {type(error).__name__}: {error}; it needs image_id, category_id, bbox"
        ) from error
    if picture not in positions:
        raise HaiError("HAI-Y724", f"{place} is of picture {picture}, which is not among images")
    if category not in numbers:
        raise HaiError("HAI-Y725", f"{place} is of class {category}, which is not among the {len(numbers)} categories")
    limit_x, limit_y = sizes[positions[picture]]
    finite = all(math.isfinite(number) for number in (x, y, width, height, area))
    # Annotators' tools round outwards: a pixel of tolerance.
    inside = x >= -1 and y >= -1 and x + width <= limit_x + 1 and y + height <= limit_y + 1
    if not finite or width < 0 or height < 0 or not inside:
        raise HaiError(
            "HAI-Y726",
            f"{place}: the box x {x:g}, y {y:g}, {width:g}x{height:g} does not lie in its picture of {limit_x}x{limit_y} pixels",
        )
    return positions[picture], numbers[category], [x, y, width, height], area, crowd
