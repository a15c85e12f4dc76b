"""How many processors others use: all busy time of the machine less that of the race's own processes, from /proc."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

MOST_OTHERS = 0.10
"""Processors that others may use in a round that counts."""


def machine_busy_s() -> float:
    """Seconds that processors of this machine have worked."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, _idle, _wait, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def process_s(pid: int) -> float:
    """Seconds that process `pid` has worked, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Others:
    """Processors that others used since the last call."""

    def __init__(
        self,
        pids: Sequence[int],
        busy: Callable[[], float] = machine_busy_s,
        own: Callable[[int], float] = process_s,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._pids = [os.getpid(), *pids]
        self._busy, self._own, self._clock = busy, own, clock
        self._last = self._now()

    def _now(self) -> tuple[float, float]:
        return self._clock(), self._busy() - sum(self._own(pid) for pid in self._pids)

    def used(self) -> float:
        """Processors, on average."""
        begin, before = self._last
        self._last = self._now()
        return max(0.0, self._last[1] - before) / max(self._last[0] - begin, 1e-9)
