"""Where a training over arrays stands between two steps, and that as what a checkpoint keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from .errors import HaiError


@dataclass
class FitPosition:
    """Everything that the next step of ``Trainer.fit`` depends on, besides the trainer itself and the data."""

    random: Mapping[str, Any]
    """State of the generator before the order of this epoch was drawn."""
    epoch: int = 0
    begin: int = 0
    """Samples of the epoch that are done."""
    loss: float = 0.0
    """Sum over them."""
    history: list[float] = field(default_factory=list)
    stopped: bool = False

    def end_epoch(self, count: int, random: np.random.Generator) -> None:
        """All samples are done."""
        self.history.append(self.loss / count)
        self.epoch, self.begin, self.loss, self.random = self.epoch + 1, 0, 0.0, random.bit_generator.state

    def extra(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """For a checkpoint of the training `run`."""
        return {"fit": asdict(self), "fit_run": dict(run)}

    @classmethod
    def of_extra(cls, extra: Mapping[str, Any], run: Mapping[str, Any]) -> FitPosition:
        """From a checkpoint, which must be of the same training."""
        position, saved_run = extra.get("fit"), extra.get("fit_run")
        if (
            not isinstance(position, dict)
            or not isinstance(saved_run, dict)
            or set(position) != {f.name for f in fields(cls)}
        ):
            raise HaiError(
                "HAI-Y073",
                "the checkpoint was not saved by fit(checkpoint=...), so where it stands in the data is not known; go on from it "
                "with load_checkpoint and fit into another folder",
            )
        if saved_run != run:
            different = ", ".join(
                f"{key} {saved_run.get(key)} (now {run[key]})" for key in run if saved_run.get(key) != run[key]
            )
            raise HaiError(
                "HAI-Y074",
                f"the checkpoint is of a training with {different}; repeat that one, or take another folder for this one",
            )
        return cls(**position)
