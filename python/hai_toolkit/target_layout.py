"""What the columns of a training's target are: shares of classes, and what learning one task after the other adds to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import HaiError

NO_ANSWER = -1e9
"""In place of an old answer: the model of then did not have this class."""


@dataclass(frozen=True)
class TargetLayout:
    """Columns of a target (``src/passes/training_loss.h``): shares, mask, old answers and their weight, weight."""

    classes: int
    mask: bool = False
    old: bool = False
    weight: bool = False

    @classmethod
    def parse(cls, text: str, shape: tuple[int, ...]) -> TargetLayout:
        """From the file's metadata; without any, the target has shares alone."""
        if not text:
            return cls(shape[-1] if shape else 1)
        first, *flags = text.split(",")
        return cls(int(first.partition("=")[2]), "mask" in flags, "old" in flags, "weight" in flags)

    def rows(
        self,
        shares: npt.NDArray[Any],
        *,
        mask: npt.ArrayLike | None = None,
        old: npt.ArrayLike | None = None,
        old_weight: npt.ArrayLike = 0.0,
        weight: npt.ArrayLike = 1.0,
    ) -> npt.NDArray[np.float32]:
        """Targets from shares ``[..., classes]``. What is left out has no effect: all classes, no old answers, weights of 1."""
        lead = shares.shape[:-1]
        for name, given, there in (("mask", mask, self.mask), ("old", old, self.old)):
            if given is not None and not there:
                wanted = {"mask": "class_mask=1", "old": "distill=mse or kd"}[name]
                raise HaiError("HAI-Y076", f"the training program takes no {name}; compile it with train={wanted}")
        parts = [shares]
        if self.mask:
            parts.append(np.broadcast_to(1.0 if mask is None else np.asarray(mask), shares.shape))
        if self.old:
            parts.append(np.broadcast_to(NO_ANSWER if old is None else np.asarray(old), shares.shape))
            parts.append(np.broadcast_to(0.0 if old is None else np.asarray(old_weight), lead)[..., None])
        if self.weight:
            parts.append(np.broadcast_to(np.asarray(weight), lead)[..., None])
        return np.concatenate(parts, axis=-1, dtype=np.float32, casting="same_kind")
