"""Figures against pycocotools and independent numpy code; datasets with every kind of mistake; evaluation end to end."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import hai_toolkit as hai
import numpy as np
import pytest
from hai_toolkit import evaluation
from PIL import Image


def random_boxes(random: np.random.Generator, count: int, side: float = 200) -> np.ndarray:
    """Corners, from a coarse grid so that overlaps of exactly a threshold and equal boxes occur."""
    corner = random.integers(0, 16, (count, 2)) * 10.0
    size = random.integers(1, 12, (count, 2)) * 5.0
    return np.clip(np.concatenate([corner, corner + size], 1), 0, side)


def random_case(seed: int, pictures: int = 13, classes: int = 5) -> tuple[hai.evaluation.TrueBoxes, list[np.ndarray]]:
    """True boxes (some crowds, areas of their own) and answers: true boxes moved a little, and others; equal scores occur."""
    random = np.random.default_rng(seed)
    columns: list[tuple[int, int, list[float], float, int]] = []
    answers = []
    for picture in range(pictures):
        true = random_boxes(random, int(random.integers(0, 9)))
        numbers = random.integers(0, classes, len(true))
        for box, number in zip(true, numbers, strict=True):
            width, height = box[2] - box[0], box[3] - box[1]
            area = width * height * random.choice([1.0, 0.6])
            columns.append((picture, int(number), [*box[:2], width, height], area, int(random.random() < 0.15)))
        moved = true + random.integers(-1, 2, true.shape) * random.choice([0.0, 2.5, 5.0], (len(true), 1))
        other = random_boxes(random, int(random.integers(0, 130)))
        boxes = np.concatenate([moved, other])
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2])
        labels = np.concatenate([numbers, random.integers(0, classes, len(other))])
        scores = random.integers(1, 20, len(boxes)) / 20
        answers.append(np.concatenate([boxes, scores[:, None], labels[:, None]], 1))
    picture_of, category, box, area, crowd = zip(*columns, strict=True)
    return evaluation.TrueBoxes.of(picture_of, category, box, area, crowd), answers


def pycocotools_figures(
    truth: evaluation.TrueBoxes, answers: list[np.ndarray], area: tuple[float, float] = (0, 1e10), limit: int = 100
) -> list[float]:
    """map, map50, map75, recall by the reference implementation."""
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    with contextlib.redirect_stdout(io.StringIO()):
        reference = coco.COCO()
        reference.dataset = {
            "images": [{"id": i} for i in range(len(answers))],
            "categories": [{"id": c} for c in range(100)],
            "annotations": [
                # An id of 0 would never count as matched there.
                {
                    "id": i + 1,
                    "image_id": int(p),
                    "category_id": int(c),
                    "bbox": list(b),
                    "area": float(a),
                    "iscrowd": int(k),
                }
                for i, (p, c, b, a, k) in enumerate(
                    zip(truth.picture, truth.category, truth.box, truth.area, truth.crowd, strict=True)
                )
            ],
        }
        reference.createIndex()
        rows = [
            {
                "image_id": i,
                "category_id": int(r[5]),
                "bbox": [r[0], r[1], r[2] - r[0], r[3] - r[1]],
                "score": float(r[4]),
            }
            for i, table in enumerate(answers)
            for r in table
        ]
        judge = cocoeval.COCOeval(reference, reference.loadRes(rows), "bbox")
        judge.params.areaRng, judge.params.areaRngLbl, judge.params.maxDets = [list(area)], ["all"], [limit]
        judge.evaluate()
        judge.accumulate()
    precision, recall = judge.eval["precision"], judge.eval["recall"]

    def mean(values: np.ndarray) -> float:
        values = values[values > -1]
        return float(values.mean()) if values.size else -1.0

    return [mean(precision), mean(precision[0]), mean(precision[5]), mean(recall)]


@pytest.mark.parametrize("seed", range(12))
def test_map_equals_pycocotools_on_random_boxes(seed: int) -> None:
    truth, answers = random_case(seed)
    areas = [(0.0, 1e10), (0.0, 1000.0), (1000.0, 1e10)]
    for area, limit in [(areas[0], 100), (areas[0], 3), (areas[1], 100), (areas[2], 7)]:
        ours = evaluation.coco_map(truth, answers, max_detections=limit, area=area)
        theirs = pycocotools_figures(truth, answers, area, limit)
        # The same decisions; only the order of a mean's additions differs.
        assert [ours.map, ours.map50, ours.map75, ours.recall] == pytest.approx(theirs, abs=1e-12), (seed, area, limit)


def test_the_bootstrap_of_map_is_that_of_repeated_pictures() -> None:
    truth, answers = random_case(3)
    copies = np.asarray([2, 0, 1, 1, 3, 0, 1, 1, 0, 2, 1, 1, 0])
    drawn = np.repeat(np.arange(13), copies)
    parts = [(new, truth.picture == old) for new, old in enumerate(drawn)]
    repeated = evaluation.TrueBoxes(
        np.concatenate([np.full(chosen.sum(), new) for new, chosen in parts]),
        *(
            np.concatenate([column[chosen] for _, chosen in parts])
            for column in (truth.category, truth.box, truth.area)
        ),
        crowd=np.concatenate([truth.crowd[chosen] for _, chosen in parts]),
    )
    expected = pycocotools_figures(repeated, [answers[old] for old in drawn])
    ours = evaluation.coco_map(repeated, [answers[old] for old in drawn])
    assert ours.map == pytest.approx(expected[0], abs=1e-12)
    whole = evaluation.coco_map(truth, answers)
    low, high = whole.interval(replicates=300)
    assert low < whole.map < high
    assert whole.interval(whole, replicates=50) == (0.0, 0.0)
    assert whole.interval(replicates=300) == (low, high)


def test_class_figures_equal_independent_code() -> None:
    random = np.random.default_rng(5)
    scores, other = (random.normal(0, 3, (437, 1000)).astype(np.float32) for _ in range(2))
    other = (scores + 0.3 * other).astype(np.float32)
    labels = np.where(random.random(437) < 0.7, scores.argmax(1), random.integers(0, 1000, 437))
    assert evaluation.top1(scores, labels) == (scores.argmax(1) == labels).mean()
    best = np.argsort(-scores, 1, kind="stable")[:, :5]
    assert evaluation.top5(scores, labels) == (best == labels[:, None]).any(1).mean()
    assert evaluation.agreement(scores, other) == (scores.argmax(1) == other.argmax(1)).mean()

    def log_softmax(x: np.ndarray) -> np.ndarray:
        x = x.astype(np.float64) - x.max(1, keepdims=True)
        return x - np.log(np.exp(x).sum(1, keepdims=True))

    p, q = log_softmax(scores), log_softmax(other)
    assert evaluation.kl(scores, other) == pytest.approx((np.exp(p) * (p - q)).sum(1), rel=1e-10)
    hits = scores.argmax(1) == labels
    low, high = evaluation.bootstrap_interval(hits)
    # Normal approximation of a share's interval, to a fifth of its width.
    width = 2 * 1.96 * np.sqrt(hits.mean() * (1 - hits.mean()) / 437)
    assert high - low == pytest.approx(width, rel=0.2)
    assert low < hits.mean() < high
    assert evaluation.bootstrap_interval(hits, hits) == (0.0, 0.0)


def test_suppression_equals_independent_code() -> None:
    random = np.random.default_rng(7)
    boxes = random_boxes(random, 300)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    rows = np.concatenate([boxes, random.permutation(300)[:, None] / 300, random.integers(0, 3, (300, 1))], 1)
    rows = rows.astype(np.float32)
    kept: list[np.ndarray] = []
    for row in rows[np.argsort(-rows[:, 4])]:
        for other in kept:
            width = min(row[2], other[2]) - max(row[0], other[0])
            height = min(row[3], other[3]) - max(row[1], other[1])
            shared = max(width, 0) * max(height, 0)
            union = (row[2] - row[0]) * (row[3] - row[1]) + (other[2] - other[0]) * (other[3] - other[1]) - shared
            if other[5] == row[5] and shared / union > 0.45:
                break
        else:
            kept.append(row)
    assert np.array_equal(evaluation.nms(rows, 0.45), np.stack(kept))


def save_picture(path: Path, seed: int, size: tuple[int, int] = (40, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def coco_file(folder: Path, **changes: object) -> Path:
    """A small set of two pictures in COCO's form; `changes` replace parts of it."""
    for number in (1, 2):
        save_picture(folder / "set" / f"{number}.png", number)
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 40, "height": 30} for n in (2, 1)],
        "annotations": [{"id": 1, "image_id": 2, "category_id": 90, "bbox": [1, 2, 10, 12], "area": 100, "iscrowd": 0}],
        "categories": [{"id": 90, "name": "toothbrush"}, {"id": 7, "name": "train"}],
        **changes,
    }
    path = folder / "set.json"
    path.write_text(json.dumps(content))
    return path


