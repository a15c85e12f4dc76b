"""How good a model is, with an interval: top-1, agreement with another model, divergence, COCO's mAP, fidelity.

    figure = evaluate(model, "evaluation.tsv", "top1")
    print(figure)          # top1 0.879 (95 %: 0.847 to 0.908), 437 pictures

Pictures reach the model through its own preprocessing, the same code as in calibration and in the field. Figures come from
C++ (``src/data/metrics.h``) and equal pycocotools'. Intervals: bootstrap over pictures, 95 %.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from .datasets import Dataset, TrueBoxes, read_dataset
from .detections import (
    FAMILIES,
    Boxes,
    Decoder,
    decode,
    decode_fastestdet,
    decode_yolov5,
    decode_yolox,
    family_of,
    nms,
    output_list,
)
from .errors import HaiError
from .model import CompiledModel, Model
from .preprocessing import PictureTransform, Preprocessing
from .runtime import LoadedModel, Session, load

__all__ = [
    "CocoFigures",
    "Dataset",
    "Figure",
    "Interval",
    "TrueBoxes",
    "agreement",
    "bootstrap_interval",
    "coco_map",
    "decode",
    "decode_fastestdet",
    "decode_yolov5",
    "decode_yolox",
    "evaluate",
    "fidelity",
    "hits",
    "kl",
    "mean_kl",
    "nms",
    "read_dataset",
    "top1",
    "top5",
]

REPLICATES = 2000
_MAP_REPLICATES = 1000
FIDELITY_TRUE_SCORE = 0.25
FIDELITY_MIN_SCORE = 0.001
Scores = npt.ArrayLike
Interval = tuple[float, float]
Runner = Callable[[npt.NDArray[np.float32]], Any]


@dataclass(frozen=True)
class Figure:
    """A measured figure with its 95 % interval and the number of pictures behind it."""

    name: str
    value: float
    interval: Interval
    count: int
    details: dict[str, float] = field(default_factory=dict)

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.name} {self.value:.4g} (95 %: {low:.4g} to {high:.4g}), {self.count} pictures"


def _rows(scores: Scores) -> npt.NDArray[np.float32]:
    rows = np.ascontiguousarray(scores, np.float32)
    if rows.ndim != 2:
        raise HaiError("HAI-Y730", f"scores of shape {list(rows.shape)}: one row per picture is needed")
    return rows


def hits(scores: Scores, labels: npt.ArrayLike, k: int = 1) -> npt.NDArray[np.bool_]:
    """For each row whether its label is among the ``k`` best classes; of equal scores the lower number comes first."""
    return np.asarray(_core.top_k_hits(_rows(scores), np.ascontiguousarray(labels, np.int64), k)).astype(bool)


def top1(scores: Scores, labels: npt.ArrayLike) -> float:
    """Share of pictures whose best class is the label."""
    return float(hits(scores, labels).mean())


def top5(scores: Scores, labels: npt.ArrayLike) -> float:
    """Share of pictures whose label is among the five best classes."""
    return float(hits(scores, labels, 5).mean())


def same_class(reference: Scores, scores: Scores) -> npt.NDArray[np.bool_]:
    """For each row whether both have the same best class."""
    first, second = np.asarray(_core.best_classes(_rows(reference))), np.asarray(_core.best_classes(_rows(scores)))
    if len(first) != len(second):
        raise HaiError("HAI-Y731", f"{len(first)} rows against {len(second)}: they must be of the same pictures")
    return np.asarray(first == second)


def agreement(reference: Scores, scores: Scores) -> float:
    """Share of pictures on which both name the same class first."""
    return float(same_class(reference, scores).mean())


def kl(reference: Scores, scores: Scores) -> npt.NDArray[np.float64]:
    """For each row the Kullback-Leibler divergence of softmax(scores) from softmax(reference), in nats."""
    return np.asarray(_core.divergences(_rows(reference), _rows(scores)))


def mean_kl(reference: Scores, scores: Scores) -> float:
    """Mean of :func:`kl`."""
    return float(kl(reference, scores).mean())


def bootstrap_interval(
    values: npt.ArrayLike, against: npt.ArrayLike | None = None, *, replicates: int = REPLICATES, seed: int = 1
) -> Interval:
    """95 % interval of a mean over pictures; with ``against``, of the paired difference values - against."""
    data = np.ascontiguousarray(values, np.float64)
    if against is not None:
        other = np.asarray(against, np.float64)
        if other.shape != data.shape:
            raise HaiError("HAI-Y732", f"{data.shape} values against {other.shape}: pairs are of the same pictures")
        data = data - other
    if data.ndim != 1 or data.size == 0:
        raise HaiError("HAI-Y733", f"values of shape {list(data.shape)}: one number per picture is needed")
    return _quantiles(np.asarray(_core.bootstrap_means(data, replicates, seed)))


def _quantiles(values: npt.NDArray[np.float64]) -> Interval:
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


class CocoFigures:
    """COCO's figures of one set of answers."""

    def __init__(self, matches: Any, pictures: int, true_count: int) -> None:
        self._matches = matches
        self.pictures = pictures
        self.true_count = true_count
        self.map, self.map50, self.map75, self.recall = matches.figures()

    @property
    def by_category(self) -> dict[int, float]:
        """Average precision of each class that has a true box."""
        return {int(number): float(value) for number, value in self._matches.by_category().items()}

    def interval(
        self, against: CocoFigures | None = None, *, replicates: int = _MAP_REPLICATES, seed: int = 1
    ) -> Interval:
        """95 % interval of ``map`` over the pictures; with ``against``, of the paired difference of both maps."""
        values = np.asarray(self._matches.bootstrap(replicates, seed))[:, 0]
        if against is not None:
            if against.pictures != self.pictures:
                raise HaiError("HAI-Y734", f"{self.pictures} pictures against {against.pictures}: pairs are needed")
            values = values - np.asarray(against._matches.bootstrap(replicates, seed))[:, 0]
        return _quantiles(values)


