"""overlay.mp4 and overlay.png: input, mesh over input, textured and turntable view side by side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from animal4d.body.model import BodyModel
from animal4d.clip import Clip
from animal4d.export.encoder import write_video
from animal4d.export.render import Image, MeshView
from animal4d.export.turntable import Turntable
from animal4d.files.atomic import atomic_path
from animal4d.fit.reconstruction import Reconstruction
from animal4d.texture.bake import BakedTexture

PANE = 320
"""Side of a pane in pixels."""
CAPTIONS = ("input", "mesh over input", "textured", "turntable")
"""Of the panes, from left to right."""
MARGIN, GAP, CAPTION = 12, 8, 24
"""Pixels: left and right of all panes, between and above and below them, and for the captions above them."""
_PAPER = (250, 250, 250)
_INK, _FAINT_INK = (60, 60, 64), (140, 140, 146)
_NEUTRAL = np.array([0.925, 0.925, 0.92], np.float32)
_OPACITY = 0.88
"""Of the mesh over the input."""


def write_overlay(
    reconstruction: Reconstruction,
    model: BodyModel,
    clip: Clip,
    path: Path,
    pane: int = PANE,
    texture: BakedTexture | None = None,
) -> None:
    """The video that shows how good a fit is. Drawn and encoded frame by frame, so memory does not grow with length.

    The animal wears the texture, or without one its vertex colours.
    """
    drawer = _Drawer(reconstruction, model, clip, pane, texture)
    write_video(path, drawer.all_frames(), reconstruction.fps)


def write_contact_sheet(
    reconstruction: Reconstruction,
    model: BodyModel,
    clip: Clip,
    path: Path,
    rows: int = 5,
    pane: int = 240,
    texture: BakedTexture | None = None,
) -> None:
    """A still of the same four panes in up to `rows` frames spread over the clip."""
    drawer = _Drawer(reconstruction, model, clip, pane, texture)
    chosen = np.unique(np.linspace(0, len(reconstruction) - 1, rows).round().astype(int))
    strips = [drawer.strip(int(frame), captions=index == 0) for index, frame in enumerate(chosen)]
    with atomic_path(path) as temporary:
        PillowImage.fromarray(np.concatenate(strips)).save(temporary)


class _Drawer:
    """Draws strips of four panes."""

    def __init__(
        self, reconstruction: Reconstruction, model: BodyModel, clip: Clip, pane: int, texture: BakedTexture | None
    ) -> None:
        if len(reconstruction) != len(clip):
            raise ValueError(f"the reconstruction has {len(reconstruction)} frames, the clip {len(clip)}")
        self._reconstruction = reconstruction.to("cpu")
        self._model = model.to("cpu")
        self._clip = clip
        self._pane = pane - pane % 2
        self._coat = self._reconstruction.vertex_colors if texture is None else texture
        self._turntable = Turntable(self._reconstruction, self._model, self._pane, texture)
        self._font = ImageFont.load_default(size=13)

    def all_frames(self) -> Iterator[UInt8[ndarray, "height width 3"]]:
        for frame in range(len(self._clip)):
            yield self.strip(frame)

    def strip(self, frame: int, captions: bool = True) -> UInt8[ndarray, "height width 3"]:
        panes = self.panes(frame)
        top = CAPTION if captions else 0
        width = 2 * MARGIN + len(panes) * self._pane + (len(panes) - 1) * GAP
        canvas = np.full((GAP + top + self._pane + GAP, width, 3), _PAPER, np.uint8)
        places = [MARGIN + index * (self._pane + GAP) for index in range(len(panes))]
        for place, image in zip(places, panes, strict=True):
            canvas[GAP + top :, place : place + self._pane][: self._pane] = (image * 255 + 0.5).clip(0, 255)
        picture = PillowImage.fromarray(canvas)
        draw = ImageDraw.Draw(picture)
        if captions:
            for place, caption in zip(places, CAPTIONS, strict=True):
                draw.text((place + 1, GAP + 1), caption, font=self._font, fill=_INK)
        self._write_frame_number(draw, frame, captions, places[0] + self._pane)
        return np.asarray(picture)

    @torch.no_grad()
    def panes(self, frame: int) -> list[Image]:
        """The four pictures, sRGB in [0, 1]."""
        reconstruction, pane = self._reconstruction, self._pane
        camera = reconstruction.cameras[[frame]].resized((pane, pane))
        vertices = reconstruction.posed(self._model, [frame]).vertices[0]
        source = self._clip.frames[frame].cpu().numpy()
        footage = cv2.resize(source, (pane, pane), interpolation=cv2.INTER_CUBIC).astype(np.float32) / 255
        view = MeshView(vertices, self._model.faces, camera)
        clay = view.draw()
        textured = clay if self._coat is None else view.draw(self._coat, shading=0.15)
        neutral = np.broadcast_to(_NEUTRAL, footage.shape)
        return [footage, clay.over(footage, _OPACITY), textured.over(neutral), self._turntable.draw(frame)]

    def _write_frame_number(self, draw: ImageDraw.ImageDraw, frame: int, captions: bool, right: int) -> None:
        number = int(self._reconstruction.frame_numbers[frame])
        if captions:
            draw.text((right, GAP + 1), f"frame {number}", font=self._font, fill=_FAINT_INK, anchor="ra")
        else:
            draw.text(
                (MARGIN + 6, GAP + 4),
                f"frame {number}",
                font=self._font,
                fill="white",
                stroke_width=1,
                stroke_fill=_INK,
            )
