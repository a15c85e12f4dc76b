"""The state dict reader without PyTorch: files made by hand, honest and hostile."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import struct
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hai_toolkit.errors import HaiError
from hai_toolkit.state_dict import Limits, read_state_dict

_RAN: list[str] = []


def _dangerous(word: str) -> None:
    _RAN.append(word)


def text(value: str) -> bytes:
    return pickle.BINUNICODE + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    data = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
    return pickle.LONG4 + struct.pack("<i", len(data)) + data


def numbers(values: tuple[int, ...]) -> bytes:
    return pickle.MARK + b"".join(number(value) for value in values) + pickle.TUPLE


def name(module: str, attribute: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{attribute}\n".encode()


def storage(key: str, count: int, kind: str = "FloatStorage", legacy: bool = False) -> bytes:
    fields = text("storage") + name("torch", kind) + text(key) + text("cpu") + number(count)
    return pickle.MARK + fields + (pickle.NONE if legacy else b"") + pickle.TUPLE + pickle.BINPERSID


def tensor(
    key: str, count: int, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0, kind: str = "FloatStorage",
    legacy: bool = False,
) -> bytes:  # fmt: skip
    hooks = name("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
    fields = storage(key, count, kind, legacy) + number(offset) + numbers(shape) + numbers(strides) + pickle.NEWFALSE
    return name("torch._utils", "_rebuild_tensor_v2") + pickle.MARK + fields + hooks + pickle.TUPLE + pickle.REDUCE


def entries(**items: bytes) -> bytes:
    head = name("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE + pickle.MARK
    return head + b"".join(text(key) + value for key, value in items.items()) + pickle.SETITEMS


def finished(body: bytes) -> bytes:
    return pickle.PROTO + b"\x02" + body + pickle.STOP


def zipped(path: Path, body: bytes, storages: dict[str, bytes] | None = None, **more: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", finished(body))
        for key, data in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", data)
        for key, data in more.items():
            archive.writestr(f"archive/{key}", data)
    return path


def legacy(path: Path, body: bytes, storages: dict[str, tuple[int, bytes]], little_endian: bool = True) -> Path:
    parts = [pickle.dumps(0x1950A86A20F9469CFC6C, 2), pickle.dumps(1001, 2)]
    parts += [pickle.dumps({"protocol_version": 1001, "little_endian": little_endian, "type_sizes": {}}, 2)]
    parts += [finished(body), pickle.dumps(sorted(storages), 2)]
    for key in sorted(storages):
        count, data = storages[key]
        parts += [count.to_bytes(8, "little" if little_endian else "big"), data]
    path.write_bytes(b"".join(parts))
    return path


def refused(path: Path, code: str, **options: Any) -> str:
    with pytest.raises(HaiError) as caught:
        read_state_dict(path, **options)
    assert caught.value.code == f"HAI-{code}", caught.value
    assert path.name in caught.value.message
    return caught.value.message


VALUES = np.arange(12, dtype=np.float32) * 0.5 - 2
BYTES = VALUES.tobytes()


def test_zip_windows_on_one_storage(tmp_path: Path) -> None:
    body = entries(
        whole=tensor("0", 12, (3, 4), (4, 1)),
        turned=tensor("0", 12, (4, 3), (1, 4)),
        row=tensor("0", 12, (4,), (1,), offset=8),
        scalar=tensor("0", 12, (), (), offset=5),
        empty=tensor("0", 12, (0, 7), (7, 1), offset=400),
    )
    arrays = read_state_dict(zipped(tmp_path / "a.pth", body, {"0": BYTES}, byteorder=b"little", version=b"3\n"))
    assert list(arrays) == ["whole", "turned", "row", "scalar", "empty"]
    np.testing.assert_array_equal(arrays["whole"], VALUES.reshape(3, 4))
    np.testing.assert_array_equal(arrays["turned"], VALUES.reshape(3, 4).T)
    np.testing.assert_array_equal(arrays["row"], VALUES[8:])
    assert arrays["scalar"].shape == ()
    assert arrays["scalar"] == VALUES[5]
    assert arrays["empty"].shape == (0, 7)
    assert all(array.flags.c_contiguous and array.flags.aligned for array in arrays.values())
    assert not arrays["whole"].flags.writeable


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_every_type_in_both_byte_orders(tmp_path: Path, container: str, big: bool) -> None:
    kinds = {
        "DoubleStorage": np.float64, "FloatStorage": np.float32, "HalfStorage": np.float16, "LongStorage": np.int64,
        "IntStorage": np.int32, "ShortStorage": np.int16, "CharStorage": np.int8, "ByteStorage": np.uint8,
    }  # fmt: skip
    expected = {kind: np.array([1, -2, 77], np.int64).astype(dtype) for kind, dtype in kinds.items()}
    stored = {k: v.astype(v.dtype.newbyteorder(">" if big else "<")).tobytes() for k, v in expected.items()}
    stored["BoolStorage"] = b"\x01\x00\x07"
    expected["BoolStorage"] = np.array([True, False, True])
    stored["BFloat16Storage"] = b"\x3f\x80\xc0\x20\x7f\x80" if big else b"\x80\x3f\x20\xc0\x80\x7f"
    expected["BFloat16Storage"] = np.array([1.0, -2.5, np.inf], np.float32)
    body = entries(**{k: tensor(k, 3, (3,), (1,), kind=k, legacy=container == "legacy") for k in stored})
    path = tmp_path / "types.pth"
    if container == "zip":
        zipped(path, body, stored, byteorder=b"big" if big else b"little")
    else:
        legacy(path, body, {key: (3, data) for key, data in stored.items()}, little_endian=not big)
    arrays = read_state_dict(path)
    for kind, values in expected.items():
        np.testing.assert_array_equal(arrays[kind], values)
        assert arrays[kind].dtype == values.dtype
    assert arrays.widened == ("BFloat16Storage",)


def test_wrapped_state_dicts(tmp_path: Path) -> None:
    inner = entries(w=tensor("0", 12, (12,), (1,)), note=pickle.NONE)
    path = zipped(tmp_path / "w.pt", entries(epoch=number(3), state_dict=inner, other=inner), {"0": BYTES})
    assert list(read_state_dict(path)) == ["w"]
    assert read_state_dict(path).skipped == ("note",)
    assert list(read_state_dict(path, key="other")) == ["w"]
    assert "'missing'" in refused(path, "Y163", key="missing")
    refused(path, "Y163", key="epoch")
    path = zipped(tmp_path / "v.pt", entries(first=number(3), second=pickle.EMPTY_DICT))
    assert "'first', 'second'" in refused(path, "Y164")
    refused(zipped(tmp_path / "n.pt", number(3)), "Y162")
    mixed = entries(w=tensor("0", 12, (12,), (1,)), inner=inner)
    refused(zipped(tmp_path / "m.pt", mixed, {"0": BYTES}), "Y166")
    body = pickle.EMPTY_DICT + number(7) + tensor("0", 12, (12,), (1,)) + pickle.SETITEM
    refused(zipped(tmp_path / "k.pt", body, {"0": BYTES}), "Y165")


class Evil:
    """Its pickle calls a function of this file."""

    def __reduce__(self) -> Any:
        return _dangerous, ("reduce",)


class Stateful:
    """An object with a state, as any module is."""

    def __init__(self) -> None:
        self.weight = 1


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("value", [Evil(), {"a": [Evil()]}, Stateful(), {1, 2}, {"f": os.system}], ids=str)
def test_python_objects_are_refused_and_not_made(tmp_path: Path, value: Any, protocol: int) -> None:
    path = tmp_path / "evil.pth"
    data = pickle.dumps(value, protocol)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
    _RAN.clear()
    for code_and_file in (path, tmp_path / "legacy.pth"):
        code_and_file.touch()
        if code_and_file.name == "legacy.pth":
            code_and_file.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, 2) + data)
        with pytest.raises(HaiError):
            read_state_dict(code_and_file)
    assert not _RAN


@pytest.mark.parametrize(
    ("module", "attribute"),
    [
        ("os", "system"), ("posix", "system"), ("builtins", "eval"), ("builtins", "getattr"), ("builtins", "exec"),
        ("subprocess", "Popen"), ("torch", "load"), ("torch.hub", "load"), ("numpy", "load"), ("runpy", "run_path"),
        ("collections", "OrderedDict.__reduce__"), ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("hai_toolkit.state_dict", "read_state_dict"), ("torch.nn.modules.linear", "Linear"), ("", ""), ("os\x00", "x"),
    ],
)  # fmt: skip
def test_a_global_is_refused_by_name(tmp_path: Path, module: str, attribute: str) -> None:
    call = pickle.MARK + text("touch gone") + pickle.TUPLE + pickle.REDUCE
    for load in (name(module, attribute), text(module) + text(attribute) + pickle.STACK_GLOBAL):
        message = refused(zipped(tmp_path / "g.pth", load + call), "Y132")
        assert repr(f"{module}.{attribute}") in message
        assert "torch.save(module.state_dict(), path)" in message


def test_tricks_with_known_names(tmp_path: Path) -> None:
    rebuild = name("torch._utils", "_rebuild_tensor_v2")
    some = tensor("0", 12, (12,), (1,))
    state = pickle.EMPTY_DICT + text("__code__") + text("x") + pickle.SETITEM
    slots = pickle.NONE + state + pickle.TUPLE2
    ordered = name("collections", "OrderedDict")
    cases = [
        (rebuild + state + pickle.BUILD, "Y106"),  # would set attributes of a function
        (rebuild + slots + pickle.BUILD, "Y106"),
        (some + state + pickle.BUILD, "Y106"),
        (ordered + state + pickle.BUILD, "Y106"),
        (storage("0", 12) + slots + pickle.BUILD, "Y106"),
        (some + pickle.EMPTY_TUPLE + pickle.REDUCE, "Y105"),  # calls a tensor
        (name("torch", "FloatStorage") + numbers((1,)) + pickle.REDUCE, "Y105"),
        (ordered + text("no tuple") + pickle.REDUCE, "Y105"),
        (ordered + numbers((1,)) + pickle.REDUCE, "Y131"),
        (ordered + pickle.EMPTY_TUPLE + pickle.NEWOBJ, "Y107"),
        (pickle.MARK + ordered + pickle.OBJ, "Y107"),
        (pickle.MARK + pickle.INST + b"os\nsystem\n", "Y107"),
        (pickle.EXT1 + b"\x01", "Y107"),
        (pickle.PERSID + b"storage\n", "Y107"),
        (pickle.EMPTY_SET, "Y107"),
        (pickle.NEXT_BUFFER, "Y107"),
        (pickle.BYTEARRAY8 + struct.pack("<Q", 3) + b"abc", "Y107"),
        (number(1) + number(2) + pickle.STACK_GLOBAL, "Y104"),
        (rebuild + pickle.NONE + pickle.APPEND, "Y108"),
        (rebuild + text("a") + text("b") + pickle.SETITEM, "Y109"),
        (pickle.EMPTY_DICT + pickle.MARK + text("a") + pickle.SETITEMS, "Y109"),
        (pickle.EMPTY_DICT + pickle.EMPTY_TUPLE * 3 + pickle.TUPLE3 + pickle.NONE + pickle.SETITEM, "Y110"),
        (rebuild + numbers((1, 2, 3, 4)) + pickle.REDUCE, "Y122"),
        (name("torch._utils", "_rebuild_parameter") + numbers((1,)) + pickle.REDUCE, "Y130"),
        (text("no tuple") + pickle.BINPERSID, "Y133"),
        (numbers((1, 2, 3, 4, 5)) + pickle.BINPERSID, "Y133"),
        (storage("0", -1), "Y134"),
        (storage("0", 1 << 63), "Y134"),
        (storage("0", 1 << 5000), "Y134"),
        (storage("0", 3) + storage("0", 4), "Y137"),
        (pickle.NONE + pickle.NONE, "Y103"),
        (pickle.POP, "Y102"),
        (pickle.MARK + pickle.APPENDS, "Y102"),
        (pickle.APPEND, "Y102"),
        (pickle.BINGET + b"\x05", "Y102"),
        (pickle.MARK + pickle.BINPUT + b"\x00", "Y102"),
        (b"\xff", "Y102"),
        (pickle.LONG + b"9" * 100_000 + b"L\n", "Y102"),
        (pickle.BINUNICODE8 + struct.pack("<Q", 1 << 60) + b"x", "Y102"),
        (pickle.BINBYTES8 + struct.pack("<Q", (1 << 63) - 1), "Y102"),
        (pickle.FRAME + struct.pack("<Q", 1 << 62) + pickle.POP, "Y102"),
        (text("x")[:1] + b"\xff\xff\xff\xff", "Y102"),
    ]
    for index, (body, code) in enumerate(cases):
        path = zipped(tmp_path / f"case{index}.pth", body, {"0": BYTES})
        refused(path, code)


def test_a_large_memo_index_costs_nothing(tmp_path: Path) -> None:
    body = entries(w=tensor("0", 12, (12,), (1,)) + pickle.LONG_BINPUT + b"\xff\xff\xff\xff")
    assert list(read_state_dict(zipped(tmp_path / "memo.pth", body, {"0": BYTES}))) == ["w"]


def test_deep_nesting_and_shared_references(tmp_path: Path) -> None:
    deep = pickle.NONE + pickle.TUPLE1 * 200_000
    body = entries(w=tensor("0", 12, (12,), (1,)), deep=deep)
    refused(zipped(tmp_path / "deep.pth", body, {"0": BYTES}), "Y166")
    doubled = pickle.EMPTY_TUPLE + (pickle.MEMOIZE + pickle.BINGET + b"\x00" + pickle.TUPLE2) * 100
    refused(zipped(tmp_path / "laughs.pth", doubled), "Y162")
    itself = pickle.EMPTY_LIST + pickle.BINPUT + b"\x00" + pickle.BINGET + b"\x00" + pickle.APPEND
    refused(zipped(tmp_path / "loop.pth", itself), "Y162")


def test_module_state_metadata_is_ignored(tmp_path: Path) -> None:
    state = pickle.EMPTY_DICT + text("_metadata") + pickle.EMPTY_DICT + pickle.SETITEM
    body = entries(w=tensor("0", 12, (12,), (1,))) + state + pickle.BUILD
    assert list(read_state_dict(zipped(tmp_path / "meta.pth", body, {"0": BYTES}))) == ["w"]


def test_windows_outside_the_storage(tmp_path: Path) -> None:
    cases: list[tuple[tuple[Any, ...], str]] = [
        (((13,), (1,), 0), "Y125"),
        (((12,), (1,), 1), "Y125"),
        (((3, 4), (5, 1), 0), "Y125"),
        (((2,), (1 << 61,), 0), "Y125"),
        (((1,), (1,), 1 << 61), "Y125"),
        (((1,), (1,), 1 << 62), "Y122"),
        (((1,), (1,), -1), "Y122"),
        (((-1,), (1,), 0), "Y121"),
        (((3,), (-1,), 2), "Y121"),
        (((1 << 63,), (1,), 0), "Y121"),
        (((1 << 60000,), (1,), 0), "Y121"),
        (((3, 4), (1,), 0), "Y123"),
        (((1,) * 33, (1,) * 33, 0), "Y120"),
        (((1 << 40,), (0,), 0), "Y126"),  # one element, repeated: a bomb
        (((12, 12), (0, 1), 0), "Y126"),
    ]
    for index, ((shape, strides, offset), code) in enumerate(cases):
        body = entries(w=tensor("0", 12, shape, strides, offset))
        message = refused(zipped(tmp_path / f"case{index}.pth", body, {"0": BYTES}), code)
        assert code != "Y122" or "again with torch.save" in message


def test_many_views_of_one_storage_cannot_fill_memory(tmp_path: Path) -> None:
    views = {f"w{index}": tensor("0", 12, (4, 3), (1, 4)) for index in range(30)}
    refused(zipped(tmp_path / "views.pth", entries(**views), {"0": BYTES}), "Y167")


def test_damaged_zip_archives(tmp_path: Path) -> None:
    body = entries(w=tensor("0", 12, (12,), (1,)))
    refused(zipped(tmp_path / "short.pth", body, {"0": BYTES[:-1]}), "Y144")
    refused(zipped(tmp_path / "missing.pth", body), "Y144")
    refused(zipped(tmp_path / "order.pth", body, {"0": BYTES}, byteorder=b"middle"), "Y143")
    refused(zipped(tmp_path / "script.pth", body, {"0": BYTES}, **{"constants.pkl": b""}), "Y140")
    refused(zipped(tmp_path / "limit.pth", body, {"0": BYTES}), "Y142", limits=Limits(pickle_bytes=10))
    refused(zipped(tmp_path / "steps.pth", body, {"0": BYTES}), "Y101", limits=Limits(opcodes=10))
    refused(zipped(tmp_path / "size.pth", body, {"0": BYTES}), "Y160", limits=Limits(file_bytes=10))
    refused(zipped(tmp_path / "many.pth", body, {"0": BYTES}), "Y136", limits=Limits(storages=0))
    with zipfile.ZipFile(tmp_path / "none.pth", "w") as archive:
        archive.writestr("else.txt", b"")
    refused(tmp_path / "none.pth", "Y141")
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", finished(body))
        archive.writestr("archive/data/0", bytes(10_000_000))
    refused(tmp_path / "bomb.pth", "Y147")
    with zipfile.ZipFile(tmp_path / "twice.pth", "w") as archive:
        archive.writestr("archive/data.pkl", finished(body))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("archive/data.pkl", finished(body))
    refused(tmp_path / "twice.pth", "Y146")


def test_zip_entries_that_share_bytes(tmp_path: Path) -> None:
    body = entries(w=tensor("0", 12, (12,), (1,)))
    path = zipped(tmp_path / "overlap.pth", body, {"0": bytes(5000)})
    with zipfile.ZipFile(path, "a") as archive:
        first = archive.getinfo("archive/data/0")
        for index in range(1, 50):  # central directory entries that all point at the first one's data
            other = zipfile.ZipInfo(f"archive/data/{index:05}")
            other.header_offset, other.CRC = first.header_offset, first.CRC
            other.file_size = other.compress_size = first.file_size
            archive.filelist.append(other)
            archive.NameToInfo[other.filename] = other
        archive._didModify = True  # type: ignore[attr-defined]
    refused(path, "Y148")


@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_every_truncation_and_flipped_byte(tmp_path: Path, container: str) -> None:
    body = entries(a=tensor("0", 3, (3,), (1,), legacy=container == "legacy"))
    path = tmp_path / "whole.pth"
    if container == "zip":
        zipped(path, body, {"0": BYTES[:12]})
    else:
        legacy(path, body, {"0": (3, BYTES[:12])})
    whole, damaged = path.read_bytes(), tmp_path / "damaged.pth"
    for length in range(len(whole)):
        damaged.write_bytes(whole[:length])
        with pytest.raises(HaiError):
            read_state_dict(damaged)
    source = random.Random(5)
    for at in range(len(whole)):
        for value in {whole[at] ^ 1, whole[at] ^ 0x80, 0, 255, source.randrange(256)} - {whole[at]}:
            damaged.write_bytes(whole[:at] + bytes([value]) + whole[at + 1 :])
            try:
                arrays = read_state_dict(damaged)
            except HaiError:
                continue
            assert all(array.nbytes <= 64 for array in arrays.values())


def test_random_opcodes(tmp_path: Path) -> None:
    source = random.Random(11)
    pieces = [bytes([code]) for code in range(256)]
    pieces += [tensor("0", 12, (3,), (1,)), name("os", "system"), text("a"), numbers((1, 2)), storage("0", 12)]
    pieces += [pickle.MARK, pickle.TUPLE, pickle.REDUCE, pickle.BUILD, pickle.EMPTY_DICT, pickle.SETITEMS] * 20
    for _ in range(3000):
        body = b"".join(source.choices(pieces, k=source.randrange(1, 30)))
        path = zipped(tmp_path / "random.pth", body, {"0": BYTES})
        with contextlib.suppress(HaiError):
            read_state_dict(path)


def test_damaged_legacy_files(tmp_path: Path) -> None:
    body = entries(w=tensor("0", 12, (12,), (1,), legacy=True))
    np.testing.assert_array_equal(read_state_dict(legacy(tmp_path / "good.pth", body, {"0": (12, BYTES)}))["w"], VALUES)
    refused(legacy(tmp_path / "short.pth", body, {"0": (12, BYTES[:-1])}), "Y154")
    refused(legacy(tmp_path / "count.pth", body, {"0": (11, BYTES)}), "Y155")
    refused(legacy(tmp_path / "keys.pth", body, {}), "Y153")
    refused(legacy(tmp_path / "more.pth", body, {"0": (12, BYTES), "1": (12, BYTES)}), "Y153")
    view = body.replace(pickle.NONE + pickle.TUPLE, numbers((1, 2, 3)) + pickle.TUPLE)
    refused(legacy(tmp_path / "view.pth", view, {"0": (12, BYTES)}), "Y135")
    (tmp_path / "text.pth").write_text("<!DOCTYPE html>")
    refused(tmp_path / "text.pth", "Y102")
    (tmp_path / "empty.pth").touch()
    refused(tmp_path / "empty.pth", "Y102")
    (tmp_path / "pickle.pth").write_bytes(pickle.dumps({"a": 1}))
    refused(tmp_path / "pickle.pth", "Y150")
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    (tmp_path / "protocol.pth").write_bytes(magic + pickle.dumps(7, 2) + pickle.dumps({}, 2))
    refused(tmp_path / "protocol.pth", "Y151")
    tail = pickle.dumps(1001, 2) + pickle.dumps({}, 2) + finished(body) + pickle.dumps(["0", "0"], 2)
    (tmp_path / "keylist.pth").write_bytes(magic + tail)
    refused(tmp_path / "keylist.pth", "Y152")


def test_what_is_no_file(tmp_path: Path) -> None:
    refused(tmp_path / "absent.pth", "Y161")
    refused(tmp_path, "Y161" if sys.platform != "win32" else "Y160")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.pth")
        finished_in_time = threading.Event()

        def read() -> None:
            refused(tmp_path / "pipe.pth", "Y160")
            finished_in_time.set()

        threading.Thread(target=read, daemon=True).start()
        assert finished_in_time.wait(10)
