"""The trainer from Python: learning, saving, schedules, and what it refuses."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import hai_toolkit as hai
import numpy as np
import pytest


def spirals(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three classes on spiral arms, which no lines part."""
    random = np.random.default_rng(seed)
    label = random.integers(0, 3, count)
    radius = random.uniform(0.1, 1, count)
    angle = 4 * radius + label * 2 * np.pi / 3 + random.normal(0, 0.1, count)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    return points.astype(np.float32), label


@pytest.fixture
def network() -> hai.Model:
    random = np.random.default_rng(7)
    graph = hai.GraphBuilder("spirals", batch=(1, 64))
    x = graph.input("point", ("N", 2))
    for i, (inputs, outputs) in enumerate([(2, 48), (48, 48)]):
        weights = random.normal(0, np.sqrt(2 / inputs), (outputs, inputs)).astype(np.float32)
        x = graph.unary("relu", graph.matmul(x, weights, np.zeros(outputs, np.float32), name=f"layer{i}"))
    weights = random.normal(0, 0.1, (3, 48)).astype(np.float32)
    graph.output(graph.matmul(x, weights, np.zeros(3, np.float32), name="head"), "logits")
    return hai.Model(graph.native)


@pytest.fixture
def path(network: hai.Model, tmp_path: Path) -> Path:
    file = tmp_path / "spirals.hai"
    network.compile(train={"optimizer": "adamw", "weight_decay": 1e-3}).save(file)
    return file


def accuracy(file: Path, points: np.ndarray, label: np.ndarray) -> float:
    session = hai.load(file).session(threads=1)
    answers = [session.run(points[i : i + 50])["logits"].argmax(1) for i in range(0, len(points), 50)]
    return float((np.concatenate(answers) == label).mean())


def test_fit_learns_and_what_is_saved_has_learnt(path: Path, tmp_path: Path) -> None:
    points, label = spirals(600)
    trainer = hai.Trainer(path)
    history = trainer.fit(
        points, label, epochs=60, batch=64, schedule=hai.Schedule(0.01, kind="cosine", warmup_steps=20), seed=3
    )
    assert history[0] > 0.9
    assert history[-1] < 0.1
    assert trainer.steps == 60 * 10  # the last batch of an epoch is short
    trainer.save(tmp_path / "trained.hai")
    fresh = spirals(500, seed=1)
    assert accuracy(path, *fresh) < 0.6
    assert accuracy(tmp_path / "trained.hai", *fresh) > 0.95
    assert hai.load(tmp_path / "trained.hai").metadata["trained_steps"] == "600"


