"""The mean of a few runs with its interval: what a table of seeds or splits shows.

The interval is Student's, at 95 %, over the runs themselves: it says how far a mean of other seeds, drawn alike, would lie, and
nothing about other data.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# The 0.975 quantile of Student's t for 1, 2, 3, ... degrees of freedom.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def half_width(values: Sequence[float]) -> float:
    """Of the 95 % interval of the mean; not a number for fewer than two values, or more than ten."""
    freedom = len(values) - 1
    if not 1 <= freedom <= len(_T):
        return float("nan")
    return float(_T[freedom - 1] * np.std(values, ddof=1) / np.sqrt(len(values)))


def mean_with_interval(values: Sequence[float], signed: bool = False) -> str:
    """`0.912 ± 0.010`; of one value only that."""
    mean = f"{np.mean(values):{'+' if signed else ''}.3f}"
    return mean if len(values) < 2 else f"{mean} ± {half_width(values):.3f}"
