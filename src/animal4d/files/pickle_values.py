"""What data in pickles consist of, built from the state that a file gives it and checked first.

numpy arrays, scipy sparse matrices, torch tensors, chumpy arrays (which come back as numpy arrays, without chumpy) and
plain containers.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from animal4d.files.pickle_machine import (
    Global,
    Ingredient,
    Instance,
    Machine,
    Refused,
    hashable,
    kind_name,
    new_instance,
    printable,
)

_DTYPE = re.compile(r"[biufcSU][1-9][0-9]{0,8}|O[0-9]?")


def _finish_dtype(machine: Machine, arguments: Any, state: Any) -> np.dtype[Any]:
    """Numbers, strings and objects. numpy's own state could declare bytes of a file to be pointers."""
    del machine
    code = arguments[0].decode("ascii") if isinstance(arguments[0], bytes) else arguments[0]
    order, fields = ("=", ()) if state is None else (state[1], state[2:5])
    order = order.decode("ascii") if isinstance(order, bytes) else order
    simple = isinstance(code, str) and _DTYPE.fullmatch(code) and all(field is None for field in fields)
    if not simple or order not in ("<", ">", "=", "|"):
        raise Refused(printable(f"an array of the type {code}"))
    return np.dtype(object) if code.startswith("O") else np.dtype(order + code)


def _reconstruct(machine: Machine, subtype: Any, shape: Any, typecode: Any) -> Instance:
    del machine, shape, typecode  # of an empty array, whose state follows
    if subtype is not _NDARRAY:
        raise Refused(f"an array of the class {kind_name(subtype)}")
    return Instance(_NDARRAY)


def _finish_ndarray(machine: Machine, arguments: Any, state: Any) -> np.ndarray:
    del arguments
    shape, dtype, fortran, content = state[-4:]
    return _array(machine, content, dtype, shape, "F" if fortran else "C")


