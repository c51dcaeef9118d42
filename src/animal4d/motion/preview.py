"""Pictures of a motion: a video, and a strip of moments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from animal4d.body.model import BodyModel
from animal4d.export.encoder import write_video
from animal4d.export.turntable import Turntable
from animal4d.files.atomic import atomic_path
from animal4d.fit.reconstruction import Reconstruction
from animal4d.texture.bake import BakedTexture

_PANE = 320
_MOMENTS = 12
_PER_ROW = 4


def write_preview(
    reconstruction: Reconstruction, model: BodyModel, folder: Path, name: str, texture: BakedTexture | None = None
) -> None:
    """NAME.mp4 and NAME.png, three quarters from the front by a camera that goes along and does not turn."""
    # The turntable goes round with the time: a clock that stands still keeps it at its first view.
    still = replace(reconstruction, times=torch.zeros_like(reconstruction.times))
    unturned = Turntable(still, model, _PANE, texture)
    frames = len(reconstruction)
    moments = np.linspace(0, frames - 1, _MOMENTS).round().astype(int).tolist()
    kept: dict[int, UInt8[ndarray, "height width 3"]] = {}

    def drawn() -> Iterator[UInt8[ndarray, "height width 3"]]:
        for frame in range(frames):
            picture = _bytes(unturned.draw(frame))
            if frame in moments:
                kept[frame] = picture
            yield picture

    write_video(folder / f"{name}.mp4", drawn(), reconstruction.fps)
    panes = [kept[frame] for frame in moments]
    rows = [np.concatenate(panes[start : start + _PER_ROW], axis=1) for start in range(0, _MOMENTS, _PER_ROW)]
    with atomic_path(folder / f"{name}.png") as temporary:
        Image.fromarray(np.concatenate(rows)).save(temporary)


def _bytes(image: ndarray) -> UInt8[ndarray, "height width 3"]:
    return (np.asarray(image) * 255 + 0.5).clip(0, 255).astype(np.uint8)
