"""Answers of systems on tasks, each computed in a process of its own and kept, so that a rerun asks only what changed.

A kept answer counts as long as the network, the pictures' rules, the system's code and, for HAI, the whole build are the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hai_toolkit
import numpy as np
from numpy.typing import NDArray

from bench.accuracy.environments import interpreter
from bench.accuracy.photos import CHECKOUT
from bench.accuracy.systems import SYSTEMS
from bench.accuracy.tasks import TASKS, cache_folder
from bench.reasons import Skipped

_LIMIT_S = 4 * 3600


@dataclass(frozen=True)
class Answers:
    """What one system said about all pictures of a task."""

    values: NDArray[np.float32]
    facts: dict[str, Any]


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _build_digest() -> str:
    folder = Path(hai_toolkit.__file__).parent
    files = sorted(p for p in folder.rglob("*") if p.suffix in (".py", ".so"))
    return _digest(*(hashlib.sha256(p.read_bytes()).digest() for p in files))


def _key(task: str, system: str, quantizer: str) -> str:
    chosen = SYSTEMS[system]
    here = Path(__file__).parent
    code = (here / "systems" / (chosen.module.rsplit(".", 1)[1] + ".py")).read_bytes()
    parts = [TASKS[task].onnx().read_bytes(), repr(TASKS[task].rule).encode(), code, repr(chosen.options).encode()]
    parts += [(here / name).read_bytes() for name in ("onnx_graph.py",)]
    if TASKS[task].kind == "boxes" and not TASKS[task].many_per_box:
        parts += [b"one class a box"]
    if system.startswith("hai"):
        parts += [_build_digest().encode(), quantizer.encode()]
    return _digest(*parts)


def answers_of(
    task: str, system: str, quantizer: str = "{}", *, fresh: bool = False, kept_only: bool = False
) -> Answers:
    """The answers, computed when they are not kept; Skipped with the reason where the system cannot run here."""
    path = cache_folder() / f"{task}-{system}-{_key(task, system, quantizer)}.npz"
    if kept_only and not path.exists():
        raise Skipped("not asked for in this run, and no answer is kept")
    if fresh or not path.exists():
        python = interpreter(SYSTEMS[system].environment)
        paths = [str(Path(hai_toolkit.__file__).parents[1]), str(CHECKOUT)]
        environment = dict(os.environ, PYTHONPATH=":".join(paths), OMP_NUM_THREADS="2", PYTHONWARNINGS="ignore")
        partial = path.with_name("partial-" + path.name)
        command = [str(python), "-m", "bench.accuracy.worker", task, system, str(partial), "--quantizer", quantizer]
        result = subprocess.run(
            command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=_LIMIT_S, check=False
        )
        log = path.with_suffix(".log")
        log.write_text(result.stdout + result.stderr)
        if result.returncode or not partial.exists():
            last = (result.stderr.strip().splitlines() or ["no message"])[-1]
            raise Skipped(f"{SYSTEMS[system].title} failed on {task}: {last[:300]} (whole log: {log.name})")
        partial.rename(path)
    with np.load(path) as file:
        facts = json.loads(str(file["facts"]))
        if "skipped" in facts:
            path.unlink()
            raise Skipped(facts["skipped"])
        return Answers(file["answers"], facts)