def _array(machine: Machine, content: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    if not isinstance(dtype, np.dtype) or not isinstance(shape, tuple):
        raise ValueError("an array without type or shape")
    if order not in ("C", "F") or not _whole(*shape):
        raise ValueError("an array of a strange shape")
    n_items = math.prod(shape)
    if dtype.hasobject:
        if not isinstance(content, list) or len(content) != n_items:
            raise ValueError("an array whose content does not fit its shape")
        items = np.empty(n_items, object)
        for place, item in enumerate(content):
            items[place] = item
        return items.reshape(shape)  # numpy lists objects in the order of C, however they lie in memory
    raw = content.encode("latin-1") if isinstance(content, str) else content
    if not isinstance(raw, (bytes, bytearray)) or len(raw) != n_items * dtype.itemsize:
        raise ValueError("an array whose content does not fit its shape")
    machine.spend(len(raw))
    native = dtype.newbyteorder("=")
    flat = np.frombuffer(raw, dtype).astype(native) if raw else np.empty(0, native)
    return flat.reshape(shape, order=order)


def _whole(*numbers: Any) -> bool:
    """Whether all are integers from 0 on."""
    return all(isinstance(number, int) and number >= 0 for number in numbers)


def _scalar(machine: Machine, dtype: Any, content: Any) -> Any:
    dtype = machine.value(dtype)
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise Refused("a numpy scalar that is no number or string")
    return _array(machine, content, dtype, (), "C")[()]


def _from_buffer(
    machine: Machine, content: Any, dtype: Any, shape: Any, order: Any, axis_order: Any = None
) -> np.ndarray:
    dtype = machine.value(dtype)
    if isinstance(dtype, np.dtype) and dtype.hasobject:
        raise Refused("an array of objects from bytes")
    if order == "K" and axis_order is not None:
        return _array(machine, content, dtype, shape, "C").transpose(axis_order)
    return _array(machine, content, dtype, shape, order)


def _finish_sparse(name: str) -> Callable[..., Any]:
    def finish(machine: Machine, arguments: Any, state: Any) -> Any:
        del machine, arguments
        kind = getattr(scipy.sparse, name)
        shape = state["_shape"]
        parts = {key: part for key, part in state.items() if isinstance(part, np.ndarray)}
        if not isinstance(shape, tuple) or not _whole(*(int(length) for length in shape)):
            raise ValueError("a sparse matrix of a strange shape")
        if name.startswith("coo"):
            places = state["coords"] if "coords" in state else (parts["row"], parts["col"])
            return kind((parts["data"], tuple(np.asarray(place) for place in places)), shape=shape)
        if name.startswith("dia"):
            return kind((parts["data"], parts["offsets"]), shape=shape)
        matrix = kind((parts["data"], parts["indices"], parts["indptr"]), shape=shape)
        matrix.check_format(full_check=True)  # an index beyond the matrix would be followed into foreign memory
        return matrix

    return finish


def _finish_chumpy(compute: Callable[[dict[str, Any]], Any]) -> Callable[..., np.ndarray]:
    def finish(machine: Machine, arguments: Any, state: Any) -> np.ndarray:
        del arguments
        value = np.asarray(compute(state))
        if value.dtype.kind not in "biufc":
            raise ValueError("a chumpy array that holds no numbers")
        machine.spend(value.nbytes)
        return value

    return finish


def _select(state: dict[str, Any]) -> np.ndarray:
    selected = np.asarray(state["a"]).ravel()[np.asarray(state["idxs"])]
    return selected.reshape(state["preferred_shape"]) if "preferred_shape" in state else selected


_CHUMPY: dict[tuple[str, str], Callable[[dict[str, Any]], Any]] = {
    ("ch", "Ch"): lambda state: state["x"],
    ("reordering", "Select"): _select,
    ("reordering", "Reshape"): lambda state: np.asarray(state["a"]).reshape(state["newshape"]),
    ("reordering", "transpose"): lambda state: np.asarray(state["a"]).transpose(state.get("axes")),
}
"""By module and class, how chumpy computes the array (`compute_r`) from the object's attributes."""


def read_torch_file(data: bytes) -> Any:
    """What a file of `torch.save` with this content holds, on the CPU.

    Raises errors of many kinds, from zip, pickle and torch.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of typed storages and protocols
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _load_storage(machine: Machine, content: Any) -> Ingredient:
    """A storage within a plain pickle is a torch file of its own."""
    raw = content.encode("latin-1") if isinstance(content, str) else content
    if not isinstance(raw, (bytes, bytearray)):
        raise ValueError("a torch storage without content")
    machine.spend(len(raw))
    storage = read_torch_file(bytes(raw))
    if not isinstance(storage, torch.storage.TypedStorage):
        raise Refused(f"a torch storage that is a {type(storage).__name__}")
    return Ingredient("torch storage", torch.tensor([], dtype=storage.dtype).set_(storage))  # type: ignore[arg-type]


def _rebuild_tensor(machine: Machine, storage: Any, offset: Any, size: Any, stride: Any, *others: Any) -> Tensor:
    del others  # whether it needs a gradient, and hooks
    if not isinstance(storage, Ingredient) or not _whole(offset, *size, *stride) or len(size) != len(stride):
        raise ValueError("a torch tensor of a strange shape")
    flat: Tensor = storage.content
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if 0 not in size and last >= len(flat):
        raise ValueError("a torch tensor that is larger than its storage")
    machine.spend(math.prod(size) * flat.element_size())
    if 0 in size:
        return flat.new_empty(size)
    return flat.as_strided(size, stride, offset).clone()


def _reconstructor(machine: Machine, kind: Any, base: Any, state: Any) -> Instance:
    del machine
    if base is not _OBJECT or state is not None:
        raise Refused(f"an instance of {kind_name(kind)} built on {kind_name(base)}")
    return new_instance(kind)


def _items(machine: Machine, items: Any) -> list[Any] | tuple[Any, ...]:
    if not isinstance(items, (list, tuple)):
        raise ValueError("a container of a container that is no list")
    machine.spend(64 * len(items))
    return items


def _ordered_dict(machine: Machine, items: Any = ()) -> dict[Any, Any]:
    return {hashable(key): value for key, value in _items(machine, items)}


def _bytes(machine: Machine, content: Any = "", encoding: Any = "latin1") -> bytes:
    """Bytes as the older protocols write them, by way of a string."""
    if encoding not in ("latin1", "latin-1") or not isinstance(content, (str, bytes)):
        raise Refused("bytes in a strange encoding")
    machine.spend(len(content))
    return content.encode("latin-1") if isinstance(content, str) else content


def _complex(machine: Machine, *parts: Any) -> complex:
    del machine
    if len(parts) != 2 or not all(isinstance(part, (int, float)) for part in parts):
        raise ValueError("a complex number of strange parts")
    return complex(*parts)


_NDARRAY = Global("numpy.ndarray", finish=_finish_ndarray)
_NUMPY_DTYPE = Global(
    "numpy.dtype",
    call=lambda machine, code, *flags: Instance(_NUMPY_DTYPE, (code,)),
    finish=_finish_dtype,
)
_OBJECT = Global("object")


def _known_globals() -> dict[tuple[str, str], Global]:
    """Everything that a file may name, in all spellings that the libraries have had."""
    known = {("numpy", "ndarray"): _NDARRAY, ("numpy", "dtype"): _NUMPY_DTYPE}
    calls: dict[tuple[str, str], Callable[..., Any]] = {
        ("_codecs", "encode"): _bytes,
        ("collections", "OrderedDict"): _ordered_dict,
        ("copyreg", "_reconstructor"): _reconstructor,
        ("copy_reg", "_reconstructor"): _reconstructor,
        ("torch", "Size"): lambda machine, size=(): tuple(_items(machine, size)),
        ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
        ("torch.storage", "_load_from_bytes"): _load_storage,
    }
    for core in ("numpy.core", "numpy._core"):
        calls[f"{core}.multiarray", "_reconstruct"] = _reconstruct
        calls[f"{core}.multiarray", "scalar"] = _scalar
        calls[f"{core}.numeric", "_frombuffer"] = _from_buffer
    for builtins in ("builtins", "__builtin__"):
        known[builtins, "object"] = _OBJECT
        calls[builtins, "set"] = lambda machine, items=(): {hashable(item) for item in _items(machine, items)}
        calls[builtins, "frozenset"] = lambda machine, items=(): frozenset(map(hashable, _items(machine, items)))
        calls[builtins, "bytes"] = _bytes
        calls[builtins, "bytearray"] = lambda *arguments: bytearray(_bytes(*arguments))
        calls[builtins, "complex"] = _complex
    known |= {(module, name): Global(f"{module}.{name}", call=call) for (module, name), call in calls.items()}
    for layout in ("csr", "csc", "bsr", "coo", "dia"):
        for name in (f"{layout}_matrix", f"{layout}_array"):
            kind = Global(f"scipy.sparse.{name}", finish=_finish_sparse(name))
            known |= {(f"scipy.sparse.{module}", name): kind for module in (layout, f"_{layout}")}
    for (module, name), compute in _CHUMPY.items():
        known[f"chumpy.{module}", name] = Global(f"chumpy.{module}.{name}", finish=_finish_chumpy(compute))
    return known


KNOWN = _known_globals()