def test_datasets_of_every_kind(tmp_path: Path) -> None:
    data = hai.read_dataset(coco_file(tmp_path))
    assert data.kind == "boxes" and [p.name for p in data.pictures] == ["1.png", "2.png"]
    assert data.classes == ["train", "toothbrush"] and data.boxes is not None
    assert data.boxes.picture.tolist() == [1] and data.boxes.category.tolist() == [1]
    for name, count in (("cat", 2), ("ape", 1)):
        for number in range(count):
            save_picture(tmp_path / "classes" / name / f"{number}.png", number)
    data = hai.read_dataset(tmp_path / "classes")
    assert data.labels == [0, 1, 1] and data.classes == ["ape", "cat"]
    assert hai.read_dataset(tmp_path / "classes", classes=["cat", "dog", "ape"]).labels == [2, 0, 0]
    assert hai.read_dataset(tmp_path / "set").kind == "pictures"
    table = tmp_path / "table.tsv"
    table.write_text("file\tclass_index\nset/1.png\t7\nset/2.png\t0\n")
    assert hai.read_dataset(table).labels == [7, 0]
    table.write_text("set/1.png\tdog\n")
    assert hai.read_dataset(table, classes=["cat", "dog"]).labels == [1]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"images": []}, "Y720"),
        ({"images": [{"id": 1, "file_name": "gone.png", "width": 40, "height": 30}]}, "Y719"),
        ({"images": [{"id": 1, "file_name": "1.png"}]}, "Y721"),
        ({"images": [{"id": 1, "file_name": "1.png", "width": 40, "height": 30}] * 2}, "Y722"),
        ({"annotations": [{"image_id": 2, "category_id": 90}]}, "Y723"),
        ({"annotations": [{"image_id": 2, "category_id": 90, "bbox": [1, 2, 3]}]}, "Y723"),
        ({"annotations": [{"image_id": 9, "category_id": 90, "bbox": [1, 2, 3, 4]}]}, "Y724"),
        ({"annotations": [{"image_id": 2, "category_id": 1, "bbox": [1, 2, 3, 4]}]}, "Y725"),
        ({"annotations": [{"image_id": 2, "category_id": 90, "bbox": [30, 2, 20, 4]}]}, "Y726"),
        ({"annotations": [{"image_id": 2, "category_id": 90, "bbox": [1, 2, -3, 4]}]}, "Y726"),
        ({"annotations": [{"image_id": 2, "category_id": 90, "bbox": [1, float("nan"), 3, 4]}]}, "Y726"),
        ({"categories": 5}, "Y721"),
    ],
)
def test_mistakes_in_a_coco_file_are_named(tmp_path: Path, changes: dict[str, object], code: str) -> None:
    with pytest.raises(hai.HaiError, match=code):
        hai.read_dataset(coco_file(tmp_path, **changes))


