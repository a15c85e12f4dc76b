"""``hai train --method``: batches of pictures with new classes, learnt one after the other."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import hai_toolkit as hai
import numpy as np
import pytest
from PIL import Image
from test_command_line import PROGRAM, run

pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason=f"{PROGRAM} is not built")

COLORS = {"green": (60, 190, 60), "blue": (60, 60, 190), "cyan": (60, 190, 190), "red": (190, 60, 60)}
FIRST, SECOND = ("blue", "green"), ("cyan", "red")
SAME = "class_mask=1,trainable=last:2"
TRAIN = f"loss=cross_entropy,optimizer=adam,sample_weights=1,{SAME}"
FILES = {"ewc": "ewc.hai", "ewc+replay": "ewc.hai", "der++": "der++.hai", "lwf": "lwf.hai"}


def pictures(root: Path, names: tuple[str, ...], count: int = 24, seed: int = 1) -> Path:
    random = np.random.default_rng(seed)
    for name in names:
        (root / name).mkdir(parents=True)
        for i in range(count):
            pixels = np.array(COLORS[name]) + random.normal(0, 40, (8, 8, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / name / f"{i:02}.png")
    return root


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two batches, and a network with a frozen layer, compiled for training, for the pull of EWC and for measuring."""
    root = tmp_path_factory.mktemp("methods")
    pictures(root / "first", FIRST)
    pictures(root / "second", SECOND)
    pictures(root / "test", FIRST + SECOND, 10, seed=9)
    random = np.random.default_rng(4)
    graph = hai.GraphBuilder("tiny", batch=(1, 32))
    x = graph.input("picture", ("N", 8, 8, 3))
    x = graph.unary("relu", graph.conv2d(x, random.normal(0, 0.3, (12, 3, 3, 3)).astype(np.float32), name="conv"))
    x = graph.global_average_pool(x)
    x = graph.unary("relu", graph.matmul(x, random.normal(0, 0.4, (16, 12)).astype(np.float32), name="hidden"))
    w = random.normal(0, 0.1, (5, 16)).astype(np.float32)
    graph.output(graph.matmul(x, w, np.zeros(5, np.float32), name="head"), "logits")
    model = hai.Model(graph.native, hai.Preprocessing(width=8, height=8, layout="nhwc", scale=(1 / 64,) * 3))
    model.compile(train=TRAIN).save(root / "plain.hai")
    model.compile(train=TRAIN + ",ewc=1").save(root / "ewc.hai")
    model.compile(train=TRAIN + ",distill=mse").save(root / "der++.hai")
    model.compile(train=TRAIN + ",distill=kd").save(root / "lwf.hai")
    model.compile(train=f"optimizer=fisher,batch_norm=frozen,{SAME}").save(root / "fisher.hai")
    return root


def command(files: Path, method: str, home: Path, data: str, *flags: object) -> list[str]:
    parts = [
        "train",
        files / FILES.get(method, "plain.hai"),
        "--method",
        method,
        "--data",
        files / data,
    ]
    parts += ["--memory", home / "memory", "--out", home / f"{data}.hai", "--epochs", 12, "--batch", 8, "--json"]
    parts += ["--learning-rate", 0.02, "--held-out", 0, "--threads", 1, *flags]
    if "ewc" in method:
        parts += ["--fisher", files / "fisher.hai"]
    return [str(part) for part in parts]


def learn(files: Path, method: str, home: Path, data: str, *flags: object) -> dict[str, object]:
    answer: dict[str, object] = json.loads(run(*command(files, method, home, data, *flags)))
    return answer


def accuracy(model: Path, data: Path, names: tuple[str, ...]) -> float:
    loaded = hai.load(model)
    labels = json.loads(loaded.metadata["labels"])
    rule = hai.Model.from_file(model).preprocessing
    assert rule is not None
    session = loaded.session(threads=1)
    hits = []
    for name in names:
        for path in sorted((data / name).iterdir()):
            logits = session.run(rule(hai.read_image(path)))["logits"].reshape(-1)[: len(labels)]
            hits.append(labels[int(logits.argmax())] == name)
    return float(np.mean(hits))


