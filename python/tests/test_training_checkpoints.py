"""Checkpoints of a training from Python: what is added comes back, and a killed process loses nothing it was told is saved."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import hai_toolkit as hai
import numpy as np
import pytest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    random = np.random.default_rng(7)
    graph = hai.GraphBuilder("small", batch=(1, 32))
    x = graph.input("x", ("N", 4))
    x = graph.unary("tanh", graph.matmul(x, random.normal(0, 1, (8, 4)).astype(np.float32), np.zeros(8, np.float32)))
    graph.output(graph.matmul(x, random.normal(0, 1, (3, 8)).astype(np.float32), np.zeros(3, np.float32)), "logits")
    hai.Model(graph.native).compile(train={"optimizer": "adamw"}).save(tmp_path / "small.hai")
    return tmp_path / "small.hai"


def states(trainer: hai.Trainer) -> dict[str, bytes]:
    return {name: trainer.get(name).tobytes() for name in trainer.state_names}


def train(trainer: hai.Trainer, random: np.random.Generator, steps: int) -> None:
    for _ in range(steps):
        x = random.normal(0, 1, (9, 4)).astype(np.float32)
        assert trainer.step(x, random.integers(0, 3, 9), 0.02).applied


def test_a_resumed_run_ends_in_the_same_bits(path: Path, tmp_path: Path) -> None:
    whole, random = hai.Trainer(path), np.random.default_rng(5)
    train(whole, random, 30)
    first, random = hai.Trainer(path), np.random.default_rng(5)
    train(first, random, 12)
    first.save_checkpoint(tmp_path / "run", random=random.bit_generator.state)
    second, random = hai.Trainer(path), np.random.default_rng()
    extra = second.load_checkpoint(tmp_path / "run")
    assert extra is not None
    random.bit_generator.state = extra["random"]
    assert second.steps == 12
    train(second, random, 18)
    assert states(second) == states(whole)


def test_what_is_added_comes_back(path: Path, tmp_path: Path) -> None:
    trainer = hai.Trainer(path)
    extra: dict[str, Any] = {
        "epoch": 3,
        "low": -(2**63),
        "huge": 2**200,
        "rate": 0.1,
        "flag": True,
        "nothing": None,
        "text": "größe \U0001f600",
        "raw": bytes(range(256)),
        "list": [1, 2.5, "a", None, [True]],
        "state": {"a": {"b": 2**100}},
        "größe": 1,
    }
    trainer.save_checkpoint(tmp_path / "run", **extra)
    back = trainer.load_checkpoint(tmp_path / "run")
    assert back == extra
    assert [type(back[name]) for name in extra] == [type(value) for value in extra.values()]
    trainer.save_checkpoint(tmp_path / "run", number=np.int32(7), real=np.float32(0.1), pair=(1, np.int64(2)))
    assert trainer.load_checkpoint(tmp_path / "run") == {"number": 7, "real": float(np.float32(0.1)), "pair": [1, 2]}
    trainer.save_checkpoint(tmp_path / "run")
    assert trainer.load_checkpoint(tmp_path / "run") == {}


@pytest.mark.parametrize("value", [np.zeros(3), {1: 2}, {"a": b"x"}, object(), 1j, np.complex64(1)])
def test_what_cannot_be_kept_is_named(path: Path, tmp_path: Path, value: object) -> None:
    trainer = hai.Trainer(path)
    with pytest.raises(hai.HaiError, match="HAI-Y067") as error:
        trainer.save_checkpoint(tmp_path / "run", odd=value)
    assert "odd" in str(error.value)
    assert not (tmp_path / "run").exists()
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(hai.HaiError, match="HAI-Y067"):
        trainer.save_checkpoint(tmp_path / "run", deep=deep)
    with pytest.raises(hai.HaiError, match="HAI-Y068"):
        trainer.save_checkpoint(tmp_path / "run", **{"hai.json": 1})


def test_none_damaged_and_foreign_ones(path: Path, tmp_path: Path) -> None:
    trainer, random = hai.Trainer(path), np.random.default_rng(5)
    assert trainer.load_checkpoint(tmp_path / "run", missing_ok=True) is None
    with pytest.raises(hai.HaiError, match="HAI-E020"):
        trainer.load_checkpoint(tmp_path / "run")
    train(trainer, random, 1)
    trainer.save_checkpoint(tmp_path / "run", step=1)
    train(trainer, random, 1)
    trainer.save_checkpoint(tmp_path / "run", step=2)
    newer = tmp_path / "run" / "checkpoint.b"
    newer.write_bytes(newer.read_bytes()[:-5])
    with pytest.warns(RuntimeWarning, match=r"checkpoint\.b.*HAI-F018"):
        assert trainer.load_checkpoint(tmp_path / "run") == {"step": 1}
    assert trainer.steps == 1
    (tmp_path / "run" / "checkpoint.a").write_bytes(b"")
    before = states(trainer)
    with pytest.raises(hai.HaiError, match="HAI-E021"):
        trainer.load_checkpoint(tmp_path / "run", missing_ok=True)
    assert states(trainer) == before
    trainer.save_checkpoint(tmp_path / "run")
    trainer.save(tmp_path / "trained.hai")
    with pytest.raises(hai.HaiError, match="HAI-E022"):
        hai.Trainer(tmp_path / "trained.hai").load_checkpoint(tmp_path / "run")


_KILLED = """
import sys
import hai_toolkit as hai
import numpy as np

