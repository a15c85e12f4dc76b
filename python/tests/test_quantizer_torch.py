"""`Quantizer.convert` with PyTorch: the snippet of the README, modules, state dicts, loaders, and no data at all."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import hai_toolkit as hai
import numpy as np
import pytest
from hai_toolkit import distill, sources
from hai_toolkit.procedural import procedural_pictures

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
import published_networks as networks  # noqa: E402
from hai_toolkit import torch_graph  # noqa: E402
from hai_toolkit.torch_graph import TorchGraph, UnknownOperatorError  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def module(seed: int = 3) -> Any:
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, 2, 1, bias=False),
        torch.nn.BatchNorm2d(8),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 8, 3, 1, 1, groups=8),
        torch.nn.BatchNorm2d(8),
        torch.nn.SiLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 5),
    ).eval()


def images(count: int = 4, size: int = 24) -> list[np.ndarray]:
    random = np.random.default_rng(5)
    return [random.uniform(0, 1, (1, 3, size, size)).astype(np.float32) for _ in range(count)]


def test_the_snippet_in_a_fresh_process(tmp_path: Path) -> None:
    networks.save(tmp_path / "yolov5s.pt", networks.release_6)
    code = """
import torch
from hai_toolkit import Quantizer
model = torch.load('yolov5s.pt')                            # a published YOLOv5 checkpoint
quantizer = Quantizer(bit_width=8, method='symmetrical')
quantized_model = quantizer.convert(model)
quantized_model.save('yolov5s_int8.hai')
"""
    # The whole recipe, with pictures of 64x64 and two steps: 640x640 takes a minute.
    small = "import hai_toolkit.distill as d, hai_toolkit.checkpoints.yolov5 as y\nd._MOST_STEPS = d._LEAST_STEPS = 2\n"
    small += "b = y._describe\ny._describe = lambda r, d, s: b(r, d, s or (64, 64))\n"
    done = subprocess.run(
        [sys.executable, "-c", small + code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "YOLOv5 checkpoint, 3 classes, 64x64" in done.stderr and "ZeroQ" in done.stderr
    assert "convert(model, calibration='folder')" in done.stderr
    loaded = hai.load(tmp_path / "yolov5s_int8.hai")
    assert loaded.preprocessing is not None and loaded.preprocessing.pad_value == 114
    assert loaded.inputs[0].shape == ("N", 3, 64, 64)


def test_a_module_with_a_loader_an_example_and_a_state_dict(tmp_path: Path) -> None:
    net = module()
    expected = net(torch.from_numpy(images(1)[0])).detach().numpy()
    loader = torch.utils.data.DataLoader([(torch.from_numpy(i[0]), 1) for i in images(8)], batch_size=2)
    quantized = hai.Quantizer(8, "asymmetrical", quiet=True).convert(net, calibration=loader)
    (got,) = quantized.run(images(1)[0]).values()
    assert np.abs(got - expected).max() <= 0.06 * np.abs(expected).max() + 0.02  # 8 bits
    assert quantized.float_model is not None and "batch_norm" in quantized.float_model.text()
    torch.save(net.state_dict(), tmp_path / "weights.pth")
    again = hai.Quantizer(8, "asymmetrical", quiet=True).convert(
        tmp_path / "weights.pth", module=module(9), calibration=images(8)
    )
    np.testing.assert_array_equal(*again.run(images(1)[0]).values(), got)
    same = sources.resolve({"epoch": 1, "state_dict": net.state_dict()}, sources.Hints(images(1)[0], module=module(9)))
    assert again.float_model is not None and same.model.text(1 << 20) == again.float_model.text(1 << 20)
    with pytest.raises(hai.HaiError, match="do not fit"):
        hai.Quantizer().convert({"x": torch.zeros(3)}, module=module(), example_inputs=torch.zeros(1, 3, 24, 24))


def test_a_module_without_a_shape_or_with_nan() -> None:
    with pytest.raises(hai.HaiError, match="example_inputs="):
        hai.Quantizer().convert(module())
    net = module()
    net[3].weight.data[2, 0, 1, 1] = float("nan")
    with pytest.raises(hai.HaiError, match=r'"3.weight" of the module holds NaN'):
        hai.Quantizer().convert(net, example_inputs=torch.zeros(1, 3, 24, 24))


def test_the_interpreter_in_torch_computes_what_hai_computes(tmp_path: Path) -> None:
    path = networks.save(tmp_path / "net.pt", networks.experimental, half=False)
    model, _ = hai.checkpoints.build(hai.checkpoints.find_network(hai.checkpoints.read_checkpoint(path)), (32, 32))
    graph = model._graph
    network = TorchGraph(graph)
    assert len(network.norms) == 17
    norms = [(name, inputs) for op, name, inputs, _, _ in graph.nodes() if op == "batch_norm"]
    copy = graph.copy()
    for index, (_, inputs) in enumerate(norms):
        copy.add_output(inputs[0], f"seen{index}")
    image = images(2, 32)[1]
    outputs = hai.Model(copy).interpret({"images": image})
    seen: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    network.run([torch.from_numpy(image)], lambda norm, *both: seen.update({norm.name: tuple(x.numpy() for x in both)}))
    for index, (name, _) in enumerate(norms):
        expected = outputs[f"seen{index}"].astype(np.float64)
        # f32 sums in another order, through up to twenty layers.
        np.testing.assert_allclose(seen[name][0], expected.mean((0, 1, 2)), rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(seen[name][1], expected.var((0, 1, 2)), rtol=2e-3, atol=1e-3)
    assert network.cost > 0


def test_the_gradient_of_normalization_and_statistics_is_that_of_plain_operators() -> None:
    random = np.random.default_rng(3)
    x, weights = (torch.from_numpy(random.normal(2, 3, (2, 5, 7, 13))).requires_grad_() for _ in range(2))
    mean, variance, scale, shift = torch.from_numpy(random.uniform(0.5, 2, (4, 13)))
    norm = torch_graph.Norm("norm", mean, variance, scale, shift)

    def loss(y: object, mean: object, variance: object) -> object:
        return (y * weights).sum() + (mean**3).sum() + variance.log().sum()  # type: ignore[operator, attr-defined]

    result = torch_graph._NormWithStatistics.apply(x, norm)
    plain = (x * scale + shift, x.mean((0, 1, 2)), x.var((0, 1, 2), unbiased=False))
    for own, other in zip(result, plain, strict=True):
        torch.testing.assert_close(own, other)
    (got,) = torch.autograd.grad(loss(*result), x, retain_graph=True)
    (expected,) = torch.autograd.grad(loss(*plain), x)
    torch.testing.assert_close(got, expected)


def normalized_network() -> hai.Model:
    """Two convolutions with the BatchNorm statistics that `images` give them, at 24x24."""
    random = np.random.default_rng(7)
    batch = np.concatenate(images(32))
    statistics: list[tuple[np.ndarray, np.ndarray]] = []
    kernels = [random.normal(0, (9 * i) ** -0.5, (o, 3, 3, i)).astype(np.float32) for i, o in ((3, 8), (8, 12))]
    while True:
        graph = hai.GraphBuilder("normalized", batch=(1, 32))
        x = graph.transpose(graph.input("image", ("N", 3, 24, 24)), (0, 2, 3, 1))
        for index, kernel in enumerate(kernels):
            x = graph.conv2d(x, kernel, stride=2, padding=1, name=f"conv{index}")
            if index == len(statistics):
                break
            ones = np.ones(len(kernel), np.float32)
            x = graph.batch_norm(x, ones, 0 * ones, *statistics[index], epsilon=1e-5, name=f"bn{index}")
            x = graph.unary("relu", x)
        graph.output(x, "y")
        model = hai.Model(graph.native)
        if len(statistics) == len(kernels):
            return model
        seen = model.interpret({"image": batch})["y"].astype(np.float64)
        statistics.append((seen.mean((0, 1, 2)).astype(np.float32), seen.var((0, 1, 2)).astype(np.float32)))


def test_distilled_pictures_have_the_statistics_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    model = normalized_network()
    model.preprocessing = hai.Preprocessing(width=24, height=24, scale=(1 / 255,) * 3)
    monkeypatch.setattr(distill, "_PICTURES", 8)
    said: list[str] = []
    samples = distill.distilled_samples(model, 1, said.append)
    again = distill.distilled_samples(model, 1, said.append)
    array = np.concatenate([next(iter(sample.values())) for sample in samples])
    assert array.shape == (8, 3, 24, 24) and array.min() >= 0 and array.max() <= 1
    np.testing.assert_array_equal(array, np.concatenate([next(iter(sample.values())) for sample in again]))
    words = re.search(r"distance ([0-9.]+) before, ([0-9.]+) after", said[1])
    assert words is not None and "distilling" in said[0]  # a line before the minutes, a line behind them
    before, after = float(words[1]), float(words[2])
    assert after < 0.3 * before
    # Without preprocessing the scaling that fits is found: these statistics are of 0..1.
    model.preprocessing = None
    distill.distilled_samples(model, 1, said.append)
    assert any("0..1 fits" in line for line in said)


def test_without_torch_or_statistics_pictures_are_made_up(
    tiny_model: hai.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(hai.HaiError, match="preprocessing="):
        distill.distilled_samples(tiny_model, 1, print)
    tiny_model.preprocessing = hai.Preprocessing(width=19, height=19, scale=(1 / 255,) * 3)
    said: list[str] = []
    assert len(distill.distilled_samples(tiny_model, 1, said.append)) == 16
    assert any("no BatchNorm" in line for line in said) and any("calibration='folder'" in line for line in said)
    monkeypatch.setitem(sys.modules, "hai_toolkit.torch_graph", None)
    said.clear()
    quantized = hai.Quantizer(quiet=True).convert(tiny_model)
    assert quantized.model.is_quantized
    distill.distilled_samples(tiny_model, 1, said.append)
    assert any("PyTorch is not installed" in line for line in said)


def test_quiet_channels_are_raised_where_there_are_no_pictures() -> None:
    random = np.random.default_rng(2)
    first = random.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32)
    first[1:] /= 64  # one loud channel
    second = random.normal(0, 0.2, (5, 1, 1, 8)).astype(np.float32)
    second[..., 1:] *= 64
    graph = hai.GraphBuilder("loud", batch=(1, 4))
    x = graph.transpose(graph.input("image", ("N", 3, 19, 19)), (0, 2, 3, 1))
    graph.output(graph.conv2d(graph.unary("relu", graph.conv2d(x, first, padding=1)), second), "y")
    model = hai.Model(graph.native)
    model.preprocessing = hai.Preprocessing(width=19, height=19, scale=(1 / 255,) * 3)
    samples = [{"image": random.random((1, 3, 19, 19), np.float32)} for _ in range(4)]
    for equalize, calibration, pairs in ((None, None, 1), (False, None, 0), (None, samples, 0), (True, samples, 1)):
        quantized = hai.Quantizer(equalize=equalize, quiet=True).convert(model, calibration=calibration)
        assert quantized.model.quantization_report["equalized_pairs"] == pairs


def test_inputs_that_are_no_pictures_need_data() -> None:
    graph = hai.GraphBuilder("line")
    x = graph.input("x", ("N", 5))
    graph.output(graph.matmul(x, np.ones((3, 5), np.float32)), "y")
    with pytest.raises(hai.HaiError, match=r"inputs are x f32 \['N', 5\]. Pass calibration="):
        hai.Quantizer(quiet=True).convert(graph)


def test_unknown_operators_are_named() -> None:
    graph = hai.GraphBuilder("round")
    x = graph.input("x", ("N", 3, 16, 16))
    graph.output(graph.unary("round", x), "y")
    with pytest.raises(UnknownOperatorError, match="round"):
        TorchGraph(graph.native)


def test_made_up_pictures_are_reproducible_and_varied() -> None:
    first, second = procedural_pictures(3, 61, 97, 4), procedural_pictures(3, 61, 97, 4)
    assert all(np.array_equal(a, b) for a, b in zip(first, second))
    assert first[0].shape == (61, 97, 3) and first[0].dtype == np.uint8
    assert not np.array_equal(first[0], first[1])
    for picture in first:
        assert picture.std() > 20


def loud_transformer(width: int, layers: int) -> Any:
    """PyTorch's own encoder with LayerNorms of which three channels are 40 times as loud, as trained ones have them.

    What reads a loud channel has small weights for it; that too is what training does.
    """
    torch.manual_seed(3)
    layer = torch.nn.TransformerEncoderLayer(
        width, 4, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    encoder = torch.nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
    with torch.no_grad():
        for block in encoder.layers:
            for norm, weight in ((block.norm1, block.self_attn.in_proj_weight), (block.norm2, block.linear1.weight)):
                gain = torch.exp(0.2 * torch.randn(width))
                gain[torch.randperm(width)[:3]] *= 40
                norm.weight.copy_(gain)
                norm.bias.copy_(0.1 * torch.randn(width))
                weight.div_(gain.clamp(min=1)[None, :] ** 0.9)
    return torch.nn.Sequential(encoder, torch.nn.Linear(width, 10)).eval()


def test_smoothing_saves_a_transformer_with_loud_channels() -> None:
    net = loud_transformer(96, 2)
    random = np.random.default_rng(1)
    samples = [random.normal(0, 1, (1, 17, 96)).astype(np.float32) for _ in range(16)]
    fresh = random.normal(0, 1, (4, 17, 96)).astype(np.float32)
    model = hai.from_torch(net, torch.from_numpy(samples[0]), batch=(1, 4))
    with torch.no_grad():
        expected = net(torch.from_numpy(fresh)).numpy()
    sqnr = {}
    for smooth in (False, True):
        quantizer = hai.Quantizer(8, "asymmetrical", smooth=smooth, widen=False, force=True, quiet=True)
        quantized = quantizer.convert(model, calibration=samples)
        chosen = quantized.model.quantization_report
        # in_proj, out_proj and two of the feed-forward part a block, and the head; all between them is
        # integer too, and the LayerNorm before the first stays f32.
        assert [layer["precision"] for layer in chosen["layers"]] == ["w8a8"] * 9
        assert [node["op"] for node in chosen["float"]] == ["layer_norm"]
        assert chosen["equalized_pairs"] == (4 if smooth else 0)
        (actual,) = quantized.run(fresh).values()
        assert actual.shape == expected.shape
        sqnr[smooth] = 10 * np.log10(np.square(expected).sum() / np.square(actual - expected).sum())
        (reference,) = quantized.model.interpret({model.inputs[0].name: fresh[:1]}).values()
        # f32 between integers, in another order: now and then a rounding falls to the other side.
        noise = np.square(actual[:1] - reference).sum()
        assert 10 * np.log10(np.square(reference).sum() / (noise + 1e-30)) > sqnr[smooth] + 6
    assert sqnr[True] > 28
    assert sqnr[True] > sqnr[False] + 8, sqnr


def test_samples_that_do_not_tell_the_shape(tmp_path: Path) -> None:
    named = [{"input": image} for image in images()]
    for source in (named, [str(tmp_path / "a.png")], [b"a.png"]):
        with pytest.raises(hai.HaiError, match=r"first calibration sample is a \w+, .*pass example_inputs=") as error:
            hai.Quantizer(quiet=True).convert(module(), calibration=source)
        assert error.value.code == "HAI-Y295"
    with pytest.raises(hai.HaiError, match=r"example_inputs holds a dict"):
        hai.Quantizer(quiet=True).convert(module(), calibration=named, example_inputs={"input": images()[0]})
    example = torch.zeros(1, 3, 24, 24)
    (name,) = (i.name for i in hai.Quantizer(quiet=True).convert(module(), images()).model.inputs)
    named = [{name: image} for image in images()]
    rule = hai.Preprocessing(24, 24, scale=(1 / 255,) * 3)
    for options in ({"example_inputs": example}, {"preprocessing": rule}):
        quantized = hai.Quantizer(quiet=True).convert(module(), calibration=named, **options)  # type: ignore[arg-type]
        assert quantized.report()["samples"] == 4
