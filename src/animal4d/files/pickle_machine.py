"""The machine that runs pickles: harmless instructions only, and nothing is looked up by name.

A pickle is a program. What it may name is a table of `Global`s, each with a function of ours that checks its state and
builds the value. Objects that are completed later by a BUILD instruction stand as `Instance` in the containers until
the program has ended, and are replaced then.
"""

from __future__ import annotations

import codecs
import io
import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_DEEPEST = 100
"""Levels of containers within each other."""
_SPARE_BYTES = 1 << 20
_GROWTH = 16
"""Values may take so many times the file's size in memory: a small file cannot fill it with copies of one array."""
_LONGEST_REASON = 160
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
_KEYS = (str, bytes, int, float, complex, type(None), np.generic)


class Refused(Exception):
    """The file asks for something that data do not need."""


@dataclass(frozen=True)
class Global:
    """A class or function that a file may name."""

    name: str
    call: Callable[..., Any] | None = None
    """What REDUCE makes of it: `call(machine, *arguments)`."""
    finish: Callable[..., Any] | None = None
    """The value of an instance: `finish(machine, arguments, state)`, all instances within them replaced."""


@dataclass(eq=False)
class Instance:
    """An object whose state may come later."""

    kind: Global
    arguments: tuple[Any, ...] = ()
    state: Any = None


@dataclass(frozen=True, eq=False)
class Ingredient:
    """What other objects are made from, and no value by itself."""

    name: str
    content: Any


class Machine:
    """Runs one pickle."""

    def __init__(self, data: bytes, encoding: str, known: Mapping[tuple[str, str], Global]) -> None:
        self.stream = io.BytesIO(data)
        self.encoding = encoding
        """Of Python 2's strings; "bytes" leaves them as bytes."""
        self.known = known
        """Everything that a file may name, by module and name."""
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        """Stacks that a MARK has put aside."""
        self.memo: dict[int, Any] = {}
        self.budget = _GROWTH * len(data) + _SPARE_BYTES
        self.finished: dict[int, tuple[Any, Any]] = {}
        """By identity: an object of the program, kept alive so that the identity stays its own, and its value."""

    def load(self) -> Any:
        """What the program leaves. Raises Refused; where the program is damaged, errors of any kind."""
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
                self.stack.append(frozenset(hashable(item) for item in items))
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
                self.top(set).update(hashable(item) for item in items)
            case "GLOBAL":
                self.stack.append(self.named(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                attribute, module = self.pop(), self.pop()
                self.stack.append(self.named(module, attribute))
            case "REDUCE":
                arguments, function = self.pop(), self.pop()
                self.stack.append(self.call(function, arguments))
            case "NEWOBJ":
                arguments, kind = self.pop(), self.pop()
                if arguments != ():
                    raise Refused("an object made with arguments")
                self.stack.append(new_instance(kind))
            case "BUILD":
                state = self.pop()
                instance = self.top(Instance)
                if instance.state is not None:
                    raise Refused(f"a second state for {instance.kind.name}")
                instance.state = state
            case _:
                raise Refused(f"the pickle instruction {name}")

    def pop(self) -> Any:
        return self.stack.pop()

    def top(self, kind: type) -> Any:
        """The uppermost object, which must be of this very type."""
        if type(self.stack[-1]) is not kind:
            raise Refused(f"content for a {kind_name(self.stack[-1])}")
        return self.stack[-1]

    def to_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.below.pop()
        return items

    def extend(self, items: list[Any]) -> None:
        self.top(list).extend(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[hashable(key)] = value

    def named(self, module: Any, name: Any) -> Global:
        found = self.known.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
        if found is None:
            raise Refused(printable(f"{module}.{name}"))
        return found

    def call(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, Global) or function.call is None or not isinstance(arguments, tuple):
            raise Refused(f"a call of {kind_name(function)}")
        return function.call(self, *arguments)

    def spend(self, n_bytes: int) -> None:
        """Account for memory before it is taken."""
        self.budget -= n_bytes
        if self.budget < 0:
            raise ValueError("its values are far larger than the file")

    def value(self, item: Any, depth: int = 0) -> Any:
        """The object with all instances within it replaced by what they stand for."""
        if isinstance(item, Global):
            raise Refused(f"the name {item.name} as a value")
        if isinstance(item, Ingredient):
            raise Refused(f"a bare {item.name}")
        if not isinstance(item, (list, tuple, dict, Instance)):
            return item
        if id(item) in self.finished:
            _, value = self.finished[id(item)]
            if value is Instance:
                raise ValueError("an object contains itself")
            return value
        if depth > _DEEPEST:
            raise ValueError(f"its containers are nested more than {_DEEPEST} deep")
        if isinstance(item, Instance):
            self.finished[id(item)] = (item, Instance)
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


def hashable(value: Any) -> Any:
    """Only what hashes at once: tuples of tuples of ... of one tuple can take for ever."""
    parts = value if type(value) is tuple else (value,)
    for part in parts:
        if not isinstance(part, _KEYS):
            raise Refused(f"a {kind_name(part)} as key of a dict or member of a set")
    return value


def kind_name(value: Any) -> str:
    """What a message calls the kind of an object."""
    if isinstance(value, (Global, Instance)):
        return value.name if isinstance(value, Global) else value.kind.name
    return type(value).__name__


def new_instance(kind: Any, *arguments: Any) -> Instance:
    """An object of a class that may have instances, and else Refused."""
    if not isinstance(kind, Global) or kind.finish is None:
        raise Refused(f"an instance of {kind_name(kind)}")
    return Instance(kind, arguments)


def printable(text: str) -> str:
    """Text of a stranger as a part of a message."""
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= _LONGEST_REASON else text[:_LONGEST_REASON] + "..."
