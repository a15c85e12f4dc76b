"""Calibration data as people have it: a folder of pictures, arrays, dictionaries, paths, a PyTorch loader.

Each item becomes a sample, a dictionary from input name to an array in the model's own layout, through the preprocessing that is
also written into the ``.hai`` file. Pictures that cannot be read, or are too long for the rule, are named, skipped and counted;
none that can be used is an error.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .dtypes import numpy_dtype
from .errors import HaiError
from .model import TensorInfo
from .paths import path_text
from .preprocessing import Preprocessing, list_images, read_image

Sample = dict[str, npt.NDArray[Any]]
_SHOWN = 5  # unreadable pictures named one by one
_OF_THE_PICTURE = ("HAI-D024", "HAI-D025")  # errors of preprocessing that another picture would not have


class CalibrationData:
    """Samples one after another; counts what it read and what it had to skip."""

    def __init__(
        self,
        source: Any,
        inputs: Sequence[TensorInfo],
        preprocessing: Preprocessing | None,
        limit: int | None = None,
        warn: Callable[[str], None] = lambda message: None,
    ) -> None:
        whole = isinstance(limit, int | np.integer) and not isinstance(limit, bool)
        if limit is not None and (not whole or limit < 1):
            raise HaiError("HAI-Y260", f"samples is {limit!r}; a whole number of at least 1 is expected")
        self.read = 0
        self.skipped: list[str] = []
        self._inputs = list(inputs)
        self._preprocessing = preprocessing
        self._limit = limit
        self._warn = warn
        self._items = self._open(source)

    def __iter__(self) -> Iterator[Sample]:
        items = iter(self._items)
        while self._limit is None or self.read < self._limit:
            try:
                item = next(items)
            except StopIteration:
                break
            sample = self._sample(item)
            if sample is not None:
                self.read += 1
                yield sample
        if len(self.skipped) > _SHOWN:
            self._warn(
                f"{len(self.skipped)} calibration pictures could not be used and were skipped; {self.read} were used"
            )
        if not self.read:
            self._refuse_empty()

    def _refuse_empty(self) -> None:
        if self.skipped:
            raise HaiError(
                "HAI-Y261",
                f"none of the {len(self.skipped)} calibration pictures can be used; the first: {self.skipped[0]}",
            )
        raise HaiError("HAI-Y262", "calibration holds no samples; give 16 to 500 like those the model will see")

    def _open(self, source: Any) -> Iterable[Any]:
        if isinstance(source, np.ndarray):
            raise HaiError("HAI-Y263", "calibration is one array; give a list of samples: [array] for a single one")
        if isinstance(source, str | bytes | os.PathLike):
            # An empty path is the current folder to pathlib, with all that lies around in it.
            if not path_text(source) or (isinstance(source, Path) and source == Path()):
                raise HaiError(
                    "HAI-Y267",
                    f'calibration is {source!r}, as where a variable is not set; name the folder, or give "." as text for '
                    "the current one",
                )
            return self._open_path(Path(path_text(source)))
        if isinstance(source, Mapping):
            raise HaiError(
                "HAI-Y264", "calibration is one dictionary; give a list of samples: [dictionary] for a single one"
            )
        if not isinstance(source, Iterable):
            raise HaiError(
                "HAI-Y265",
                f"calibration is a {type(source).__name__}; give a folder of pictures, a list of arrays, dictionaries or "
                "paths, or a DataLoader",
            )
        return source

    def _open_path(self, path: Path) -> Iterable[Any]:
        if path.is_file():
            return [path]
        if not path.exists():
            raise HaiError("HAI-Y266", f"{path}: there is no such calibration folder")
        paths = list_images(path)  # an error where there are none
        self._rule()
        if self._limit is not None and len(paths) > self._limit:
            # Evenly spaced, since neighbours in a folder are often alike; the rest stand by for unreadable ones.
            chosen = np.linspace(0, len(paths) - 1, self._limit).round().astype(int).tolist()
            first = set(chosen)
            return [paths[i] for i in chosen] + [p for i, p in enumerate(paths) if i not in first]
        return paths

    def _rule(self) -> Preprocessing:
        if self._preprocessing is None:
            shapes = ", ".join(f"{i.name} {list(i.shape)}" for i in self._inputs)
            raise HaiError(
                "HAI-Y268",
                f"pictures were given, but it is not known how they become the model's input ({shapes}); pass "
                "preprocessing=hai_toolkit.Preprocessing(width=..., height=..., mean=..., scale=...) as in training",
            )
        return self._preprocessing

    def _sample(self, item: Any) -> Sample | None:
        if isinstance(item, Mapping):
            return {name: self._array(value, self._info(name)) for name, value in item.items()}
        if isinstance(item, tuple | list):
            if not item:
                raise HaiError("HAI-Y269", f"calibration sample {self.read} is empty")
            # (pictures, labels) of a data loader: the inputs come first.
            if len(item) < len(self._inputs):
                raise HaiError(
                    "HAI-Y270",
                    f"calibration sample {self.read} has {len(item)} entries, the model has {len(self._inputs)} inputs: "
                    f"{', '.join(i.name for i in self._inputs)}",
                )
            return {info.name: self._array(value, info) for info, value in zip(self._inputs, item)}
        if isinstance(item, str | bytes | os.PathLike):
            return self._picture(Path(path_text(item)))
        if len(self._inputs) != 1:
            raise HaiError(
                "HAI-Y271",
                f"the model has {len(self._inputs)} inputs: each calibration sample must be a dictionary by name "
                f"({', '.join(i.name for i in self._inputs)})",
            )
        return {self._inputs[0].name: self._array(item, self._inputs[0])}

    def _info(self, name: Any) -> TensorInfo:
        for info in self._inputs:
            if info.name == name:
                return info
        raise HaiError(
            "HAI-Y272",
            f"calibration sample {self.read} names {name!r}; the model's inputs are "
            f"{', '.join(i.name for i in self._inputs)}",
        )

    def _picture(self, path: Path) -> Sample | None:
        rule = self._rule()
        try:
            pixels = read_image(path)
        except HaiError as cause:
            self._skip(str(cause))
            return None
        try:
            return {rule.input or self._inputs[0].name: rule(pixels)}
        except HaiError as cause:
            if cause.code not in _OF_THE_PICTURE:
                raise
            self._skip(f"{path}: {cause}")
            return None

    def _skip(self, reason: str) -> None:
        self.skipped.append(reason)
        if len(self.skipped) <= _SHOWN:
            self._warn(f"calibration picture skipped: {reason}")

    def _array(self, value: Any, info: TensorInfo) -> npt.NDArray[Any]:
        if hasattr(value, "detach") and hasattr(value, "numpy"):
            value = value.detach().cpu().numpy()  # a tensor of PyTorch
        elif hasattr(value, "convert") and hasattr(value, "size"):
            value = np.asarray(value.convert("RGB"))  # a picture of Pillow
        array = np.asarray(value)
        picture = array.ndim == 3 and array.dtype == np.uint8 and array.shape[2] == 3 and info.dtype == "f32"
        if picture and self._preprocessing is not None:
            return self._preprocessing(array)
        if array.ndim == len(info.shape) - 1:
            array = array[None]
        wanted = numpy_dtype(info.dtype)
        if array.dtype != wanted:
            if array.dtype.kind not in "fiub" or (array.dtype.kind == "f" and wanted.kind != "f"):
                raise HaiError(
                    "HAI-Y273",
                    f'calibration sample {self.read}: input "{info.name}" is {info.dtype}, not {array.dtype}',
                )
            array = array.astype(wanted)
        fixed = [(want, got) for want, got in zip(info.shape, array.shape) if isinstance(want, int)]
        if array.ndim != len(info.shape) or any(want != got for want, got in fixed):
            raise HaiError(
                "HAI-Y274",
                f'calibration sample {self.read} has shape {list(array.shape)}; input "{info.name}" takes '
                f"{list(info.shape)}. Give samples as the model sees them, or pictures with preprocessing=",
            )
        return array
