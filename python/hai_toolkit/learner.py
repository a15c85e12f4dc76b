"""Learning one task after the other: new samples, new classes, corrected labels, without the old pictures or with a few.

A :class:`Learner` joins what each method needs: the pull of elastic weight consolidation, a buffer of old samples, old answers.
The methods: ``naive``; ``ewc`` (Kirkpatrick et al. 2017) and ``online-ewc`` (Schwarz et al. 2018); ``replay``; ``der++`` (Buzzega
et al. 2020: old samples with the answers of then); ``lwf`` (Li & Hoiem 2016: answers of the old model on the new samples);
``ewc+replay``, the default, since EWC alone cannot add classes.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .continual import ElasticWeights
from .errors import HaiError
from .model import Model
from .replay import ReplayBuffer
from .runtime import load
from .target_layout import NO_ANSWER
from .trainer import Schedule, Trainer

METHODS = ("naive", "ewc", "online-ewc", "replay", "der++", "lwf", "ewc+replay")


class Learner:
    """A model that learns tasks, batches of new samples or new classes one after the other.

    The model's head has a row for each class there will be; ``classes`` of them take part at first, and :meth:`add_classes` adds
    more. Rows that take no part get no gradient: they, and the old rows when classes are added, stay as they are to the bit.
    ``replayed``: samples of the buffer in each step, as many as new ones by default; the compiled batch must have room for both.
    """

    def __init__(
        self,
        model: Model,
        folder: str | os.PathLike[str],
        *,
        method: str = "ewc+replay",
        classes: int | None = None,
        strength: float = 300.0,
        decay: float = 1.0,
        capacity: int = 200,
        policy: Literal["reservoir", "balanced"] = "balanced",
        alpha: float = 0.5,
        beta: float = 1.0,
        temperature: float = 2.0,
        fisher_samples: int = 1000,
        train: Mapping[str, str | float] | None = None,
        threads: int = 0,
        seed: int = 1,
    ) -> None:
        if method not in METHODS:
            raise HaiError("HAI-Y092", f'there is no method "{method}"; methods are {", ".join(METHODS)}')
        self.method, self._alpha, self._beta, self._samples = method, alpha, beta, fisher_samples
        self._folder = Path(folder)
        self._pulls = "ewc" in method
        options: dict[str, str | float] = {"class_mask": 1, "sample_weights": 1, **(train or {})}
        if method in ("der++", "lwf"):
            options["distill"] = "mse" if method == "der++" else "kd"
            options["temperature"] = temperature
        if options.get("optimizer") == "fisher":
            raise HaiError("HAI-Y111", "optimizer=fisher measures and learns nothing; take adamw, adam or sgd")
        self._ewc: ElasticWeights | None = None
        if self._pulls:
            self._ewc = ElasticWeights(
                model,
                folder,
                strength=strength,
                decay=decay if method == "online-ewc" else 1.0,
                train=options,
                threads=threads,
            )
            self.trainer = self._ewc.trainer
        else:
            model.compile(train={"loss": "cross_entropy", **options}).save(self._folder / "learner.hai")
            self.trainer = Trainer(self._folder / "learner.hai", threads=threads)
        """Steps, states and files, as always."""
        self.buffer = ReplayBuffer(capacity, policy, seed=seed) if "replay" in method or method == "der++" else None
        """What is kept of earlier tasks; ``None`` where the method keeps nothing."""
        self._head = self.trainer.target_layout.classes
        self.classes = self._head if classes is None else classes
        self._check_classes()
        self.tasks = 0
        """Tasks that were learnt."""
        self._old: npt.NDArray[np.float32] | None = None
        self._epoch = 0
        self._heads_of: dict[int, list[int]] = {}

    def _check_classes(self) -> None:
        if not 1 <= self.classes <= self._head:
            raise HaiError(
                "HAI-Y093", f"{self.classes} classes: the model's head has rows for 1 to {self._head}; make it larger"
            )

    def add_classes(self, count: int) -> None:
        """So many classes more, the next rows of the head."""
        if count < 1:
            raise HaiError("HAI-Y099", f"{count} classes more: give 1 or more; classes are not taken away")
        self.classes += count
        try:
            self._check_classes()
        except HaiError:
            self.classes -= count
            raise

    def relabel(self, key: int, label: int) -> int:
        """Corrects the class of a sample that is kept for replay; how many samples that were."""
        return 0 if self.buffer is None else self.buffer.relabel(key, label)

    def learn(
        self,
        inputs: npt.NDArray[Any],
        labels: npt.ArrayLike,
        *,
        epochs: int = 5,
        batch: int = 32,
        replayed: int | None = None,
        schedule: Schedule | float = 1e-3,
        seed: int = 1,
        heads: Iterable[int] | None = None,
        keys: npt.ArrayLike | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> list[float]:
        """Learns one task and remembers it; the mean loss of each epoch.

        ``heads``: the classes of this task alone take part (multi-head, task-incremental), else all that there are. ``keys``: what
        :meth:`relabel` calls the samples, their positions by default. ``checkpoint``: a folder where the state is saved after
        each epoch; the same call goes on from there and ends in the same bits.
        """
        wanted = np.asarray(labels)
        mask = self._mask(heads)
        if len(wanted) != len(inputs) or len(wanted) == 0 or epochs < 1 or batch < 1:
            raise HaiError(
                "HAI-Y094", f"{len(inputs)} samples, {len(wanted)} labels, {epochs} epochs of batches of {batch}"
            )
        known = np.flatnonzero(mask)
        if not np.isin(wanted, known).all():
            unknown = sorted(set(wanted[~np.isin(wanted, known)].tolist()))
            raise HaiError("HAI-Y095", f"labels {unknown} are no classes that take part; add them by add_classes()")
        if not np.isfinite(inputs).all():
            raise HaiError("HAI-Y100", "the samples hold numbers that are not finite, which nothing can be learnt from")
        history = self._begin(inputs, checkpoint)
        plan = (schedule if isinstance(schedule, Schedule) else Schedule(float(schedule))).native(
            epochs * -(-len(wanted) // batch)
        )
        arrays = self._features_of(inputs, batch)
        while self._epoch < epochs:
            random = np.random.default_rng([seed, self.tasks, self._epoch])
            order = random.permutation(len(wanted))
            total = 0.0
            for number, begin in enumerate(range(0, len(order), batch)):
                chosen = order[begin : begin + batch]
                rate = plan.at(self._epoch * -(-len(order) // batch) + number + 1)
                total += self._step([a[chosen] for a in arrays], wanted, chosen, mask, rate, replayed) * len(chosen)
            history.append(total / len(order))
            self._epoch += 1
            if checkpoint is not None:
                self.save_checkpoint(checkpoint, history=history)
        self._remember(inputs, arrays, wanted, mask, np.arange(len(wanted)) if keys is None else np.asarray(keys), seed)
        if checkpoint is not None:
            self.save_checkpoint(checkpoint, history=[])
        return history

    def _begin(self, inputs: npt.NDArray[Any], checkpoint: str | os.PathLike[str] | None) -> list[float]:
        task = self.tasks
        if checkpoint is not None and (extra := self.load_checkpoint(checkpoint, missing_ok=True)) is not None:
            if self.tasks != task:
                raise HaiError("HAI-Y096", f"the checkpoint stands in task {self.tasks}, this learner in {task}")
            if self._epoch > 0:
                return list(extra["history"])
        self._epoch = 0
        for name in self.trainer.state_names:
            if name.rpartition("/")[2] in ("m", "v", "momentum", "sum"):
                self.trainer.set(name, np.zeros_like(self.trainer.get(name)))
        self.trainer.restart_steps()
        self._old = self.answers(inputs) if self.method == "lwf" and self.tasks > 0 else None
        return []

    def _mask(self, heads: Iterable[int] | None) -> npt.NDArray[np.bool_]:
        chosen = np.arange(self.classes) if heads is None else np.array(list(heads))
        if len(chosen) == 0 or chosen.min() < 0 or chosen.max() >= self.classes:
            raise HaiError("HAI-Y097", f"heads {chosen.tolist()}: there are classes 0 to {self.classes - 1}")
        return np.isin(np.arange(self._head), chosen)

    def _features_of(self, inputs: npt.NDArray[Any], batch: int) -> list[npt.NDArray[Any]]:
        if not self.trainer.has_features:
            return [inputs]
        parts = [self.trainer.features(inputs[i : i + batch]) for i in range(0, len(inputs), batch)]
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    def _step(
        self,
        new: list[npt.NDArray[Any]],
        labels: npt.NDArray[Any],
        chosen: npt.NDArray[Any],
        mask: npt.NDArray[np.bool_],
        rate: float,
        replayed: int | None,
    ) -> float:
        layout = self.trainer.target_layout
        one_hot = np.eye(self._head, dtype=np.float32)
        parts, count = [new], len(chosen)
        wanted = [(labels[chosen], 1.0)]
        old, old_weight = np.full((count, self._head), NO_ANSWER, np.float32), [0.0] * count
        if self._old is not None:
            learnt = sorted(self._heads_of)
            old[:, learnt] = self._old[chosen][:, learnt]
            old_weight = [self._alpha] * count
        draws: list[tuple[float, float]] = []  # weight of the label, of the old answer
        if self.buffer is not None and len(self.buffer) > 0:
            draws = [(0.0, self._alpha), (self._beta, 0.0)] if self.method == "der++" else [(1.0, 0.0)]
        for label_weight, answer_weight in draws:
            size = min(count if replayed is None else replayed, len(self.buffer))  # type: ignore[arg-type]
            arrays, classes, answers = self.buffer.draw(size)  # type: ignore[union-attr]
            parts.append(arrays)
            wanted.append((classes, label_weight * count / size))
            old = np.concatenate([old, answers if answers.shape[1] else np.full((size, self._head), NO_ANSWER)])
            old_weight += [answer_weight * count / size] * size
        # A mean over all rows, of weights that make each part a mean of its own.
        rows = sum(len(classes) for classes, _ in wanted)
        scale = rows / count
        target = layout.rows(
            one_hot[np.concatenate([classes for classes, _ in wanted])],
            mask=self._row_masks(wanted, mask),
            old=old if layout.old else None,
            old_weight=np.array(old_weight, np.float32) * scale,
            weight=np.concatenate([np.full(len(c), w * scale, np.float32) for c, w in wanted]),
        )
        joined = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
        if self.trainer.has_features:
            return self.trainer.step_from_features(joined, target, rate).loss
        return self.trainer.step(joined[0], target, rate).loss

    def _row_masks(
        self, wanted: list[tuple[npt.NDArray[Any], float]], mask: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float32]:
        """Of replayed samples all classes take part, in multi-head training those of their own task."""
        out = []
        for number, (classes, _) in enumerate(wanted):
            if number == 0 or mask.sum() == self.classes:
                out.append(np.broadcast_to(mask, (len(classes), self._head)))
            else:
                out.append(np.stack([self._mask(self._heads_of.get(int(label))) for label in classes]))
        return np.concatenate(out).astype(np.float32)

    def _remember(
        self,
        inputs: npt.NDArray[Any],
        arrays: list[npt.NDArray[Any]],
        labels: npt.NDArray[Any],
        mask: npt.NDArray[np.bool_],
        keys: npt.NDArray[Any],
        seed: int,
    ) -> None:
        heads = np.flatnonzero(mask).tolist()
        self._heads_of.update(dict.fromkeys(heads, heads))
        if self._ewc is not None:
            self._ewc.consolidate(inputs, samples=self._samples, seed=seed, mask=mask)
        if self.buffer is not None:
            answers = self.answers(inputs) if self.method == "der++" else None
            for i in np.random.default_rng([seed, self.tasks]).permutation(len(labels)):
                kept = None if answers is None else answers[i]
                self.buffer.offer(int(keys[i]), int(labels[i]), [np.ascontiguousarray(a[i]) for a in arrays], kept)
        self.tasks += 1
        self._epoch, self._old = 0, None

    def answers(self, inputs: npt.NDArray[Any], batch: int = 64) -> npt.NDArray[np.float32]:
        """Logits of the model as it is now, of all rows of the head."""
        if len(inputs) == 0:
            return np.zeros((0, self._head), np.float32)
        with tempfile.TemporaryDirectory() as folder:
            self.trainer.save(Path(folder) / "now.hai")
            session = load(Path(folder) / "now.hai").session()
            parts = [next(iter(session.run(inputs[i : i + batch]).values())) for i in range(0, len(inputs), batch)]
        return np.concatenate(parts).astype(np.float32)

    def predict(self, inputs: npt.NDArray[Any], *, heads: Iterable[int] | None = None) -> npt.NDArray[np.int64]:
        """Classes, among those that take part."""
        return np.asarray(np.where(self._mask(heads), self.answers(inputs), -np.inf).argmax(1), np.int64)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the model as it is now."""
        self.trainer.save(path)

    def save_checkpoint(self, folder: str | os.PathLike[str], **extra: object) -> None:
        """All that learning needs to go on: weights, optimizer, Fisher and anchors, what is kept for replay, old answers."""
        state: dict[str, Any] = {
            "learner": {
                "method": self.method,
                "tasks": self.tasks,
                "epoch": self._epoch,
                "classes": self.classes,
                "heads": [[k, v] for k, v in self._heads_of.items()],
            }
        }
        if self.buffer is not None:
            state.update(self.buffer.state())
        if self._old is not None:
            state["old_answers"] = self._old.tobytes()
        self.trainer.save_checkpoint(folder, **state, **extra)

    def load_checkpoint(self, folder: str | os.PathLike[str], *, missing_ok: bool = False) -> dict[str, Any] | None:
        """Goes back to the newest valid checkpoint; returns what was added to it."""
        extra = self.trainer.load_checkpoint(folder, missing_ok=missing_ok)
        if extra is None:
            return None
        saved = extra.get("learner")
        if not isinstance(saved, dict) or saved.get("method") != self.method:
            raise HaiError("HAI-Y098", f"the checkpoint was not saved by a learner with method {self.method}")
        self.tasks, self._epoch, self.classes = saved["tasks"], saved["epoch"], saved["classes"]
        self._heads_of = dict(saved["heads"])
        if self._ewc is not None:
            self._ewc.tasks = self.tasks
        if self.buffer is not None:
            self.buffer.set_state(extra)
        old = extra.get("old_answers")
        self._old = None if old is None else np.frombuffer(old, np.float32).reshape(-1, self._head)
        return extra