def test_mistakes_in_other_datasets_are_named(tmp_path: Path) -> None:
    def refused(code: str, source: Path, **options: object) -> None:
        with pytest.raises(hai.HaiError, match=code):
            hai.read_dataset(source, **options)  # type: ignore[arg-type]

    refused("Y710", tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    refused("Y720", tmp_path / "empty")
    (tmp_path / "set.bin").write_bytes(b"x")
    refused("Y711", tmp_path / "set.bin")
    (tmp_path / "set.json").write_text("{")
    refused("Y721", tmp_path / "set.json")
    save_picture(tmp_path / "both" / "a" / "1.png", 1)
    refused("Y713", tmp_path / "both", classes=["b"])
    (tmp_path / "both" / "b").mkdir()
    refused("Y714", tmp_path / "both")
    save_picture(tmp_path / "both" / "1.png", 1)
    refused("Y712", tmp_path / "both")
    table = tmp_path / "table.tsv"
    for text, code, options in [
        ("", "Y720", {}),
        ("file\tclass\n", "Y720", {}),
        ("both/1.png\n", "Y716", {}),
        ("both/1.png\t-1\n", "Y717", {}),
        ("both/1.png\tdog\n", "Y717", {"classes": ["cat"]}),
        ("both/1.png\t1\n", "Y718", {"classes": ["cat"]}),
        ("both/2.png\t1\n", "Y719", {}),
    ]:
        table.write_text(text)
        refused(code, table, **options)
    table.write_bytes(b"\xff\xfe\x00")
    refused("Y715", table)


def test_a_set_is_evaluated_through_the_models_own_preprocessing(tmp_path: Path, tiny_model: hai.Model) -> None:
    rule = hai.Preprocessing(width=19, height=19, mean=(127, 127, 127), scale=(1 / 128, 1 / 128, 1 / 128))
    lines = []
    for number in range(9):
        save_picture(tmp_path / f"{number}.png", number)
        lines.append(f"{number}.png\t{number % 7}")
    (tmp_path / "set.tsv").write_text("\n".join(lines))
    tiny_model.preprocessing = rule
    tiny_model.compile().save(tmp_path / "tiny.hai")
    session = hai.load(tmp_path / "tiny.hai").session(threads=1)
    scores = np.concatenate([session.run(rule(tmp_path / f"{n}.png"))["logits"] for n in range(9)])
    expected = float((scores.argmax(1) == np.arange(9) % 7).mean())
    seen: list[np.ndarray] = []

    def counted(data: np.ndarray) -> np.ndarray:
        seen.append(data)
        return session.run(data)["logits"]

    for model in (tmp_path / "tiny.hai", hai.load(tmp_path / "tiny.hai"), tiny_model):
        figure = hai.evaluate(model, tmp_path / "set.tsv")
        assert (figure.name, figure.value, figure.count) == ("top1", expected, 9)
        assert figure.interval[0] <= expected <= figure.interval[1]
    assert hai.evaluate(counted, tmp_path / "set.tsv", "top1", preprocessing=rule).value == expected
    assert all(np.array_equal(data, rule(tmp_path / f"{n}.png")) for n, data in enumerate(seen))
    assert hai.evaluate(tiny_model, tmp_path / "set.tsv", "agreement", reference=tmp_path / "tiny.hai").value == 1
    assert hai.evaluate(tiny_model, tmp_path / "set.tsv", "mean_kl", reference=tmp_path / "tiny.hai").value == 0
    assert hai.evaluate(tiny_model, tmp_path / "set.tsv", lambda scores, data: len(scores) / len(data)).value == 1


def test_a_detector_is_evaluated_and_mistakes_are_named(tmp_path: Path, tiny_model: hai.Model) -> None:
    path = coco_file(tmp_path)
    rule = hai.Preprocessing(width=80, height=60)

    def perfect(data: np.ndarray) -> np.ndarray:
        # Twice as large as the picture of 40x30: the true box of picture 2 in the model's pixels, class 1.
        true = np.array_equal(data, rule(tmp_path / "set" / "2.png"))
        return np.asarray([[[12, 16, 20, 24, 1 if true else 0, 0, 0.9]] * 3], np.float32)

    figure = hai.evaluate(perfect, path, preprocessing=rule)
    assert figure.name == "map" and figure.value == pytest.approx(1)
    assert hai.evaluate(perfect, path, "map50", preprocessing=rule, decode="yolov5").value == pytest.approx(1)
    same = hai.evaluate(perfect, tmp_path / "set", "fidelity", preprocessing=rule, reference=perfect)
    assert same.value == pytest.approx(1) and same.details["true boxes"] == 1
    for code, options in [
        ("Y738", {}),
        ("Y743", {"metric": "top1", "preprocessing": rule}),
        ("Y742", {"metric": "beauty", "preprocessing": rule}),
        ("Y744", {"metric": "fidelity", "preprocessing": rule}),
        ("Y740", {"decode": "yolo", "preprocessing": rule}),
        ("Y703", {"preprocessing": hai.Preprocessing(width=19, height=19), "model": tiny_model}),
    ]:
        with pytest.raises(hai.HaiError, match=code):
            hai.evaluate(options.pop("model", perfect), path, **options)  # type: ignore[arg-type]
    with pytest.raises(hai.HaiError, match="Y737"):
        hai.evaluate(3, path, preprocessing=rule)
    wrong = coco_file(tmp_path, images=[{"id": n, "file_name": f"{n}.png", "width": 41, "height": 30} for n in (1, 2)])
    with pytest.raises(hai.HaiError, match="Y739"):
        hai.evaluate(perfect, wrong, preprocessing=rule)
    with pytest.raises(hai.HaiError, match="Y746"):
        hai.evaluate(perfect, coco_file(tmp_path, annotations=[]), preprocessing=rule)
