"""Differences between outputs, and the markdown table that every benchmark prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Row:
    """One line of a table; `reached` is None where no goal is set."""

    what: str
    measured: str
    goal: str = ""
    reached: bool | None = None


def limit_row(what: str, value: float, limit: float, shown: str = "{:.2g}") -> Row:
    """A figure that must not exceed `limit`."""
    return Row(what, shown.format(value), "<= " + shown.format(limit), value <= limit)


def print_table(title: str, rows: Sequence[Row]) -> bool:
    """Print `rows` as markdown; says whether no goal was missed."""
    print(f"\n{title}\n\n| what | measured | goal | |\n|---|---|---|---|")
    for row in rows:
        verdict = {None: "", True: "reached", False: "**missed**"}[row.reached]
        print(f"| {row.what} | {row.measured} | {row.goal} | {verdict} |", flush=True)
    return all(row.reached is not False for row in rows)


def largest_difference(actual: Array, expected: Array) -> float:
    """Largest absolute difference over the largest absolute value of `expected`."""
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        raise ValueError(f"{actual.dtype} {actual.shape} and {expected.dtype} {expected.shape}")
    if not np.isfinite(actual).all():
        return float("inf")
    return float(np.abs(actual - expected).max() / max(float(np.abs(expected).max()), 1e-30))


def largest_difference_by_field(actual: Array, expected: Array, axis: int) -> float:
    """The same for each index along `axis` by itself, the worst of them.

    A detector's boxes are in pixels and its scores below one: over the whole output the scores could be wrong unseen.
    """
    fields = range(expected.shape[axis])
    return max(largest_difference(actual.take([i], axis), expected.take([i], axis)) for i in fields)


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return result


def divergence(reference: Array, other: Array) -> float:
    """Mean Kullback-Leibler divergence of the class distributions, in nats."""
    p, q = _log_softmax(reference.astype(np.float64)), _log_softmax(other.astype(np.float64))
    return float((np.exp(p) * (p - q)).sum(1).mean())


def agreement(reference: Array, other: Array) -> float:
    """Share of pictures on which both name the same class first."""
    return float((reference.argmax(1) == other.argmax(1)).mean())


def top1(logits: Array, labels: Sequence[int]) -> float:
    """Share of pictures whose first class is the label."""
    return float((logits.argmax(1) == np.asarray(labels)).mean())


def bootstrap_interval(hits: NDArray[np.bool_], seed: int = 1) -> tuple[float, float]:
    """95 % interval of a share, by resampling the pictures."""
    random = np.random.default_rng(seed)
    means = hits[random.integers(0, len(hits), (2000, len(hits)))].mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)
