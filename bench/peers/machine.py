"""The machine of a race: processor, clock, instruction sets, load."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any

_NAMED = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "asimddp", "i8mm")


def _cpuinfo() -> list[tuple[str, str]]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    return [(key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in lines)]


def describe() -> dict[str, Any]:
    """Now."""
    info = _cpuinfo()
    found = dict(reversed(info))
    clocks = [float(value) for key, value in info if key == "cpu MHz"]
    flags = (found.get("flags") or found.get("Features") or "").split()
    model = f"{found.get('model name', platform.processor() or platform.machine())}"
    family = f", family {found['cpu family']} model {found['model']}" if "cpu family" in found else ""
    return {
        "processor": model + family,
        "processors": len(os.sched_getaffinity(0)),
        "clock_mhz": round(max(clocks), 0) if clocks else None,
        "sets": [flag for flag in _NAMED if flag in flags],
        "load": round(os.getloadavg()[0], 2),
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
    }


def sentence(machine: dict[str, Any]) -> str:
    """For people."""
    clock = f"{machine['clock_mhz']:.0f} MHz" if machine["clock_mhz"] else "clock unknown"
    return (
        f"{machine['date']} UTC. {machine['processors']} x {machine['processor']}, {clock}, {' '.join(machine['sets'])}; "
        f"{machine['system']}; load {machine['load']} at the start."
    )