def coco_map(
    truth: TrueBoxes,
    answers: Sequence[npt.ArrayLike],
    *,
    max_detections: int = 100,
    area: tuple[float, float] = (0.0, 1e10),
) -> CocoFigures:
    """COCO's average precision. ``answers``: for each picture its boxes ``[n, 6]`` (corners, score, class number)."""
    tables = [np.asarray(boxes, np.float64).reshape(-1, 6) for boxes in answers]
    rows = np.concatenate([*tables, np.zeros((0, 6))])
    picture = np.repeat(np.arange(len(tables), dtype=np.int64), [len(table) for table in tables])
    sides = np.concatenate([rows[:, :2], rows[:, 2:4] - rows[:, :2]], 1)
    matches = _core.match_boxes(
        len(tables),
        np.ascontiguousarray(truth.picture),
        np.ascontiguousarray(truth.category),
        np.ascontiguousarray(truth.box),
        np.ascontiguousarray(truth.area),
        np.ascontiguousarray(truth.crowd),
        picture,
        rows[:, 5].astype(np.int32),
        np.ascontiguousarray(sides),
        np.ascontiguousarray(rows[:, 4]),
        max_detections,
        area[0],
        area[1],
    )
    return CocoFigures(matches, len(tables), len(truth.box))


def boxes_as_truth(boxes: Sequence[npt.ArrayLike], min_score: float = FIDELITY_TRUE_SCORE) -> TrueBoxes:
    """A model's boxes with a score above ``min_score`` taken as the truth."""
    tables = [np.asarray(table, np.float64).reshape(-1, 6) for table in boxes]
    kept = [table[table[:, 4] > min_score] for table in tables]
    rows = np.concatenate([*kept, np.zeros((0, 6))])
    picture = np.repeat(np.arange(len(kept)), [len(table) for table in kept])
    sides = np.concatenate([rows[:, :2], rows[:, 2:4] - rows[:, :2]], 1)
    return TrueBoxes.of(picture.tolist(), rows[:, 5].astype(int).tolist(), sides.tolist())


