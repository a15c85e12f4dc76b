"""Published TensorFlow Lite models against TensorFlow Lite's own reference interpreter: mlperf_tiny (HAI_TEST_DATA)."""

from __future__ import annotations

import os
from pathlib import Path

import hai_toolkit as hai
import pytest
from hai_toolkit.tensorflow import compare_with_interpreter

FLOAT_TOLERANCE = 1e-5  # of the largest value: f32 sums in another order


def mlperf(name: str) -> Path:
    root = Path(__file__).resolve().parents[2]
    folder = Path(os.environ.get("HAI_TEST_DATA", root.parent / "shared" / "data")) / "models" / "mlperf_tiny"
    if not (folder / name).is_file():
        pytest.skip(f"HAI_TEST_DATA has no models/mlperf_tiny/{name} ({folder})")
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert (the reference interpreter) is not installed")
    return folder / name


@pytest.mark.parametrize("name", ["ad01_fp32", "pretrainedResnet", "pretrainedResnet_large_float", "vww_96_float"])
def test_float_models(name: str) -> None:
    for difference in compare_with_interpreter(mlperf(f"{name}.tflite"), samples=3):
        assert difference.largest <= FLOAT_TOLERANCE, str(difference)


@pytest.mark.parametrize(
    "name", ["ad01_int8", "kws_ref_model", "pretrainedResnet_quant", "pretrainedResnet_large_int8", "vww_96_int8"]
)
def test_integer_models_give_the_same_integers(name: str) -> None:
    path = mlperf(f"{name}.tflite")
    for difference in compare_with_interpreter(path, samples=3):
        assert difference.histogram is not None
        assert difference.differing == 0, str(difference)


def test_a_batch_that_the_file_leaves_free_is_free(tmp_path: Path) -> None:
    path = mlperf("ad01_int8.tflite")
    model = hai.from_tflite(path, batch=(1, 3))
    assert model.inputs[0].shape == ("N", 640)
    assert model.inputs[0].dtype == "i8"
    assert model.inputs[0].quantization is not None
    fixed = hai.from_tflite(path, batch=(1, 1))
    assert fixed.inputs[0].shape == (1, 640)
