"""INT8 that is rebuilt after a training: from Python, by ``hai train`` with its gate, and brought back."""

from __future__ import annotations

import json
from pathlib import Path

import hai_toolkit as hai
import numpy as np
import pytest
from numpy.typing import NDArray
from test_command_line import PROGRAM, run
from test_train_command import accuracy, pictures

Floats = NDArray[np.float32]


def network(folder: Path, rebuild: bool = True) -> Path:
    """A frozen convolution in INT8, then conv, batch norm, relu6, mean and head, which are trained."""
    random = np.random.default_rng(7)
    graph = hai.GraphBuilder("tiny", batch=(1, 32))
    x = graph.input("picture", ("N", 16, 16, 3))
    x = graph.conv2d(x, random.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32), stride=2, padding=1, name="stem")
    x = graph.unary("relu", x)
    x = graph.conv2d(x, random.normal(0, 0.2, (16, 3, 3, 8)).astype(np.float32), padding=1, name="conv")
    ones = np.ones(16, np.float32)
    x = graph.batch_norm(x, ones, 0 * ones, 0 * ones, ones, epsilon=1e-5)
    x = graph.global_average_pool(graph.unary("relu6", x))
    head = random.normal(0, 0.1, (3, 16)).astype(np.float32)
    graph.output(graph.matmul(x, head, np.zeros(3, np.float32), name="head"), "logits")
    rule = hai.Preprocessing(width=16, height=16, layout="nhwc", scale=(1 / 255,) * 3)
    model = hai.Model(graph.native, rule)
    samples = [random.uniform(0, 1, (1, 16, 16, 3)).astype(np.float32) for _ in range(24)]
    model.quantize(calibration=samples, trainable="last:2", rebuild=rebuild)
    model.compile(train="loss=cross_entropy,optimizer=adamw,trainable=last:2").save(folder / "net.hai")
    return folder / "net.hai"


def answers(path: Path, x: Floats) -> Floats:
    out: Floats = hai.load(path).session(threads=1).run(x)["logits"]
    return out


def test_python_rebuilds(tmp_path: Path) -> None:
    trainer = hai.Trainer(network(tmp_path), threads=1)
    assert trainer.can_rebuild
    random = np.random.default_rng(1)
    x = random.uniform(0, 1, (32, 16, 16, 3)).astype(np.float32)
    for _ in range(20):
        trainer.step(x, np.arange(32) % 3, 0.01)
    trainer.save(tmp_path / "float.hai")
    trainer.save_int8(tmp_path / "int8.hai", [x])
    trainer.save_int8(tmp_path / "kept.hai", [trainer.features(x)], from_features=True)
    trainer.save_int8(tmp_path / "small.hai", [x], inference_only=True)
    assert (tmp_path / "int8.hai").read_bytes() == (tmp_path / "kept.hai").read_bytes()
    wanted = answers(tmp_path / "float.hai", x)
    got = answers(tmp_path / "int8.hai", x)
    assert not np.array_equal(wanted, got)
    assert float(((wanted - got) ** 2).sum() / (wanted**2).sum()) < 0.01  # 20 dB: two layers of 8 bits
    assert np.array_equal(got, answers(tmp_path / "small.hai", x))
    assert (tmp_path / "small.hai").stat().st_size < (tmp_path / "int8.hai").stat().st_size
    with pytest.raises(hai.HaiError) as error:
        trainer.save_int8(tmp_path / "none.hai", [])
    assert error.value.code == "HAI-E115"


def test_a_file_without_it_is_named(tmp_path: Path) -> None:
    trainer = hai.Trainer(network(tmp_path, rebuild=False), threads=1)
    assert not trainer.can_rebuild
    with pytest.raises(hai.HaiError) as error:
        trainer.save_int8(tmp_path / "none.hai", [np.zeros((1, 16, 16, 3), np.float32)])
    assert error.value.code == "HAI-E114"
    assert str(tmp_path / "net.hai") in str(error.value)


@pytest.mark.skipif(not PROGRAM.exists(), reason=f"{PROGRAM} is not built")
def test_train_promotes_and_rolls_back(tmp_path: Path) -> None:
    model = network(tmp_path)
    data = pictures(tmp_path / "data")
    out = tmp_path / "new.hai"
    out.write_bytes(model.read_bytes())
    flags = ("--data", data, "--out", out, "--learning-rate", 0.02, "--held-out", 0.25, "--log", tmp_path / "log")
    answer = json.loads(run("train", model, *flags, "--epochs", 8, "--deploy", tmp_path / "small.hai", "--json"))
    promotion = answer["promotion"]
    assert promotion["promoted"], promotion
    assert promotion["int8"] > promotion["old"]
    assert promotion["int8"] >= promotion["float"] - 0.01
    assert answer["out"] == str(out)
    assert not Path(f"{out}.candidate").exists()
    fresh = pictures(tmp_path / "fresh", 20, seed=2)
    assert accuracy(out, fresh) > 0.9
    x = np.random.default_rng(3).uniform(0, 1, (32, 16, 16, 3)).astype(np.float32)
    assert np.array_equal(answers(tmp_path / "small.hai", x), answers(out, x))
    logged = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    (line,) = [line for line in logged if line["kind"] == "promotion"]
    assert line["promoted"]
    assert line["reason"] == ""

    # Not better than what is there now: it stays, and the candidate lies beside it.
    promoted = out.read_bytes()
    again = json.loads(run("train", model, *flags, "--epochs", 1, "--seed", 3, "--json"))
    assert not again["promotion"]["promoted"]
    assert again["promotion"]["reason"]
    assert out.read_bytes() == promoted
    assert again["out"] == f"{out}.candidate"
    assert hai.Trainer(f"{out}.candidate", threads=1).can_rebuild

    run("rollback", out)
    assert out.read_bytes() == model.read_bytes()
    plain = json.loads(run("train", model, *flags, "--epochs", 1, "--no-rebuild", "--json"))
    assert plain["promotion"] is None
    assert plain["out"] == str(out)
