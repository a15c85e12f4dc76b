"""The table of quantized accuracy: `./dev bench accuracy [model ...] [--only SYSTEM ...]`.

A table for each model, a line for each system; peers in the same run with the same pictures, the same preprocessing, the same
head left in float. Each figure has a 95 % interval by bootstrap over the photos. Answers are kept (`answers.py`): `--only hai` asks
peers nothing new. What cannot run here is a line that names the reason.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import hai_toolkit as hai
import numpy as np
from hai_toolkit import evaluation

from bench.accuracy import conversion_time, metrics, tiny
from bench.accuracy.answers import Answers, answers_of
from bench.accuracy.photos import photos, test_data
from bench.accuracy.systems import SYSTEMS
from bench.accuracy.tasks import TASKS, Task
from bench.reasons import Skipped, exit_status

_PEERS = ("onnxruntime", "nncf", "aimet")
_HERE = ("here_onnxruntime", "here_nncf")
_OF_CLASSES = (*_PEERS, *_HERE, "hai_f32", "hai_int8", "hai_no_data", "hai_w4a8", "hai_mixed")
_OF_BOXES = (*_PEERS, *_HERE, "hai_f32", "hai_int8", "hai_no_data")
_CLASS_COLUMNS = ("mean KL to f32", "same class as f32", "top-1", "paired drop, points", "cost")
_BOX_COLUMNS = ("fidelity mAP", "mAP50", "labelled mAP", "paired drop", "cost")
Interval = tuple[float, float]


@dataclass
class _Line:
    """One system's figures, and what was to be reached."""

    system: str
    cells: list[str] = field(default_factory=list)
    goals: list[tuple[str, bool]] = field(default_factory=list)

    def goal_text(self) -> str:
        """Each goal and its verdict."""
        return "; ".join(f"{goal}: {'reached' if reached else '**missed**'}" for goal, reached in self.goals)


def _print_lines(title: str, columns: Sequence[str], lines: Sequence[_Line]) -> bool:
    """Print as markdown, intervals (95 %) in brackets; says whether no goal was missed."""
    print(f"\n{title}\n\n| system | {' | '.join(columns)} | goals |\n|{'---|' * (len(columns) + 2)}")
    for line in lines:
        cells = line.cells + [""] * (len(columns) - len(line.cells))
        print(f"| {line.system} | {' | '.join(cells)} | {line.goal_text()} |", flush=True)
    return all(reached for line in lines for _, reached in line.goals)


def _share(value: float, interval: Interval) -> str:
    return f"{value:.1%} ({interval[0]:.1%} to {interval[1]:.1%})"


def _number(value: float, interval: Interval, digits: int) -> str:
    return f"{value:.{digits}f} ({interval[0]:.{digits}f} to {interval[1]:.{digits}f})"


def _cost(answers: Answers) -> str:
    facts = answers.facts
    words = [f"{facts.get('quantize_cpu_s', 0.0):.0f} CPU s"]
    if "average_weight_bits" in facts:
        words.append(f"{facts['average_weight_bits']:.2f} bits a weight")
    if "file_bytes" in facts:
        words.append(f"{facts['file_bytes'] / 1e6:.2f} MB")
    return ", ".join(words)


def _class_lines(task: Task, asked: Callable[[str], Answers]) -> list[_Line]:
    labels = [photo.label for photo in photos("evaluation")]
    reference = asked("f32").values
    reference_hits = evaluation.hits(reference, labels).astype(np.float64)
    top = _share(reference_hits.mean(), evaluation.bootstrap_interval(reference_hits))
    lines = [_Line(SYSTEMS["f32"].title, ["", "", top])]
    best_peer = 0
    for name in _OF_CLASSES:
        line = _Line(SYSTEMS[name].title)
        lines.append(line)
        try:
            answers = asked(name)
        except Skipped as reason:
            line.cells = [f"skipped: {reason}"]
            continue
        kl = evaluation.kl(reference, answers.values)
        same = evaluation.same_class(reference, answers.values).astype(np.float64)
        hits = evaluation.hits(answers.values, labels).astype(np.float64)
        drop = 100 * float((reference_hits - hits).mean())
        low, high = evaluation.bootstrap_interval(reference_hits, hits)
        line.cells = [
            _number(float(kl.mean()), evaluation.bootstrap_interval(kl), 4),
            f"{_share(float(same.mean()), evaluation.bootstrap_interval(same))}, {same.sum():.0f} of {len(same)}",
            _share(float(hits.mean()), evaluation.bootstrap_interval(hits)),
            _number(drop, (100 * low, 100 * high), 2),
            _cost(answers),
        ]
        if name in _PEERS:
            best_peer = max(best_peer, int(same.sum()))
        line.goals = _class_goals(name, float(kl.mean()), int(same.sum()), len(same), best_peer, drop, answers)
    return lines


