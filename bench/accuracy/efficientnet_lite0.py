"""EfficientNet-Lite0 with its ImageNet weights, f32, against PyTorch and ONNX Runtime on the photos of `imagenet/evaluation.tsv`.

`python -m bench.accuracy.efficientnet_lite0`. Its quantized forms are in the table of `bench.accuracy.table`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from hai_toolkit.evaluation import top1

from bench.accuracy.figures import Row, largest_difference, limit_row, print_table
from bench.accuracy.peers import onnxruntime_session, run_all
from bench.accuracy.photos import CLASSIFIER, photos
from bench.models.efficientnet import published_efficientnet_lite0
from bench.models.export import export_network
from bench.reasons import exit_status

_COMPARED_LOGITS = 50


def measure(with_hai: bool = True) -> bool:
    """Print the table; without HAI only the peers' rows."""
    evaluation = photos("evaluation")
    inputs = [CLASSIFIER(photo.path) for photo in evaluation]
    labels = [photo.label for photo in evaluation]
    net = published_efficientnet_lite0()
    with torch.no_grad():
        torch_logits = net(torch.from_numpy(np.concatenate(inputs[:_COMPARED_LOGITS]))).numpy()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        export_network(net, inputs[0], path, "")
        peer = np.concatenate([outputs[0] for outputs in run_all(onnxruntime_session(path), inputs)])
        rows = [
            Row("ONNX Runtime f32: top-1", f"{top1(peer, labels):.1%}"),
            limit_row(
                "ONNX Runtime f32 against PyTorch", largest_difference(peer[:_COMPARED_LOGITS], torch_logits), 1e-4
            ),
        ]
        if with_hai:
            from bench.accuracy.under_test import HaiNetwork

            floating = HaiNetwork(path, "input")
            logits = np.concatenate([floating.run(data)[0] for data in inputs])
            first = logits[:_COMPARED_LOGITS]
            rows += [
                limit_row("HAI f32 logits against PyTorch, 50 photos", largest_difference(first, torch_logits), 1e-4),
                limit_row(
                    "HAI f32 logits against ONNX Runtime, 50 photos",
                    largest_difference(first, peer[:_COMPARED_LOGITS]),
                    1e-4,
                ),
                Row("HAI f32: top-1", f"{top1(logits, labels):.1%}"),
                Row("HAI file", f"{floating.file_bytes / 1e6:.1f} MB"),
            ]
    return print_table(f"EfficientNet-Lite0, {len(evaluation)} photos", rows)


if __name__ == "__main__":
    sys.exit(exit_status(lambda: measure(with_hai="--peers-only" not in sys.argv)))