def old_shares(model: Path, data: Path) -> np.ndarray:
    """Softmax over the two old classes, at the temperature of the method, for new pictures."""
    rule = hai.Model.from_file(model).preprocessing
    assert rule is not None
    session = hai.load(model).session(threads=1)
    rows = np.concatenate([session.run(rule(hai.read_image(path)))["logits"] for path in sorted(data.glob("*/*"))])
    powers = np.exp(rows[:, :2] / 2)
    return np.asarray(powers / powers.sum(1, keepdims=True))


def test_new_classes_with_and_without_forgetting(files: Path, tmp_path: Path) -> None:
    old = {}
    for method in ("naive", "ewc", "replay", "der++", "lwf", "ewc+replay"):
        home = tmp_path / method
        home.mkdir()
        assert learn(files, method, home, "first")["classes"] == ["blue", "green"]
        assert accuracy(home / "first.hai", files / "test", FIRST) > 0.9
        start, trained = hai.Trainer(files / "plain.hai"), hai.Trainer(home / "first.hai")
        head = "head.weight"
        assert np.array_equal(start.get(head)[2:], trained.get(head)[2:])  # rows without a class
        assert not np.array_equal(start.get(head)[:2], trained.get(head)[:2])
        assert learn(files, method, home, "second")["classes"] == ["blue", "green", "cyan", "red"]
        assert accuracy(home / "second.hai", files / "test", SECOND) > 0.8
        old[method] = accuracy(home / "second.hai", files / "test", FIRST)
        last = hai.Trainer(home / "second.hai")
        assert np.array_equal(start.get(head)[4:], last.get(head)[4:])
    assert old["naive"] < 0.5  # this is what it is about
    assert min(old["replay"], old["der++"], old["ewc+replay"]) > 0.8
    # What LwF holds is how old classes stand to each other, not to new ones: it adds none to a head that they share.
    shift = {
        method: np.abs(
            old_shares(tmp_path / method / "second.hai", files / "second")
            - old_shares(tmp_path / method / "first.hai", files / "second")
        ).mean()
        for method in ("naive", "lwf")
    }
    assert shift["lwf"] < 0.5 * shift["naive"]


def test_a_pull_of_zero_is_none(files: Path, tmp_path: Path) -> None:
    for method, flags in (("naive", ()), ("ewc", ("--ewc-strength", 0))):
        (tmp_path / method).mkdir()
        for data in ("first", "second"):
            learn(files, method, tmp_path / method, data, *flags)
    one, other = hai.Trainer(tmp_path / "naive/second.hai"), hai.Trainer(tmp_path / "ewc/second.hai")
    for name in one.parameter_names:
        assert np.array_equal(one.get(name), other.get(name)), name


@pytest.mark.parametrize("method", ["ewc+replay", "der++", "lwf"])
def test_an_interrupted_task_ends_in_the_same_bits(files: Path, tmp_path: Path, method: str) -> None:
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
        learn(files, method, tmp_path / name, "first")
    learn(files, method, tmp_path / "whole", "second")
    flags = ("--checkpoint", tmp_path / "run", "--checkpoint-steps", 1)
    with subprocess.Popen(
        [str(PROGRAM), *command(files, method, tmp_path / "cut", "second", *flags)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "epoch 3/12" in line:
                process.kill()
                break
    learn(files, method, tmp_path / "cut", "second", *flags, "--resume")
    assert (tmp_path / "cut/second.hai").read_bytes() == (tmp_path / "whole/second.hai").read_bytes()
    states = []
    for name in ("whole", "cut"):
        trainer = hai.Trainer(files / FILES[method])
        extra = trainer.load_checkpoint(tmp_path / name / "memory")
        assert extra is not None and extra["tasks"] == 2
        states.append((extra.get("replay"), {n: trainer.get(n).tobytes() for n in trainer.state_names}))
    assert states[0] == states[1]


def test_what_is_wrong_is_named(files: Path, tmp_path: Path) -> None:
    def refused(code: str, method: str, *flags: object) -> None:
        done = subprocess.run(
            [str(PROGRAM), *command(files, method, tmp_path, "first", *flags)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1 and code in done.stderr, done.stderr

    refused("HAI-L119", "replay", "--augment", "mixup")
    refused("HAI-L120", "replay", "--fisher", files / "fisher.hai")
    learn(files, "replay", tmp_path, "first")
    refused("HAI-L117", "naive")
    refused("HAI-E022", "ewc")  # the memory is of another file
