"""Training where the model runs: steps of a compiled training program, on numpy arrays."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from . import _core
from .checkpoint_values import from_stored, to_stored
from .dtypes import dtype_name, numpy_dtype
from .errors import HaiError, printable
from .fit_position import FitPosition
from .paths import path_text
from .target_layout import TargetLayout


@dataclass(frozen=True)
class StepResult:
    """What one step gave."""

    loss: float
    gradient_norm: float
    """Of the gradients of all parameters together, before clipping."""
    applied: bool
    """``False``: loss or gradients were not finite, and nothing was changed."""


@dataclass(frozen=True)
class Schedule:
    """How the learning rate changes over the steps; ``warmup_steps`` come first, as a straight line up to the peak."""

    learning_rate: float = 1e-3
    kind: Literal["constant", "cosine", "step"] = "constant"
    warmup_steps: int = 0
    final_share: float = 0.0
    """Of ``cosine``: what is left at the last step."""
    decay: float = 0.1
    """Of ``step``: the factor, ``every`` so many steps."""
    every: int = 1

    def native(self, total_steps: int) -> _core.Schedule:
        """The same in C++, for a training of so many steps."""
        return _core.Schedule(
            self.kind, self.learning_rate, total_steps, self.warmup_steps, self.final_share, self.decay, self.every
        )


class Trainer:
    """Trains a ``.hai`` file that was compiled with ``train=`` (``hai compile --train``), in memory of its own.

    The file is not changed; :meth:`save` writes the trained model. One thing at a time: a call of another thread
    waits; what has nothing to do with this trainer goes on meanwhile. ``max_batch`` makes room for so many samples at once,
    else the first steps do.
    """

    def __init__(self, path: str | os.PathLike[str], *, threads: int = 0, isa: str = "", max_batch: int = 0) -> None:
        self._native = _core.make_trainer(path_text(path), isa, threads, max_batch)
        self._busy = threading.RLock()
        *self._inputs, self._target = [(name, dtype, tuple(shape)) for name, dtype, shape in self._native.inputs()]
        self._states = {info[0]: (i, info[1], tuple(info[2])) for i, (info, _) in enumerate(self._native.states())}
        self._parameters = [info[0] for info, is_parameter in self._native.states() if is_parameter]
        self.target_layout = TargetLayout.parse(self._native.target_layout(), self._target[2])
        """What the columns of a target are."""
        self._features = [(name, dtype, tuple(shape)) for name, dtype, shape in self._native.feature_tensors()]

    @property
    def steps(self) -> int:
        """Steps that were applied."""
        return int(self._native.steps())

    @property
    def refused_steps(self) -> int:
        """Steps whose loss or gradients were not finite."""
        return int(self._native.refused_steps())

    @property
    def parameter_names(self) -> list[str]:
        """What is trained."""
        return list(self._parameters)

    @property
    def state_names(self) -> list[str]:
        """Parameters and what the optimizer keeps of them (``NAME/m``, ``NAME/v``, ``NAME/momentum``)."""
        return list(self._states)

    @property
    def memory(self) -> dict[str, int]:
        """Bytes of arena and scratch, and the batch they are for."""
        memory: dict[str, int] = self._native.memory()
        return memory

    def get(self, name: str) -> npt.NDArray[Any]:
        """A copy of a state, in the layout of the compiled model (products [K, N], convolutions OHWI)."""
        index, dtype, shape = self._state(name)
        out = np.empty(shape, numpy_dtype(dtype))
        with self._busy:
            self._native.copy_state(index, out.reshape(-1).view(np.uint8))
        return out

    def set(self, name: str, values: npt.ArrayLike) -> None:
        """Replaces a state: same shape, converted to its type."""
        index, dtype, shape = self._state(name)
        array = np.ascontiguousarray(values, numpy_dtype(dtype))
        if np.shape(values) != shape:
            raise HaiError("HAI-Y060", f'state "{name}" has shape {list(shape)}; {list(np.shape(values))} was given')
        with self._busy:
            self._native.set_state(index, array.reshape(-1).view(np.uint8))

    def _state(self, name: str) -> tuple[int, str, tuple[int, ...]]:
        if name not in self._states:
            known = ", ".join(list(self._states)[:12])
            raise HaiError("HAI-Y061", f'there is no state "{name}"; states are {known}')
        return self._states[name]

    def reset(self) -> None:
        """Back to what the file holds."""
        with self._busy:
            self._native.reset()

    def restart_steps(self) -> None:
        """Counts steps from 0 again, states stay: Adam's corrections then begin anew, as at the start of a task."""
        with self._busy:
            self._native.restart_steps()

    def save(self, path: str | os.PathLike[str], *, average: bool = False) -> None:
        """Writes the model with the parameters as they are now. An old file stays until the new one is whole.

        ``average``: with the averages of the parameters that ``train={"ema": 0.99}`` keeps.
        """
        with self._busy:
            self._native.save(path_text(path), average)

    @property
    def can_rebuild(self) -> bool:
        """The file holds what :meth:`save_int8` needs."""
        return bool(self._native.can_rebuild())

    def save_int8(
        self,
        path: str | os.PathLike[str],
        samples: Iterable[Any],
        *,
        from_features: bool = False,
        average: bool = False,
        inference_only: bool = False,
    ) -> None:
        """Writes the trained model with its trained part in INT8 too, made here and without a compiler.

        ``samples``: batches of what was trained on, from which ranges are observed; with ``from_features`` what
        :meth:`features` gave for them. Whether the result is good enough is for the caller to judge on samples that were held
        out, against what :meth:`save` writes. ``average``: as in :meth:`save`.
        ``inference_only``: without what only a training needs, for devices that run the model and do not train it.
        """
        rebuilder = _core.make_rebuilder(self._native, average)
        for sample in samples:
            arrays = [np.ascontiguousarray(a) for a in sample] if from_features else self._input_arrays(sample)
            rebuilder.observe(*_views(arrays), from_features)
        rebuilder.save(path_text(path), inference_only)

    def save_checkpoint(self, folder: str | os.PathLike[str], **extra: object) -> None:
        """Saves all that a run needs to go on, and ``extra``: numbers, text, bytes, and what JSON can say.

        Once this returns, the checkpoint survives a crash and a loss of power. The folder, made when it is missing, keeps the
        last two; it is for one training of one model file.
        """
        stored = to_stored(extra)
        with self._busy:
            _core.save_checkpoint(self._native, path_text(folder), stored.integers, stored.reals, stored.texts)

    def load_checkpoint(
        self, folder: str | os.PathLike[str], *, any_isa: bool = False, missing_ok: bool = False
    ) -> dict[str, Any] | None:
        """Goes back to the newest valid checkpoint in the folder; returns what was added to it.

        ``missing_ok``: ``None`` when there is none, instead of an error. Damaged ones are skipped with a warning. ``any_isa``
        takes one that was made with kernels of another instruction set, whose results differ in the last bits.
        """
        try:
            with self._busy:
                extra, skipped = _core.load_checkpoint(self._native, path_text(folder), any_isa)
        except HaiError as error:
            if missing_ok and error.code == "HAI-E020":
                return None
            raise
        for reason in skipped:
            warnings.warn(f"skipped a damaged checkpoint: {printable(reason)}", RuntimeWarning, stacklevel=2)
        return from_stored(extra)

    def step(
        self, inputs: Mapping[str, npt.ArrayLike] | npt.ArrayLike, target: npt.ArrayLike, learning_rate: float
    ) -> StepResult:
        """One step on one batch.

        ``inputs``: arrays by name, or one array for a single input. ``target``: in the prediction's shape; where that is
        ``(N, ..., classes)``, whole numbers of shape ``(N, ...)`` are class numbers.
        """
        return self._step([*self._input_arrays(inputs), self._target_array(target)], learning_rate, False)

    def _step(self, arrays: list[npt.NDArray[Any]], learning_rate: float, from_features: bool) -> StepResult:
        with self._busy:
            loss, norm, applied = self._native.step(*_views(arrays), float(learning_rate), from_features)
        return StepResult(loss, norm, applied)

    @property
    def has_features(self) -> bool:
        """The step has a frozen part, whose results for a sample never change."""
        return bool(self._features)

    def features(self, inputs: Mapping[str, npt.ArrayLike] | npt.ArrayLike) -> list[npt.NDArray[Any]]:
        """What the frozen part makes of a batch: keep it, and :meth:`step_from_features` needs no picture any more."""
        if not self._features:
            raise HaiError(
                "HAI-Y075", "nothing of the model is frozen, so there are no features; compile it with trainable="
            )
        arrays = self._input_arrays(inputs)
        out = [
            np.empty([len(arrays[0]) * -d if d < 0 else d for d in shape], numpy_dtype(dtype))
            for _, dtype, shape in self._features
        ]
        with self._busy:
            self._native.features(*_views(arrays), *_views(out))
        return out

    def step_from_features(
        self, features: Sequence[npt.NDArray[Any]], target: npt.ArrayLike, learning_rate: float
    ) -> StepResult:
        """:meth:`step` on what :meth:`features` gave for the batch; the same bits, without the frozen part's time."""
        arrays = [np.ascontiguousarray(array) for array in features]
        return self._step([*arrays, self._target_array(target)], learning_rate, True)

    def _input_arrays(self, inputs: Mapping[str, npt.ArrayLike] | npt.ArrayLike) -> list[npt.NDArray[Any]]:
        names = [name for name, _, _ in self._inputs]
        named = inputs if isinstance(inputs, Mapping) else {names[0]: inputs}
        if set(named) != set(names):
            raise HaiError("HAI-Y062", f"inputs {sorted(named)} were given; the model takes {', '.join(names)}")
        arrays = []
        for name, dtype, _ in self._inputs:
            array = np.ascontiguousarray(named[name])
            if dtype_name(array.dtype) != dtype:
                raise HaiError(
                    "HAI-Y063", f'input "{name}" is {dtype}, the array is {array.dtype}; convert it with .astype()'
                )
            # ascontiguousarray makes scalars one-dimensional.
            arrays.append(array.reshape(np.shape(named[name])))
        return arrays

    def _target_array(self, target: npt.ArrayLike) -> npt.NDArray[Any]:
        name, dtype, shape = self._target
        array = np.asarray(target)
        if array.dtype.kind in "iu" and array.ndim == len(shape) - 1:
            classes = self.target_layout.classes
            if array.size and (array.min() < 0 or array.max() >= classes):
                raise HaiError(
                    "HAI-Y064",
                    f"{name} has classes {array.min()}..{array.max()}; the model has {classes}, from 0 to {classes - 1}",
                )
            array = self.target_layout.rows(np.eye(classes, dtype=numpy_dtype(dtype))[array])
        return np.ascontiguousarray(array, numpy_dtype(dtype)).reshape(array.shape)

    def fit(
        self,
        inputs: Mapping[str, npt.ArrayLike] | npt.ArrayLike,
        target: npt.ArrayLike,
        *,
        epochs: int = 1,
        batch: int = 32,
        schedule: Schedule | float = Schedule(),
        seed: int = 1,
        on_epoch: Callable[[int, float], bool | None] | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 0,
        keep_features: bool = False,
    ) -> list[float]:
        """Trains on arrays, shuffled anew each epoch; returns the mean loss of each.

        The last batch of an epoch may be short. ``on_epoch(epoch, loss)`` is called after each and ends the training by
        returning ``False``. The same ``seed`` gives the same order.

        ``checkpoint``: a folder where the state is saved after each epoch, and every ``checkpoint_every`` steps where that is
        not 0. The same call goes on from what lies there and ends in the bits of a training that was never interrupted.

        ``keep_features``: the frozen part runs once for each sample, before the first epoch, and its results are kept in memory.
        The trained bits are the same.
        """
        if epochs < 1 or batch < 1:
            raise HaiError("HAI-Y065", f"{epochs} epochs of batches of {batch}: both must be at least 1")
        single = not isinstance(inputs, Mapping)
        named = {self._inputs[0][0]: np.asarray(inputs)} if single else {k: np.asarray(v) for k, v in inputs.items()}  # type: ignore[union-attr]
        wanted = np.asarray(target)
        count = len(wanted)
        if count == 0 or any(len(array) != count for array in named.values()):
            lengths = {name: len(array) for name, array in named.items()}
            raise HaiError(
                "HAI-Y066", f"inputs of {lengths} samples and a target of {count}: give as many of each, 1 or more"
            )
        total = epochs * -(-count // batch)
        plan = (schedule if isinstance(schedule, Schedule) else Schedule(float(schedule))).native(total)
        run = {"epochs": epochs, "batch": batch, "samples": count, "seed": seed, "schedule": repr(schedule)}
        at = FitPosition(np.random.default_rng(seed).bit_generator.state)
        if checkpoint is not None and (extra := self.load_checkpoint(checkpoint, missing_ok=True)) is not None:
            at = FitPosition.of_extra(extra, run)
        kept = self._all_features(named, count, batch) if keep_features else None
        random = np.random.default_rng()
        while at.epoch < epochs and not at.stopped:
            random.bit_generator.state = at.random
            order = random.permutation(count)
            for begin in range(at.begin, count, batch):
                chosen = order[begin : begin + batch]
                done = at.epoch * -(-count // batch) + begin // batch + 1
                if kept is not None:
                    result = self.step_from_features([a[chosen] for a in kept], wanted[chosen], plan.at(done))
                else:
                    result = self.step({name: a[chosen] for name, a in named.items()}, wanted[chosen], plan.at(done))
                at.loss += result.loss * len(chosen)
                at.begin = begin + batch
                if (
                    checkpoint is not None
                    and checkpoint_every > 0
                    and done % checkpoint_every == 0
                    and at.begin < count
                ):
                    self.save_checkpoint(checkpoint, **at.extra(run))
            at.end_epoch(count, random)
            at.stopped = on_epoch is not None and on_epoch(at.epoch - 1, at.history[-1]) is False
            if checkpoint is not None:
                self.save_checkpoint(checkpoint, **at.extra(run))
        return at.history

    def _all_features(self, named: dict[str, npt.NDArray[Any]], count: int, batch: int) -> list[npt.NDArray[Any]]:
        parts = [
            self.features({name: a[begin : begin + batch] for name, a in named.items()})
            for begin in range(0, count, batch)
        ]
        return [np.concatenate(part) for part in zip(*parts, strict=True)]


def _views(
    arrays: Sequence[npt.NDArray[Any]],
) -> tuple[list[int], list[list[int]], list[npt.NDArray[np.uint8]]]:
    """Types, shapes and bytes, as tensors cross into C++."""
    return (
        [_core.dtype_number(dtype_name(a.dtype)) for a in arrays],
        [list(a.shape) for a in arrays],
        [a.reshape(-1).view(np.uint8) for a in arrays],
    )