def fidelity(reference: Sequence[npt.ArrayLike], answers: Sequence[npt.ArrayLike]) -> CocoFigures:
    """COCO's mAP of ``answers`` against the reference model's boxes with a score above 0.25: what quantization changed.

    Both per picture, ``[n, 6]``, after class-wise suppression at 0.45; the answers from a score of 0.001 on.
    """
    if len(reference) != len(answers):
        raise HaiError("HAI-Y735", f"boxes of {len(reference)} pictures against {len(answers)}: they must be the same")
    truth = boxes_as_truth(reference)
    if not len(truth.box):
        raise HaiError("HAI-Y736", "the reference has no box with a score above 0.25: nothing to be faithful to")
    return coco_map(truth, answers)


def _runner(model: Any, threads: int) -> tuple[Runner, Preprocessing | None]:
    """A function from one input to outputs, and the model's own preprocessing."""
    if isinstance(model, (str, os.PathLike)):
        return _runner(load(model), threads)
    if isinstance(model, (Model, CompiledModel)):
        rule = model.preprocessing if isinstance(model, Model) else None
        compiled = model.compile() if isinstance(model, Model) else model
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "evaluated.hai"
            compiled.save(path)
            loaded = load(path)
            return loaded.session(threads).run, rule or loaded.preprocessing
    if isinstance(model, LoadedModel):
        return model.session(threads).run, model.preprocessing
    if isinstance(model, Session):
        return model.run, None
    if hasattr(model, "run") and callable(model.run):
        return model.run, getattr(model, "preprocessing", None)
    if callable(model):
        return model, getattr(model, "preprocessing", None)
    raise HaiError("HAI-Y737", f"a {type(model).__name__} cannot be evaluated: give a model, a .hai file or a function")


def _answers(
    model: Any, rule: Preprocessing | None, dataset: Dataset, threads: int
) -> Iterator[tuple[list[npt.NDArray[Any]], PictureTransform, Preprocessing]]:
    run, own = _runner(model, threads)
    chosen = rule or own
    if chosen is None:
        raise HaiError("HAI-Y738", "the model does not say how pictures become its input: give preprocessing=")
    for position, picture in enumerate(dataset.pictures):
        data, transform = chosen.with_transform(picture)
        if dataset.sizes and (transform.width, transform.height) != dataset.sizes[position]:
            raise HaiError(
                "HAI-Y739",
                f"{picture} is {transform.width}x{transform.height}, its boxes were drawn at "
                f"{dataset.sizes[position][0]}x{dataset.sizes[position][1]}",
            )
        yield output_list(run(data)), transform, chosen


def class_scores(
    model: Any, dataset: Dataset, preprocessing: Preprocessing | None = None, *, threads: int = 0
) -> npt.NDArray[np.float32]:
    """The first output for every picture, one row each."""
    rows = [outputs[0].reshape(1, -1) for outputs, _, _ in _answers(model, preprocessing, dataset, threads)]
    return np.concatenate(rows).astype(np.float32)


def detected_boxes(
    model: Any,
    dataset: Dataset,
    preprocessing: Preprocessing | None = None,
    decoder: str | Decoder | None = None,
    *,
    min_score: float = FIDELITY_MIN_SCORE,
    threads: int = 0,
) -> list[Boxes]:
    """The boxes of every picture; without ``decoder`` the family is recognised by the output's shape."""
    if isinstance(decoder, str) and decoder not in FAMILIES:
        raise HaiError("HAI-Y740", f'there is no decoder "{decoder}"; choose one of {", ".join(FAMILIES)}')
    result = []
    for outputs, transform, rule in _answers(model, preprocessing, dataset, threads):
        size = (rule.width, rule.height)
        if callable(decoder):
            result.append(np.asarray(decoder(outputs, transform, size), np.float32).reshape(-1, 6))
        else:
            family = next((name for name in FAMILIES if name == decoder), None) or family_of(outputs, size)
            result.append(decode(family, outputs, transform, size, min_score=min_score))
    return result


_CLASS_METRICS = ("top1", "top5")
_PAIR_METRICS = ("agreement", "mean_kl")
_BOX_METRICS = ("map", "map50")
METRICS = (*_CLASS_METRICS, *_PAIR_METRICS, *_BOX_METRICS, "fidelity")


