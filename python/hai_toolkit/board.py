"""How long a training would take on the SD3403 board: the frozen part on the NPU, what is trained on its two A73."""

from __future__ import annotations

import os
from dataclasses import dataclass

from . import _core
from .paths import path_text


@dataclass(frozen=True)
class ModelledTraining:
    """Modelled, not measured; seconds of the whole training, without reading and changing pictures."""

    profile: str
    frozen_npu_seconds: float
    frozen_host_seconds: float
    """Quantizing pictures, and what of the frozen part the NPU has not taken."""
    step_seconds: float
    measuring_seconds: float
    frozen_npu_cycles: int
    """Of one picture, in a batch."""

    @property
    def seconds(self) -> float:
        """All of it, one after the other."""
        return self.frozen_npu_seconds + self.frozen_host_seconds + self.step_seconds + self.measuring_seconds


def modelled_training(
    path: str | os.PathLike[str], *, frozen_samples: int, steps: int, batch: int, measured_samples: int = 0
) -> ModelledTraining:
    """The time on the board of a training of a ``.hai`` file (``train=``, ``device="sd3403"``).

    ``frozen_samples`` go through the frozen part: pictures times views where features are kept, else ``steps * batch``.
    ``measured_samples`` are what the model answers to tell the better epoch.
    """
    return ModelledTraining(*_core.training_time(path_text(path), frozen_samples, steps, batch, measured_samples))
