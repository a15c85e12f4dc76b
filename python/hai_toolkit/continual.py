"""Learning one task after the other without forgetting: elastic weight consolidation.

Kirkpatrick et al. 2017: after a task the diagonal of the Fisher information says how much each parameter matters for it;
while the next task is learnt, a quadratic pull holds those parameters where they were. The pulls of several tasks add up to
one of the same form, so memory does not grow: ``sum_t F_t (w - a_t) = F (w - a)`` with ``F = sum F_t``, ``a = sum F_t a_t / F``.

EWC alone cannot learn new classes into a shared head (class-incremental learning): the head's old rows get no evidence to
keep, and are overruled. Use replay for that: :class:`hai_toolkit.Learner`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import HaiError
from .model import Model
from .runtime import load
from .trainer import Trainer


class ElasticWeights:
    """A trainer that remembers what earlier tasks need.

    ``model`` is compiled twice, for training with the penalty and for measuring the Fisher information (for this the loss
    must be cross-entropy, whose answers are probabilities to draw labels from). ``train``: further options of training.
    ``decay`` below 1 forgets older tasks gradually (online EWC, Schwarz et al. 2018).
    """

    def __init__(
        self,
        model: Model,
        folder: str | os.PathLike[str],
        *,
        strength: float,
        decay: float = 1.0,
        train: Mapping[str, str | float] | None = None,
        threads: int = 0,
        dims: Mapping[str, int | tuple[int, int]] | None = None,
    ) -> None:
        options = {"loss": "cross_entropy", **(train or {})}
        if options["loss"] != "cross_entropy":
            raise HaiError(
                "HAI-Y070", f"loss is {options['loss']}: the Fisher information is measured with cross_entropy"
            )
        if not (strength >= 0 and 0 < decay <= 1):
            raise HaiError("HAI-Y071", f"strength {strength} must be at least 0, decay {decay} above 0 and at most 1")
        home = Path(folder)
        model.compile(dims=dims, train={**options, "ewc": 1}).save(home / "ewc.hai")
        measured: dict[str, str | float] = {"optimizer": "fisher"}
        measured.update(
            {key: options[key] for key in ("trainable", "groups", "class_mask", "output") if key in options}
        )
        model.compile(dims=dims, train={**measured, "batch_norm": "frozen"}).save(home / "fisher.hai")
        self.trainer = Trainer(home / "ewc.hai", threads=threads)
        """Trains with the penalty: ``fit`` and ``step`` as always."""
        self._fisher = Trainer(home / "fisher.hai", threads=threads)
        self._decay = decay
        self.trainer.set("ewc_strength", np.float32(strength))
        self._measured = [n for n in self._fisher.parameter_names if f"{n}/fisher" in self._fisher.state_names]
        self.tasks = 0
        """Tasks that are remembered."""

    def fisher(
        self, inputs: npt.ArrayLike, *, samples: int = 1000, seed: int = 1, mask: npt.ArrayLike | None = None
    ) -> dict[str, npt.NDArray[Any]]:
        """The diagonal of the Fisher information by parameter: the mean square of the gradients of single samples.

        Labels are drawn from the model's own answers, as the definition asks; the data's labels would give the empirical
        Fisher, which is another thing (Kunstner et al. 2019). ``mask``: of the classes that take part (``class_mask=1``).
        """
        data = np.asarray(inputs)
        if samples < 1 or len(data) == 0:
            raise HaiError("HAI-Y072", f"{samples} samples of {len(data)}: the Fisher information needs at least one")
        random = np.random.default_rng(seed)
        chosen = random.permutation(len(data))[:samples]
        for name in self._fisher.parameter_names:
            self._fisher.set(name, self.trainer.get(name))
            if f"{name}/fisher" in self._fisher.state_names:
                self._fisher.set(f"{name}/fisher", np.zeros_like(self.trainer.get(name)))
        taking_part = None if mask is None else np.asarray(mask, bool)
        layout = self._fisher.target_layout
        for i, label in zip(chosen, self._drawn_labels(data[chosen], random, taking_part)):
            target = layout.rows(np.eye(layout.classes, dtype=np.float32)[[label]], mask=taking_part)
            self._fisher.step(data[i : i + 1], target, 0.0)
        return {name: self._fisher.get(f"{name}/fisher") / len(chosen) for name in self._measured}

    def _drawn_labels(
        self, data: npt.NDArray[Any], random: np.random.Generator, mask: npt.NDArray[np.bool_] | None
    ) -> list[int]:
        with tempfile.TemporaryDirectory() as folder:
            self.trainer.save(Path(folder) / "now.hai")
            session = load(Path(folder) / "now.hai").session()
            labels: list[int] = []
            for sample in data:
                logits = next(iter(session.run(sample[None]).values())).reshape(-1).astype(np.float64)
                if mask is not None:
                    logits = np.where(mask, logits, -np.inf)
                odds = np.exp(logits - logits.max())
                labels.append(int(random.choice(len(odds), p=odds / odds.sum())))
        return labels

    def consolidate(
        self, inputs: npt.ArrayLike, *, samples: int = 1000, seed: int = 1, mask: npt.ArrayLike | None = None
    ) -> None:
        """Ends a task: from here on its parameters are held where they are, as strongly as they matter for ``inputs``."""
        for name, fisher in self.fisher(inputs, samples=samples, seed=seed, mask=mask).items():
            weights = self.trainer.get(name)
            old = self._decay * self.trainer.get(f"{name}/fisher").astype(np.float64)
            total = old + fisher
            pull = old * self.trainer.get(f"{name}/anchor") + fisher * weights.astype(np.float64)
            anchor = np.divide(pull, total, out=weights.astype(np.float64), where=total > 0)
            self.trainer.set(f"{name}/fisher", total)
            self.trainer.set(f"{name}/anchor", anchor)
        self.tasks += 1

    def forget_optimizer(self) -> None:
        """Sets the optimizer's moments to zero, as at the start of a task."""
        for name in self.trainer.state_names:
            if name.rpartition("/")[2] in ("m", "v", "momentum"):
                self.trainer.set(name, np.zeros_like(self.trainer.get(name)))
        self.trainer.restart_steps()
