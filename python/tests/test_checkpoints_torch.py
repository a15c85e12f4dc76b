"""Whole checkpoints: what `torch.load` makes of them, what the graph computes, and what hostile ones can do."""

from __future__ import annotations

import io
import os
import pickle
import random
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import hai_toolkit as hai
import numpy as np
import pytest
from hai_toolkit import checkpoints

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
import published_networks as networks  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:Detected pickle protocol")]

SIZE = (64, 96)


def yolov5n() -> Path:
    path = Path(os.environ.get("HAI_TEST_DATA", "../shared/data")) / "models/yolov5n.pt"
    if not path.exists():
        pytest.skip(f"{path} is missing; set HAI_TEST_DATA to the folder of test data")
    return path


def outputs_of(model: hai.Model, image: np.ndarray, tmp_path: Path) -> np.ndarray:
    model.compile().save(tmp_path / "model.hai")
    return hai.load(tmp_path / "model.hai").session(threads=2).run({"images": image})["output"]


MAKERS = {
    "release 6": networks.release_6,
    "release 7": lambda b: networks.release_6(b, "DetectionModel"),
    "first releases": networks.first_releases,
    "experimental": networks.experimental,
    "transformer": lambda b: networks.experimental(b, transformer=True),
}


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("half", [True, False])
def test_graph_torch_and_records_agree(maker: str, half: bool, tmp_path: Path) -> None:
    path = networks.save(tmp_path / "net.pt", MAKERS[maker], half)
    loaded = torch.load(path)["model"].float().eval()
    image = np.random.default_rng(2).uniform(0, 1, (3, 3, *SIZE)).astype(np.float32)
    with torch.no_grad():
        expected, raw = loaded(torch.from_numpy(image))
    assert expected.shape[0] == 3 and len(raw) == len(loaded.model[-1].m)
    from_records, info = checkpoints.build(checkpoints.find_network(checkpoints.read_checkpoint(path)), SIZE)
    from_torch, same = checkpoints.build(checkpoints.find_network(torch.load(path)), SIZE)
    assert info == same and info.classes == expected.shape[2] - 5 and info.names[0] == "thing0"
    assert from_records.text(1 << 20) == from_torch.text(1 << 20)
    got = outputs_of(from_records, image, tmp_path)
    # f32 sums in another order; boxes are in pixels, up to a few hundred.
    np.testing.assert_allclose(got, expected.numpy(), rtol=1e-4, atol=1e-3)


def test_a_layer_without_a_form_in_the_graph_is_refused_by_name(tmp_path: Path) -> None:
    model = torch.load(networks.save(tmp_path / "net.pt", networks.release_6, half=False))["model"]
    model.model[3].act = torch.nn.ZeroPad2d(1)
    with pytest.raises(hai.HaiError, match=r"model\.3\.act.*ZeroPad2d.*example_inputs") as caught:
        checkpoints.build(model, SIZE)
    assert caught.value.code == "HAI-Y231"


def test_averaged_weights_come_first(tmp_path: Path) -> None:
    path = networks.save(tmp_path / "net.pt", networks.release_6)
    checkpoint = torch.load(path)
    other = torch.load(networks.save(tmp_path / "other.pt", networks.release_6, builder={"seed": 9}))["model"]
    assert checkpoints.find_network(checkpoint | {"ema": other}) is other
    assert checkpoints.find_network(checkpoint) is checkpoint["model"]


def test_what_training_leaves_beside_the_network_is_read_from_a_path(tmp_path: Path) -> None:
    left = {"best_fitness": np.array([0.5]), "score": np.float64(0.25), "opt": {"data": Path("coco.yaml")}}
    path = networks.save(tmp_path / "best.pt", networks.first_releases, **left)
    with pytest.raises(pickle.UnpicklingError, match="numpy"):
        torch.load(path)
    checkpoint = checkpoints.read_checkpoint(path)
    assert "multiarray" in checkpoint["best_fitness"].name
    assert checkpoints.build(checkpoints.find_network(checkpoint), SIZE)[1].classes == 2


@pytest.mark.parametrize("order", ["torch first", "hai_toolkit first"])
def test_either_order_of_imports(order: str, tmp_path: Path) -> None:
    path = networks.save(tmp_path / "net.pt", networks.release_6)
    imports = ["import torch", "import hai_toolkit"]
    code = "\n".join(imports if order == "torch first" else imports[::-1])
    code += f"\nm = torch.load({str(path)!r})['model'].float()\nprint(type(m).__name__, m(torch.zeros(1, 3, 64, 64))[0].shape[2])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "Model 8\n", done.stderr


