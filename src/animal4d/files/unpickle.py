"""Reading pickles and torch files from strangers: data comes in, nothing is executed.

A pickle is a program, and Python's own machine for it calls whatever the file names. `load_pickle` runs the program on
a machine of its own that knows harmless instructions only. The few classes that data consist of (numpy arrays, scipy
sparse matrices, torch tensors, chumpy arrays) are never looked up by name: each has a function here that checks its
state and builds the value. Everything else is refused by name.

Chumpy arrays come back as numpy arrays without chumpy, ordered dicts as dicts. Objects that are completed later by a
BUILD instruction stand as `_Instance` in the containers until the program has ended, and are replaced then.
"""

from __future__ import annotations

import codecs
import io
import math
import pickletools
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from animal4d.errors import Animal4dError

_DEEPEST = 100
"""Levels of containers within each other."""
_SPARE_BYTES = 1 << 20
_GROWTH = 16
"""Values may take so many times the file's size in memory: a small file cannot fill it with copies of one array."""
_LONGEST_REASON = 160
_ADMITTED = "numpy arrays, scipy sparse matrices, torch tensors, chumpy arrays and plain containers"
_OPCODES = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}
# fmt: off
_ARGUMENTS = frozenset((
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
))
# fmt: on
"""Instructions that push their argument."""
_TEXTS = frozenset(("STRING", "BINSTRING", "SHORT_BINSTRING"))
"""Python 2's strings, which may be text or bytes."""
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set}
_SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_DTYPE = re.compile(r"[biufcSU][1-9][0-9]{0,8}|O[0-9]?")
_KEYS = (str, bytes, int, float, complex, type(None), np.generic)


class _Refused(Exception):
    """The file asks for something that data do not need."""


@dataclass(frozen=True)
class _Global:
    """A class or function that a file may name."""

    name: str
    call: Callable[..., Any] | None = None
    """What REDUCE makes of it: `call(machine, *arguments)`."""
    finish: Callable[..., Any] | None = None
    """The value of an instance: `finish(machine, arguments, state)`, all instances within them replaced."""


@dataclass(eq=False)
class _Instance:
    """An object whose state may come later."""

    kind: _Global
    arguments: tuple[Any, ...] = ()
    state: Any = None


@dataclass(frozen=True, eq=False)
class _Storage:
    """What a torch tensor is a view of."""

    flat: Tensor


def load_pickle(path: Path | str, encoding: str = "latin1") -> Any:
    """What a pickle of any protocol holds, if it is data.

    `encoding` decodes the strings of Python 2 ("bytes" leaves them as bytes). Arrays come in the machine's byte order.

    Raises Animal4dError, in one line, where the file cannot be read, is damaged, or holds anything but data.
    """
    data = _read(path)
    try:
        return _Machine(data, encoding).load()
    except _Refused as error:
        raise Animal4dError(f"{path}: holds {error}, which is not loaded for safety; {_ADMITTED} are") from error
    except Exception as error:  # a damaged program can fail in any way
        raise Animal4dError(f"{path}: cannot be read as a pickle ({_reason(error)}); get the file again") from error


def load_torch(path: Path | str) -> Any:
    """What a file of `torch.save` holds (tensors and plain containers), on the CPU.

    Raises Animal4dError, in one line, where the file cannot be read, is damaged, or holds anything else.
    """
    data = _read(path)
    try:
        return _torch_load(data)
    except Exception as error:  # of many kinds, from zip, pickle and torch
        refused = re.search(r"nsupported global: GLOBAL ([\w.]+)", str(error))
        if refused is not None:
            raise Animal4dError(f"{path}: holds {refused[1]}, which is not loaded for safety; tensors are") from error
        raise Animal4dError(f"{path}: cannot be read as a torch file ({_reason(error)}); get it again") from error


def _torch_load(data: bytes) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of typed storages and protocols
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _read(path: Path | str) -> bytes:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise Animal4dError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not data:
        raise Animal4dError(f"{path}: is empty; get the file again")
    return data


def _reason(error: Exception) -> str:
    """Why something failed, in a part of a line."""
    lines = str(error).splitlines()
    reason = lines[0] if lines and not isinstance(error, KeyError) else f"{type(error).__name__} {error}".strip()
    return _printable(reason)


def _printable(text: str) -> str:
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= _LONGEST_REASON else text[:_LONGEST_REASON] + "..."


