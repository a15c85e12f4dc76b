"""``hai train --checkpoint``: interrupted, killed and damaged runs go on and end in the bits of one that never stopped."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import hai_toolkit as hai
import numpy as np
import pytest
from test_command_line import PROGRAM, run
from test_train_command import network, pictures, step_lines

pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason=f"{PROGRAM} is not built")

FLAGS = ["--epochs", "12", "--batch", "8", "--held-out", "0.25", "--warmup", "3", "--learning-rate", "0.02"]
FLAGS += ["--augment", "flip,crop,mixup", "--checkpoint-steps", "2", "--json", "--threads", "2"]


class Run:
    """A training in a folder of its own."""

    def __init__(
        self, folder: Path, model: Path, data: Path, program: Path = PROGRAM, flags: list[str] = FLAGS
    ) -> None:
        folder.mkdir()
        self.out, self.log, self.folder = folder / "new.hai", folder / "log.jsonl", folder / "run"
        self.model = model
        self.command = [str(program), "train", str(model), "--data", str(data), "--out", str(self.out)]
        self.command += ["--log", str(self.log), "--checkpoint", str(self.folder), *flags]

    def start(self, *flags: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.command, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def finish(self, *flags: str, code: int = 0) -> dict[str, object]:
        result = subprocess.run([*self.command, *flags], capture_output=True, text=True, check=False, timeout=120)
        assert result.returncode == code, result.stderr
        answer: dict[str, object] = json.loads(result.stdout)
        return answer

    def stop(self, sign: int, seconds: float) -> tuple[int, str]:
        with self.start("--resume") as process:
            time.sleep(seconds)
            process.send_signal(sign)
            errors = process.communicate(timeout=60)[1]
        return process.returncode, errors

    def states(self) -> dict[str, bytes]:
        trainer = hai.Trainer(self.model)
        trainer.load_checkpoint(self.folder)
        return {name: np.asarray(trainer.get(name)).tobytes() for name in trainer.state_names}


def same(a: Run, b: Run) -> None:
    assert a.out.read_bytes() == b.out.read_bytes()
    assert a.states() == b.states()
    assert step_lines(a.log) == step_lines(b.log)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return pictures(tmp_path / "data", 16)


@pytest.fixture
def whole(tmp_path: Path, data: Path) -> tuple[Run, dict[str, object]]:
    one = Run(tmp_path / "whole", network(tmp_path), data)
    return one, one.finish()


def test_kills_and_pauses_end_in_the_same_bits(
    tmp_path: Path, data: Path, whole: tuple[Run, dict[str, object]]
) -> None:
    reference, answer = whole
    draw = random.Random(3)
    took = float(str(answer["seconds"])) + 0.2  # starting is part of it
    for name, signals in (("term", [signal.SIGTERM]), ("kill", [signal.SIGKILL]), ("both", [signal.SIGINT, 9])):
        one = Run(tmp_path / name, reference.model, data)
        for i in range(6):
            code, errors = one.stop(signals[i % len(signals)], draw.uniform(0.1, took / 2))
            assert code in (0, 130, -9, -15, -2), errors  # the last two: before the handler was there
            if code == 130:
                assert "the same command with --resume goes on" in errors
        resumed = one.finish("--resume")
        same(one, reference)
        for key in ("steps", "refused_steps", "best_epoch", "best_top1", "ended"):
            assert resumed[key] == answer[key]
        assert [e["top1"] for e in resumed["epochs"]] == [e["top1"] for e in answer["epochs"]]  # type: ignore[attr-defined]


def test_a_signal_leaves_a_checkpoint_of_that_step(
    tmp_path: Path, data: Path, whole: tuple[Run, dict[str, object]]
) -> None:
    reference, _ = whole
    flags = [*FLAGS, "--checkpoint-minutes", "0"]
    flags[flags.index("--checkpoint-steps") + 1] = "0"
    one = Run(tmp_path / "one", reference.model, data, flags=flags)
    with one.start() as process:
        for _ in range(1200):
            if one.log.exists() and len(step_lines(one.log)) >= 3:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    paused = json.loads(out)
    assert paused["ended"] == "interrupted"
    assert paused["steps"] >= 3
    assert one.finish("--resume")["resumed_steps"] == paused["steps"]
    same(one, reference)


def test_a_damaged_generation_is_passed_over(tmp_path: Path, data: Path, whole: tuple[Run, dict[str, object]]) -> None:
    reference, _ = whole
    one = Run(tmp_path / "one", reference.model, data)
    assert one.stop(signal.SIGKILL, 0.5)[0] in (0, -9)
    one.finish("--resume")
    newest = max(one.folder.glob("checkpoint.*"), key=lambda path: path.stat().st_mtime_ns)
    damaged = bytearray(newest.read_bytes())
    damaged[-1] ^= 1
    newest.write_bytes(damaged)
    one.out.unlink()  # the best model comes back from the folder
    result = subprocess.run([*one.command, "--resume"], capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0 and "passed over" in result.stderr, result.stderr
    same(one, reference)


def test_early_stopping_goes_on_where_it_was(tmp_path: Path, data: Path) -> None:
    flags = [*FLAGS, "--patience", "2"]
    flags[flags.index("--epochs") + 1] = "60"
    model = network(tmp_path)
    one = Run(tmp_path / "one", model, data, flags=flags)
    answer = one.finish()
    assert answer["ended"] == "patience"
    assert one.finish("--resume")["ended"] == "patience"  # nothing is left to do
    other = Run(tmp_path / "other", model, data, flags=flags)
    other.stop(signal.SIGKILL, 0.4)
    assert other.finish("--resume")["ended"] == "patience"
    same(one, other)


def test_what_is_no_checkpoint_of_this_run_is_refused(
    tmp_path: Path, data: Path, whole: tuple[Run, dict[str, object]]
) -> None:
    one, _ = whole
    before = {path.name: path.read_bytes() for path in one.folder.iterdir()}
    command = [str(part) for part in one.command[1:] if part != "--json"]
    assert "HAI-L142" in run(*command, code=1)
    other = list(command)
    other[other.index("--batch") + 1] = "4"
    said = run(*other, "--resume", code=1)
    assert "HAI-L140" in said and "batch was 8, is 4" in said
    (data / "red" / "00.jpg").unlink()
    assert "pictures was" in run(*command, "--resume", code=1)
    (tmp_path / "net").mkdir()
    other = [str(network(tmp_path / "net", train="loss=cross_entropy,optimizer=sgd")), *command[2:]]
    assert "HAI-E022" in run("train", *other, "--resume", code=1)
    nowhere = list(command)
    nowhere[nowhere.index("--checkpoint") + 1] = str(tmp_path / "no" / "folder")
    assert "HAI-L143" in run(*nowhere, code=1)
    run("train", one.model, "--data", data, "--out", tmp_path / "x.hai", "--resume", code=2)
    assert {path.name: path.read_bytes() for path in one.folder.iterdir()} == before


def test_the_model_that_was_replaced_comes_back(
    tmp_path: Path, data: Path, whole: tuple[Run, dict[str, object]]
) -> None:
    reference, _ = whole
    old = run("inspect", reference.model, "--json")
    one = Run(tmp_path / "one", reference.model, data)
    one.out.write_bytes(reference.model.read_bytes())
    one.stop(signal.SIGKILL, 0.6)
    one.finish("--resume")
    assert one.out.read_bytes() == reference.out.read_bytes()
    previous = Path(f"{one.out}.previous")
    assert previous.read_bytes() == reference.model.read_bytes()
    damaged = bytearray(previous.read_bytes())
    damaged[-5] ^= 4
    previous.write_bytes(damaged)
    assert "HAI-" in run("rollback", one.out, code=1)
    assert one.out.read_bytes() == reference.out.read_bytes()
    previous.write_bytes(reference.model.read_bytes())
    answer = json.loads(run("rollback", one.out, "--json"))
    assert answer["sha256"] == json.loads(old)["sha256"]
    assert one.out.read_bytes() == reference.model.read_bytes()
    assert Path(f"{one.out}.replaced").read_bytes() == reference.out.read_bytes()
    assert not previous.exists()
    assert "HAI-E060" in run("rollback", one.out, code=1)


def test_leftovers_of_killed_processes_go_and_files_of_others_stay(tmp_path: Path, data: Path) -> None:
    one = Run(tmp_path / "one", network(tmp_path), data, flags=["--epochs", "3", "--json"])
    one.folder.mkdir()
    with subprocess.Popen(["true"]) as process:
        process.wait()
    gone = process.pid
    left = [one.out.parent / f".new.hai.{gone}-3.tmp", one.out.parent / f".new.hai.previous.{gone}-4.tmp"]
    stay = [one.folder / "best-model.hai", one.out.parent / f".new.hai.{os.getpid()}-3.tmp"]
    for path in [*left, *stay]:
        path.write_bytes(b"x")
    one.finish()
    assert [path for path in left if path.exists()] == []
    assert [path for path in stay if not path.exists()] == []


@pytest.mark.skipif(not PROGRAM.with_name("hai-device").exists(), reason="hai-device is not built")
def test_hai_device_gives_the_same_files(tmp_path: Path, data: Path, whole: tuple[Run, dict[str, object]]) -> None:
    reference, _ = whole
    one = Run(tmp_path / "device", reference.model, data, program=PROGRAM.with_name("hai-device"))
    one.finish()
    same(one, reference)
    environment = {**os.environ, "HAI_CPU": "scalar"}
    device = [str(PROGRAM.with_name("hai-device"))]
    picture = str(next((data / "red").iterdir()))
    for command in (["run", str(one.out), picture, "--json"], ["inspect", str(one.out), "--verify", "--json"]):
        said = [
            subprocess.run([*program, *command], capture_output=True, text=True, check=True, env=environment).stdout
            for program in (device, [str(PROGRAM)])
        ]
        first, second = (json.loads(text) for text in said)
        first.pop("run_ms", None), second.pop("run_ms", None)
        assert first == second
    assert "median_ms" in subprocess.run(
        [*device, "bench", str(one.out), "--runs", "2", "--warmup", "0", "--json"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
