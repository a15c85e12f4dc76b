"""How a picture becomes a model's input: the rule that is written into the ``.hai`` file, and the code that applies it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from . import _core
from .errors import HaiError
from .paths import path_text

_COLORS = ("rgb", "bgr", "gray")
_LAYOUTS = ("nchw", "nhwc")
_RESIZE_RULES = ("short_side", "letterbox", "stretch", "letterbox_top_left")
_INTERPOLATIONS = ("nearest", "bilinear", "bicubic")
_MAX_SIDE = 16384


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float, np.floating, np.integer)) and bool(np.isfinite(value))


@dataclass(frozen=True)
class PictureTransform:
    """Where the model's pixels come from: source = (model - offset) / scale; and the source's size."""

    scale_x: float = 1.0
    scale_y: float = 1.0
    offset_x: float = 0.0
    offset_y: float = 0.0
    width: int = 1
    height: int = 1


@dataclass(frozen=True)
class Preprocessing:
    """``x = (pixel - mean) * scale`` with pixels in 0..255, after resizing; channels in ``color_order``."""

    width: int
    height: int
    resize_rule: Literal["short_side", "letterbox", "stretch", "letterbox_top_left"] = "stretch"
    """``short_side``: the shorter side becomes ``resize_size``, then a centred crop; ``letterbox``: fits whole, centred, as
    YOLOv5 does it; ``letterbox_top_left``: likewise at the top left, as YOLOX does it; ``stretch``: whatever the aspect."""
    resize_size: int = 0
    """``short_side`` only: the shorter side before the centred crop, pixels."""
    interpolation: Literal["nearest", "bilinear", "bicubic"] = "bilinear"
    color_order: Literal["rgb", "bgr", "gray"] = "rgb"
    layout: Literal["nchw", "nhwc"] = "nchw"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    pad_value: float = 0.0
    """Letterboxes only: pixel value around the picture."""
    input: str = ""
    """Name of the model's input; empty: its only one."""

    def __post_init__(self) -> None:
        for name, known in (
            ("resize_rule", _RESIZE_RULES),
            ("interpolation", _INTERPOLATIONS),
            ("color_order", _COLORS),
            ("layout", _LAYOUTS),
        ):
            if getattr(self, name) not in known:
                raise HaiError(
                    "HAI-Y416", f"{name} {getattr(self, name)!r} does not exist; choose one of {', '.join(known)}"
                )
        for name, least in (("width", 1), ("height", 1), ("resize_size", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _MAX_SIDE:
                raise HaiError("HAI-Y417", f"{name} is {value!r}; it must be an integer from {least} to {_MAX_SIDE}")
        for name in ("mean", "scale"):
            value = getattr(self, name)
            if not isinstance(value, (tuple, list)) or len(value) != 3 or not all(map(_is_finite, value)):
                raise HaiError("HAI-Y418", f"{name} is {value!r}; it must be three finite numbers, one a colour")
        if not _is_finite(self.pad_value):
            raise HaiError("HAI-Y418", f"pad_value is {self.pad_value!r}; it must be a finite number")

    def to_native(self) -> dict[str, Any]:
        """Fields as the native module takes them."""
        fields = asdict(self)
        fields["color_order"] = _COLORS.index(self.color_order)
        fields["layout"] = _LAYOUTS.index(self.layout)
        fields["resize_rule"] = _RESIZE_RULES.index(self.resize_rule)
        fields["interpolation"] = _INTERPOLATIONS.index(self.interpolation)
        fields["mean"], fields["scale"] = list(self.mean), list(self.scale)
        return fields

    @staticmethod
    def from_native(fields: Mapping[str, Any]) -> Preprocessing:
        """The rule that a file holds."""
        values = dict(fields)
        values["color_order"] = _COLORS[values["color_order"]]
        values["layout"] = _LAYOUTS[values["layout"]]
        values["resize_rule"] = _RESIZE_RULES[values["resize_rule"]]
        values["interpolation"] = _INTERPOLATIONS[values["interpolation"]]
        values["mean"], values["scale"] = tuple(values["mean"]), tuple(values["scale"])
        return Preprocessing(**values)

    def __call__(self, picture: str | os.PathLike[str] | npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """One picture (a JPEG or PNG file, or RGB pixels [height, width, 3]) as a batch of one, f32."""
        return self.with_transform(picture)[0]

    def with_transform(
        self, picture: str | os.PathLike[str] | npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], PictureTransform]:
        """The same, and the way back from the model's pixels to the picture's, for boxes."""
        source = read_image(picture) if isinstance(picture, (str, os.PathLike)) else picture
        pixels = np.ascontiguousarray(source, np.uint8)
        channels = 1 if self.color_order == "gray" else 3
        out = np.empty(self.width * self.height * channels, np.float32)
        scale_x, scale_y, offset_x, offset_y = _core.preprocess(pixels, self.to_native(), out)
        transform = PictureTransform(scale_x, scale_y, offset_x, offset_y, pixels.shape[1], pixels.shape[0])
        if self.layout == "nchw":
            return out.reshape(1, channels, self.height, self.width), transform
        return out.reshape(1, self.height, self.width, channels), transform


def read_image(path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """A JPEG or PNG as RGB pixels [height, width, 3]."""
    return np.asarray(_core.read_image(path_text(path)), np.uint8)


class PictureFolder:
    """The pictures of a folder and its subfolders, sorted by path; iterating gives ``(path, pixels)``, and again from the start.

    With ``limit``, that many of them, spread evenly; the others stand by for those that cannot be read. A picture that cannot
    be read is skipped and listed in :attr:`skipped`; when none can, that is an error. Pictures of one colour are given too,
    and listed in :attr:`blank`.
    """

    def __init__(self, folder: str | os.PathLike[str], limit: int = 0) -> None:
        self._native = _core.open_picture_folder(path_text(folder), limit)

    def __len__(self) -> int:
        return int(self._native.wanted_count())

    def __iter__(self) -> Iterator[tuple[str, npt.NDArray[np.uint8]]]:
        self._native.rewind()
        while True:
            item: Any = self._native.next()
            if item is None:
                return
            yield item[0], np.asarray(item[1], np.uint8)

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """Path and reason, with what to do, of each picture that could not be read so far."""
        return list(self._native.skipped())

    @property
    def blank(self) -> list[str]:
        """Pictures of one colour everywhere so far."""
        return list(self._native.blank())

    def report(self) -> str:
        """How many were read, skipped and blank, and which."""
        return str(self._native.text())


def list_images(folder: str | os.PathLike[str]) -> list[str]:
    """The JPEG and PNG files of a folder and its subfolders, sorted by path."""
    return list(_core.list_images(path_text(folder)))
