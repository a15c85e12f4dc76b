"""The Python interface: build, import, quantize, compile, save, load, run; threads; errors."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import hai_toolkit as hai
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper


def batch(n: int, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (n, 3, 19, 19)).astype(np.float32)


@pytest.fixture
def tiny_file(tmp_path: Path, tiny_model: hai.Model) -> Path:
    tiny_model.compile().save(tmp_path / "tiny.hai")
    return tmp_path / "tiny.hai"


def test_the_compiled_model_agrees_with_the_reference(tiny_model: hai.Model, tiny_file: Path) -> None:
    for n in (1, 3, 16):
        expected = tiny_model.interpret({"image": batch(n)})["logits"]
        actual = hai.load(tiny_file).session(threads=2).run({"image": batch(n)})["logits"]
        assert actual.shape == (n, 7)
        # f32 against f64 sums of at most 27 products.
        assert np.abs(actual - expected).max() <= 1e-5 * np.abs(expected).max()


def mixed_network() -> hai.Model:
    """SiLU, addition, concatenation, average pool, resize, and matrix products: [N, 3, 19, 19] to [N, 7]."""
    random = np.random.default_rng(9)

    def weights(*shape: int) -> np.ndarray:
        return random.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)

    graph = hai.GraphBuilder("mixed", batch=(1, 16))
    x = graph.transpose(graph.input("image", ("N", 3, 19, 19)), (0, 2, 3, 1))
    stem = graph.unary("silu", graph.conv2d(x, weights(19, 3, 3, 3), padding=1, name="stem"))
    total = graph.add(graph.conv2d(stem, weights(19, 3, 3, 19), padding=1, name="branch"), stem)
    joined = graph.concat([total, stem], axis=3)
    (pooled,) = graph.append("average_pool", [joined], {"kernel": [2, 2], "strides": [2, 2]})
    larger = graph.resize_nearest(pooled, 2)
    depthwise = graph.conv2d(larger, weights(38, 3, 3, 1), padding=1, groups=38, name="depthwise")
    hidden = graph.matmul(
        graph.global_average_pool(graph.unary("hard_swish", depthwise)), weights(33, 38), name="hidden"
    )
    graph.output(graph.matmul(graph.unary("relu", hidden), weights(7, 33), name="head"), "logits")
    return hai.Model(graph.native)


@pytest.mark.parametrize("precision", ["w8a8", "w4a8", "w8a16", "w16a16", "w8", "w4"])
def test_every_precision_on_every_instruction_set(tmp_path: Path, precision: str) -> None:
    model = mixed_network()
    model.quantize(calibration=[batch(2, seed) for seed in range(8)], precision=precision, widen=False)
    assert {layer["precision"] for layer in model.quantization_report["layers"]} == {precision}
    model.compile().save(tmp_path / "quantized.hai")
    expected = model.interpret({"image": batch(3)})["logits"]
    tried = 0
    for isa in ("scalar", "avx2", "avx2vnni", "avx512", "avx512vnni", "neon", "neondot", "neoni8mm"):
        for threads in (1, 2):
            try:
                session = hai.load(tmp_path / "quantized.hai").session(threads=threads, isa=isa)
            except hai.HaiError:
                continue  # not on this machine
            assert session.isa == isa and session.threads == threads
            actual = session.run({"image": batch(3)})["logits"]
            if precision in ("w8", "w4"):  # f32 activations: sums of at most 171 products in another order
                assert np.abs(actual - expected).max() <= 2e-5 * np.abs(expected).max(), isa
            else:
                np.testing.assert_array_equal(actual, expected, isa)
            tried += 1
    assert tried >= 4


def test_quantization_stays_close(tmp_path: Path, tiny_model: hai.Model) -> None:
    expected = tiny_model.interpret({"image": batch(8, 99)})["logits"]
    seen: list[int] = []
    result = tiny_model.quantize(calibration=({"image": batch(2, s)} for s in range(8)), progress=seen.append)
    assert result is tiny_model
    assert seen == list(range(1, 9))
    actual = tiny_model.interpret({"image": batch(8, 99)})["logits"]
    error = np.abs(actual - expected)
    assert error.max() < 0.06 * np.abs(expected).max()  # a few steps of 1/255 through four layers
    assert error.max() > 0  # it is quantized
    report = tiny_model.quantization_report
    assert {layer["op"] for layer in report["layers"]} == {"conv2d", "matmul"}
    assert report["samples"] == 8


def test_saving_is_deterministic_and_atomic(tmp_path: Path, tiny_model: hai.Model, tiny_file: Path) -> None:
    tiny_model.compile().save(tmp_path / "again.hai")
    assert (tmp_path / "again.hai").read_bytes() == tiny_file.read_bytes()
    with pytest.raises(hai.HaiError):
        tiny_model.compile().save(tmp_path / "no" / "such" / "folder.hai")
    before = tiny_file.read_bytes()
    with pytest.raises(hai.HaiError):
        tiny_model.compile(device="toaster").save(tiny_file)
    assert tiny_file.read_bytes() == before


def test_sessions_share_weights_and_run_in_parallel(tiny_file: Path) -> None:
    model = hai.load(tiny_file)
    expected = model.session(threads=1).run({"image": batch(4)})["logits"]
    failures: list[str] = []

    def work() -> None:
        session = model.session(threads=1)
        for _ in range(50):
            if not np.array_equal(session.run({"image": batch(4)})["logits"], expected):
                failures.append("different")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_the_interpreter_lock_is_released(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    graph = hai.GraphBuilder("slow", batch=None)
    x = graph.input("x", (1, 64, 64, 64))
    for _ in range(12):
        x = graph.conv2d(x, random.normal(0, 0.05, (64, 3, 3, 64)).astype(np.float32), padding=1)
    graph.output(x, "y")
    hai.Model(graph.native).compile().save(tmp_path / "slow.hai")
    session = hai.load(tmp_path / "slow.hai").session(threads=1, isa="scalar")
    data = np.zeros((1, 64, 64, 64), np.float32)
    session.run(data)
    done = threading.Event()

    def work() -> None:
        session.run(data)
        done.set()

    thread = threading.Thread(target=work)
    begin = time.perf_counter()
    thread.start()
    ticks = 0
    while not done.is_set():  # this loop only turns while the lock is free
        time.sleep(0)
        ticks += 1
    elapsed = time.perf_counter() - begin
    thread.join()
    assert ticks > 10, f"{ticks} turns in {elapsed:.3f} s"


def test_inputs_of_any_layout_in_memory(tiny_file: Path) -> None:
    session = hai.load(tiny_file).session(threads=1)
    data = batch(2)
    expected = session.run({"image": data})["logits"]
    strided = np.asfortranarray(data)
    assert np.array_equal(session.run({"image": strided})["logits"], expected)
    assert np.array_equal(session.run(data)["logits"], expected)  # the only input needs no name
    assert np.array_equal(session.run({"image": data[::-1][::-1]})["logits"], expected)


def test_wrong_inputs_are_clear_errors(tiny_file: Path) -> None:
    session = hai.load(tiny_file).session(threads=1)
    cases = {
        "HAI-Y040": {"picture": batch(1)},
        "HAI-Y041": {},
        "HAI-Y042": {"image": batch(1).astype(np.float64)},
    }
    for code, inputs in cases.items():
        with pytest.raises(hai.HaiError) as caught:
            session.run(inputs)
        assert caught.value.code == code
    for shape in ((1, 3, 19, 18), (3, 19, 19), (1, 3, 19, 19, 1), (0, 3, 19, 19), (17, 3, 19, 19)):
        with pytest.raises(hai.HaiError):
            session.run({"image": np.zeros(shape, np.float32)})
    assert session.run({"image": batch(1)})["logits"].shape == (1, 7)  # and the session still works


def test_bad_files_are_clear_errors(tmp_path: Path, tiny_file: Path) -> None:
    with pytest.raises(hai.HaiError):
        hai.load(tmp_path / "gone.hai")
    content = tiny_file.read_bytes()
    for length in (0, 1, 63, 64, 1000, len(content) - 1):
        (tmp_path / "cut.hai").write_bytes(content[:length])
        with pytest.raises(hai.HaiError):
            hai.load(tmp_path / "cut.hai").session()
    flipped = bytearray(content)
    flipped[len(content) - 100] ^= 1
    (tmp_path / "flipped.hai").write_bytes(flipped)
    with pytest.raises(hai.HaiError):
        hai.load(tmp_path / "flipped.hai").verify()


def test_bad_calibration_is_a_clear_error(tiny_model: hai.Model) -> None:
    for calibration in (
        [],
        [np.zeros((1, 3, 18, 19), np.float32)],
        [{"x": batch(1)}],
        [batch(1).astype(np.float64)],
        [np.full_like(batch(1), np.nan)],
    ):
        with pytest.raises(hai.HaiError):
            tiny_model.quantize(calibration=calibration)
    with pytest.raises(hai.HaiError, match="calibration"):
        tiny_model.quantize()
    for typo in ({"observer": "zz"}, {"method": "zz"}, {"calibration": batch(1)}):
        with pytest.raises(hai.HaiError):
            tiny_model.quantize(**{"calibration": [batch(1)], **typo})
    with pytest.raises(hai.HaiError, match="bit_width"):
        tiny_model.quantize(bit_width=3, calibration=[batch(1)])

    def broken():
        yield batch(1)
        raise RuntimeError("the camera is gone")

    with pytest.raises(RuntimeError, match="the camera is gone"):
        tiny_model.quantize(calibration=broken())
    tiny_model.quantize(calibration=[batch(1)])  # a failed attempt leaves the model as it was


def test_graph_builder_errors() -> None:
    graph = hai.GraphBuilder("bad")
    x = graph.input("x", ("N", 8, 8, 4))
    with pytest.raises(hai.HaiError, match="conv2d"):
        graph.conv2d(x, np.zeros((8, 3, 3, 5), np.float32))
    with pytest.raises(hai.HaiError, match="no operator"):
        graph.append("convolve", [x])
    with pytest.raises(hai.HaiError):
        graph.append("softmax", [x], {"axes": 3})
    with pytest.raises(hai.HaiError):
        graph.reshape(x, (-1, -1))
    with pytest.raises(hai.HaiError, match="symbol"):
        graph.input("y", ("M", 3))
    with pytest.raises(hai.HaiError):
        graph.input("z", (2**40, 2**40))
    with pytest.raises(hai.HaiError):
        hai.GraphBuilder("other").add(x, x)
    assert graph.softmax(x).shape == ("N", 8, 8, 4)


def onnx_file(path: Path) -> Path:
    weights = np.random.default_rng(0).normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1], name="conv"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_from_onnx_keeps_names_and_layout(tmp_path: Path) -> None:
    model = hai.from_onnx(onnx_file(tmp_path / "small.onnx"), batch=(1, 4))
    assert [(i.name, i.dtype) for i in model.inputs] == [("x", "f32")]
    assert model.inputs[0].shape[1:] == (3, 8, 8)
    model.compile().save(tmp_path / "small.hai")
    data = np.random.default_rng(1).normal(0, 1, (4, 3, 8, 8)).astype(np.float32)
    out = hai.load(tmp_path / "small.hai").session(threads=1).run({"x": data})["y"]
    import onnxruntime

    expected = onnxruntime.InferenceSession(str(tmp_path / "small.onnx"), providers=["CPUExecutionProvider"]).run(
        None, {"x": data}
    )[0]
    assert np.abs(out - expected).max() <= 1e-5 * np.abs(expected).max()
    with pytest.raises(hai.HaiError):
        hai.load(tmp_path / "small.hai").session().run({"x": np.zeros((5, 3, 8, 8), np.float32)})


def test_printing_passes(tmp_path: Path) -> None:
    model = hai.from_onnx(onnx_file(tmp_path / "small.onnx"))
    printed: list[tuple[str, str]] = []
    model.compile(
        print_ir=["before:fuse_conv_activation", "after:fuse_conv_activation"], print_sink=lambda *a: printed.append(a)
    )
    assert [place for place, _ in printed] == ["before:fuse_conv_activation", "after:fuse_conv_activation"]
    assert "relu(" in printed[0][1]
    assert "relu(" not in printed[1][1]
    assert "fuse_conv_activation" in hai.pass_names()
    with pytest.raises(hai.HaiError):
        model.compile(disabled_passes=["no_such_pass"])


def test_profile_and_memory(tiny_file: Path) -> None:
    session = hai.load(tiny_file).session(threads=1, profile=True)
    session.run({"image": batch(2)})
    layers = session.profile()
    assert sum(layer["macs"] for layer in layers) > 0
    assert all(layer["calls"] == 1 for layer in layers)
    memory = session.memory
    assert memory["arena_bytes"] > 0
    assert memory["packed_weights_bytes"] > 0


def test_a_pad_value_may_come_out_of_a_dequantize(tmp_path: Path) -> None:
    quantized = [
        numpy_helper.from_array(np.array(v, t), n)
        for n, v, t in (("q", 3, np.int8), ("z", 1, np.int8), ("s", 0.25, np.float32))
    ]
    pads = numpy_helper.from_array(np.array([0, 0, 1, 2, 0, 0, 3, 4], np.int64), "pads")
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["value"]),
        helper.make_node("Pad", ["x", "pads", "value"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "pad",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 5, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 9, 12])],
        [*quantized, pads],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "pad.onnx"
    )
    model = hai.from_onnx(tmp_path / "pad.onnx")
    model.compile().save(tmp_path / "pad.hai")
    x = np.random.default_rng(1).normal(0, 1, (1, 2, 5, 6)).astype(np.float32)
    y = hai.load(tmp_path / "pad.hai").session(threads=1).run({"x": x})["y"]
    assert np.array_equal(y, np.pad(x, ((0, 0), (0, 0), (1, 3), (2, 4)), constant_values=0.5))


def test_an_input_that_is_also_an_output_keeps_its_name(tmp_path: Path) -> None:
    graph = hai.GraphBuilder("both", batch=None)
    x = graph.input("x", (2, 3))
    graph.output(graph.unary("relu", x), "y")
    graph.output(x, "x")
    hai.Model(graph.native).compile().save(tmp_path / "both.hai")
    data = np.array([[-1, 2, -3], [4, -5, 6]], np.float32)
    out = hai.load(tmp_path / "both.hai").session(threads=1).run({"x": data})
    assert list(out) == ["y", "x"]
    assert np.array_equal(out["x"], data)
    assert np.array_equal(out["y"], np.maximum(data, 0))
