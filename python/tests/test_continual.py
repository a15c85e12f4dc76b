"""Elastic weight consolidation: what the Fisher information is, what the pull does, and that it keeps a task."""

from __future__ import annotations

from pathlib import Path

import hai_toolkit as hai
import numpy as np
import pytest


@pytest.fixture
def line() -> hai.Model:
    """Logistic regression: 3 inputs, 2 classes."""
    random = np.random.default_rng(5)
    graph = hai.GraphBuilder("line", batch=(1, 64))
    x = graph.input("x", ("N", 3))
    w, b = random.normal(0, 1, (2, 3)).astype(np.float32), random.normal(0, 1, 2).astype(np.float32)
    graph.output(graph.matmul(x, w, b, name="head"), "logits")
    return hai.Model(graph.native)


@pytest.fixture
def network() -> hai.Model:
    random = np.random.default_rng(6)
    graph = hai.GraphBuilder("net", batch=(1, 64))
    x = graph.input("x", ("N", 20))
    w = random.normal(0, 0.3, (64, 20)).astype(np.float32)
    x = graph.unary("relu", graph.matmul(x, w, np.zeros(64, np.float32), name="hidden"))
    w = random.normal(0, 0.1, (4, 64)).astype(np.float32)
    graph.output(graph.matmul(x, w, np.zeros(4, np.float32), name="head"), "logits")
    return hai.Model(graph.native)


def test_the_fisher_information_is_that_of_the_formula(line: hai.Model, tmp_path: Path) -> None:
    """Of softmax regression: E over x of p_k (1 - p_k) x_j^2 for weight [k, j], the expectation over drawn labels."""
    ewc = hai.ElasticWeights(line, tmp_path, strength=1.0)
    x = np.random.default_rng(1).normal(0, 1, (4000, 3)).astype(np.float32)
    names = ewc.trainer.parameter_names
    w, b = (ewc.trainer.get(name) for name in sorted(names, key=lambda n: -ewc.trainer.get(n).ndim))
    logits = x @ w.T + b
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    expected = np.einsum("nk,nj->kj", p * (1 - p), x.astype(np.float64) ** 2) / len(x)
    measured = next(f for f in ewc.fisher(x, samples=4000, seed=2).values() if f.ndim == 2)
    assert np.abs(measured / expected - 1).max() < 0.1  # 4,000 drawn labels: three sigma are about 6 %


def test_strength_zero_is_naive_training_bit_for_bit(network: hai.Model, tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    x, y = random.normal(0, 1, (128, 20)).astype(np.float32), random.integers(0, 4, 128)
    network.compile(train={"optimizer": "adam"}).save(tmp_path / "plain.hai")
    plain = hai.Trainer(tmp_path / "plain.hai", threads=1)
    ewc = hai.ElasticWeights(network, tmp_path, strength=0.0, train={"optimizer": "adam"}, threads=1)
    ewc.consolidate(x, samples=50)
    for trainer in (plain, ewc.trainer):
        trainer.fit(x, y, epochs=3, batch=32, schedule=0.01, seed=4)
    for name in plain.parameter_names:
        assert np.array_equal(plain.get(name), ewc.trainer.get(name))


def test_the_pull_is_strength_fisher_distance(line: hai.Model, tmp_path: Path) -> None:
    ewc = hai.ElasticWeights(line, tmp_path, strength=3.0, train={"optimizer": "sgd"})
    trainer = ewc.trainer
    name = next(n for n in trainer.parameter_names if trainer.get(n).ndim == 2)
    w = trainer.get(name)
    trainer.set(f"{name}/fisher", np.full_like(w, 0.5))
    trainer.set(f"{name}/anchor", w - 0.25)
    x, y = np.zeros((1, 3), np.float32), np.array([0])  # the data's gradient of the weights is zero
    trainer.step(x, y, 0.1)
    assert np.abs(trainer.get(name) - (w - 0.1 * 3.0 * 0.5 * 0.25)).max() < 1e-6


def test_a_task_is_kept_while_another_is_learnt(network: hai.Model, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    teacher = random.normal(0, 1, (20, 4))
    x = random.normal(0, 1, (800, 20)).astype(np.float32)
    y = (x @ teacher).argmax(1)
    other = np.ascontiguousarray(x[:, random.permutation(20)])  # the same classes of shuffled inputs
    kept = {}
    for strength in (0.0, 300.0):
        (tmp_path / str(strength)).mkdir()
        ewc = hai.ElasticWeights(
            network, tmp_path / str(strength), strength=strength, train={"optimizer": "adam"}, threads=1
        )
        ewc.trainer.fit(x, y, epochs=30, batch=64, schedule=3e-3)
        ewc.consolidate(x, samples=400)
        ewc.forget_optimizer()
        ewc.trainer.fit(other, y, epochs=30, batch=64, schedule=3e-3)
        ewc.trainer.save(tmp_path / "after.hai")
        session = hai.load(tmp_path / "after.hai").session(threads=1)
        answers = np.concatenate([session.run(x[i : i + 50])["logits"].argmax(1) for i in range(0, 800, 50)])
        kept[strength] = float((answers == y).mean())
    assert kept[300.0] > kept[0.0] + 0.1
    assert ewc.tasks == 1


def test_what_is_wrong_is_named(line: hai.Model, tmp_path: Path) -> None:
    with pytest.raises(hai.HaiError, match="Y070"):
        hai.ElasticWeights(line, tmp_path, strength=1.0, train={"loss": "mse"})
    with pytest.raises(hai.HaiError, match="Y071"):
        hai.ElasticWeights(line, tmp_path, strength=-1.0)
    ewc = hai.ElasticWeights(line, tmp_path, strength=1.0)
    with pytest.raises(hai.HaiError, match="Y072"):
        ewc.fisher(np.zeros((0, 3), np.float32))
