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
