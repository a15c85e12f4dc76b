"""EfficientNet-Lite0 with its ImageNet weights: f32 against PyTorch and ONNX Runtime, INT8 against f32 and its peer's INT8.

`python -m bench.accuracy.efficientnet_lite0`. Calibrated on `imagenet/calibration.tsv`, measured on `imagenet/evaluation.tsv`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from bench.accuracy.figures import (
    Array,
    Row,
    agreement,
    bootstrap_interval,
    divergence,
    largest_difference,
    limit_row,
    print_table,
    top1,
)
from bench.accuracy.peers import onnxruntime_session, quantize_statically, run_all
from bench.accuracy.photos import classifier_input, photos
from bench.models.efficientnet import published_efficientnet_lite0
from bench.models.export import export_network
from bench.reasons import exit_status

_COMPARED_LOGITS = 50


def _quality_row(name: str, logits: Array, reference: Array, labels: list[int], goal: bool) -> list[Row]:
    agree, kl = agreement(reference, logits), divergence(reference, logits)
    low, high = bootstrap_interval(logits.argmax(1) == np.asarray(labels))
    return [
        Row(f"{name}: top-1", f"{top1(logits, labels):.1%} (95 %: {low:.1%} to {high:.1%})"),
        Row(f"{name}: agrees with f32", f"{agree:.1%}", ">= 96.5 %" if goal else "", agree >= 0.965 if goal else None),
        Row(f"{name}: mean KL to f32", f"{kl:.4f}", "<= 0.02" if goal else "", kl <= 0.02 if goal else None),
    ]


def measure(with_hai: bool = True) -> bool:
    """Print the table; without HAI only the peers' rows."""
    evaluation = photos("evaluation")
    inputs = [classifier_input(photo.path) for photo in evaluation]
    calibration = [classifier_input(photo.path) for photo in photos("calibration")]
    labels = [photo.label for photo in evaluation]
    net = published_efficientnet_lite0()
    with torch.no_grad():
        torch_logits = net(torch.from_numpy(np.concatenate(inputs[:_COMPARED_LOGITS]))).numpy()
    with tempfile.TemporaryDirectory() as folder:
        path, quantized = Path(folder) / "net.onnx", Path(folder) / "net_int8.onnx"
        export_network(net, inputs[0], path, "")
        peer = np.concatenate([outputs[0] for outputs in run_all(onnxruntime_session(path), inputs)])
        quantize_statically(path, calibration, quantized)
        peer_int8 = np.concatenate([outputs[0] for outputs in run_all(onnxruntime_session(quantized), inputs)])
        rows = [
            Row("ONNX Runtime f32: top-1", f"{top1(peer, labels):.1%}"),
            limit_row(
                "ONNX Runtime f32 against PyTorch", largest_difference(peer[:_COMPARED_LOGITS], torch_logits), 1e-4
            ),
            *_quality_row("ONNX Runtime INT8", peer_int8, peer, labels, goal=False),
        ]
        if with_hai:
            from bench.accuracy.under_test import HaiNetwork

            floating, integer = HaiNetwork(path, "input"), HaiNetwork(path, "input", calibration)
            logits = np.concatenate([floating.run(data)[0] for data in inputs])
            logits_int8 = np.concatenate([integer.run(data)[0] for data in inputs])
            first = logits[:_COMPARED_LOGITS]
            rows += [
                limit_row("HAI f32 logits against PyTorch, 50 photos", largest_difference(first, torch_logits), 1e-4),
                limit_row(
                    "HAI f32 logits against ONNX Runtime, 50 photos",
                    largest_difference(first, peer[:_COMPARED_LOGITS]),
                    1e-4,
                ),
                Row("HAI f32: top-1", f"{top1(logits, labels):.1%}"),
                *_quality_row("HAI INT8", logits_int8, logits, labels, goal=True),
                Row("HAI file, f32 and INT8", f"{floating.file_bytes / 1e6:.1f} and {integer.file_bytes / 1e6:.1f} MB"),
            ]
    return print_table(f"EfficientNet-Lite0, {len(evaluation)} photos", rows)


if __name__ == "__main__":
    sys.exit(exit_status(lambda: measure(with_hai="--peers-only" not in sys.argv)))
