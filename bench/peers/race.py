"""A race: engines of one model in turns. Each is a process of its own that sleeps while others run.

A round gives each engine a turn of some runs, warmed by one before, in an order that changes from round to round. A round beside
other work is thrown away and made again, up to a limit; if too few are left, the race has no ratio.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from bench.accuracy.environments import interpreter
from bench.accuracy.photos import CHECKOUT
from bench.peers.busy import MOST_OTHERS
from bench.peers.engines import ENGINES
from bench.reasons import Skipped

LEAST_RUNS = 30
_TURN_S = 0.06
_ROUNDS = 12
_MOST_TRIES = 3  # times the rounds that are wanted
_MAKE_LIMIT_S = 1800


class Racer(Protocol):
    """What takes a turn."""

    def turn(self, runs: int) -> list[float]:
        """Seconds of each run."""


@dataclass
class Outcome:
    """Turns of each engine, round by round; `quiet` where every round that is kept was so."""

    turns: dict[str, list[list[float]]] = field(default_factory=dict)
    others: list[float] = field(default_factory=list)
    thrown_away: int = 0
    quiet: bool = True


def order_of(names: Sequence[str], round_: int) -> list[str]:
    """Rotated and every other time reversed, so that nobody always follows the same one."""
    shift = round_ // 2 % len(names)
    turned = [*names[shift:], *names[:shift]]
    return turned if round_ % 2 == 0 else turned[::-1]


def runs_a_turn(run_s: float, rounds: int = _ROUNDS) -> int:
    """Enough for LEAST_RUNS in all, and for a turn that the clock of the kernel can see."""
    return max(-(-LEAST_RUNS // rounds), min(200, round(_TURN_S / max(run_s, 1e-6))))


def alternate(
    racers: Mapping[str, Racer],
    run_s: Mapping[str, float],
    others: Callable[[], float],
    rounds: int = _ROUNDS,
    even_if_busy: bool = False,
) -> Outcome:
    """Make rounds until `rounds` were quiet, or too many were not: then what there is counts as loaded, or for nothing."""
    names = list(racers)
    kept: list[tuple[float, dict[str, list[float]]]] = []
    busy: list[tuple[float, dict[str, list[float]]]] = []
    tries = 0
    while len(kept) < rounds and tries < _MOST_TRIES * rounds:
        others()
        turns = {name: racers[name].turn(runs_a_turn(run_s[name], rounds)) for name in order_of(names, tries)}
        used = others()
        (kept if used <= MOST_OTHERS else busy).append((used, turns))
        tries += 1
        if even_if_busy and len(kept) + len(busy) >= rounds:
            break
    enough = len(kept) >= rounds
    chosen = kept if enough else kept + busy
    outcome = Outcome({name: [turns[name] for _, turns in chosen] for name in names})
    outcome.others = [used for used, _ in chosen]
    outcome.quiet, outcome.thrown_away = enough, tries - len(chosen)
    return outcome


def _settings(engine: str, job: Mapping[str, Any], threads: int, answers: str) -> dict[str, Any]:
    return {"engine": engine, "job": dict(job), "threads": threads, "answers": answers}


def command(engine: str, action: str, settings: Path) -> list[str]:
    """Of a worker."""
    return [str(interpreter(ENGINES[engine].environment)), "-m", "bench.peers.worker", action, engine, str(settings)]


def make(engine: str, job: Mapping[str, Any]) -> None:
    """The engine's model, in its folder; kept there, with the reason where there is none."""
    folder = Path(job["folder"])
    stamp = folder / "made.json"
    if not stamp.exists():
        folder.mkdir(parents=True, exist_ok=True)
        settings = folder / "job.json"
        settings.write_text(json.dumps(_settings(engine, job, 1, "")))
        log = folder / "log.txt"
        with log.open("w") as errors:
            try:
                done = subprocess.run(
                    command(engine, "make", settings),
                    stdout=subprocess.PIPE, stderr=errors, text=True, check=False, timeout=_MAKE_LIMIT_S, cwd=CHECKOUT,
                )  # fmt: skip
                lines = done.stdout.strip().splitlines()
                words = json.loads(lines[-1]) if lines else {"skipped": f"ended with status {done.returncode}"}
            except subprocess.TimeoutExpired:
                words = {"skipped": f"its model was not made in {_MAKE_LIMIT_S} s"}
        stamp.write_text(json.dumps(words))
    words = json.loads(stamp.read_text())
    if "skipped" in words:
        raise Skipped(words["skipped"])


class Worker:
    """An engine's process."""

    def __init__(self, engine: str, job: Mapping[str, Any], threads: int) -> None:
        self._scratch = tempfile.TemporaryDirectory()
        self.answers = Path(self._scratch.name) / "answers.npz"
        settings = Path(self._scratch.name) / "job.json"
        settings.write_text(json.dumps(_settings(engine, job, threads, str(self.answers))))
        self._process = subprocess.Popen(
            command(engine, "race", settings),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=CHECKOUT,
        )  # fmt: skip
        self.pid = self._process.pid
        try:
            self.facts = self._said()
        except Skipped:
            self.close()
            raise

    def _said(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Skipped(f"its process ended with status {self._process.wait()}")
        words: dict[str, Any] = json.loads(line)
        if "skipped" in words:
            raise Skipped(words["skipped"])
        return words

    def turn(self, runs: int) -> list[float]:
        """Seconds of each run, after one that does not count."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"warm_up": 1, "runs": runs}) + "\n")
        self._process.stdin.flush()
        seconds: list[float] = self._said()["seconds"]
        return seconds

    def close(self) -> None:
        """End it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._scratch.cleanup()
