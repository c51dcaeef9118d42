"""Line plots as SVG text for a page: its style sheet colours them, its script moves their cursors."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 420, 216
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 8, 10, 30
_MARKS = {"train": "circle", "validation": "diamond", "test": "square", "": "circle"}
_MOST_POINTS = 400


@dataclass(frozen=True)
class Line:
    """One curve; None leaves a gap."""

    name: str
    values: Sequence[float | None]
    style: str
    """CSS class that gives it its colour."""
    spread: Sequence[float] | None = None
    """Half the height of a band around it."""


@dataclass(frozen=True)
class Axes:
    """What a plot's axes say."""

    title: str
    x_label: str
    y_label: str
    low: float | None = None
    high: float | None = None
    logarithmic: bool = False
    zero_line: bool = False


def line_plot(axes: Axes, x: Sequence[float], lines: Sequence[Line], parts: Sequence[str] | None = None) -> str:
    """A figure with the lines over x; with `parts`, the part of the split of every x, a line without a name gets marks,
    the test frames a tinted ground, and the page moves a cursor over it."""
    scale = _Scale(axes, x, lines)
    over_frames = parts is not None
    shapes = [*_ground(scale, x, parts or ()), *scale.grid()]
    for line in lines:
        if line.spread is not None:
            shapes.append(_band(scale, x, line))
    for line in lines:
        shapes.append(f'<path class="line {line.style}" d="{_path(scale, x, line.values)}"/>')
    if over_frames and not lines[0].name:
        shapes += _marks(scale, x, lines[0].values, parts or ())
    if over_frames:
        shapes.append(
            f'<line class="cursor" x1="{_LEFT}" x2="{_LEFT}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}" '
            f'data-x="{" ".join(f"{scale.across(value):.1f}" for value in x)}"/>'
        )
    legend = "".join(
        f'<span class="key"><i class="{line.style}"></i>{html.escape(line.name)}</span>' for line in lines if line.name
    )
    summary = html.escape(_in_words(axes, lines), quote=True)
    return (
        f'<figure class="plot"{" data-frames" if over_frames else ""}><figcaption>{html.escape(axes.title)}'
        f'<span class="unit">{html.escape(axes.y_label)}</span></figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{summary}">{"".join(shapes)}</svg>'
        f'<div class="keys">{legend}</div></figure>'
    )


class _Scale:
    """From values to places in the picture."""

    def __init__(self, axes: Axes, x: Sequence[float], lines: Sequence[Line]) -> None:
        self.axes = axes
        self.first, self.last = (min(x), max(x)) if len(x) else (0.0, 1.0)
        known = [value for line in lines for value in line.values if value is not None and math.isfinite(value)]
        for line in lines:
            if line.spread is not None:
                pairs = [(v, s) for v, s in zip(line.values, line.spread, strict=True) if v is not None]
                known += [v - s for v, s in pairs] + [v + s for v, s in pairs]
        if axes.logarithmic:
            known = [value for value in known if value > 0]
        low, high = (min(known), max(known)) if known else (0.0, 1.0)
        self.low = low if axes.low is None else min(axes.low, low) if not axes.logarithmic else max(axes.low, low)
        self.high = high if axes.high is None else max(axes.high, high)
        if self.high <= self.low:
            self.high = self.low + (abs(self.low) * 0.1 or 1.0)
        if axes.logarithmic:
            self.low, self.high = math.log10(self.low), math.log10(self.high)
        elif axes.low is None or axes.high is None:
            margin = 0.06 * (self.high - self.low)
            self.low, self.high = self.low - margin * (axes.low is None), self.high + margin * (axes.high is None)

    def across(self, value: float) -> float:
        span = max(self.last - self.first, 1e-9)
        return _LEFT + (value - self.first) / span * (WIDTH - _LEFT - _RIGHT)

    def down(self, value: float) -> float:
        if self.axes.logarithmic:
            value = math.log10(value) if value > 0 else self.low
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)

    def grid(self) -> list[str]:
        shapes = []
        for value, words in self._ticks():
            y = self.down(value)
            zero = " zero" if self.axes.zero_line and value == 0 else ""
            shapes.append(f'<line class="grid{zero}" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            shapes.append(f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{words}</text>')
        for value in _round_ticks(self.first, self.last, 6):
            x = min(self.across(value), WIDTH - _RIGHT - 8)
            shapes.append(
                f'<text class="tick" x="{x:.1f}" y="{HEIGHT - _BOTTOM + 15}" text-anchor="middle">{value:g}</text>'
            )
        label = html.escape(self.axes.x_label)
        middle = (_LEFT + WIDTH - _RIGHT) / 2
        return [*shapes, f'<text class="label" x="{middle}" y="{HEIGHT - 2}" text-anchor="middle">{label}</text>']

    def _ticks(self) -> list[tuple[float, str]]:
        if not self.axes.logarithmic:
            return [(value, f"{value:g}") for value in _round_ticks(self.low, self.high, 5)]
        powers = range(math.ceil(self.low), math.floor(self.high) + 1)
        step = max(1, math.ceil(len(powers) / 5))
        return [(10.0**power, f"10{_raised(power)}") for power in powers if power % step == 0]


