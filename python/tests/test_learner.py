"""Learning one task after the other: what is kept for replay, which rows of the head move, checkpoints, and that it helps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hai_toolkit as hai
import numpy as np
import pytest

CENTRES = np.random.default_rng(3).normal(0, 2, (6, 8))


def blobs(classes: list[int], count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    label = random.choice(classes, count)
    return (CENTRES[label] + random.normal(0, 0.7, (count, 8))).astype(np.float32), label


def network(inputs: int = 8) -> hai.Model:
    random = np.random.default_rng(6)
    graph = hai.GraphBuilder("net", batch=(1, 96))
    x = graph.input("x", ("N", inputs))
    w = random.normal(0, 0.3, (32, inputs)).astype(np.float32)
    x = graph.unary("relu", graph.matmul(x, w, np.zeros(32, np.float32), name="hidden"))
    w = random.normal(0, 0.1, (6, 32)).astype(np.float32)
    graph.output(graph.matmul(x, w, np.zeros(6, np.float32), name="head"), "logits")
    return hai.Model(graph.native)


def learner_of(folder: Path, method: str, **options: Any) -> hai.Learner:
    folder.mkdir(exist_ok=True)
    train = {"optimizer": "adam", **options.pop("train", {})}
    return hai.Learner(
        network(), folder, method=method, capacity=24, fisher_samples=40, train=train, threads=1, **options
    )


def states(learner: hai.Learner) -> dict[str, np.ndarray]:
    return {name: learner.trainer.get(name) for name in learner.trainer.state_names}


def test_a_reservoir_keeps_each_sample_with_the_same_chance() -> None:
    kept = np.zeros(40)
    for seed in range(2000):
        buffer = hai.ReplayBuffer(10, seed=seed)
        for key in range(40):
            buffer.offer(key, key % 3, [np.float32([key])])
        assert len(buffer) == 10
        kept[buffer.draw(10)[0][0][:, 0].astype(int)] += 1
    # Each share is 1/4; of 2,000 trials five sigma are 0.048.
    assert np.abs(kept / 2000 - 0.25).max() < 0.05


def test_a_balanced_buffer_gives_classes_equal_room() -> None:
    buffer = hai.ReplayBuffer(12, "balanced", seed=4)
    for key in range(300):
        buffer.offer(key, 0 if key < 250 else 1 + key % 2, [np.float32([key])])
    assert np.bincount(buffer.labels()).tolist() == [4, 4, 4]
    arrays, _, _ = buffer.draw(12)
    assert len(set(arrays[0][:, 0].tolist())) == 12  # none twice
    assert buffer.relabel(int(arrays[0][0, 0]), 5) == 1
    assert np.bincount(buffer.labels(), minlength=6)[5] == 1
    assert buffer.relabel(-1, 5) == 0
    again = hai.ReplayBuffer(1)
    again.set_state(buffer.state())
    for _ in range(3):
        for a, b in zip(buffer.draw(30)[0], again.draw(30)[0], strict=True):
            assert np.array_equal(a, b)
    with pytest.raises(hai.HaiError, match="E041"):
        again.set_state({**buffer.state(), "replay": buffer.state()["replay"][:-1]})


def test_rows_of_classes_that_take_no_part_stay_to_the_bit(tmp_path: Path) -> None:
    learner = learner_of(tmp_path, "replay", classes=2)
    names = {learner.trainer.get(n).ndim: n for n in learner.trainer.parameter_names if n.startswith("head")}
    before = {n: learner.trainer.get(n) for n in names.values()}
    learner.learn(*blobs([0, 1], 80, 1), epochs=3, schedule=0.01)
    for name in names.values():
        assert np.array_equal(learner.trainer.get(name)[2:], before[name][2:])
        assert not np.array_equal(learner.trainer.get(name)[:2], before[name][:2])
    trained = {n: learner.trainer.get(n) for n in names.values()}
    answers = learner.answers(blobs([0, 1], 30, 2)[0])
    learner.add_classes(2)
    assert all(np.array_equal(learner.trainer.get(n), trained[n]) for n in names.values())
    assert np.array_equal(learner.answers(blobs([0, 1], 30, 2)[0]), answers)
    learner.learn(*blobs([2, 3], 80, 3), epochs=3, schedule=0.01, heads=[2, 3])
    assert set(learner.predict(blobs([2, 3], 30, 4)[0], heads=[2, 3]).tolist()) <= {2, 3}


@pytest.mark.parametrize("method", ["naive", "replay", "der++", "ewc+replay"])
def test_replay_keeps_old_classes_when_new_ones_come(method: str, tmp_path: Path) -> None:
    learner = learner_of(tmp_path, method, classes=2, strength=1.0)
    for task in ([0, 1], [2, 3], [4, 5]):
        if task[0] > 0:
            learner.add_classes(2)
        learner.learn(*blobs(task, 200, task[0]), epochs=12, schedule=0.01)
    x, y = blobs([0, 1, 2, 3, 4, 5], 400, 9)
    accuracy = float((learner.predict(x) == y).mean())
    assert accuracy < 0.45 if method == "naive" else accuracy > 0.8


def centred(logits: np.ndarray) -> np.ndarray:
    return logits - logits.mean(1, keepdims=True)


def test_old_answers_keep_the_tasks_of_other_heads(tmp_path: Path) -> None:
    kept = {}
    for method in ("naive", "lwf"):
        learner = learner_of(tmp_path / method, method, alpha=1.0)
        x, y = blobs([0, 1, 2], 200, 1)
        learner.learn(x, y, epochs=10, schedule=0.02, heads=[0, 1, 2])
        new, label = blobs([3, 4, 5], 200, 2)
        before = centred(learner.answers(new)[:, :3])  # what the old heads say of the new samples
        learner.learn(new, label, epochs=10, schedule=0.02, heads=[3, 4, 5])
        assert (learner.predict(new, heads=[3, 4, 5]) == label).mean() > 0.9
        kept[method] = float(np.abs(centred(learner.answers(new)[:, :3]) - before).mean())
    assert kept["lwf"] < 0.7 * kept["naive"]


@pytest.mark.parametrize("method", ["der++", "lwf", "ewc+replay", "online-ewc"])
def test_a_resumed_learner_ends_in_the_same_bits(method: str, tmp_path: Path) -> None:
    def learn_all(learner: hai.Learner, folder: Path | None) -> hai.Learner:
        for task in range(learner.tasks, 3):
            x, y = blobs([2 * task, 2 * task + 1], 60, task)
            learner.learn(x, y, epochs=3, schedule=0.01, seed=5, checkpoint=folder)
        return learner

    whole = learn_all(learner_of(tmp_path / "whole", method, decay=0.9), None)
    rounds = 0
    while True:  # ended by force every seven steps
        learner = learner_of(tmp_path / "parts", method, decay=0.9)
        learner.load_checkpoint(tmp_path / "checkpoints", missing_ok=True)
        steps = 0
        take_step = learner.trainer.step

        def limited(*arguments: Any, take_step: Any = take_step) -> Any:
            nonlocal steps
            steps += 1
            if steps > 7:
                raise KeyboardInterrupt
            return take_step(*arguments)

        learner.trainer.step = limited  # type: ignore[method-assign]
        try:
            learn_all(learner, tmp_path / "checkpoints")
        except KeyboardInterrupt:
            rounds += 1
            assert rounds < 20
            continue
        break
    assert rounds > 1
    a, b = states(whole), states(learner)
    assert all(np.array_equal(a[name], b[name]) for name in a)
    if whole.buffer is not None and learner.buffer is not None:
        assert whole.buffer.state() == learner.buffer.state()


def test_features_are_replayed_where_the_front_is_frozen(tmp_path: Path) -> None:
    learner = learner_of(tmp_path, "replay", classes=2, train={"trainable": "head"})
    assert learner.trainer.has_features
    learner.learn(*blobs([0, 1], 100, 1), epochs=8, schedule=0.02)
    assert learner.buffer is not None
    arrays, _, _ = learner.buffer.draw(5)
    assert arrays[0].shape == (5, 32)
    learner.add_classes(2)
    learner.learn(*blobs([2, 3], 100, 2), epochs=8, schedule=0.02)
    x, y = blobs([0, 1, 2, 3], 200, 3)
    assert (learner.predict(x) == y).mean() > 0.8


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    def refusal(code: str) -> Any:
        return pytest.raises(hai.HaiError, match=code)

    with refusal("Y090"):
        hai.ReplayBuffer(4, "ring")  # type: ignore[arg-type]
    with refusal("E040"):
        hai.ReplayBuffer(0)
    buffer = hai.ReplayBuffer(4)
    buffer.offer(0, 0, [np.zeros(3, np.float32)])
    with refusal("Y091"):
        buffer.offer(1, 0, [np.zeros(4, np.float32)])
    with refusal("Y092"):
        learner_of(tmp_path, "memory")
    with refusal("Y093"):
        learner_of(tmp_path, "naive", classes=7)
    with refusal("Y111"):
        learner_of(tmp_path, "naive", train={"optimizer": "fisher"})
    learner = learner_of(tmp_path, "naive", classes=2)
    with refusal("Y093"):
        learner.add_classes(5)
    with refusal("Y099"):
        learner.add_classes(-1)
    assert learner.classes == 2
    x, y = blobs([0, 1], 10, 1)
    with refusal("Y094"):
        learner.learn(x, y[:5])
    with refusal("Y095"):
        learner.learn(x, y + 1)
    with refusal("Y095"):
        learner.learn(x, y + 90)  # more than the head has rows
    with refusal("Y100"):
        learner.learn(np.full_like(x, np.nan), y)
    assert len(learner.predict(x[:0])) == 0
    with refusal("Y097"):
        learner.predict(x, heads=[2])
    with refusal("Y076"):
        learner.trainer.target_layout.rows(np.zeros((1, 6), np.float32), old=np.zeros((1, 6)))
    learner.trainer.save_checkpoint(tmp_path / "plain")
    with refusal("Y098"):
        learner.load_checkpoint(tmp_path / "plain")
