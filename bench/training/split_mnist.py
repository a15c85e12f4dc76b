"""Split MNIST, 5 tasks of two digits one after the other: `./dev bench split_mnist [--seeds 5] [--digits FOLDER] [--rows FILE]`.

The digits and the network are those of permuted_mnist (9,000 to train, 1,000 to test; 784-256-256-10), Adam 1e-3, 5 epochs, batch
32, moments set to zero at each task. Multi-head: task and answer are among the task's two digits. Class-incremental: one head of
ten classes of which those seen so far take part, no task is told. The strength of EWC is permuted_mnist's 300; other numbers are
hai.Learner's defaults: nothing is chosen here. Figures: mean accuracy over the 5 tasks after the last.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import hai_toolkit as hai
import numpy as np

from bench.reasons import exit_status
from bench.training.permuted_mnist import digits, initial_weights

TASKS = [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]
# What is run, whether the heads are told, and what is to be reached.
METHODS: dict[str, tuple[str, bool, tuple[float, float] | None]] = {
    "multi-head, EWC": ("ewc", True, (0.96, 1.0)),
    "multi-head, naive": ("naive", True, None),
    "multi-head, LwF": ("lwf", True, None),
    "naive": ("naive", False, None),
    "EWC alone": ("ewc", False, (0.0, 0.25)),
    "LwF": ("lwf", False, None),
    "replay of 200": ("replay", False, (0.75, 1.0)),
    "EWC and replay of 200": ("ewc+replay", False, None),
    "DER++ of 200": ("der++", False, (0.82, 1.0)),
}


def model_of(seed: int) -> hai.Model:
    """784-256-256-10."""
    w = initial_weights(seed)
    graph = hai.GraphBuilder("mlp", batch=(1, 96))
    x = graph.input("x", ("N", 784))
    for i in range(3):
        x = graph.matmul(x, w[2 * i], w[2 * i + 1], name=f"layer{i}")
        x = x if i == 2 else graph.unary("relu", x)
    graph.output(x, "logits")
    return hai.Model(graph.native)


def run(what: str, data: dict[str, Any], seed: int) -> list[float]:
    """Accuracy on each task after the last."""
    method, told, _ = METHODS[what]
    with tempfile.TemporaryDirectory() as folder:
        learner = hai.Learner(
            model_of(seed),
            folder,
            method=method,
            classes=10 if told else 2,
            train={"optimizer": "adam"},
            threads=2,
            seed=seed,
        )
        for number, task in enumerate(TASKS):
            if number > 0 and not told:
                learner.add_classes(2)
            chosen = np.isin(data["y"], task)
            learner.learn(
                data["x"][chosen],
                data["y"][chosen],
                schedule=1e-3,
                seed=10 * seed + number,
                heads=task if told else None,
            )
        out = []
        for task in TASKS:
            chosen = np.isin(data["ty"], task)
            answers = learner.predict(data["tx"][chosen], heads=task if told else None)
            out.append(float((answers == data["ty"][chosen]).mean()))
    return out


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--digits", type=Path, default=Path(os.environ.get("HAI_DIGITS", "digits")))
    parser.add_argument("--rows", type=Path, default=Path(__file__).parent / "split_mnist.jsonl")
    chosen = parser.parse_args(arguments)
    return exit_status(lambda: measure(chosen))


def measure(chosen: argparse.Namespace) -> bool:
    """Prints the table; whether the goals are met."""
    x, y = digits(chosen.digits)
    data = {"x": x[:9000], "y": y[:9000], "tx": x[9000:], "ty": y[9000:]}
    rows = [json.loads(line) for line in chosen.rows.read_text().splitlines()] if chosen.rows.exists() else []
    done = {(row["what"], row["seed"]): row for row in rows}
    good = True
    print(f"| method | mean of 5 tasks, {chosen.seeds} seeds | of the first task | to reach |\n|---|---|---|---|")
    for what, (_, _, goal) in METHODS.items():
        found = []
        for seed in range(1, chosen.seeds + 1):
            if (what, seed) not in done:
                begin = time.time()
                accuracies = run(what, data, seed)
                row = {
                    "what": what,
                    "seed": seed,
                    "mean": round(float(np.mean(accuracies)), 4),
                    "first": round(accuracies[0], 4),
                    "s": round(time.time() - begin),
                }
                with chosen.rows.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                done[what, seed] = row
            found.append(done[what, seed])
        means = [row["mean"] for row in found]
        mean = float(np.mean(means))
        first = float(np.mean([row["first"] for row in found]))
        good = good and (goal is None or goal[0] <= mean <= goal[1])
        wanted = "" if goal is None else f"{goal[0]:g} to {goal[1]:g}"
        print(f"| {what} | {mean:.3f} ({min(means):.3f} to {max(means):.3f}) | {first:.3f} | {wanted} |", flush=True)
    return good
