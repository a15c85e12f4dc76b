"""What the times say: percentiles, the ratio of two medians with its bootstrap interval, and geometric means of ratios.

Runs of one turn share the moment's clock and neighbours, so what is drawn again are whole rounds (a turn of every engine), the
same rounds for both engines: pairs stay pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_DRAWS = 2000


@dataclass(frozen=True)
class Ratio:
    """How many times as fast as the other, with the 95 % interval; `draws` are the bootstrap's values."""

    value: float
    low: float
    high: float
    draws: Array

    @staticmethod
    def of(value: float, draws: Array) -> Ratio:
        """With the interval of its draws."""
        low, high = np.percentile(draws, (2.5, 97.5))
        return Ratio(value, float(low), float(high), draws)


def percentiles_ms(turns: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """p10, median, p90 of all runs, milliseconds."""
    every = np.concatenate([np.asarray(turn, np.float64) for turn in turns]) * 1e3
    low, middle, high = np.percentile(every, (10, 50, 90))
    return float(low), float(middle), float(high)


def _drawn_medians(turns: Sequence[Sequence[float]], chosen: NDArray[np.intp]) -> Array:
    if len({len(turn) for turn in turns}) == 1:
        table = np.asarray(turns, np.float64)
        return np.median(table[chosen].reshape(len(chosen), -1), axis=1)
    return np.array([np.median(np.concatenate([turns[i] for i in row])) for row in chosen])


def ratio(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]], seed: int = 1) -> Ratio:
    """Median of `theirs` over median of `ours`: above 1 where ours is faster. Turn i of both is of the same round."""
    if len(ours) != len(theirs) or not ours:
        raise ValueError(f"{len(ours)} rounds and {len(theirs)}: rounds are pairs")
    rounds = len(ours)
    chosen = np.random.default_rng(seed).integers(0, rounds, (_DRAWS, rounds))
    value = float(np.median(np.concatenate(list(theirs))) / np.median(np.concatenate(list(ours))))
    return Ratio.of(value, _drawn_medians(theirs, chosen) / _drawn_medians(ours, chosen))


def geometric_mean(ratios: Sequence[Ratio]) -> Ratio:
    """Over models; their draws are independent."""
    if not ratios:
        raise ValueError("a mean of no ratios")
    value = float(np.exp(np.mean([np.log(each.value) for each in ratios])))
    draws = np.exp(
        np.mean([np.log(np.random.default_rng(i).permutation(r.draws)) for i, r in enumerate(ratios)], axis=0)
    )
    return Ratio.of(value, draws)


def correlation(ours: NDArray[np.float32], theirs: NDArray[np.float32], fields_axis: int | None = None) -> float:
    """Of two answers; of a detector the lesser of boxes and scores, whose sizes are far apart. 0 where it has no meaning."""
    if ours.size != theirs.size:
        return 0.0
    ours = ours.reshape(theirs.shape)
    if fields_axis is not None:
        parts = [
            (a, b) for a, b in zip(np.split(ours, [4], fields_axis), np.split(theirs, [4], fields_axis), strict=True)
        ]
        return min(correlation(a, b) for a, b in parts)
    a, b = ours.reshape(-1).astype(np.float64), theirs.reshape(-1).astype(np.float64)
    if not np.isfinite(a).all() or a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
