"""A layer of a checkpoint as names and checked values, whether PyTorch loaded it or ``records`` did.

Nothing of the layer is called: only the tables that every ``nn.Module`` keeps (``_parameters``, ``_buffers``, ``_modules``)
and plain attributes are looked at, and each is checked for type and size where it is asked for.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import HaiError
from ..state_dict.tensors import Tensor as StoredTensor
from ..state_dict.tensors import check_bounds, shown, to_array
from .allowed import DETECTOR_MODULES, FORMER_LAYERS, TORCH_LAYERS
from .records import ModuleRecord

_KINDS: dict[str, str] = (
    DETECTOR_MODULES
    | {name: name.rpartition(".")[2] for name in TORCH_LAYERS}
    | {former: name.rpartition(".")[2] for former, name in FORMER_LAYERS.items()}
)
_OWN = __name__.rpartition(".")[0] + ".modules."


class Layer:
    """One layer: its kind (``Conv``, ``Conv2d``, ...), the path to it, and its attributes."""

    def __init__(self, value: Any, path: str) -> None:
        self.path = path
        if isinstance(value, ModuleRecord):
            name, attributes = value.name, value.attributes
        elif is_torch_module(value):
            name, attributes = f"{type(value).__module__}.{type(value).__qualname__}", vars(value)
        else:
            raise HaiError("HAI-Y210", f"{path} is {shown(value)}, not a layer; is the checkpoint damaged?")
        self.full_name: str = name.removeprefix(_OWN)
        self.kind: str = name.removeprefix(_OWN) if name.startswith(_OWN) else _KINDS.get(name, "")
        self._attributes: Mapping[Any, Any] = attributes

    def error(self, code: str, message: str) -> HaiError:
        """A HaiError that names the layer."""
        return HaiError(code, f'layer "{self.path}" ({self.full_name}): {message}')

    def _table(self, name: str) -> Mapping[Any, Any]:
        table = self._attributes.get(name, {})
        if not isinstance(table, Mapping):
            raise self.error("HAI-Y211", f"its {name} is {shown(table)}, not a dict; is the checkpoint damaged?")
        return table

    def child(self, name: str) -> Layer:
        """The layer inside of that name."""
        found = self.optional_child(name)
        if found is None:
            raise self.error("HAI-Y212", f'it has no part "{name}"')
        return found

    def optional_child(self, name: str) -> Layer | None:
        """The same, or None."""
        value = self._table("_modules").get(name)
        return None if value is None else Layer(value, f"{self.path}.{name}" if self.path else name)

    def children(self) -> list[Layer]:
        """The layers inside, in order."""
        return [
            Layer(value, f"{self.path}.{name}" if self.path else str(name))
            for name, value in self._table("_modules").items()
            if value is not None
        ]

    def value(self, name: str, default: Any = None) -> Any:
        """A plain attribute as it is."""
        return self._attributes.get(name, default)

    def integer(self, name: str, low: int, high: int) -> int:
        """A whole number within bounds."""
        value = self._attributes.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.error("HAI-Y213", f"{name} is {shown(value)}; a whole number in {low}..{high} is expected")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number."""
        value = self._attributes.get(name, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise self.error("HAI-Y214", f"{name} is {shown(value)}; a finite number is expected")
        return float(value)

    def pair(self, name: str, low: int, high: int = 4096) -> tuple[int, int]:
        """Height and width, given as one number or two."""
        value = self._attributes.get(name)
        items = tuple(value) if isinstance(value, tuple | list) else (value, value)
        if len(items) != 2 or not all(
            isinstance(i, int) and not isinstance(i, bool) and low <= i <= high for i in items
        ):
            raise self.error("HAI-Y215", f"{name} is {shown(value)}; one or two whole numbers in {low}..{high}")
        return int(items[0]), int(items[1])

    def tensor(self, name: str, shape: tuple[int | None, ...]) -> npt.NDArray[np.float32]:
        """A parameter, buffer or plain tensor of that shape (None: any size) as f32; it must be finite."""
        found = self.optional_tensor(name, shape)
        if found is None:
            raise self.error("HAI-Y216", f'it has no tensor "{name}"')
        return found

    def optional_tensor(self, name: str, shape: tuple[int | None, ...]) -> npt.NDArray[np.float32] | None:
        """The same, or None where there is none."""
        for table in (self._table("_parameters"), self._table("_buffers"), self._attributes):
            if table.get(name) is not None:
                array = self._array(table[name], name)
                break
        else:
            return None
        if len(array.shape) != len(shape) or any(w is not None and w != h for w, h in zip(shape, array.shape)):
            wanted = ", ".join("any" if w is None else str(w) for w in shape)
            raise self.error("HAI-Y217", f"{name} has shape {list(array.shape)}, [{wanted}] is expected")
        bad = int(array.size - np.count_nonzero(np.isfinite(array)))
        if bad:
            raise self.error(
                "HAI-Y218",
                f"{name} holds {bad} values of {array.size} that are NaN or infinite; the training diverged or the file is "
                "damaged: take an earlier checkpoint",
            )
        return array

    def _array(self, value: Any, name: str) -> npt.NDArray[np.float32]:
        if isinstance(value, StoredTensor):
            check_bounds(value, name, self.path)
            return to_array(value).astype(np.float32)
        torch = sys.modules.get("torch")
        if torch is None or not isinstance(value, torch.Tensor):
            raise self.error("HAI-Y219", f"{name} is {shown(value)}, not a tensor")
        if value.layout != torch.strided or value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise self.error("HAI-Y220", f"{name} of shape {list(value.shape)} has fewer numbers stored than it claims")
        array: npt.NDArray[np.float32] = value.detach().cpu().to(torch.float32).numpy()
        return array


def is_torch_module(value: Any) -> bool:
    """Whether `value` is an ``nn.Module``; does not import PyTorch."""
    torch = sys.modules.get("torch")
    return torch is not None and hasattr(torch, "nn") and isinstance(value, torch.nn.Module)