class _Machine:
    """Runs one pickle."""

    def __init__(self, data: bytes, encoding: str) -> None:
        self.stream = io.BytesIO(data)
        self.encoding = encoding
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        """Stacks that a MARK has put aside."""
        self.memo: dict[int, Any] = {}
        self.budget = _GROWTH * len(data) + _SPARE_BYTES
        self.finished: dict[int, tuple[Any, Any]] = {}
        """By identity: an object of the program, kept alive so that the identity stays its own, and its value."""

    def load(self) -> Any:
        while True:
            code = self.stream.read(1)
            if not code:
                raise ValueError("it ends too early")
            opcode = _OPCODES.get(code)
            if opcode is None:
                raise ValueError(f"unknown instruction {code!r}")
            if opcode.name == "STOP":
                return self.value(self.stack.pop())
            if opcode.name == "STRING":
                argument: Any = _quoted(self.stream.readline())
            else:
                argument = opcode.arg.reader(self.stream) if opcode.arg is not None else None
            self.step(opcode.name, argument)

    def step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _ARGUMENTS:
            stack.append(argument)
        elif name in _TEXTS:
            raw = argument.encode("latin-1")
            stack.append(raw if self.encoding == "bytes" else raw.decode(self.encoding))
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in _SHORT_TUPLES:
            items = tuple(self.pop() for _ in range(_SHORT_TUPLES[name]))
            stack.append(items[::-1])
        else:
            self.rarer_step(name, argument)

    def rarer_step(self, name: str, argument: Any) -> None:
        match name:
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                self.stack.append(self.memo[argument])
            case "MARK":
                self.below.append(self.stack)
                self.stack = []
            case "PROTO":
                if argument > 5:
                    raise ValueError(f"protocol {argument} is not known")
            case "FRAME":
                pass
            case "POP":
                if self.stack:
                    self.stack.pop()
                else:
                    self.to_mark()
            case "POP_MARK":
                self.to_mark()
            case "DUP":
                self.stack.append(self.stack[-1])
            case "LIST":
                items = self.to_mark()
                self.stack.append(items)
            case "TUPLE":
                items = self.to_mark()
                self.stack.append(tuple(items))
            case "DICT":
                items = self.to_mark()
                self.stack.append({})
                self.set_items(items)
            case "FROZENSET":
                items = self.to_mark()
                self.stack.append(frozenset(_key(item) for item in items))
            case "APPEND":
                self.extend([self.pop()])
            case "APPENDS":
                self.extend(self.to_mark())
            case "SETITEM":
                value, key = self.pop(), self.pop()
                self.set_items([key, value])
            case "SETITEMS":
                self.set_items(self.to_mark())
            case "ADDITEMS":
                items = self.to_mark()
                self.top(set).update(_key(item) for item in items)
            case "GLOBAL":
                self.stack.append(_global(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                attribute, module = self.pop(), self.pop()
                self.stack.append(_global(module, attribute))
            case "REDUCE":
                arguments, function = self.pop(), self.pop()
                self.stack.append(self.call(function, arguments))
            case "NEWOBJ":
                arguments, kind = self.pop(), self.pop()
                if arguments != ():
                    raise _Refused("an object made with arguments")
                self.stack.append(_instance(kind))
            case "BUILD":
                state = self.pop()
                instance = self.top(_Instance)
                if instance.state is not None:
                    raise _Refused(f"a second state for {instance.kind.name}")
                instance.state = state
            case _:
                raise _Refused(f"the pickle instruction {name}")

    def pop(self) -> Any:
        return self.stack.pop()

    def top(self, kind: type) -> Any:
        """The uppermost object, which must be of this very type."""
        if type(self.stack[-1]) is not kind:
            raise _Refused(f"content for a {_kind_name(self.stack[-1])}")
        return self.stack[-1]

    def to_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.below.pop()
        return items

    def extend(self, items: list[Any]) -> None:
        self.top(list).extend(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_key(key)] = value

    def call(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, _Global) or function.call is None or not isinstance(arguments, tuple):
            raise _Refused(f"a call of {_kind_name(function)}")
        return function.call(self, *arguments)

    def spend(self, n_bytes: int) -> None:
        """Account for memory before it is taken."""
        self.budget -= n_bytes
        if self.budget < 0:
            raise ValueError("its values are far larger than the file")

    def value(self, item: Any, depth: int = 0) -> Any:
        """The object with all instances within it replaced by what they stand for."""
        if isinstance(item, _Global):
            raise _Refused(f"the name {item.name} as a value")
        if isinstance(item, _Storage):
            raise _Refused("a bare torch storage")
        if not isinstance(item, (list, tuple, dict, _Instance)):
            return item
        if id(item) in self.finished:
            _, value = self.finished[id(item)]
            if value is _Instance:
                raise ValueError("an object contains itself")
            return value
        if depth > _DEEPEST:
            raise ValueError(f"its containers are nested more than {_DEEPEST} deep")
        if isinstance(item, _Instance):
            self.finished[id(item)] = (item, _Instance)
            assert item.kind.finish is not None
            arguments, state = self.value(item.arguments, depth + 1), self.value(item.state, depth + 1)
            value = item.kind.finish(self, arguments, state)
        elif isinstance(item, tuple):
            value = tuple(self.value(part, depth + 1) for part in item)
        else:
            value = item
            self.finished[id(item)] = (item, value)  # before its content, which may lead back to it
            for place in item if isinstance(item, dict) else range(len(item)):
                item[place] = self.value(item[place], depth + 1)
        self.finished[id(item)] = (item, value)
        return value


def _quoted(line: bytes) -> str:
    """Argument of STRING: what Python 2 wrote by `repr`, a letter for each byte."""
    text = line.rstrip(b"\r\n")
    if len(text) < 2 or text[:1] != text[-1:] or text[:1] not in (b"'", b'"'):
        raise ValueError("a string without quotes")
    return codecs.escape_decode(text[1:-1])[0].decode("latin-1")


def _key(value: Any) -> Any:
    """Only what hashes at once: tuples of tuples of ... of one tuple can take for ever."""
    parts = value if type(value) is tuple else (value,)
    for part in parts:
        if not isinstance(part, _KEYS):
            raise _Refused(f"a {_kind_name(part)} as key of a dict or member of a set")
    return value


def _kind_name(value: Any) -> str:
    if isinstance(value, (_Global, _Instance)):
        return value.name if isinstance(value, _Global) else value.kind.name
    return type(value).__name__


def _global(module: Any, name: Any) -> _Global:
    found = _GLOBALS.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
    if found is None:
        raise _Refused(_printable(f"{module}.{name}"))
    return found


def _instance(kind: Any, *arguments: Any) -> _Instance:
    if not isinstance(kind, _Global) or kind.finish is None:
        raise _Refused(f"an instance of {_kind_name(kind)}")
    return _Instance(kind, arguments)


def _finish_dtype(machine: _Machine, arguments: Any, state: Any) -> np.dtype[Any]:
    """Numbers, strings and objects. numpy's own state could declare bytes of a file to be pointers."""
    del machine
    code = arguments[0].decode("ascii") if isinstance(arguments[0], bytes) else arguments[0]
    order, fields = ("=", ()) if state is None else (state[1], state[2:5])
    order = order.decode("ascii") if isinstance(order, bytes) else order
    simple = isinstance(code, str) and _DTYPE.fullmatch(code) and all(field is None for field in fields)
    if not simple or order not in ("<", ">", "=", "|"):
        raise _Refused(_printable(f"an array of the type {code}"))
    return np.dtype(object) if code.startswith("O") else np.dtype(order + code)


def _reconstruct(machine: _Machine, subtype: Any, shape: Any, typecode: Any) -> _Instance:
    del machine, shape, typecode  # of an empty array, whose state follows
    if subtype is not _NDARRAY:
        raise _Refused(f"an array of the class {_kind_name(subtype)}")
    return _Instance(_NDARRAY)


def _finish_ndarray(machine: _Machine, arguments: Any, state: Any) -> np.ndarray:
    del arguments
    shape, dtype, fortran, content = state[-4:]
    return _array(machine, content, dtype, shape, "F" if fortran else "C")


def _array(machine: _Machine, content: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
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


def _scalar(machine: _Machine, dtype: Any, content: Any) -> Any:
    dtype = machine.value(dtype)
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise _Refused("a numpy scalar that is no number or string")
    return _array(machine, content, dtype, (), "C")[()]


def _from_buffer(
    machine: _Machine, content: Any, dtype: Any, shape: Any, order: Any, axis_order: Any = None
) -> np.ndarray:
    dtype = machine.value(dtype)
    if isinstance(dtype, np.dtype) and dtype.hasobject:
        raise _Refused("an array of objects from bytes")
    if order == "K" and axis_order is not None:
        return _array(machine, content, dtype, shape, "C").transpose(axis_order)
    return _array(machine, content, dtype, shape, order)


def _finish_sparse(name: str) -> Callable[..., Any]:
    def finish(machine: _Machine, arguments: Any, state: Any) -> Any:
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
    def finish(machine: _Machine, arguments: Any, state: Any) -> np.ndarray:
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


def _load_storage(machine: _Machine, content: Any) -> _Storage:
    """A storage within a plain pickle is a torch file of its own."""
    raw = content.encode("latin-1") if isinstance(content, str) else content
    if not isinstance(raw, (bytes, bytearray)):
        raise ValueError("a torch storage without content")
    machine.spend(len(raw))
    storage = _torch_load(bytes(raw))
    if not isinstance(storage, torch.storage.TypedStorage):
        raise _Refused(f"a torch storage that is a {type(storage).__name__}")
    return _Storage(torch.tensor([], dtype=storage.dtype).set_(storage))  # type: ignore[arg-type]


def _rebuild_tensor(machine: _Machine, storage: Any, offset: Any, size: Any, stride: Any, *others: Any) -> Tensor:
    del others  # whether it needs a gradient, and hooks
    if not isinstance(storage, _Storage) or not _whole(offset, *size, *stride) or len(size) != len(stride):
        raise ValueError("a torch tensor of a strange shape")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if 0 not in size and last >= len(storage.flat):
        raise ValueError("a torch tensor that is larger than its storage")
    machine.spend(math.prod(size) * storage.flat.element_size())
    if 0 in size:
        return storage.flat.new_empty(size)
    return storage.flat.as_strided(size, stride, offset).clone()


def _reconstructor(machine: _Machine, kind: Any, base: Any, state: Any) -> _Instance:
    del machine
    if base is not _OBJECT or state is not None:
        raise _Refused(f"an instance of {_kind_name(kind)} built on {_kind_name(base)}")
    return _instance(kind)


def _items(machine: _Machine, items: Any) -> list[Any] | tuple[Any, ...]:
    if not isinstance(items, (list, tuple)):
        raise ValueError("a container of a container that is no list")
    machine.spend(64 * len(items))
    return items


def _ordered_dict(machine: _Machine, items: Any = ()) -> dict[Any, Any]:
    return {_key(key): value for key, value in _items(machine, items)}


def _bytes(machine: _Machine, content: Any = "", encoding: Any = "latin1") -> bytes:
    """Bytes as the older protocols write them, by way of a string."""
    if encoding not in ("latin1", "latin-1") or not isinstance(content, (str, bytes)):
        raise _Refused("bytes in a strange encoding")
    machine.spend(len(content))
    return content.encode("latin-1") if isinstance(content, str) else content


def _complex(machine: _Machine, *parts: Any) -> complex:
    del machine
    if len(parts) != 2 or not all(isinstance(part, (int, float)) for part in parts):
        raise ValueError("a complex number of strange parts")
    return complex(*parts)


_NDARRAY = _Global("numpy.ndarray", finish=_finish_ndarray)
_NUMPY_DTYPE = _Global(
    "numpy.dtype",
    call=lambda machine, code, *flags: _Instance(_NUMPY_DTYPE, (code,)),
    finish=_finish_dtype,
)
_OBJECT = _Global("object")


def _known_globals() -> dict[tuple[str, str], _Global]:
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
        calls[builtins, "set"] = lambda machine, items=(): {_key(item) for item in _items(machine, items)}
        calls[builtins, "frozenset"] = lambda machine, items=(): frozenset(map(_key, _items(machine, items)))
        calls[builtins, "bytes"] = _bytes
        calls[builtins, "bytearray"] = lambda *arguments: bytearray(_bytes(*arguments))
        calls[builtins, "complex"] = _complex
    known |= {(module, name): _Global(f"{module}.{name}", call=call) for (module, name), call in calls.items()}
    for layout in ("csr", "csc", "bsr", "coo", "dia"):
        for name in (f"{layout}_matrix", f"{layout}_array"):
            kind = _Global(f"scipy.sparse.{name}", finish=_finish_sparse(name))
            known |= {(f"scipy.sparse.{module}", name): kind for module in (layout, f"_{layout}")}
    for (module, name), compute in _CHUMPY.items():
        known[f"chumpy.{module}", name] = _Global(f"chumpy.{module}.{name}", finish=_finish_chumpy(compute))
    return known


_GLOBALS = _known_globals()
