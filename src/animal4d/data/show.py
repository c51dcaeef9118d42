"""Contact sheets of a sequence of a data tree: what a person looks at before trusting it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image as PillowImage
from PIL import ImageDraw

from animal4d.data.evidence import Evidence, gather_evidence, padded_places
from animal4d.data.panels import (
    PART_COLORS,
    SIDE_COLORS,
    Color,
    Image,
    empty_panel,
    font,
    keypoints_panel,
    mask_panel,
    parts_panel,
    rest_pose_panel,
    surface_panel,
    tracks_panel,
)
from animal4d.data.tree import check_name
from animal4d.errors import Animal4dError
from animal4d.export.encoder import write_video
from animal4d.export.render import MeshView
from animal4d.files.atomic import atomic_path

_TRAIL = 8
"""Frames that a trail goes back."""
_MARGIN, _GAP, _CAPTION = 12, 8, 22
_PAPER: Color = (250, 250, 250)
_INK: Color = (60, 60, 64)
_FAINT_INK: Color = (140, 140, 146)
_VIDEO_COLUMNS = 4


@dataclass(frozen=True)
class ShownFiles:
    """What was written, and what could not be shown."""

    picture: Path
    video: Path
    absent: dict[str, str]
    """Why a panel is empty, by the name of its cue."""


def show(
    root: Path,
    sequence: str,
    out: Path,
    rows: int = 5,
    side: int = 320,
    max_frames: int = 200,
    progress: Callable[[str, int, int], None] | None = None,
) -> ShownFiles:
    """Write `<sequence>.png`, with `rows` frames spread over the sequence, and `<sequence>.mp4` into a folder.

    `side` is that of a panel's longer edge in pixels. A cue that is missing or broken has a panel that says so. Raises
    Animal4dError where frames and masks cannot be read, and where `out` cannot be written.
    """
    if not 64 <= side <= 1600:
        raise Animal4dError(f"the side of a panel must lie between 64 and 1600 pixels, got {side}")
    if rows < 1 or max_frames < 1:
        raise Animal4dError(f"at least one row and one frame are needed, got {rows} and {max_frames}")
    check_name(sequence, "the name of the sequence")
    sheet = ContactSheet(gather_evidence(root, sequence, side, max_frames))
    picture, video = out / f"{sequence}.png", out / f"{sequence}.mp4"
    chosen = np.unique(np.linspace(0, len(sheet) - 1, rows).round().astype(int)).tolist()
    with atomic_path(picture) as temporary:
        PillowImage.fromarray(sheet.picture(chosen)).save(temporary)
    write_video(video, _reported(sheet.video(), len(sheet), progress), sheet.evidence.clip.fps)
    return ShownFiles(picture, video, sheet.evidence.absent)


def _reported(frames: Iterator[Image], total: int, progress: Callable[[str, int, int], None] | None) -> Iterator[Image]:
    for done, frame in enumerate(frames, start=1):
        yield frame
        if progress is not None:
            progress("drawing", done, total)


class ContactSheet:
    """Draws the panels of one sequence and puts them together."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        clip = evidence.clip
        height, width = clip.crop.original_size
        side, longer = clip.image_size[0], max(height, width)
        # Without the padding; at least a few pixels, for a frame may be a narrow strip.
        self.size = (max(round(side * height / longer), 16), max(round(side * width / longer), 16))
        self._places = padded_places(clip)[: self.size[0], : self.size[1]]

    def __len__(self) -> int:
        return len(self.evidence.clip)

    def picture(self, frames: list[int]) -> Image:
        """One row per frame."""
        strips = [self._row(self.panels(frame), captions=place == 0) for place, frame in enumerate(frames)]
        canvas = PillowImage.fromarray(np.concatenate([self._heading(strips[0].shape[1]), *strips]))
        draw = ImageDraw.Draw(canvas)
        top = 34 + _CAPTION
        for frame in frames:
            self._number(draw, frame, (_MARGIN + 6, top + _GAP + 5))
            top += _GAP + self.size[0]
        return np.pad(np.asarray(canvas), ((0, _MARGIN), (0, 0), (0, 0)), constant_values=_PAPER[0])

    def video(self) -> Iterator[Image]:
        """All panels of every frame, in two rows, the last a legend."""
        for frame in range(len(self)):
            panels = [*self.panels(frame), ("", self._legend(frame))]
            rows = [
                self._row(panels[start : start + _VIDEO_COLUMNS], captions=True)
                for start in range(0, len(panels), _VIDEO_COLUMNS)
            ]
            image = np.concatenate(rows)
            # Video codecs take even sizes only.
            below = _MARGIN + image.shape[0] % 2
            yield np.pad(image, ((0, below), (0, image.shape[1] % 2), (0, 0)), constant_values=_PAPER[0])

    @torch.no_grad()
    def panels(self, frame: int) -> list[tuple[str, Image]]:
        """Caption and picture of every panel."""
        evidence, (height, width) = self.evidence, self.size
        picture = evidence.clip.frames[frame, :height, :width].numpy()
        mask = evidence.clip.masks[frame, :height, :width].numpy()
        masked = mask_panel(picture, mask)
        if not evidence.clip.mask_valid[frame]:
            masked = empty_panel(self.size, "no mask", "in this frame", picture)
        return [
            ("frame", picture),
            ("mask", masked),
            ("parts", self._parts(frame, picture)),
            ("surface (CSE)", self._surface(frame, picture)),
            ("tracks", self._tracks(frame, picture)),
            ("keypoints", self._keypoints(frame, picture)),
            ("template by PnP", self._rest_pose(frame, picture)),
        ]

    def _parts(self, frame: int, picture: Image) -> Image:
        parts = self.evidence.parts
        if parts is None:
            return self._absent("no part masks", "parts")
        labels = parts.labels[frame, : self.size[0], : self.size[1]].numpy()
        if not labels.any():
            return empty_panel(self.size, "no parts", "in this frame", picture)
        return parts_panel(picture, labels)

    def _surface(self, frame: int, picture: Image) -> Image:
        surface = self.evidence.surface
        if surface is None:
            return self._absent("no surface colours", "surface")
        drawn = surface.draw(frame, self._places)
        if drawn is None:
            return empty_panel(self.size, "no detection", f"of a {self.evidence.category} in this frame", picture)
        return surface_panel(picture, *drawn)

    def _tracks(self, frame: int, picture: Image) -> Image:
        tracks = self.evidence.tracks
        if tracks is None:
            return self._absent("no tracks", "tracks")
        recent = slice(max(0, frame - _TRAIL), frame + 1)
        points = self.evidence.clip.crop[recent].from_original(tracks.points[recent])
        return tracks_panel(picture, points.numpy(), tracks.visible[recent].numpy())

    def _keypoints(self, frame: int, picture: Image) -> Image:
        keypoints = self.evidence.keypoints
        if keypoints is None:
            return self._absent("no sparse keypoints", "keypoints")
        points = self.evidence.clip.crop[[frame]].from_original(keypoints.points[[frame]])[0]
        return keypoints_panel(picture, points.numpy(), keypoints.score[frame].numpy())

    def _rest_pose(self, frame: int, picture: Image) -> Image:
        rest = self.evidence.rest_pose
        if rest is None:
            return self._absent("no PnP cameras", "rest_pose")
        if not rest.valid[frame]:
            return empty_panel(self.size, "no solution", "of PnP in this frame", picture)
        rendering = MeshView(rest.vertices, rest.faces, rest.cameras[[frame]]).draw()
        height, width = self.size
        cut = type(rendering)(rendering.color[:height, :width], rendering.alpha[:height, :width])
        return rest_pose_panel(picture, cut)

    def _absent(self, title: str, cue: str) -> Image:
        reason = self.evidence.absent[cue]
        return empty_panel(self.size, title if reason.startswith("no ") else "cannot be read", reason)

    def _row(self, panels: list[tuple[str, Image]], captions: bool) -> Image:
        top = _CAPTION if captions else 0
        height, width = self.size
        total = 2 * _MARGIN + len(panels) * width + (len(panels) - 1) * _GAP
        canvas = np.full((_GAP + top + height, total, 3), _PAPER, np.uint8)
        places = [_MARGIN + index * (width + _GAP) for index in range(len(panels))]
        for left, (_, image) in zip(places, panels, strict=True):
            canvas[_GAP + top :, left : left + width] = image
        if not captions:
            return canvas
        picture = PillowImage.fromarray(canvas)
        draw = ImageDraw.Draw(picture)
        for left, (caption, _) in zip(places, panels, strict=True):
            draw.text((left + 1, _GAP), caption, font=font(13), fill=_INK)
            if caption == "parts" and self.evidence.parts is not None:
                _words(draw, (left + 42, _GAP + 1), list(PART_COLORS.values()))
            if caption == "keypoints" and self.evidence.keypoints is not None:
                sides = [(side, SIDE_COLORS[side]) for side in ("left", "right")]
                _words(draw, (left + 72, _GAP + 1), sides)
        return np.asarray(picture)

    def _heading(self, width: int) -> Image:
        clip = self.evidence.clip
        picture = PillowImage.new("RGB", (width, 34), _PAPER)
        text = f"{clip.name}   {self.evidence.category}, {len(clip)} frames"
        ImageDraw.Draw(picture).text((_MARGIN + 1, 12), text, font=font(15), fill=_INK)
        return np.asarray(picture)

    def _legend(self, frame: int) -> Image:
        clip, (height, width) = self.evidence.clip, self.size
        picture = PillowImage.new("RGB", (width, height), _PAPER)
        draw = ImageDraw.Draw(picture)
        lines = [
            (clip.name, 15, _INK),
            (f"{self.evidence.category}, frame {int(clip.frame_numbers[frame])}", 13, _INK),
            (f"{frame + 1} of {len(clip)}, {float(clip.times[frame]):.2f} s", 13, _FAINT_INK),
        ]
        top = 4
        for text, size, color in lines:
            draw.text((4, top), text, font=font(size), fill=color)
            top += size + 6
        return np.asarray(picture)

    def _number(self, draw: ImageDraw.ImageDraw, frame: int, place: tuple[int, int]) -> None:
        number = int(self.evidence.clip.frame_numbers[frame])
        draw.text(place, f"frame {number}", font=font(13), fill="white", stroke_width=1, stroke_fill=_INK)


def _words(draw: ImageDraw.ImageDraw, place: tuple[float, float], words: list[tuple[str, Color]]) -> None:
    """Words in colours of their own, one after the other."""
    left, top = place
    used = font(12)
    for word, (red, green, blue) in words:
        # A little darker than in the panels, to be read on paper.
        color = (round(0.8 * red), round(0.8 * green), round(0.8 * blue))
        draw.text((left, top), word, font=used, fill=color)
        left += draw.textlength(word, font=used) + 6
