"""The two containers of `torch.save`: a zip archive (PyTorch 1.6 and later) and the older run of pickles.

Each gives the unpickled object with the storages it refers to filled in. Nothing is extracted to disk. PyTorch stores
zip entries without compression, so a compressed one is refused; an entry can then never be larger than the file.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..errors import HaiError
from .pickle_subset import Global, PickleSubset, Value, globals_table
from .tensors import DTYPES, STORAGE_DTYPES, Storage, Tensor, is_count, rebuild_tensor, shown

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_ADVICE = (
    "A state dict needs no such thing. If the file holds a whole module or training state, load it where it was made "
    "and save `torch.save(module.state_dict(), path)`"
)


@dataclass(frozen=True)
class Limits:
    """What a checkpoint may ask for."""

    file_bytes: int = 16 << 30
    pickle_bytes: int = 64 << 20
    opcodes: int = 4_000_000
    storages: int = 1_000_000


@dataclass(frozen=True)
class Accepted:
    """What a caller takes beside tensors and containers: names, how records get their state, the words of a refusal."""

    globals: Mapping[str, Global]
    set_state: Callable[[Value, Value], None]
    refusal: Callable[[str], str]


class _Reader:
    """State while one file is read: its storages by key, and the table of names it may mention."""

    def __init__(self, where: str, limits: Limits, more: Accepted | None) -> None:
        self.where = where
        self.limits = limits
        self.storages: dict[str, Storage] = {}
        self._globals = self._known_globals()
        self._set_state = more.set_state if more else None
        self._refusal = more.refusal if more else lambda name: f"the file asks for {name}. {_ADVICE}"
        if more:
            self._globals = {**more.globals, **self._globals}

    def _known_globals(self) -> dict[str, Global]:
        def rebuild(arguments: tuple[Value, ...]) -> Tensor:
            return rebuild_tensor(arguments, self.where)

        def rebuild_v3(arguments: tuple[Value, ...]) -> Tensor:
            return rebuild_tensor(arguments, self.where, arguments[6] if len(arguments) > 6 else "missing")

        def parameter(arguments: tuple[Value, ...]) -> Tensor:
            if not arguments or not isinstance(arguments[0], Tensor):
                raise HaiError(
                    "HAI-Y130", f"{self.where}: a parameter is made from {shown(arguments[:1])}, not a tensor"
                )
            return arguments[0]

        def ordered_dict(arguments: tuple[Value, ...]) -> dict[Value, Value]:
            if arguments not in ((), ([],)):
                raise HaiError("HAI-Y131", f"{self.where}: OrderedDict is called with {len(arguments)} arguments")
            return {}

        def size(arguments: tuple[Value, ...]) -> Value:
            return arguments[0] if len(arguments) == 1 and isinstance(arguments[0], tuple) else arguments

        names: dict[str, Callable[[tuple[Value, ...]], Value] | None] = {
            "collections.OrderedDict": ordered_dict,
            "torch._utils._rebuild_tensor": rebuild,
            "torch._utils._rebuild_tensor_v2": rebuild,
            "torch._utils._rebuild_tensor_v3": rebuild_v3,
            "torch._utils._rebuild_parameter": parameter,
            "torch._utils._rebuild_parameter_with_state": parameter,
            "torch.Size": size,
            "torch.device": lambda arguments: None,
        }
        names |= {f"torch.{name}": None for name in DTYPES}
        for module in ("torch", "torch.cuda", "torch.storage"):
            names |= {f"{module}.{name}": None for name in STORAGE_DTYPES}
        return globals_table(names)

    def find_global(self, name: str) -> Global:
        found = self._globals.get(name)
        if found is None:
            raise HaiError("HAI-Y132", f"{self.where}: {self._refusal(shown(name))}")
        return found

    def find_storage(self, identity: Value) -> Storage:
        """A storage from its persistent id: ("storage", class, key, device, count[, view])."""
        valid = isinstance(identity, tuple) and len(identity) in (5, 6) and identity[0] == "storage"
        if not valid or not isinstance(identity[1], Global) or not isinstance(identity[2], str):
            raise HaiError("HAI-Y133", f"{self.where}: a persistent id is {shown(identity)}, which names no storage")
        _, kind, key, _, count = identity[:5]
        dtype_name = STORAGE_DTYPES.get(kind.name.rsplit(".", 1)[-1])
        if dtype_name is None or not is_count(count):
            raise HaiError(
                "HAI-Y134", f"{self.where}: storage {shown(key)} has class {kind.name} and {shown(count)} elements"
            )
        if len(identity) == 6 and identity[5] is not None:
            raise HaiError(
                "HAI-Y135", f"{self.where}: storage {shown(key)} is a view of another (PyTorch 0.3); save it anew"
            )
        known = self.storages.get(key)
        if known is None:
            if len(self.storages) >= self.limits.storages:
                raise HaiError("HAI-Y136", f"{self.where}: more than {self.limits.storages} storages")
            known = self.storages[key] = Storage(key, dtype_name, count)
        elif (known.dtype_name, known.count) != (dtype_name, count):
            raise HaiError(
                "HAI-Y137",
                f"{self.where}: storage {shown(key)} is {known.count} {known.dtype_name} and {count} {dtype_name}",
            )
        return known

    def machine(self, data: memoryview) -> PickleSubset:
        return PickleSubset(data, self.where, self.find_global, self.find_storage, self.limits.opcodes, self._set_state)


def read_zip(
    file: io.BufferedIOBase, where: str, size_bytes: int, limits: Limits, more: Accepted | None = None
) -> Value:
    """The object of a zip archive."""
    reader = _Reader(where, limits, more)
    try:
        with zipfile.ZipFile(file) as archive:
            if any(name.rsplit("/", 1)[-1] == "constants.pkl" for name in archive.namelist()):
                raise HaiError("HAI-Y140", f"{where}: this is a TorchScript program, not a state dict. {_ADVICE}")
            entries = _checked_entries(archive, where, size_bytes)
            pickles = [name for name in entries if name.rsplit("/", 1)[-1] == "data.pkl" and name.count("/") <= 1]
            if len(pickles) != 1:
                raise HaiError(
                    "HAI-Y141", f"{where}: {len(pickles)} entries named data.pkl in the zip archive; one expected"
                )
            folder = pickles[0].removesuffix("data.pkl")
            size = entries[pickles[0]].file_size
            if size > limits.pickle_bytes:
                raise HaiError("HAI-Y142", f"{where}: data.pkl has {size} bytes; the limit is {limits.pickle_bytes}")
            order = archive.read(folder + "byteorder") if folder + "byteorder" in entries else b"little"
            if order not in (b"little", b"big"):
                raise HaiError("HAI-Y143", f"{where}: byteorder is {shown(order)}; little or big expected")
            result = reader.machine(memoryview(archive.read(pickles[0]))).load()
            for key, storage in reader.storages.items():
                entry = entries.get(f"{folder}data/{key}")
                held = -1 if entry is None else entry.file_size
                if entry is None or held < storage.size_bytes:
                    problem = "is missing" if entry is None else f"has {held} bytes"
                    raise HaiError(
                        "HAI-Y144",
                        f"{where}: storage {shown(key)} {problem}, {storage.size_bytes} needed; is the file truncated?",
                    )
                storage.data = archive.read(entry)
                storage.big_endian = order == b"big"
            return result
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        EOFError,
        OSError,
        RuntimeError,
        ValueError,
        struct.error,
    ) as cause:
        raise HaiError(
            "HAI-Y145", f"{where}: the zip archive cannot be read: {str(cause)[:200]}; is it truncated?"
        ) from None


def _checked_entries(archive: zipfile.ZipFile, where: str, size_bytes: int) -> dict[str, zipfile.ZipInfo]:
    entries: dict[str, zipfile.ZipInfo] = {}
    total_bytes = 0
    for entry in archive.infolist():
        if entry.filename in entries:
            raise HaiError("HAI-Y146", f"{where}: the zip archive names {shown(entry.filename)} twice")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size or entry.flag_bits & 1:
            raise HaiError(
                "HAI-Y147",
                f"{where}: {shown(entry.filename)} is compressed or encrypted, which torch.save never does",
            )
        entries[entry.filename] = entry
        total_bytes += entry.file_size
    if total_bytes > size_bytes:
        raise HaiError("HAI-Y148", f"{where}: the zip entries claim {total_bytes} bytes in a file of {size_bytes}")
    return entries


def read_legacy(data: bytes, where: str, limits: Limits, more: Accepted | None = None) -> Value:
    """The object of the older container: magic, protocol, system, object and key pickles, then the storages."""
    reader = _Reader(where, limits, more)
    view = memoryview(data)
    machine = reader.machine(view[: limits.pickle_bytes])
    magic = machine.load()
    if magic != _LEGACY_MAGIC:
        raise HaiError(
            "HAI-Y150",
            f"{where}: neither a zip archive nor an older checkpoint of torch.save; it starts with {data[:8].hex(' ')}",
        )
    protocol, system = machine.load(), machine.load()
    if protocol != _LEGACY_PROTOCOL or not isinstance(system, dict):
        raise HaiError("HAI-Y151", f"{where}: protocol {shown(protocol)} is unknown; {_LEGACY_PROTOCOL} expected")
    big_endian = system.get("little_endian", True) is False
    result, keys = machine.load(), machine.load()
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or len(set(keys)) != len(keys):
        raise HaiError("HAI-Y152", f"{where}: the list of storages is {shown(keys)} or repeats a key")
    if set(keys) != set(reader.storages):
        odd = sorted(set(keys) ^ set(reader.storages))[0]
        raise HaiError("HAI-Y153", f"{where}: storage {shown(odd)} is stored or used, but not both")
    at = machine.position
    for key in keys:
        storage = reader.storages[key]
        head = bytes(view[at : at + 8])
        count = int.from_bytes(head, "big" if big_endian else "little")
        if len(head) < 8 or len(view) - at - 8 < storage.size_bytes:
            raise HaiError(
                "HAI-Y154",
                f"{where}: storage {shown(key)} at byte {at} needs {storage.size_bytes + 8} bytes, the file has "
                f"{len(view) - at}; is it truncated?",
            )
        if count != storage.count:
            raise HaiError("HAI-Y155", f"{where}: storage {shown(key)} has {count} elements, {storage.count} are used")
        at += 8
        storage.data = bytes(view[at : at + storage.size_bytes])
        storage.big_endian = big_endian
        at += storage.size_bytes
    return result
