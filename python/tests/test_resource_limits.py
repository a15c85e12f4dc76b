"""Too little of what the system gives: processors by an affinity mask, threads, memory by setrlimit while loading and packing.

Each is a clear error or less of the resource, never a crash, never a wrong answer, and what was taken is given back.
"""

from __future__ import annotations

import itertools
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import hai_toolkit as hai
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

_WIDE = 1536  # two layers of 9 MB in f32: packing them needs about twice that
_MEGABYTE = 1 << 20


def _network(path: Path, wide: int) -> Path:
    random = np.random.default_rng(1)
    weights = [
        numpy_helper.from_array(random.standard_normal((wide, wide)).astype(np.float32) / 40, name)
        for name in ("a", "b")
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "a"], ["h"]), helper.make_node("MatMul", ["h", "b"], ["y"])],
        "net",
        [value("x", TensorProto.FLOAT, [1, wide])],
        [value("y", TensorProto.FLOAT, [1, wide])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(model, path.with_suffix(".onnx"))
    hai.from_onnx(path.with_suffix(".onnx")).compile(device="cpu").save(path)
    return path


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose weights are most of what it needs."""
    return _network(tmp_path_factory.mktemp("limits") / "large.hai", _WIDE)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that runs in microseconds."""
    return _network(tmp_path_factory.mktemp("limits") / "small.hai", 32)


def _status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise AssertionError(field)


@pytest.fixture
def address_space() -> Iterator[None]:
    """Puts the limit back."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def test_a_memory_limit_while_loading_and_packing_is_an_error_and_leaks_nothing(
    large: Path, address_space: None
) -> None:
    data = np.ones((1, _WIDE), np.float32)
    expected = hai.load(large).session(threads=1).run({"x": data})["y"]
    before = resource.getrlimit(resource.RLIMIT_AS)
    failed: set[str] = set()
    resident: list[int] = []
    for _ in range(4):
        for extra in range(0, 41 * _MEGABYTE, 2 * _MEGABYTE):
            resource.setrlimit(resource.RLIMIT_AS, (_status_bytes("VmSize") + extra, before[1]))
            try:
                answer = hai.load(large).session(threads=1).run({"x": data})["y"]
            except hai.HaiError as error:
                failed.add(str(error))
                answer = None
            finally:
                resource.setrlimit(resource.RLIMIT_AS, before)
            assert answer is None or np.array_equal(answer, expected), f"{extra} bytes more"
        resident.append(_status_bytes("VmRSS"))
    assert any("HAI-" in words and "memory" in words for words in failed), failed
    # A leak grows in each pass of twenty attempts, by layers of 9 MB; what the allocator keeps grows until it is enough.
    assert min(after - before for before, after in itertools.pairwise(resident)) < 2 * _WIDE * _WIDE, resident
    assert np.array_equal(hai.load(large).session(threads=1).run({"x": data})["y"], expected)


def test_a_memory_limit_below_what_more_threads_need_gives_fewer_or_an_error(small: Path, address_space: None) -> None:
    data = np.ones((1, 32), np.float32)
    expected = hai.load(small).session(threads=1).run({"x": data})["y"]
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_status_bytes("VmSize") + 24 * _MEGABYTE, before[1]))
    try:
        session = hai.load(small).session(threads=64)
        answer = session.run({"x": data})["y"]
        threads = session.threads
    except hai.HaiError as error:
        assert "HAI-" in str(error)
        return
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert 1 <= threads <= 64 and np.array_equal(answer, expected)


def test_threads_out_of_range_are_an_error_that_names_the_range(small: Path) -> None:
    model = hai.load(small)
    for threads in (-1, 1025, 2**31 - 1):
        with pytest.raises(hai.HaiError, match=r"R011"):
            model.session(threads=threads)


def test_a_thousand_threads_run_and_are_gone_afterwards(small: Path) -> None:
    data = np.ones((1, 32), np.float32)
    model = hai.load(small)
    expected = model.session(threads=1).run({"x": data})["y"]
    before = len(os.listdir("/proc/self/task"))
    session = model.session(threads=1000)
    assert np.array_equal(session.run({"x": data})["y"], expected)
    assert 1 <= session.threads <= 1000
    del session
    assert len(os.listdir("/proc/self/task")) <= before


def test_no_threads_asked_for_is_one_for_each_processor_of_the_affinity_mask(small: Path) -> None:
    allowed = os.sched_getaffinity(0)
    model = hai.load(small)
    data = np.ones((1, 32), np.float32)
    expected = model.session(threads=1).run({"x": data})["y"]
    assert model.session(threads=0).threads == len(allowed)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        session = model.session(threads=0)
        assert session.threads == 1
        # More threads than processors are slower, not wrong.
        assert np.array_equal(model.session(threads=4).run({"x": data})["y"], expected)
        assert np.array_equal(session.run({"x": data})["y"], expected)
    finally:
        os.sched_setaffinity(0, allowed)
    assert model.session(threads=0).threads == len(allowed)
