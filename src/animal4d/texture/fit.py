"""A texture learnt from frames whose geometry is known and stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from animal4d.geometry.cameras import Cameras
from animal4d.texture.hits import ShellHits, Shells, Texture

ColorLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From pictures drawn over black, filmed pictures and masks to one loss per frame: `losses.color.color_loss`."""
Progress = Callable[[int, int, float], None]
"""Hears after every step how many are done, of how many, and the mean loss of the step's frames."""
TextureT = TypeVar("TextureT", bound=Texture)

_LEAST_BOX = 16
"""Pixels of the smallest cut-out: the loss' window must fit."""


@dataclass(frozen=True)
class TextureFootage:
    """Frames of a clip with the posed animal in them."""

    posed: Float[Tensor, "frames vertices 3"]
    """Vertices in the world."""
    cameras: Cameras
    """Of the pictures."""
    images: UInt8[Tensor, "frames height width 3"]
    """sRGB."""
    masks: Float[Tensor, "frames height width"]
    """Above 0.5 where the animal is."""
    filmed: Bool[Tensor, "frames height width"] | None = None
    """Pixels that lie on the filmed frame (`Clip.inside_frame`), all without; no other has a ray."""


@dataclass(frozen=True)
class TextureSchedule:
    """How long and with how many frames at a time. Rates come with the texture."""

    steps: int
    batch_frames: int = 1
    halved_at: tuple[float, ...] = (0.9, 0.95)
    """Shares of the steps after which all rates are halved (published)."""
    seed: int = 0
    """Of the order of the frames."""

    def __post_init__(self) -> None:
        if self.steps < 0 or self.batch_frames < 1:
            raise ValueError(f"expected steps >= 0 and batch_frames >= 1, got {self.steps} and {self.batch_frames}")


@dataclass(frozen=True)
class Lesson:
    """One frame that teaches, cut out around the animal."""

    hits: ShellHits
    """Without the rays that reach the skin outside of the mask: they tell that the pose is off, not what colour the
    skin has."""
    shown: Bool[Tensor, "rays"]
    """Whether a ray crosses a pixel of the mask."""
    box: tuple[slice, slice]
    """Rows and columns of the cut-out."""
    image: Float[Tensor, "1 rows columns 3"]
    mask: Float[Tensor, "1 rows columns"]

    def loss(self, texture: Texture, loss: ColorLoss) -> Float[Tensor, ""]:
        color, _ = texture.render(self.hits)
        return loss(self.hits.image(color)[:, self.box[0], self.box[1]], self.image, self.mask).sum()


def lessons_of(shells: Shells, footage: TextureFootage, frames: Sequence[int], rays_per_side: int = 1) -> list[Lesson]:
    """What the given frames (positions in the footage) teach; nothing where the mask or the set of rays is empty.

    Only these frames are looked at: leave out those that shall judge. The geometry gets no gradient.
    """
    lessons = (_lesson(shells, footage, frame, rays_per_side) for frame in frames)
    return [lesson for lesson in lessons if lesson is not None]


def fit_texture(
    texture: TextureT,
    lessons: Sequence[Lesson],
    loss: ColorLoss,
    schedule: TextureSchedule,
    progress: Progress = lambda step, steps, loss: None,
) -> TextureT:
    """Train `texture` in place, with Adam, and return it; without lessons it stays as it is.

    The lessons must have as many rays as the texture is drawn with (`Texture.rays_per_side`). The same input and seed
    give the same texture on a CPU.
    """
    if not lessons:
        return texture
    optimiser = torch.optim.Adam(texture.parameter_groups())
    milestones = [max(1, round(share * schedule.steps)) for share in schedule.halved_at]
    rates = torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones, gamma=0.5)
    generator = torch.Generator().manual_seed(schedule.seed)
    waiting: list[int] = []
    for step in range(1, schedule.steps + 1):
        if len(waiting) < schedule.batch_frames:  # all lessons once before any comes again
            waiting += torch.randperm(len(lessons), generator=generator).tolist()
        batch, waiting = waiting[: schedule.batch_frames], waiting[schedule.batch_frames :]
        optimiser.zero_grad()
        total = 0.0
        for index in batch:  # one after the other: the memory of one frame
            value = lessons[index].loss(texture, loss) / len(batch)
            value.backward()
            total += float(value.detach())
        optimiser.step()
        rates.step()
        progress(step, schedule.steps, total)
    return texture


@torch.no_grad()
def draw_texture(
    texture: Texture, hits: ShellHits
) -> tuple[Float[Tensor, "frames height width 3"], Float[Tensor, "frames height width"]]:
    """Pictures over black, and opacities."""
    color, opacity = texture.render(hits)
    return hits.image(color), hits.image(opacity)


def _lesson(shells: Shells, footage: TextureFootage, frame: int, rays_per_side: int) -> Lesson | None:
    mask = footage.masks[[frame]] > 0.5
    region = None if footage.filmed is None else footage.filmed[[frame]]
    hits = shells.hits(footage.posed[[frame]].detach(), footage.cameras[[frame]], region, rays_per_side)
    shown = mask.flatten()[hits.pixel]
    taught = ~hits.reaches_skin | shown
    hits, shown = hits[taught], shown[taught]
    # Of the mask only what a ray can show: a pixel beyond the shell cannot be learnt.
    mask = hits.pixels_with(shown)
    if not bool(mask.any()):
        return None
    rows, columns = _box(hits)
    image = footage.images[[frame], rows, columns].to(torch.float32) / 255
    return Lesson(hits, shown, (rows, columns), image, mask[:, rows, columns].to(torch.float32))


def _box(hits: ShellHits) -> tuple[slice, slice]:
    """Rows and columns that hold all rays of a single frame."""
    _, height, width = hits.image_shape
    pixel = hits.pixel
    return _span(pixel // width, height), _span(pixel % width, width)


def _span(places: Int[Tensor, "rays"], size: int) -> slice:
    first, last = int(places.min()), int(places.max()) + 1
    first = max(0, min(first, size - _LEAST_BOX))
    return slice(first, max(last, min(size, first + _LEAST_BOX)))
