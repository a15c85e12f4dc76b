"""Samples of earlier tasks in a fixed room, learnt again beside new ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from . import _core
from .errors import HaiError


class ReplayBuffer:
    """``capacity`` samples, each one or more arrays (a picture, or features of the frozen part), with class and old answers.

    ``reservoir``: every sample ever offered is kept with the same chance. ``balanced``: classes have equal room. What is kept
    follows from the seed and the order of offers.
    """

    def __init__(self, capacity: int, policy: Literal["reservoir", "balanced"] = "reservoir", *, seed: int = 1) -> None:
        if policy not in ("reservoir", "balanced"):
            raise HaiError("HAI-Y090", f'there is no policy "{policy}" of replay; policies are reservoir and balanced')
        self._native = _core.make_replay_buffer(capacity, policy == "balanced", seed)
        self._kinds: list[tuple[str, tuple[int, ...]]] = []

    def __len__(self) -> int:
        return int(self._native.size())

    def offer(
        self, key: int, label: int, sample: Sequence[npt.NDArray[Any]], answers: npt.NDArray[np.float32] | None = None
    ) -> bool:
        """Whether the sample was kept. ``key`` is what :meth:`relabel` calls it."""
        kinds = [(a.dtype.str, a.shape) for a in sample]
        self._kinds = self._kinds or kinds
        if kinds != self._kinds:
            raise HaiError("HAI-Y091", f"the buffer holds samples of {self._kinds}; one of {kinds} was offered")
        kept = b"" if answers is None else np.ascontiguousarray(answers, np.float32).tobytes()
        return bool(self._native.offer(int(key), int(label), b"".join(a.tobytes() for a in sample), kept))

    def draw(self, count: int) -> tuple[list[npt.NDArray[Any]], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Arrays of ``count`` samples, none twice before all were drawn; their classes; their old answers."""
        samples = [self._native.sample(i) for i in self._native.draw(count)]
        arrays = []
        begin = 0
        for dtype, shape in self._kinds:
            size = int(np.dtype(dtype).itemsize * np.prod(shape, dtype=np.int64))
            arrays.append(np.stack([np.frombuffer(s[2][begin : begin + size], dtype).reshape(shape) for s in samples]))
            begin += size
        labels = np.array([s[1] for s in samples], np.int64)
        return arrays, labels, np.stack([np.frombuffer(s[3], np.float32) for s in samples])

    def relabel(self, key: int, label: int) -> int:
        """Corrects the class of what is kept under this key; how many samples that were."""
        return int(self._native.relabel(int(key), int(label)))

    def labels(self) -> npt.NDArray[np.int64]:
        """Classes of what is kept."""
        return np.array([self._native.sample(i)[1] for i in range(len(self))], np.int64)

    def state(self) -> dict[str, Any]:
        """For a checkpoint: what is kept, and the state of the random numbers."""
        return {"replay": self._native.serialize(), "replay_kinds": [[d, list(s)] for d, s in self._kinds]}

    def set_state(self, state: dict[str, Any]) -> None:
        """Back to what :meth:`state` gave."""
        self._native = _core.parse_replay_buffer(bytes(state["replay"]))
        self._kinds = [(d, tuple(s)) for d, s in state["replay_kinds"]]
