"""``hai train``: a network that learns colours, the files it writes, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import hai_toolkit as hai
import numpy as np
import pytest
from PIL import Image
from test_command_line import PROGRAM, run

pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason=f"{PROGRAM} is not built")

COLORS = {"blue": (40, 60, 200), "green": (40, 190, 60), "red": (200, 50, 40)}


def pictures(root: Path, count: int = 40, seed: int = 1) -> Path:
    """A folder a class: its colour under noise as strong as the colours differ, in odd sizes, as JPEG and PNG."""
    random = np.random.default_rng(seed)
    for name, color in COLORS.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            noise = random.normal(0, 60, (random.integers(12, 30), random.integers(12, 30), 3))
            pixels = np.clip(np.array(color) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i:02}.{'png' if i % 2 else 'jpg'}")
    return root


def network(folder: Path, classes: int = 3, batch: tuple[int, int] | int = (1, 64), train: str | None = "") -> Path:
    """conv, batch norm, relu, mean, head: compiled with a step of training unless ``train`` is None."""
    random = np.random.default_rng(7)
    fixed = isinstance(batch, int)
    graph = hai.GraphBuilder("tiny", batch=None if isinstance(batch, int) else batch)
    x = graph.input("picture", (batch if fixed else "N", 16, 16, 3))
    x = graph.conv2d(x, random.normal(0, 0.2, (8, 3, 3, 3)).astype(np.float32), stride=2, padding=1, name="conv")
    ones = np.ones(8, np.float32)
    x = graph.batch_norm(x, ones, 0 * ones, 0 * ones, ones, epsilon=1e-5)
    x = graph.global_average_pool(graph.unary("relu", x))
    head = random.normal(0, 0.1, (classes, 8)).astype(np.float32)
    graph.output(graph.matmul(x, head, np.zeros(classes, np.float32), name="head"), "logits")
    rule = hai.Preprocessing(width=16, height=16, layout="nhwc", scale=(1 / 255,) * 3)
    options = None if train is None else (train or "loss=cross_entropy,optimizer=adamw")
    hai.Model(graph.native, rule).compile(train=options).save(folder / "net.hai")
    return folder / "net.hai"


def train(model: Path, data: Path, out: Path, *flags: object) -> dict[str, object]:
    text = run("train", model, "--data", data, "--out", out, "--json", "--learning-rate", 0.02, *flags)
    answer: dict[str, object] = json.loads(text)
    return answer


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return pictures(tmp_path / "data")


def accuracy(model: Path, folder: Path) -> float:
    """Of a file, through Python and the file's own preprocessing."""
    loaded = hai.load(model)
    rule = hai.Model.from_file(model).preprocessing
    assert rule is not None
    names = json.loads(loaded.metadata["labels"])
    session = loaded.session(threads=1)
    hits = []
    for path in sorted(folder.glob("*/*")):
        logits = session.run(rule(hai.read_image(path)))["logits"]
        hits.append(names[int(logits.argmax())] == path.parent.name)
    return float(np.mean(hits))


@pytest.mark.parametrize("augment", ["none", "flip,crop", "flip,crop,color,mixup,cutmix"])
def test_it_learns_colours(tmp_path: Path, data: Path, augment: str) -> None:
    flags = ("--epochs", 20, "--batch", 16, "--held-out", 0.25, "--warmup", 3, "--augment", augment)
    answer = train(network(tmp_path), data, tmp_path / "new.hai", *flags)
    assert answer["classes"] == ["blue", "green", "red"]
    assert answer["pictures"] == {"training": 90, "held_out": 30, "skipped": []}
    assert answer["steps"] == 20 * 6  # the last batch of an epoch is filled up
    assert answer["best_top1"] > 0.95
    fresh = pictures(tmp_path / "fresh", 20, seed=2)
    assert accuracy(tmp_path / "new.hai", fresh) > 0.95
    assert hai.load(tmp_path / "new.hai").metadata["labels"] == '["blue","green","red"]'
    shown = json.loads(run("run", tmp_path / "new.hai", next((fresh / "green").iterdir()), "--json", "--top", 3))
    assert {top["label"] for top in shown["outputs"][0]["top"]} == set(COLORS)