def test_pytorch_is_not_imported_by_hai_toolkit_and_its_import_is_left_as_it_was() -> None:
    code = (
        "import sys, hai_toolkit, importlib.util\n"
        "assert 'torch' not in sys.modules\n"
        "import torch\n"
        "assert not any('hai_toolkit' in type(f).__module__ for f in sys.meta_path)\n"
        "assert 'exec_module' not in vars(torch.__spec__.loader)\n"
        "assert importlib.util.find_spec('torch') is torch.__spec__\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# --- hostile files -----------------------------------------------------------------------------------------------------------
class Calls:
    """Pickles as a call of anything."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def torch_zip(path: Path, data: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    return path


def eval_chain() -> bytes:
    """getattr(__import__('builtins'), 'eval')('...') written by hand."""
    name = lambda module, attribute: pickle.GLOBAL + f"{module}\n{attribute}\n".encode()  # noqa: E731
    text = lambda value: pickle.BINUNICODE + struct.pack("<I", len(value)) + value.encode()  # noqa: E731
    body = (
        name("builtins", "getattr") + name("builtins", "__import__") + text("builtins") + pickle.TUPLE1 + pickle.REDUCE
    )
    body += (
        text("eval")
        + pickle.TUPLE2
        + pickle.REDUCE
        + text("__import__('os').mkdir('ran')")
        + pickle.TUPLE1
        + pickle.REDUCE
    )
    return pickle.PROTO + b"\x02" + body + pickle.STOP


HOSTILE = {
    "os.system": lambda p: pickle.dumps(Calls(os.system, "mkdir ran"), p),
    "nested": lambda p: pickle.dumps({"epoch": 1, "model": [{"ema": Calls(os.mkdir, "ran")}]}, p),
    "twice": lambda p: pickle.dumps(Calls(eval, Calls(str, "__import__('os').mkdir('ran')")), p),
    "subprocess": lambda p: pickle.dumps(Calls(subprocess.check_output, ["mkdir", "ran"]), p),
    "exec": lambda p: pickle.dumps((1, Calls(exec, "import os; os.mkdir('ran')")), p),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_hostile_pickles_are_refused_by_name_and_run_nothing(
    kind: str, protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = torch_zip(tmp_path / "evil.pt", HOSTILE[kind](protocol))
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path)
    with pytest.raises(hai.HaiError) as caught:
        hai.Quantizer().convert(path)
    assert any(word in str(caught.value) for word in ("system", "mkdir", "eval", "check_output", "exec")), caught.value
    assert not (tmp_path / "ran").exists()


def test_getattr_chains_and_persistent_ids_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = torch_zip(tmp_path / "chain.pt", eval_chain())
    with pytest.raises(pickle.UnpicklingError, match="getattr"):
        torch.load(path)
    with pytest.raises(hai.HaiError, match="getattr"):
        hai.Quantizer().convert(path)
    buffer = io.BytesIO()

    class Persistent(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            return ("module", Calls(os.mkdir, "ran")) if value == "me" else None

    Persistent(buffer, 2).dump(["me"])
    path = torch_zip(tmp_path / "persistent.pt", buffer.getvalue())
    for load in (torch.load, hai.Quantizer().convert):
        with pytest.raises((pickle.UnpicklingError, hai.HaiError, RuntimeError, AssertionError)):
            load(path)
    assert not (tmp_path / "ran").exists()


def test_a_known_class_cannot_be_called_or_given_hooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with networks.published_names():
        conv = sys.modules["models.common"].Conv
        called = pickle.dumps(Calls(conv, 10**9), 2)
        module = conv()
        module.forward = set  # would hide the method; `set` is on the allow-list
        module.register_forward_hook(set)
        hooked = pickle.dumps(module, 2)
    with pytest.raises(Exception, match=r"positional argument|takes 1"):
        torch.load(torch_zip(tmp_path / "called.pt", called))
    with pytest.raises(hai.HaiError):
        hai.Quantizer().convert(torch_zip(tmp_path / "called.pt", called))
    loaded = torch.load(torch_zip(tmp_path / "hooked.pt", hooked))
    assert "forward" not in vars(loaded) and not loaded._forward_hooks


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.model[3].conv.__dict__.update(groups=-1), "groups is -1"),
        (lambda m: m.model[3].conv.__dict__.update(kernel_size=(3, "3")), "kernel_size"),
        (lambda m: m.model[3].conv.__dict__.update(stride=10**30), "stride"),
        (lambda m: m.model[3]._modules.update(conv=None), 'no part "conv"'),
        (lambda m: m.model[3]._modules.update(act=m.model[3]), "nested deeper"),
        (lambda m: m.model[3].bn.eps.__class__ and setattr(m.model[3].bn, "eps", float("nan")), "eps is nan"),
        (lambda m: m.model[3].bn.running_var.neg_(), "negative"),
        (lambda m: m.model[9].__dict__.update(f=[-1, 400]), "result 400"),
        (lambda m: m.model[9].__dict__.update(d="x"), "axis"),
        (lambda m: m.model[-1].__dict__.update(nc=10**12), "nc is"),
        (lambda m: m.model[-1].__dict__.update(stride=torch.tensor([3.0, 16.0])), "strides"),
        (lambda m: m.model[3].conv.weight.data.view(-1)[5:7].fill_(float("nan")), "2 values of 2304 that are NaN"),
        (lambda m: m.model[8].__dict__.update(scale_factor=1e9), "scale_factor"),
        (lambda m: m._modules.update(model=torch.nn.Sequential()), "its last layer is missing"),
        (lambda m: m.model[2].m.__dict__.update(_modules=dict(enumerate([m.model[2].m[0]] * 99))), "300 layers"),
    ],
)  # fmt: skip
def test_hostile_attributes_are_errors_that_name_the_layer(
    change: Any, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hai_toolkit.checkpoints.yolov5._MOST_LAYERS", 300)
    model = torch.load(networks.save(tmp_path / "net.pt", networks.release_6, half=False))["model"]
    with torch.no_grad():
        change(model)
    with pytest.raises(hai.HaiError, match=words):
        checkpoints.build(model, SIZE)


def test_a_tensor_that_claims_more_than_it_stores_is_refused(tmp_path: Path) -> None:
    model = torch.load(networks.save(tmp_path / "net.pt", networks.release_6, half=False))["model"]
    huge = torch.zeros(1).expand(1 << 40)
    model.model[0].conv._parameters["weight"] = huge
    with pytest.raises(hai.HaiError, match="fewer numbers stored"):
        checkpoints.build(model, SIZE)


def test_unknown_layers_are_named_with_a_remedy(tmp_path: Path) -> None:
    def make(b: Any) -> Any:
        model = networks.release_6(b)
        model.model[6].cv1 = b.make("Unheard")
        return model

    path = networks.save(tmp_path / "net.pt", make)
    with pytest.raises(pickle.UnpicklingError, match=r"models\.common\.Unheard"):
        torch.load(path)
    with pytest.raises(
        hai.HaiError, match=r"models\.common\.Unheard.*nothing of it was run.*convert\(module"
    ) as caught:
        hai.Quantizer().convert(path)
    assert caught.value.code == "HAI-Y132"


def test_cut_and_flipped_files_are_errors(tmp_path: Path) -> None:
    path = networks.save(tmp_path / "net.pt", networks.first_releases)
    data = path.read_bytes()
    dice = random.Random(3)
    broken = tmp_path / "broken.pt"
    for trial in range(60):
        if trial % 2:
            changed = data[: dice.randrange(len(data))]
        else:
            at = dice.randrange(len(data))
            changed = data[:at] + bytes([data[at] ^ (1 << dice.randrange(8))]) + data[at + 1 :]
        broken.write_bytes(changed)
        try:
            model, _ = checkpoints.build(checkpoints.find_network(checkpoints.read_checkpoint(broken)), SIZE)
            assert model.outputs  # a flipped bit of a weight, or between entries
        except hai.HaiError:
            pass
        except AttributeError:
            assert trial % 2 == 0  # find_network gave None: the key "model" was hit
            raise


# --- the published checkpoint ------------------------------------------------------------------------------------------------
def test_the_published_checkpoint_sees_a_cat(pictures: Path, tmp_path: Path) -> None:
    path = yolov5n()
    checkpoint = torch.load(path)
    model, info = checkpoints.build(checkpoints.find_network(checkpoint))
    assert str(info) == "YOLOv5 checkpoint, 80 classes, 640x640" and info.names[15] == "cat"
    assert model.preprocessing is not None
    image = model.preprocessing(pictures / "chelsea.png")
    boxes = outputs_of(model, image, tmp_path)
    with torch.no_grad():
        expected = checkpoint["model"].float()(torch.from_numpy(image))[0].numpy()
    np.testing.assert_allclose(boxes, expected, rtol=1e-3, atol=2e-2)  # pixels, f32 sums in another order
    scores = boxes[0, :, 4:5] * boxes[0, :, 5:]
    best = np.unravel_index(scores.argmax(), scores.shape)
    assert info.names[best[1]] == "cat" and scores[best] > 0.5


def test_other_classes_leave_boxes_and_objectness_as_they_were(tmp_path: Path) -> None:
    path = networks.save(tmp_path / "net.pt", networks.release_6, False)
    network = checkpoints.find_network(checkpoints.read_checkpoint(path))
    image = np.random.default_rng(2).uniform(0, 1, (2, 3, *SIZE)).astype(np.float32)
    published, _ = checkpoints.build(network, SIZE)
    expected = outputs_of(published, image, tmp_path)
    model, info = checkpoints.build(network, SIZE, classes=["open", "short"])
    found = outputs_of(model, image, tmp_path)
    assert info.names == ("open", "short") and found.shape == (*expected.shape[:2], 7)
    # The products sum in another order of blocks: a few units in the last place of boxes of up to 100 pixels.
    np.testing.assert_allclose(found[..., :5], expected[..., :5], rtol=1e-5, atol=1e-4)
    with pytest.raises(hai.HaiError, match="Y254"):
        checkpoints.build(network, SIZE, classes=["open", "open"])