def _class_goals(
    name: str, kl: float, agreeing: int, count: int, best_peer: int, drop: float, answers: Answers
) -> list[tuple[str, bool]]:
    if name == "hai_int8":
        goals = [("KL <= 0.006", kl <= 0.006)]
        if best_peer:
            goals.append((f">= {best_peer - 1} photos, the best peer's less one", agreeing >= best_peer - 1))
        return goals
    least = {"hai_no_data": 0.95, "hai_w4a8": 0.92, "hai_mixed": 0.94}.get(name)
    goals = [] if least is None else [(f"same class >= {least:.0%}", agreeing >= least * count)]
    most = {"hai_w4a8": 3.0, "hai_mixed": 1.0}.get(name)
    if most is not None:
        goals.append((f"drop <= {most:g}", drop <= most))
    if name == "hai_mixed":
        goals.append(("bits <= 5.5", answers.facts.get("average_weight_bits", 32) <= 5.5))
    return goals


def _box_lines(task: Task, asked: Callable[[str], Answers]) -> list[_Line]:
    truth = hai.read_dataset(test_data() / "coco" / "evaluation.json")
    labelled = len(truth)
    if truth.boxes is None:
        raise Skipped("coco/evaluation.json has no boxes")
    reference = task.tables(asked("f32").values)
    floating = evaluation.coco_map(truth.boxes, reference[:labelled])
    own = evaluation.fidelity(reference, reference)
    label = f"{_number(floating.map, floating.interval(), 3)}, mAP50 {floating.map50:.3f}"
    lines = [_Line(f"{SYSTEMS['f32'].title}: {own.true_count} true boxes", ["", "", label])]
    best_peer: float | None = None
    for name in _OF_BOXES:
        if name == "hai_no_data" and task.name != "yolov5n":
            continue
        line = _Line(SYSTEMS[name].title)
        lines.append(line)
        try:
            answers = asked(name)
        except Skipped as reason:
            line.cells = [f"skipped: {reason}"]
            continue
        tables = task.tables(answers.values)
        figures = evaluation.fidelity(reference, tables)
        judged = evaluation.coco_map(truth.boxes, tables[:labelled])
        line.cells = [
            _number(figures.map, figures.interval(), 4),
            f"{figures.map50:.3f}",
            f"{_number(judged.map, judged.interval(), 3)}, mAP50 {judged.map50:.3f}",
            _number(floating.map - judged.map, floating.interval(judged), 3),
            _cost(answers),
        ]
        if name in _PEERS:
            best_peer = max(figures.map, best_peer or 0.0)
        least = {"hai_int8": 0.93, "hai_no_data": 0.80}.get(name) if task.name == "yolov5n" else None
        if least is not None:
            line.goals = [(f">= {least:.2f}", figures.map >= least)]
        elif name == "hai_int8" and best_peer is not None:
            line.goals = [(f"> {best_peer:.4f}, the best peer", figures.map > best_peer)]
    return lines


def measure(models: Sequence[str] = (), only: Sequence[str] = (), quantizer: str = "{}", fresh: bool = False) -> bool:
    """Print the tables; says whether no goal was missed."""
    print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {platform.python_version()}; `./dev bench accuracy`")
    reached = True

    def asked_for(task: str) -> Callable[[str], Answers]:
        def asked(system: str) -> Answers:
            # The reference and peers that are not asked for come from what is kept.
            again = fresh and (not only or any(system.startswith(prefix) for prefix in only))
            left_out = only and system != "f32" and not any(system.startswith(prefix) for prefix in only)
            options = quantizer if system.startswith("hai") else "{}"
            return answers_of(task, system, options, fresh=again, kept_only=bool(left_out))

        return asked

    for name, task in TASKS.items():
        if models and name not in models:
            continue
        try:
            lines = (_class_lines if task.kind == "classes" else _box_lines)(task, asked_for(name))
            title = f"{task.title}, {len(task.pictures())} photos (`./dev bench accuracy {name}`)"
        except Skipped as reason:
            lines, title = [_Line("all", [f"skipped: {reason}"])], task.title
        reached = _print_lines(title, _CLASS_COLUMNS if task.kind == "classes" else _BOX_COLUMNS, lines) and reached
    for name, module in (("tiny", tiny), ("conversion_time", conversion_time), ("metrics", metrics)):
        if not models or name in models:
            try:
                reached = module.measure() and reached
            except Skipped as reason:
                print(f"\n{name}: skipped: {reason}")
    return reached


def main(words: Sequence[str] | None = None) -> int:
    """Command line."""
    names = [*TASKS, "tiny", "conversion_time", "metrics"]
    parser = argparse.ArgumentParser(prog="./dev bench accuracy", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(names)}; all by default")
    parser.add_argument("--only", nargs="+", default=[], metavar="SYSTEM", help=f"or its start: {', '.join(SYSTEMS)}")
    parser.add_argument("--quantizer", default="{}", help="more options of hai_toolkit.Quantizer, JSON")
    parser.add_argument("--fresh", action="store_true", help="do not use kept answers")
    arguments = parser.parse_args(words)
    unknown = [name for name in arguments.models if name not in names]
    if unknown:
        parser.error(f"unknown model {unknown[0]}; known: {', '.join(names)}")
    return exit_status(lambda: measure(arguments.models, arguments.only, arguments.quantizer, arguments.fresh))


if __name__ == "__main__":
    sys.exit(main())
