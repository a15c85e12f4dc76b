"""Is the machine quiet? Times taken beside other work say nothing, so the speed benchmarks refuse to print them.

Reads the processors' busy time from /proc/stat and takes off this process's own.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType

from bench.reasons import Skipped

_MOST_OTHERS = 0.10  # processors that others may use


def _busy_s() -> float:
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, _idle, _wait, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


class Quiet:
    """A context: checks before that the machine is idle and afterwards that it stayed so; raises Skipped otherwise."""

    def __init__(self, wait_s: float = 0.0, even_if_busy: bool = False) -> None:
        self._wait_s = wait_s
        self._even_if_busy = even_if_busy
        self.others = 0.0
        """Processors that others used during the measurement."""

    def _start(self) -> None:
        self._began, self._busy, self._own = time.perf_counter(), _busy_s(), sum(os.times()[:4])

    def _used_by_others(self) -> float:
        elapsed = time.perf_counter() - self._began
        return max(0.0, _busy_s() - self._busy - (sum(os.times()[:4]) - self._own)) / elapsed

    def __enter__(self) -> Quiet:
        deadline = time.monotonic() + self._wait_s
        while not self._even_if_busy:
            self._start()
            time.sleep(1.0)
            used = self._used_by_others()
            if used <= _MOST_OTHERS:
                break
            if time.monotonic() >= deadline:
                raise Skipped(f"others use {used:.2f} processors; times would say nothing (at most {_MOST_OTHERS:.2f})")
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.others = self._used_by_others()
        if kind is None and self.others > _MOST_OTHERS and not self._even_if_busy:
            raise Skipped(f"others used {self.others:.2f} processors meanwhile; the times are thrown away")
