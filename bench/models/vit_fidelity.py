"""How close INT8 ViT-Tiny is to f32, by network of settled weights: `python -m bench.models.vit_fidelity [--pictures 64]`.

32 structured pictures calibrate, others are compared: mean Kullback-Leibler divergence of softmax(INT8) from softmax(f32), how
often the best class is the same, and which operators stay f32. Settled weights are random: this says what the arithmetic loses,
not what a trained network does.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import hai_toolkit as hai
import numpy as np
from numpy.typing import NDArray

from .catalogue import NETWORKS
from .export import export_network


def _answers(model: Any, pictures: NDArray[np.float32], folder: Path, name: str) -> NDArray[np.float64]:
    model.compile(device="cpu").save(str(folder / name))
    session = hai.load(str(folder / name)).session()
    rows = [session.run({"input": pictures[i : i + 1]})["output"] for i in range(len(pictures))]
    return np.concatenate(rows).astype(np.float64)


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(1, keepdims=True)))


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.models.vit_fidelity", description=__doc__)
    parser.add_argument("--pictures", type=int, default=64, help="how many are compared (default: %(default)s)")
    arguments = parser.parse_args()
    network = NETWORKS["vit_tiny"]
    pictures, calibration = network.pictures(arguments.pictures, seed=6), network.pictures(32, seed=3)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export_network(network.build(), pictures, folder / "vit.onnx", "_batch")
        expected = _answers(hai.from_onnx(str(folder / "vit.onnx")), pictures, folder, "f32.hai")
        model = hai.from_onnx(str(folder / "vit.onnx"))
        model.quantize(bit_width=8, calibration=[calibration[i : i + 1] for i in range(len(calibration))])
        actual = _answers(model, pictures, folder, "int8.hai")
    wanted, got = _log_softmax(expected), _log_softmax(actual)
    divergence = (np.exp(wanted) * (wanted - got)).sum(1)
    same = int((expected.argmax(1) == actual.argmax(1)).sum())
    noise = 10 * np.log10(np.square(expected).sum() / np.square(expected - actual).sum())
    print(
        f"mean divergence {divergence.mean():.4f} nats, largest {divergence.max():.4f}; signal over noise {noise:.1f} dB"
    )
    print(f"the best class is the same on {same} of {len(pictures)} pictures")
    print(f"f32 operators: {model.quantization_report['float'] or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
