"""The code that counts, held against independent code on real answers: COCO's twelve figures, and top-1.

`python -m bench.accuracy.metrics`. Answers: boxes of the f32 YOLOv5n on `coco/evaluation` with its annotations (crowds, outlines'
areas, sparse identifiers as COCO has them), scores of the f32 EfficientNet-Lite0 on `imagenet/evaluation.tsv`. pycocotools reads
the annotation file itself; the labels are read again line by line.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import hai_toolkit as hai
import numpy as np
from hai_toolkit import evaluation
from numpy.typing import NDArray

from bench.accuracy.answers import answers_of
from bench.accuracy.figures import Row, print_table
from bench.accuracy.photos import test_data
from bench.accuracy.tasks import TASKS
from bench.reasons import Skipped, exit_status

Array = NDArray[np.float32]
_AREAS = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
COCO_NAMES = (
    *("AP", "AP50", "AP75", "AP small", "AP medium", "AP large"),
    *("AR1", "AR10", "AR100", "AR small", "AR medium", "AR large"),
)
_LARGEST_DIFFERENCE = 1e-12
"""Of a mean of equal decisions: only the order of its additions differs."""


def our_figures(truth: evaluation.TrueBoxes, answers: Sequence[Array]) -> list[float]:
    """COCO's twelve, in COCO's order, by hai_toolkit."""
    whole = evaluation.coco_map(truth, answers)
    sizes = [evaluation.coco_map(truth, answers, area=_AREAS[name]) for name in ("small", "medium", "large")]
    few = [evaluation.coco_map(truth, answers, max_detections=count).recall for count in (1, 10)]
    precision = [whole.map, whole.map50, whole.map75, *(figures.map for figures in sizes)]
    return precision + [*few, whole.recall, *(figures.recall for figures in sizes)]


def pycocotools_figures(annotations: Path, pictures: Sequence[str], answers: Sequence[Array]) -> list[float]:
    """The same from pycocotools' own summary. `pictures`: the file name that each table of answers is of."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as cause:
        raise Skipped("pycocotools is not installed") from cause
    content = json.loads(annotations.read_text())
    categories = sorted(category["id"] for category in content["categories"])
    number_of = {image["file_name"]: image["id"] for image in content["images"]}
    rows = [
        {
            "image_id": number_of[name],
            "category_id": categories[int(row[5])],
            "bbox": [row[0], row[1], row[2] - row[0], row[3] - row[1]],
            "score": row[4],
        }
        for name, table in zip(pictures, answers, strict=True)
        for row in np.asarray(table, np.float64).tolist()
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO(str(annotations))
        judge = COCOeval(reference, reference.loadRes(rows), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return [float(value) for value in judge.stats]


def numpy_hits(table: Path, scores: Array) -> NDArray[np.bool_]:
    """Whether the first of the largest scores is the label, for each line of a table of files and class numbers."""
    lines = table.read_text().splitlines()
    column = lines[0].split("\t").index("class_index")
    labels = np.asarray([int(line.split("\t")[column]) for line in lines[1:]])
    return np.asarray(np.argmax(scores, 1) == labels)


def _box_rows() -> list[Row]:
    annotations = test_data() / "coco" / "evaluation.json"
    data = hai.read_dataset(annotations)
    if data.boxes is None:
        raise Skipped(f"{annotations.name} has no boxes")
    task = TASKS["yolov5n"]
    tables = task.tables(answers_of(task.name, "f32").values)[: len(data)]
    names = [path.name for path in task.pictures()[: len(data)]]
    ours = our_figures(data.boxes, tables)
    theirs = pycocotools_figures(annotations, names, tables)
    count = sum(len(table) for table in tables)
    title = f"YOLOv5n, {len(data)} photos, {len(data.boxes.box)} true boxes, {count} answers"
    return [
        Row(
            f"{title}: {name}, HAI and pycocotools",
            f"{own:.6f}, {peer:.6f}, difference {abs(own - peer):.1e}",
            f"<= {_LARGEST_DIFFERENCE:g}",
            abs(own - peer) <= _LARGEST_DIFFERENCE,
        )
        for name, own, peer in zip(COCO_NAMES, ours, theirs, strict=True)
    ]


def _class_rows() -> list[Row]:
    table = test_data() / "imagenet" / "evaluation.tsv"
    scores = answers_of("efficientnet_lite0", "f32").values
    ours = evaluation.hits(scores, hai.read_dataset(table).labels)
    theirs = numpy_hits(table, scores)
    differing = int((ours != theirs).sum())
    shown = f"{ours.mean():.6f}, {theirs.mean():.6f}, {differing} of {len(theirs)} photos differ"
    return [Row("EfficientNet-Lite0: top-1, HAI and numpy", shown, "0 photos differ", differing == 0)]


def measure() -> bool:
    """Print the table."""
    rows: list[Row] = []
    for name, part in (("COCO's figures", _box_rows), ("top-1", _class_rows)):
        try:
            rows += part()
        except Skipped as reason:
            rows.append(Row(f"{name}: skipped", str(reason)))
    return print_table("Our figures against independent code (`./dev bench accuracy metrics`)", rows)


if __name__ == "__main__":
    sys.exit(exit_status(measure))