def evaluate(
    model: Any,
    dataset: Dataset | str | os.PathLike[str],
    metric: str | Callable[[npt.NDArray[np.float32], Dataset], float] | None = None,
    *,
    reference: Any = None,
    preprocessing: Preprocessing | None = None,
    decode: str | Decoder | None = None,
    images: str | os.PathLike[str] | None = None,
    classes: Sequence[str] | None = None,
    threads: int = 0,
    seed: int = 1,
) -> Figure:
    """Runs a model over a dataset.

    ``model``: a ``.hai`` file, any of hai_toolkit's models, or a function from an input array to outputs. ``dataset``: see
    :func:`read_dataset`. ``metric``: ``top1``, ``top5`` (classes), ``map``, ``map50`` (boxes); against ``reference``, another
    model: ``agreement``, ``mean_kl``, ``fidelity`` (any pictures); or a function of the scores and the dataset; by default
    top1 or map. ``decode``: a family of detectors or a function; by default recognised. An interval goes with each.
    """
    data = dataset if isinstance(dataset, Dataset) else read_dataset(dataset, images=images, classes=classes)
    if not len(data):
        raise HaiError("HAI-Y741", f"{data.name}: the dataset is empty: no picture in it")
    chosen = metric or {"classes": "top1", "boxes": "map", "pictures": "agreement"}[data.kind]
    if callable(chosen):
        scores = class_scores(model, data, preprocessing, threads=threads)
        value = float(chosen(scores, data))
        return Figure(getattr(chosen, "__name__", "metric"), value, (float("nan"), float("nan")), len(data))
    if chosen not in METRICS:
        raise HaiError("HAI-Y742", f'there is no metric "{chosen}"; choose one of {", ".join(METRICS)}, or a function')
    needed = "classes" if chosen in _CLASS_METRICS else "boxes" if chosen in _BOX_METRICS else None
    if needed is not None and data.kind != needed:
        raise HaiError("HAI-Y743", f"{chosen} needs a dataset with {needed}, {data.name} has {data.kind}")
    if needed is None and reference is None:
        raise HaiError("HAI-Y744", f"{chosen} compares two models: give reference=, the model to be faithful to")
    if chosen in _BOX_METRICS or chosen == "fidelity":
        return _evaluate_boxes(model, data, chosen, reference, preprocessing, decode, threads, seed)
    scores = class_scores(model, data, preprocessing, threads=threads)
    if chosen in _CLASS_METRICS:
        values = hits(scores, data.labels, 1 if chosen == "top1" else 5).astype(np.float64)
    else:
        expected = class_scores(reference, data, preprocessing, threads=threads)
        values = kl(expected, scores) if chosen == "mean_kl" else same_class(expected, scores).astype(np.float64)
    return Figure(chosen, float(values.mean()), bootstrap_interval(values, seed=seed), len(data))


def _evaluate_boxes(
    model: Any,
    data: Dataset,
    metric: str,
    reference: Any,
    preprocessing: Preprocessing | None,
    decoder: str | Decoder | None,
    threads: int,
    seed: int,
) -> Figure:
    answers = detected_boxes(model, data, preprocessing, decoder, threads=threads)
    if metric == "fidelity":
        figures = fidelity(detected_boxes(reference, data, preprocessing, decoder, threads=threads), answers)
    else:
        if data.boxes is None:
            raise HaiError("HAI-Y745", f"{metric} needs a dataset with boxes")
        if not len(data.boxes.box):
            raise HaiError("HAI-Y746", f"{data.name}: no true box in the dataset: mAP means nothing")
        figures = coco_map(data.boxes, answers)
    details = {"map": figures.map, "map50": figures.map50, "map75": figures.map75, "true boxes": figures.true_count}
    if metric == "map50":
        values = np.asarray(figures._matches.bootstrap(_MAP_REPLICATES, seed))[:, 1]
        return Figure(metric, figures.map50, _quantiles(values), len(data), details)
    return Figure(metric, figures.map, figures.interval(seed=seed), len(data), details)
