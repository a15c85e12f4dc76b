"""Calibration without pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import HaiError
from .model import Model


def distilled_samples(model: Model, seed: int, say: Callable[[str], None]) -> list[dict[str, npt.NDArray[Any]]]:
    """Samples made up for a model."""
    random = np.random.default_rng(seed)
    samples = []
    for _ in range(8):
        sample = {}
        for info in model.inputs:
            shape = [d if isinstance(d, int) else 1 for d in info.shape]
            if info.dtype != "f32":
                raise HaiError(
                    "HAI-Y295",
                    f'no data can be made up for input "{info.name}" of type {info.dtype}; pass calibration=',
                )
            sample[info.name] = random.uniform(0, 1, shape).astype(np.float32)
        samples.append(sample)
    say("no calibration data: ranges come from noise")
    return samples