def test_one_seed_one_file_whatever_the_threads(tmp_path: Path, data: Path) -> None:
    model = network(tmp_path)
    flags = ("--epochs", 3, "--augment", "flip,crop,color,mixup,cutmix")
    for name, threads, seed in (("a", 1, 5), ("b", 3, 5), ("c", 1, 6)):
        train(model, data, tmp_path / f"{name}.hai", *flags, "--threads", threads, "--seed", seed)
    a, b, c = ((tmp_path / f"{name}.hai").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def step_lines(log: Path) -> list[list[float]]:
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [[line["loss"], line["gradient_norm"], line["learning_rate"]] for line in lines if line["kind"] == "step"]


def test_validation_does_not_change_training(tmp_path: Path, data: Path) -> None:
    """The pictures that were trained on, as a list of which none is held out: the same steps to the last bit."""
    model = network(tmp_path)
    log = tmp_path / "log.jsonl"
    flags = ("--epochs", 4, "--log", log, "--threads", 2, "--augment", "flip,mixup")
    train(model, data, tmp_path / "measured.hai", *flags, "--held-out", 0.25)
    measured = step_lines(log)
    held_out = json.loads(log.read_text().splitlines()[0])["held_out"]
    assert len(held_out) == 30
    rest = [path for path in sorted(data.glob("*/*")) if str(path) not in held_out]
    listed = tmp_path / "rest.csv"
    listed.write_text("path,label\n" + "".join(f"{path},{path.parent.name}\n" for path in rest))
    train(model, listed, tmp_path / "alone.hai", *flags, "--held-out", 0)
    assert step_lines(log) == measured
    assert len(measured) == 4 * 3  # 90 pictures, batches of 32


def test_numbers_as_labels_leave_the_names_of_the_file(tmp_path: Path, data: Path) -> None:
    model = network(tmp_path)
    train(model, data, tmp_path / "named.hai", "--epochs", 1)
    listed = tmp_path / "list.csv"
    numbers = {name: i for i, name in enumerate(sorted(COLORS))}
    listed.write_text("".join(f"{path},{numbers[path.parent.name]}\n" for path in sorted(data.glob("*/*"))))
    train(tmp_path / "named.hai", listed, tmp_path / "more.hai", "--epochs", 1)
    assert hai.load(tmp_path / "more.hai").metadata["labels"] == '["blue","green","red"]'
    train(model, listed, tmp_path / "plain.hai", "--epochs", 1)
    assert "labels" not in hai.load(tmp_path / "plain.hai").metadata


def test_the_log_has_a_line_a_step_and_epoch(tmp_path: Path, data: Path) -> None:
    log = tmp_path / "log.jsonl"
    answer = train(network(tmp_path), data, tmp_path / "new.hai", "--epochs", 3, "--log", log, "--batch", 64)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    kinds = [line["kind"] for line in lines]
    assert kinds == ["start"] + ["step", "step", "epoch"] * 3 + ["end"]
    steps = [line for line in lines if line["kind"] == "step"]
    assert [line["step"] for line in steps] == [1, 2, 3, 4, 5, 6]
    assert all(line["applied"] and line["loss"] > 0 for line in steps)
    assert steps[0]["learning_rate"] == 0.02
    assert steps[-1]["learning_rate"] < 0.002  # cosine
    assert lines[-1]["best_top1"] == answer["best_top1"]
    assert lines[0]["held_out_pictures"] == 12


def test_a_fixed_batch_is_filled_up(tmp_path: Path, data: Path) -> None:
    model = network(tmp_path, batch=16)
    answer = train(model, data, tmp_path / "new.hai", "--epochs", 12, "--held-out", 0.1)
    assert answer["batch"] == 16
    assert answer["best_top1"] > 0.95
    assert "HAI-L103" in run("train", model, "--data", data, "--out", tmp_path / "x.hai", "--batch", 8, code=1)


def test_patience_ends_it(tmp_path: Path, data: Path) -> None:
    model = network(tmp_path)
    flags = ("--epochs", 200, "--patience", 4, "--held-out", 0.25, "--schedule", "constant")
    answer = train(model, data, tmp_path / "new.hai", *flags)
    assert answer["ended"] == "patience"
    epochs = answer["epochs"]
    assert isinstance(epochs, list)
    best = max(epoch["top1"] for epoch in epochs)
    first_best = next(epoch["epoch"] for epoch in epochs if epoch["top1"] == best)
    assert len(epochs) == first_best + 4
    assert answer["best_top1"] == best
    text = run("train", model, "--data", data, "--out", tmp_path / "x.hai", "--patience", 2, "--held-out", 0, code=1)
    assert "HAI-L106" in text


@pytest.mark.parametrize("held_out", [0, 0.25])
def test_an_interrupt_writes_what_there_is(tmp_path: Path, data: Path, held_out: float) -> None:
    log = tmp_path / "log.jsonl"
    flags = ["--epochs", "1000000", "--held-out", str(held_out), "--log", str(log), "--json"]
    command = [str(PROGRAM), "train", str(network(tmp_path)), "--data", str(data), "--out", str(tmp_path / "new.hai")]
    stop = signal.SIGINT if held_out == 0 else signal.SIGHUP
    with subprocess.Popen([*command, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for _ in range(600):
            if log.exists() and '"epoch"' in log.read_text() and (tmp_path / "new.hai").exists():
                break
            time.sleep(0.05)
        process.send_signal(stop)
        out, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    answer = json.loads(out)
    assert answer["ended"] == "interrupted"
    trained = hai.load(tmp_path / "new.hai")
    if held_out == 0:
        assert trained.metadata["trained_steps"] == str(answer["steps"])
    assert json.loads(log.read_text().splitlines()[-1])["ended"] == "interrupted"


def test_a_reader_of_the_output_that_went_away_is_an_interrupt(tmp_path: Path, data: Path) -> None:
    folder = tmp_path / "run"
    command = [str(PROGRAM), "train", str(network(tmp_path)), "--data", str(data), "--out", str(tmp_path / "new.hai")]
    flags = ["--epochs", "1000000", "--checkpoint", str(folder)]
    with subprocess.Popen([*command, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.stderr.close()
        assert process.wait(timeout=60) in (1, 130)
    assert any(path.name.startswith("checkpoint") for path in folder.iterdir())


def test_corrupt_pictures_are_named_and_counted(tmp_path: Path, data: Path) -> None:
    (data / "red" / "00.jpg").write_bytes((data / "red" / "00.jpg").read_bytes()[:100])
    (data / "blue" / "x.png").write_text("no picture")
    model = network(tmp_path)
    result = subprocess.run(
        [PROGRAM, "train", model, "--data", data, "--out", tmp_path / "new.hai", "--epochs", "1", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    skipped = json.loads(result.stdout)["pictures"]["skipped"]
    assert [Path(one["path"]).name for one in skipped] == ["x.png", "00.jpg"]
    assert "2 of 121 pictures skipped" in result.stderr
    assert "x.png" in result.stderr
    for path in (data / "red").iterdir():
        path.write_text("no picture")
    assert "HAI-D077" in run("train", model, "--data", data, "--out", tmp_path / "x.hai", code=1)


def test_what_it_refuses(tmp_path: Path, data: Path) -> None:
    model = network(tmp_path)
    out = tmp_path / "x.hai"

    def refused(error: str, *flags: object, file: Path = model, folder: Path = data) -> None:
        assert error in run("train", file, "--data", folder, "--out", out, *flags, code=1)
        assert not out.exists()

    (tmp_path / "empty").mkdir()
    refused("HAI-D070", folder=tmp_path / "empty")
    refused("HAI-D081", folder=tmp_path / "nowhere")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "red").symlink_to(data / "red")
    refused("HAI-D076", folder=tmp_path / "one")
    (tmp_path / "one" / "blue").mkdir()
    refused("HAI-D071", folder=tmp_path / "one")
    (tmp_path / "list.csv").write_text("data/red/00.jpg,0\ndata/red/01.png,3\n")
    refused("HAI-D073", folder=tmp_path / "list.csv")
    (tmp_path / "list.csv").write_text("data/red/00.jpg,r\ndata/blue/01.png,b\ndata/green/01.png,g\n")
    refused("HAI-D079", folder=tmp_path / "list.csv")
    marked = "\ufeffpath,label\ndata/red/00.jpg,r\ndata/blue/01.png,b\ndata/green/01.png,g\n"
    (tmp_path / "list.csv").write_text(marked)  # as spreadsheets write it
    refused("HAI-D079", folder=tmp_path / "list.csv")
    refused("HAI-L064", "--log", data / "blue" / "01.png", folder=tmp_path / "list.csv")
    refused("HAI-L064", "--log", data / "blue" / "01.png")
    refused("HAI-L064", "--report", data / "blue" / "01.png", folder=tmp_path / "list.csv")
    refused("HAI-D085", "--augment", "flip,turn")
    refused("HAI-L104", "--log", tmp_path / "no" / "log")
    refused("HAI-B004", "--report", tmp_path / "no" / "report.html")
    refused("HAI-B014", "--report", "/dev/full")
    refused("HAI-L110", "--recipe", "detect")
    refused("HAI-E002", "--warmup", 1000)
    refused("HAI-L103", "--batch", 65)
    assert "HAI-L105" in run("train", model, "--data", data, "--out", out, "--log", "/dev/full", code=1)
    assert not out.exists()
    assert "HAI-L064" in run("train", model, "--data", data, "--out", model, code=1)
    for flags in (("--batch", 0), ("--epochs", 0), ("--held-out", 1), ("--held-out", "nan"), ("--learning-rate", -1)):
        run("train", model, "--data", data, "--out", out, *flags, code=2)
    (tmp_path / "two").mkdir()
    refused("HAI-D075", file=network(tmp_path / "two", classes=2))
    refused("HAI-L108", file=network(tmp_path / "two", train="loss=cross_entropy,optimizer=fisher"))
    refused("HAI-F073", file=network(tmp_path / "two", train=None))


def test_a_file_that_does_not_fit_leaves_the_old_one(tmp_path: Path, data: Path) -> None:
    model = network(tmp_path)
    out = tmp_path / "new.hai"
    out.write_text("what was there")
    command = f"ulimit -f 8; exec {PROGRAM} train {model} --data {data} --out {out} --epochs 1"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "HAI-B005" in result.stderr
    assert out.read_text() == "what was there"
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")] == []


def test_steps_that_are_not_finite_end_it(tmp_path: Path, data: Path) -> None:
    text = run(
        *("train", network(tmp_path, train="loss=cross_entropy,optimizer=sgd"), "--data", data),
        *("--out", tmp_path / "x.hai", "--schedule", "constant", "--learning-rate", 1e6, "--epochs", 50),
        *("--held-out", 0),
        code=1,
        environment={"HAI_CPU": os.environ.get("HAI_CPU", "")},
    )
    assert "HAI-L107" in text


def test_a_model_without_preprocessing(tmp_path: Path, data: Path) -> None:
    graph = hai.GraphBuilder("plain", batch=(1, 8))
    x = graph.global_average_pool(graph.input("picture", ("N", 16, 16, 3)))
    graph.output(graph.matmul(x, np.zeros((3, 3), np.float32), np.zeros(3, np.float32)), "logits")
    hai.Model(graph.native).compile(train="loss=cross_entropy").save(tmp_path / "plain.hai")
    assert "HAI-L100" in run("train", tmp_path / "plain.hai", "--data", data, "--out", tmp_path / "x.hai", code=1)


def test_features_that_are_kept_change_no_bit(tmp_path: Path, data: Path) -> None:
    model = network(tmp_path, train="loss=cross_entropy,optimizer=adamw,trainable=head")
    flags = ("--epochs", 4, "--batch", 16, "--augment", "flip,crop", "--views", 2)
    train(model, data, tmp_path / "plain.hai", *flags)
    train(model, data, tmp_path / "kept.hai", *flags, "--cache", tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    expected = (tmp_path / "plain.hai").read_bytes()
    assert (tmp_path / "kept.hai").read_bytes() == expected
    stored = file.read_bytes()
    assert stored.count(b"HAIFEAT1") == 1
    # read again; a damaged one and a full one are made again; in memory alone
    for name, changed in (("again", stored), ("damaged", stored[:-1] + bytes([stored[-1] ^ 1]))):
        file.write_bytes(changed)
        train(model, data, tmp_path / f"{name}.hai", *flags, "--cache", tmp_path / "cache")
        assert (tmp_path / f"{name}.hai").read_bytes() == expected
        assert file.read_bytes() == stored
    for name, options in (("full", ("--cache", "memory", "--cache-bytes", 100)), ("memory", ("--cache", "memory"))):
        train(model, data, tmp_path / f"{name}.hai", *flags, *options)
        assert (tmp_path / f"{name}.hai").read_bytes() == expected


@pytest.mark.parametrize(
    ("code", "trainable", "flags"),
    [
        ("HAI-L150", "all", ("--cache", "memory")),
        ("HAI-L152", "head", ("--cache", "memory", "--augment", "flip")),
        ("HAI-L152", "head", ("--cache", "memory", "--augment", "mixup", "--views", "2")),
    ],
)
def test_what_cannot_be_kept_is_refused(
    tmp_path: Path, data: Path, code: str, trainable: str, flags: tuple[str]
) -> None:
    model = network(tmp_path, train=f"loss=cross_entropy,trainable={trainable}")
    text = run("train", model, "--data", data, "--out", tmp_path / "new.hai", *flags, code=1)
    assert code in text