def test_the_same_seed_gives_the_same_bits(path: Path) -> None:
    points, label = spirals(130)
    runs: list[dict[str, np.ndarray]] = []
    for threads in (1, 2, 1):
        trainer = hai.Trainer(path, threads=threads)
        trainer.fit(points, label, epochs=3, batch=32, schedule=0.01, seed=len(runs) // 2)
        runs.append({name: trainer.get(name) for name in trainer.state_names})
    assert all(np.array_equal(runs[0][name], runs[1][name]) for name in runs[0])
    assert not all(np.array_equal(runs[0][name], runs[2][name]) for name in runs[0])


def test_states_can_be_read_set_and_reset(path: Path) -> None:
    trainer = hai.Trainer(path)
    name = trainer.parameter_names[0]
    assert {f"{name}/m", f"{name}/v"} < set(trainer.state_names)
    first = trainer.get(name)
    trainer.set(name, first + 1)
    assert np.array_equal(trainer.get(name), first + 1)
    points, label = spirals(8)
    trainer.step(points, label, 0.1)
    assert trainer.get(f"{name}/m").any()
    trainer.reset()
    assert np.array_equal(trainer.get(name), first)
    assert not trainer.get(f"{name}/m").any()
    assert trainer.steps == 0


def test_epochs_end_where_the_caller_says(path: Path) -> None:
    points, label = spirals(64)
    seen: list[int] = []

    def stop_at_third(epoch: int, loss: float) -> bool:
        seen.append(epoch)
        return epoch < 2

    assert len(hai.Trainer(path).fit(points, label, epochs=50, on_epoch=stop_at_third)) == 3
    assert seen == [0, 1, 2]


def test_a_step_that_is_not_finite_changes_nothing(path: Path) -> None:
    points, label = spirals(8)
    trainer = hai.Trainer(path)
    before = {name: trainer.get(name) for name in trainer.state_names}
    points[3, 1] = np.nan
    result = trainer.step(points, label, 0.1)
    assert not result.applied
    assert trainer.refused_steps == 1
    assert all(np.array_equal(trainer.get(name), before[name]) for name in before)


def test_calls_of_several_threads_wait_for_each_other(path: Path) -> None:
    trainer = hai.Trainer(path, threads=1)

    def work(count: int) -> None:  # batches that grow the trainer's buffers while others run
        points, label = spirals(count)
        for _ in range(50):
            trainer.step(points, label, 1e-3)
            trainer.get(trainer.parameter_names[0])

    workers = [threading.Thread(target=work, args=(count,)) for count in (1, 64, 3, 17)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert trainer.steps == 200


def test_what_is_wrong_is_named(network: hai.Model, path: Path, tmp_path: Path) -> None:
    points, label = spirals(8)
    trainer = hai.Trainer(path)

    def refusal(code: str) -> Any:
        return pytest.raises(hai.HaiError, match=code)

    with refusal("Y060"):
        trainer.set(trainer.parameter_names[0], np.zeros(3))
    with refusal("Y061"):
        trainer.get("nothing")
    with refusal("Y062"):
        trainer.step({"image": points}, label, 0.1)
    with refusal("Y063"):
        trainer.step(points.astype(np.float64), label, 0.1)
    with refusal("Y064"):
        trainer.step(points, label + 1, 0.1)
    with refusal("Y065"):
        trainer.fit(points, label, epochs=0)
    with refusal("Y066"):
        trainer.fit(points, label[:5])
    with refusal("Y066"):
        trainer.fit(points[:0], label[:0])
    with refusal("E013"):
        trainer.step(points, label, -0.1)
    with refusal("E013"):
        trainer.step(points, label, 1e39)  # infinite as f32
    with refusal("R014"):
        trainer.step(*spirals(65), 0.1)
    with refusal("R025"):
        trainer.step(points, np.zeros((8, 4), np.float32), 0.1)
    with refusal("E001"):
        trainer.fit(points, label, schedule=hai.Schedule(0.1, kind="line"))  # type: ignore[arg-type]
    nothing = hai.GraphBuilder("nothing", batch=(1, 8))
    nothing.output(nothing.unary("relu", nothing.input("x", ("N", 2))), "y")
    with refusal("P532"):
        hai.Model(nothing.native).compile(train="loss=mse")
    half = hai.GraphBuilder("half", batch=(1, 8))
    half.output(half.matmul(half.input("x", ("N", 2), "f16"), np.ones((3, 2), np.float16)), "y")
    with refusal("K039"):
        hai.Model(half.native).compile(train="loss=mse")
    with refusal("P520"):
        network.compile(train="loss=hinge")
    with refusal("K033"):
        network.compile("sd3403", train="loss=mse")
    network.compile().save(tmp_path / "plain.hai")
    with refusal("F073"):
        hai.Trainer(tmp_path / "plain.hai")
    with refusal("B"):
        trainer.save("/dev/full/model.hai")
    truncated = tmp_path / "cut.hai"
    truncated.write_bytes(path.read_bytes()[:-100])
    with refusal("F0"):
        hai.Trainer(truncated)


def convolutions(seed: int = 3) -> hai.Model:
    random = np.random.default_rng(seed)
    graph = hai.GraphBuilder("pictures", batch=(1, 32))
    x = graph.input("picture", ("N", 13, 13, 3))
    for i, (inputs, outputs) in enumerate([(3, 16), (16, 16), (16, 19)]):
        w = random.normal(0, np.sqrt(2 / inputs / 9), (outputs, 3, 3, inputs)).astype(np.float32)
        x = graph.unary("relu", graph.conv2d(x, w, np.zeros(outputs, np.float32), padding=1, name=f"conv{i}"))
    x = graph.global_average_pool(x)
    w = random.normal(0, 0.3, (4, 19)).astype(np.float32)
    graph.output(graph.matmul(x, w, np.zeros(4, np.float32), name="head"), "logits")
    return hai.Model(graph.native)


@pytest.mark.parametrize("quantized", [False, True])
def test_features_that_are_kept_change_no_bit(quantized: bool, tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    pictures = random.normal(0, 1, (45, 13, 13, 3)).astype(np.float32)
    label = random.integers(0, 4, 45)
    model = convolutions()
    if quantized:
        model.quantize(calibration=[pictures[i : i + 1] for i in range(16)], trainable="last:2")
    model.compile(train="trainable=last:2,optimizer=sgd,momentum=0.9").save(tmp_path / "net.hai")
    states = []
    for keep in (False, True):
        trainer = hai.Trainer(tmp_path / "net.hai")
        assert trainer.has_features
        history = trainer.fit(pictures, label, epochs=3, batch=16, schedule=0.05, keep_features=keep)
        assert history[-1] < history[0]
        states.append({name: trainer.get(name) for name in trainer.state_names})
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[0])
    (features,) = trainer.features(pictures[:7])
    assert features.shape == (7, 13, 13, 16)
    assert features.dtype == (np.int8 if quantized else np.float32)
    # one sample alone gives the same
    (alone,) = trainer.features(pictures[6:7])
    assert np.array_equal(alone[0], features[6])
    trainer.save(tmp_path / "trained.hai")
    assert hai.Trainer(tmp_path / "trained.hai").has_features


def test_features_of_large_pictures_are_made_in_pieces(tmp_path: Path) -> None:
    # 33 x 2400 pixels of 16 channels: 5 MB a sample and layer, two layers at a time
    random = np.random.default_rng(6)
    graph = hai.GraphBuilder("wide", batch=(1, 5))
    x = graph.input("picture", ("N", 33, 2400, 3))
    for i, (inputs, outputs) in enumerate([(3, 16), (16, 16)]):
        w = random.normal(0, 0.2, (outputs, 3, 3, inputs)).astype(np.float32)
        x = graph.unary("relu", graph.conv2d(x, w, np.zeros(outputs, np.float32), padding=1, name=f"conv{i}"))
    head = random.normal(0, 0.3, (4, 16)).astype(np.float32)
    graph.output(graph.matmul(graph.global_average_pool(x), head, np.zeros(4, np.float32), name="head"), "logits")
    model = hai.Model(graph.native)
    # 51 MB if all five were made at once
    model.compile(train="trainable=head,optimizer=sgd,memory=12MB").save(tmp_path / "wide.hai")
    trainer = hai.Trainer(tmp_path / "wide.hai", threads=2, max_batch=5)
    pictures = random.normal(0, 1, (5, 33, 2400, 3)).astype(np.float32)
    (features,) = trainer.features(pictures)
    one_by_one = np.concatenate([trainer.features(pictures[i : i + 1])[0] for i in range(5)])
    assert np.array_equal(features, one_by_one)
    label = np.arange(5) % 4
    assert trainer.step(pictures, label, 0.1).loss > trainer.step(pictures, label, 0.1).loss


def test_a_model_without_a_frozen_part_has_no_features(path: Path) -> None:
    trainer = hai.Trainer(path)
    assert not trainer.has_features
    with pytest.raises(hai.HaiError, match="HAI-Y075"):
        trainer.features(np.zeros((1, 2), np.float32))
