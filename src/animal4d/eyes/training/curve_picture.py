"""The learning curve as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from PIL import Image, ImageDraw

from animal4d.files.atomic import atomic_path

_PANEL, _MARGIN = (380, 230), 34
_INK, _LINE, _FRAME = (30, 30, 30), (30, 90, 170), (190, 190, 190)
_METRICS = ("foreground_iou", "part_iou", "leg_side", "heading", "surface_error", "view_error")


def draw_curve(curve: Sequence[Mapping[str, Any]], path: Path) -> None:
    """The total loss of the steps and the metrics of the validation samples over the steps, as a PNG."""
    panels = [_panel("loss", _smoothed(np.array([(e["step"], e["losses"]["total"]) for e in curve], dtype=float)))]
    for name in _METRICS:
        points = [(e["step"], e["metrics"].get(name)) for e in curve if e.get("metrics")]
        panels.append(_panel(name, np.array([point for point in points if point[1] is not None], dtype=float)))
    columns = 3
    rows = -(-len(panels) // columns)
    picture = Image.new("RGB", (columns * _PANEL[0], rows * _PANEL[1]), "white")
    for number, panel in enumerate(panels):
        picture.paste(panel, (number % columns * _PANEL[0], number // columns * _PANEL[1]))
    with atomic_path(path) as temporary:
        picture.save(temporary)


def _smoothed(points: Float[ndarray, "points 2"], count: int = 150) -> Float[ndarray, "fewer 2"]:
    return np.stack([part.mean(0) for part in np.array_split(points, min(count, len(points)))])


def _panel(title: str, points: Float[ndarray, "points 2"]) -> Image.Image:
    width, height = _PANEL
    panel = Image.new("RGB", _PANEL, "white")
    draw = ImageDraw.Draw(panel)
    draw.rectangle((_MARGIN, _MARGIN, width - 12, height - 22), outline=_FRAME)
    if len(points) == 0:
        draw.text((_MARGIN, 12), title, fill=_INK)
        return panel
    draw.text((_MARGIN, 12), f"{title.replace('_', ' ')}: {points[-1, 1]:.3f}", fill=_INK)
    low, high = points.min(0), points.max(0)
    spread = np.where(high > low, high - low, 1.0)
    place = (points - low) / spread * (width - 12 - _MARGIN, -(height - 22 - _MARGIN)) + (_MARGIN, height - 22)
    draw.line([tuple(point) for point in place.tolist()], fill=_LINE, width=2)
    draw.text((2, _MARGIN), f"{high[1]:.3g}", fill=_INK)
    draw.text((2, height - 34), f"{low[1]:.3g}", fill=_INK)
    draw.text((_MARGIN, height - 18), f"{low[0]:.0f}", fill=_INK)
    draw.text((width - 60, height - 18), f"{high[0]:.0f} steps", fill=_INK)
    return panel
