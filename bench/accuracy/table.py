"""The table of quantized accuracy: `./dev bench accuracy [model ...] [--only SYSTEM ...]`.

Rows: every system on every model, peers in the same run with the same pictures, the same preprocessing, the same head left in
float. Each figure has a 95 % interval by bootstrap over the photos. Answers are kept (`answers.py`): `--only hai` asks peers
nothing new. What cannot run here is a row that names the reason.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable, Sequence

import hai_toolkit as hai
import numpy as np
from hai_toolkit import evaluation
from numpy.typing import NDArray

from bench.accuracy import conversion_time, metrics, tiny
from bench.accuracy.answers import Answers, answers_of
from bench.accuracy.figures import Row, print_table
from bench.accuracy.photos import photos, test_data
from bench.accuracy.systems import SYSTEMS
from bench.accuracy.tasks import TASKS, Task
from bench.reasons import Skipped, exit_status

_PEERS = ("onnxruntime", "nncf", "aimet")
_HERE = ("here_onnxruntime", "here_nncf")
_OF_CLASSES = (*_PEERS, *_HERE, "hai_f32", "hai_int8", "hai_no_data", "hai_w4a8", "hai_mixed")
_OF_BOXES = (*_PEERS, *_HERE, "hai_f32", "hai_int8", "hai_no_data")
Interval = tuple[float, float]


def _share(value: float, interval: Interval) -> str:
    return f"{value:.1%} (95 %: {interval[0]:.1%} to {interval[1]:.1%})"


def _number(value: float, interval: Interval, digits: int = 4) -> str:
    return f"{value:.{digits}f} (95 %: {interval[0]:.{digits}f} to {interval[1]:.{digits}f})"


class _ClassFigures:
    """One system's scores against f32's."""

    def __init__(self, scores: NDArray[np.float32], reference: NDArray[np.float32], labels: Sequence[int]) -> None:
        self.same = evaluation.same_class(reference, scores).astype(np.float64)
        self.kl = evaluation.kl(reference, scores)
        self.hits = evaluation.hits(scores, labels).astype(np.float64)
        self.reference_hits = evaluation.hits(reference, labels).astype(np.float64)

    @property
    def drop(self) -> float:
        """Paired drop of top-1, points."""
        return 100 * float((self.reference_hits - self.hits).mean())

    def drop_text(self) -> str:
        """The drop and its interval."""
        low, high = evaluation.bootstrap_interval(self.reference_hits, self.hits)
        return f"{self.drop:.2f} points (95 %: {100 * low:.2f} to {100 * high:.2f})"


def _class_rows(task: Task, asked: Callable[[str], Answers]) -> list[Row]:
    labels = [photo.label for photo in photos("evaluation")]
    reference = asked("f32").values
    hits = evaluation.hits(reference, labels).astype(float)
    rows = [Row(f"{task.title} f32: top-1", _share(hits.mean(), evaluation.bootstrap_interval(hits)))]
    best_peer = 0
    for name in _OF_CLASSES:
        title = f"{task.title}, {SYSTEMS[name].title}"
        try:
            answers = asked(name)
        except Skipped as reason:
            rows.append(Row(f"{title}: skipped", str(reason)))
            continue
        figures = _ClassFigures(answers.values, reference, labels)
        agreeing = int(figures.same.sum())
        if name in _PEERS:
            best_peer = max(best_peer, agreeing)
        kl, same = float(figures.kl.mean()), float(figures.same.mean())
        goal, kl_goal, reached, kl_reached = "", "", None, None
        if name == "hai_int8":
            kl_goal, kl_reached = "<= 0.006", kl <= 0.006
            if best_peer:
                goal, reached = f">= {best_peer - 1} photos, the best peer's less one", agreeing >= best_peer - 1
        least = {"hai_no_data": 0.95, "hai_w4a8": 0.92, "hai_mixed": 0.94}.get(name)
        if least is not None:
            goal, reached = f">= {least:.0%}", same >= least
        rows.append(
            Row(f"{title}: mean KL to f32", _number(kl, evaluation.bootstrap_interval(figures.kl)), kl_goal, kl_reached)
        )
        shown = f"{_share(same, evaluation.bootstrap_interval(figures.same))}, {agreeing} photos"
        rows.append(Row(f"{title}: agreement of top-1", shown, goal, reached))
        most = {"hai_w4a8": 3.0, "hai_mixed": 1.0}.get(name)
        top = _share(float(figures.hits.mean()), evaluation.bootstrap_interval(figures.hits))
        rows.append(
            Row(
                f"{title}: top-1; paired drop",
                f"{top}; {figures.drop_text()}",
                "" if most is None else f"drop <= {most:g} points",
                None if most is None else figures.drop <= most,
            )
        )
        if name == "hai_mixed":
            bits = answers.facts.get("average_weight_bits")
            rows.append(
                Row(f"{title}: average bits of a weight", "not reported" if bits is None else f"{bits:.2f}", "<= 5.5",
                    bits is not None and bits <= 5.5)
            )  # fmt: skip
        rows += _cost_rows(title, answers)
    return rows


def _cost_rows(title: str, answers: Answers) -> list[Row]:
    seconds = answers.facts.get("quantize_cpu_s", 0.0)
    size = answers.facts.get("file_bytes")
    text = f"{seconds:.0f} CPU s to quantize" + ("" if size is None else f", file of {size / 1e6:.2f} MB")
    return [Row(f"{title}: cost ({answers.facts.get('version', '')})", text)]


def _box_rows(task: Task, asked: Callable[[str], Answers]) -> list[Row]:
    truth = hai.read_dataset(test_data() / "coco" / "evaluation.json")
    labelled = len(truth)
    if truth.boxes is None:
        raise Skipped("coco/evaluation.json has no boxes")
    reference = task.tables(asked("f32").values)
    floating = evaluation.coco_map(truth.boxes, reference[:labelled])
    rows = [
        Row(
            f"{task.title} f32: labelled mAP, mAP50 ({labelled} photos)",
            f"{_number(floating.map, floating.interval(), 3)}, {floating.map50:.3f}",
        )
    ]
    best_peer: float | None = None
    for name in _OF_BOXES:
        title = f"{task.title}, {SYSTEMS[name].title}"
        if name == "hai_no_data" and task.name != "yolov5n":
            continue
        try:
            answers = asked(name)
        except Skipped as reason:
            rows.append(Row(f"{title}: skipped", str(reason)))
            continue
        tables = task.tables(answers.values)
        figures = evaluation.fidelity(reference, tables)
        if name in _PEERS:
            best_peer = max(figures.map, best_peer or 0.0)
        goal, reached = "", None
        if name == "hai_int8" and task.name == "yolov5n":
            goal, reached = ">= 0.93", figures.map >= 0.93
        elif name == "hai_no_data":
            goal, reached = ">= 0.80", figures.map >= 0.80
        elif name == "hai_int8" and best_peer is not None:
            goal, reached = f"> {best_peer:.4f}, the better peer", figures.map > best_peer
        shown = (
            f"{_number(figures.map, figures.interval())}, mAP50 {figures.map50:.3f}, {figures.true_count} true boxes"
        )
        rows.append(Row(f"{title}: fidelity mAP", shown, goal, reached))
        judged = evaluation.coco_map(truth.boxes, tables[:labelled])
        low, high = floating.interval(judged)
        rows.append(
            Row(
                f"{title}: labelled mAP; paired drop",
                f"{_number(judged.map, judged.interval(), 3)}; {floating.map - judged.map:.3f} (95 %: {low:.3f} to {high:.3f})",
            )
        )
        rows += _cost_rows(title, answers)
    return rows


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
            rows = (_class_rows if task.kind == "classes" else _box_rows)(task, asked_for(name))
        except Skipped as reason:
            rows = [Row(f"{task.title}: skipped", str(reason))]
        title = f"{task.title}, {len(task.pictures())} photos (`./dev bench accuracy {name}`)"
        reached = print_table(title, rows) and reached
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
