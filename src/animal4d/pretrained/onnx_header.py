"""What an ONNX file says of its inputs and outputs, read from the file without onnx: nothing of the network is loaded.

An ONNX file is a protocol buffer: fields with a number, and a value that is a number or bytes whose length comes first
(https://protobuf.dev/programming-guides/encoding/). The field numbers are those of `onnx.proto`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_MODEL_GRAPH = 7
_GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT = 5, 11, 12
_TENSOR_NAME = 8
_VALUE_NAME, _VALUE_TYPE = 1, 2
_TYPE_TENSOR, _TENSOR_SHAPE, _SHAPE_DIMENSION, _DIMENSION_VALUE = 1, 2, 1, 1
_NUMBER, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_LONGEST_NUMBER = 10
_LONGEST_NAME = 1 << 16

Span = tuple[int, int]
"""Places of the first byte of a value in the file, and of the byte after its last."""

Shape = tuple[int | None, ...]
"""None for axes of any length; empty where the file does not say it."""


@dataclass(frozen=True)
class OnnxHeader:
    """Shapes by name, in the order of the file."""

    inputs: dict[str, Shape]
    """Without the tensors that the file brings."""
    outputs: dict[str, Shape]


def onnx_header(path: Path) -> OnnxHeader:
    """What goes into the network of a file, and what comes out.

    Raises ValueError where the file is no ONNX file, or ends too early.
    """
    with path.open("rb") as file:
        end = file.seek(0, 2)
        graphs = [span for number, span in _fields(file, (0, end)) if number == _MODEL_GRAPH and span is not None]
        if len(graphs) != 1:
            raise ValueError("it holds no graph")
        brought: set[str] = set()
        inputs: dict[str, Shape] = {}
        outputs: dict[str, Shape] = {}
        for number, span in _fields(file, graphs[0]):
            if span is None:
                continue
            if number == _GRAPH_INITIALIZER:
                brought |= {_text(file, name) for name in _inside(file, span, _TENSOR_NAME)}
            elif number in (_GRAPH_INPUT, _GRAPH_OUTPUT):
                names = [_text(file, name) for name in _inside(file, span, _VALUE_NAME)]
                shapes = inputs if number == _GRAPH_INPUT else outputs
                shapes[names[0] if names else ""] = _shape(file, span)
    return OnnxHeader({name: shape for name, shape in inputs.items() if name not in brought}, outputs)


def _shape(file: BinaryIO, value: Span) -> Shape:
    spans = [value]
    for number in (_VALUE_TYPE, _TYPE_TENSOR, _TENSOR_SHAPE, _SHAPE_DIMENSION):
        spans = [inner for span in spans for inner in _inside(file, span, number)]
    lengths: list[int | None] = []
    for start, end in spans:
        length: int | None = None
        file.seek(start)
        while file.tell() < end:
            key = _number(file, end)
            if key == _DIMENSION_VALUE << 3 | _NUMBER:
                length = _number(file, end)
            else:
                _skip(file, key & 7, end)
        lengths.append(length if length else None)
    return tuple(lengths)


def _inside(file: BinaryIO, span: Span, wanted: int) -> list[Span]:
    return [inner for number, inner in _fields(file, span) if number == wanted and inner is not None]


def _fields(file: BinaryIO, span: Span) -> Iterator[tuple[int, Span | None]]:
    """Number of every field within a span, and where its bytes are; None for numbers."""
    place, end = span
    while place < end:
        file.seek(place)
        key = _number(file, end)
        inner = _skip(file, key & 7, end)
        place = file.tell()
        yield key >> 3, inner


def _skip(file: BinaryIO, kind: int, end: int) -> Span | None:
    """Go behind a value."""
    if kind == _NUMBER:
        _number(file, end)
        return None
    if kind not in (_EIGHT_BYTES, _BYTES, _FOUR_BYTES):
        raise ValueError("it is no protocol buffer")
    length = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}.get(kind)
    if length is None:
        length = _number(file, end)
    start = file.tell()
    if start + length > end:
        raise ValueError("it ends too early")
    file.seek(start + length)
    return (start, start + length) if kind == _BYTES else None


def _number(file: BinaryIO, end: int) -> int:
    value = 0
    for place in range(_LONGEST_NUMBER):
        byte = file.read(1)
        if not byte or file.tell() > end:
            raise ValueError("it ends too early")
        value |= (byte[0] & 0x7F) << 7 * place
        if byte[0] < 0x80:
            return value
    raise ValueError("it is no protocol buffer")


def _text(file: BinaryIO, span: Span) -> str:
    start, end = span
    file.seek(start)
    return file.read(min(end - start, _LONGEST_NAME)).decode(errors="replace")