trainer = hai.Trainer(sys.argv[1])
while True:
    random = np.random.default_rng(trainer.steps)
    trainer.step(random.normal(0, 1, (9, 4)).astype(np.float32), random.integers(0, 3, 9), 0.02)
    trainer.save_checkpoint(sys.argv[2], steps=trainer.steps)
    print(trainer.steps, flush=True)
"""


def test_a_killed_process_loses_nothing_that_was_saved(path: Path, tmp_path: Path) -> None:
    for seed in range(3):
        folder = tmp_path / f"run{seed}"
        process = subprocess.Popen([sys.executable, "-c", _KILLED, path, folder], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        time.sleep(np.random.default_rng(seed).uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        said = [1, *(int(line) for line in process.stdout.read().splitlines() if line)]
        assert process.wait() == -signal.SIGKILL
        process.stdout.close()
        trainer = hai.Trainer(path)
        assert trainer.load_checkpoint(folder) == {"steps": trainer.steps}
        assert trainer.steps in (said[-1], said[-1] + 1)


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("every", [0, 1, 5])
def test_fit_goes_on_where_it_was(path: Path, tmp_path: Path, every: int) -> None:
    random = np.random.default_rng(2)
    x, label = random.normal(0, 1, (50, 4)).astype(np.float32), random.integers(0, 3, 50)
    arguments: dict[str, Any] = {"epochs": 6, "batch": 8, "schedule": hai.Schedule(0.02, kind="cosine"), "seed": 9}
    whole = hai.Trainer(path)
    history = whole.fit(x, label, **arguments)
    folder = tmp_path / "run"
    for stop_after in (1, 3, 9, 11, 15):  # steps, 7 of them an epoch
        trainer = hai.Trainer(path)
        left, real = stop_after, trainer.step

        def step(*args: Any, real: Any = real) -> hai.StepResult:
            nonlocal left
            if left == 0:
                raise StoppedError
            left -= 1
            return real(*args)  # type: ignore[no-any-return]

        trainer.step = step  # type: ignore[method-assign]
        with pytest.raises(StoppedError):
            trainer.fit(x, label, checkpoint=folder, checkpoint_every=every, **arguments)
    last = hai.Trainer(path)
    assert last.fit(x, label, checkpoint=folder, checkpoint_every=every, **arguments) == history
    assert states(last) == states(whole)
    # What is done is done; another training does not go on from there.
    again = hai.Trainer(path)
    assert again.fit(x, label, checkpoint=folder, **arguments) == history
    assert states(again) == states(whole)
    for change in ({"epochs": 7}, {"batch": 9}, {"seed": 8}, {"schedule": 0.02}):
        with pytest.raises(hai.HaiError, match="HAI-Y074"):
            again.fit(x, label, checkpoint=folder, **{**arguments, **change})
    again.save_checkpoint(folder, epoch=3)
    with pytest.raises(hai.HaiError, match="HAI-Y073"):
        again.fit(x, label, checkpoint=folder, **arguments)


def test_fit_that_was_ended_stays_ended(path: Path, tmp_path: Path) -> None:
    x, label = np.ones((8, 4), np.float32), np.zeros(8, np.int64)
    calls: list[int] = []

    def on_epoch(epoch: int, loss: float) -> bool:
        calls.append(epoch)
        return epoch < 2

    for _ in range(2):
        assert len(hai.Trainer(path).fit(x, label, epochs=9, on_epoch=on_epoch, checkpoint=tmp_path / "run")) == 3
    assert calls == [0, 1, 2]
