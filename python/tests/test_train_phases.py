"""``hai train --head-epochs`` and the recipe for classifiers: the last layer first, then all, stopped in time."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import hai_toolkit as hai
import numpy as np
import pytest
from test_command_line import PROGRAM
from test_train_command import network, pictures, step_lines, train

pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason=f"{PROGRAM} is not built")

FLAGS = ("--epochs", 5, "--head-epochs", 2, "--head-rate", 0.04, "--batch", 8, "--held-out", 0.25, "--augment", "flip")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return pictures(tmp_path / "data", 16)


def test_the_last_layer_alone_comes_first(tmp_path: Path, data: Path) -> None:
    model = network(tmp_path)
    log = tmp_path / "log.jsonl"
    # Stopped after its first part, by a folder of checkpoints that the whole one goes on from.
    folder = tmp_path / "run"
    command = [
        str(PROGRAM),
        "train",
        str(model),
        "--data",
        str(data),
        "--learning-rate",
        "0.02",
        "--json",
        *map(str, FLAGS),
    ]
    with subprocess.Popen(
        [*command, "--out", str(tmp_path / "cut.hai"), "--checkpoint", str(folder), "--checkpoint-steps", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "epoch 1/5" in line and "held out" in line:
                process.kill()
                break
    start, cut = hai.Trainer(model), hai.Trainer(model)
    cut.load_checkpoint(folder)
    heads = set(json.loads(hai.load(model).metadata["head_parameters"]))
    assert len(heads) == 2 and heads < set(start.parameter_names)
    if cut.steps <= 2 * 5:  # killed in time
        moved = {name for name in cut.parameter_names if not np.array_equal(start.get(name), cut.get(name))}
        assert moved == heads

    answer = train(model, data, tmp_path / "whole.hai", *FLAGS, "--log", log)
    assert answer["steps"] == 25
    rates = [rate for _, _, rate in step_lines(log)]
    assert rates[:10] == [0.04] * 10
    assert rates[10] == pytest.approx(0.02, rel=0.02) and rates[-1] < 0.001  # its own cosine
    trained = hai.Trainer(tmp_path / "whole.hai")
    assert all(not np.array_equal(start.get(name), trained.get(name)) for name in start.parameter_names)
    subprocess.run(
        [
            *command,
            "--out",
            str(tmp_path / "cut.hai"),
            "--checkpoint",
            str(folder),
            "--checkpoint-steps",
            "1",
            "--resume",
        ],
        check=True,
        capture_output=True,
    )
    assert (tmp_path / "cut.hai").read_bytes() == (tmp_path / "whole.hai").read_bytes()


def test_the_recipe_has_both_parts_and_stops_in_time(tmp_path: Path, data: Path) -> None:
    log = tmp_path / "log.jsonl"
    flags = ("--recipe", "classify", "--held-out", 0.25, "--augment", "none", "--log", log)
    answer = train(network(tmp_path), data, tmp_path / "new.hai", *flags)
    rates = [rate for _, _, rate in step_lines(log)]
    assert rates[:4] == [5 * 0.02] * 4 and max(rates[4:]) == pytest.approx(0.02, rel=0.05)
    assert answer["best_top1"] > 0.9
    assert answer["ended"] == "patience" and len(answer["epochs"]) < 30  # type: ignore[arg-type]
    # A model that trains its last layer alone has one part.
    head = network(tmp_path, train="loss=cross_entropy,optimizer=adamw,trainable=head")
    train(head, data, tmp_path / "new.hai", *flags, "--epochs", 8)
    assert max(rate for _, _, rate in step_lines(log)) == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize(("code", "trainable", "epochs"), [("HAI-L113", "head", 2), ("HAI-L112", "all", 5)])
def test_a_first_part_that_cannot_be(tmp_path: Path, data: Path, code: str, trainable: str, epochs: int) -> None:
    model = network(tmp_path, train=f"loss=cross_entropy,trainable={trainable}")
    command = [PROGRAM, "train", model, "--data", data, "--out", tmp_path / "new.hai", "--epochs", "5"]
    done = subprocess.run([*command, "--head-epochs", str(epochs)], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and code in done.stderr