def _raised(power: int) -> str:
    return str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _round_ticks(low: float, high: float, wanted: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten between two values."""
    span = high - low
    if span <= 0:
        return [low]
    size = 10 ** math.floor(math.log10(span / wanted))
    step = next(factor * size for factor in (1, 2, 5, 10) if span / (factor * size) <= wanted)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 10) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _path(scale: _Scale, x: Sequence[float], values: Sequence[float | None]) -> str:
    stride = max(1, len(x) // _MOST_POINTS)
    pieces, drawing = [], False
    for index in range(0, len(x), stride):
        value = values[index]
        if value is None or not math.isfinite(value):
            drawing = False
            continue
        pieces.append(f"{'L' if drawing else 'M'}{scale.across(x[index]):.1f} {scale.down(value):.1f}")
        drawing = True
    return "".join(pieces)


def _band(scale: _Scale, x: Sequence[float], line: Line) -> str:
    known = [(at, v, s) for at, v, s in zip(x, line.values, line.spread or (), strict=True) if v is not None]
    above = [f"{scale.across(at):.1f} {scale.down(value + spread):.1f}" for at, value, spread in known]
    below = [f"{scale.across(at):.1f} {scale.down(value - spread):.1f}" for at, value, spread in reversed(known)]
    return f'<polygon class="band {line.style}" points="{" ".join(above + below)}"/>'


def _ground(scale: _Scale, x: Sequence[float], parts: Sequence[str]) -> list[str]:
    """Tint behind the test frames."""
    if not parts or len(x) < 2:
        return []
    half = (x[-1] - x[0]) / (len(x) - 1) / 2
    shapes, start = [], None
    for index, part in enumerate([*parts, ""]):
        if part == "test" and start is None:
            start = index
        elif part != "test" and start is not None:
            left, right = scale.across(max(x[start] - half, x[0])), scale.across(min(x[index - 1] + half, x[-1]))
            shapes.append(
                f'<rect class="test-ground" x="{left:.1f}" y="{_TOP}" width="{right - left:.1f}" '
                f'height="{HEIGHT - _TOP - _BOTTOM}"/>'
            )
            start = None
    return shapes


def _marks(scale: _Scale, x: Sequence[float], values: Sequence[float | None], parts: Sequence[str]) -> list[str]:
    size = 3.2 if len(x) < 80 else 2.2 if len(x) < 200 else 1.5
    shapes = []
    for at, value, part in zip(x, values, parts, strict=True):
        if value is None:
            continue
        left, top = scale.across(at), scale.down(value)
        if _MARKS[part] == "circle":
            shapes.append(f'<circle class="mark {part or "train"}" cx="{left:.1f}" cy="{top:.1f}" r="{size}"/>')
        else:
            turned = f' transform="rotate(45 {left:.1f} {top:.1f})"' if _MARKS[part] == "diamond" else ""
            shapes.append(
                f'<rect class="mark {part}" x="{left - size:.1f}" y="{top - size:.1f}" width="{2 * size}" '
                f'height="{2 * size}"{turned}/>'
            )
    return shapes


def _in_words(axes: Axes, lines: Sequence[Line]) -> str:
    ranges = []
    for line in lines:
        known = [value for value in line.values if value is not None and math.isfinite(value)]
        if known:
            ranges.append(f"{line.name or axes.title} from {min(known):.3g} to {max(known):.3g}")
    return f"{axes.title} ({axes.y_label}) over {axes.x_label}: {'; '.join(ranges)}"
