"""Part level: head, torso, legs and tail of the projected mesh lie on the masks of head, torso, legs and tail.

Masks are labels: 0 none, 1 head, 2 torso, 3 leg, 4 tail; or, by whoever can tell the legs apart, instead of 3 the
labels 5 to 8 for the legs front left, front right, back left and back right. 255 is a part that nobody knows: neither
does it pull, nor is the mesh pulled away from it. Every function returns one loss per frame; frames that show no part
give zero and no gradient.
Source: 4D-Animal (arXiv 2507.10437), part level of the hierarchical alignment.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from animal4d.body.model import PART_NAMES
from animal4d.geometry.nearest import chamfer_2d
from animal4d.losses.image_distance import image_distances, vertices_at
from animal4d.losses.silhouette import visibility_weights

MASKED_PARTS = ("head", "torso", "leg", "tail")
"""The parts that all masks tell apart; label i + 1 of a mask is part i."""
LEGS = ("front_left_leg", "front_right_leg", "back_left_leg", "back_right_leg")
"""The parts that go on from there, in masks that tell the legs apart."""
UNKNOWN = 255
"""Label of a part of the animal that is not known."""
_UNKNOWN_WEIGHT = 1e-3
"""Of vertices that project onto an unknown part: they may well be where they should be."""

CHAMFER_PART_WEIGHTS = (50.0, 1.0, 0.001, 0.01)
"""Published weights of `part_chamfer`, in the order of `MASKED_PARTS`: the head is small and its mask is trusted."""

KEYPOINT_PART_WEIGHTS = (50.0, 1.0, 0.001, 0.1)
"""Published weights of `part_keypoints`, in the order of `MASKED_PARTS`."""


def head_weights(part_labels: Int[Tensor, "vertices"], head: float) -> Float[Tensor, "vertices"]:
    """`head` for vertices of the head, 1 for all others. `part_labels` are those of the body model."""
    return torch.where(part_labels == PART_NAMES.index("head"), head, 1.0)


@dataclass(frozen=True)
class PartVertices:
    """Which vertices of the body belong to which of `MASKED_PARTS`, prepared once."""

    part: Int[Tensor, "vertices"]
    """Index into `MASKED_PARTS`."""
    members: tuple[Int[Tensor, "members"], ...]
    """For each of `MASKED_PARTS` its vertices; none where a body has no such part."""
    legs: tuple[Int[Tensor, "members"], ...]
    """The same for each of `LEGS`."""

    @classmethod
    def of(cls, part_labels: Int[Tensor, "vertices"]) -> PartVertices:
        """From the part labels of the body model (indices into `PART_NAMES`)."""
        names = ["leg" if name.endswith("leg") else name for name in PART_NAMES]
        table = torch.tensor([MASKED_PARTS.index(name) for name in names], device=part_labels.device)
        part = table[part_labels]
        members = tuple((part == index).nonzero().squeeze(1) for index in range(len(MASKED_PARTS)))
        return cls(part, members, tuple((part_labels == PART_NAMES.index(leg)).nonzero().squeeze(1) for leg in LEGS))

    def to(self, device: torch.device | str) -> PartVertices:
        members, legs = (tuple(member.to(device) for member in group) for group in (self.members, self.legs))
        return PartVertices(self.part.to(device), members, legs)

    def told_apart(self, n_parts: int) -> tuple[Int[Tensor, "members"], ...]:
        """Vertices of the parts that a mask with so many parts tells apart."""
        return self.members if n_parts == len(MASKED_PARTS) else (*self.members, *self.legs)


@dataclass(frozen=True)
class PartPixels:
    """Pixels of every part's mask, padded to the same number everywhere."""

    pixels: Float[Tensor, "frames parts slots 2"]
    """Centres of pixels, for each of `MASKED_PARTS`, and of `LEGS` where they are told apart."""
    lengths: Int[Tensor, "frames parts"]
    """How many slots count; zero where a frame does not show the part."""
    image_size: tuple[int, int]
    """Height and width of the masks."""
    unknown: Bool[Tensor, "frames height width"] | None = None
    """Pixels of parts that are not known, where there are any."""


@dataclass(frozen=True)
class PartKeypoints:
    """Pixels of the part masks, each with a vertex of its part: a frame's 2D keypoints drawn at random."""

    pixels: Float[Tensor, "frames points 2"]
    vertices: Int[Tensor, "frames points"]
    """-1 in frames that show no part, and for parts that the body does not have."""
    image_size: tuple[int, int]


@dataclass(frozen=True)
class PartTarget:
    """Part masks, prepared once for the losses."""

    pixels: Float[Tensor, "pixels 2"]
    """Centres of the labelled pixels of all frames, sorted by frame and within a frame by part."""
    starts: Int[Tensor, "frames parts"]
    """Where the pixels of a part begin: each of `MASKED_PARTS`, and of `LEGS` where they are told apart."""
    lengths: Int[Tensor, "frames parts"]
    """How many pixels a part has; zero where a frame does not show it."""
    image_size: tuple[int, int]
    """Height and width of the masks."""
    unknown: Bool[Tensor, "frames height width"] | None = None
    """Pixels of parts that are not known, where there are any."""

    @classmethod
    def from_labels(cls, labels: UInt8[Tensor, "frames height width"]) -> PartTarget:
        """From masks of labels (see the module). Raises ValueError on any other label, and where some legs are told
        apart and others are not."""
        n_parts = len(MASKED_PARTS)
        unknown = labels == UNKNOWN
        labels = labels.masked_fill(unknown, 0)
        highest = int(labels.max()) if labels.numel() else 0
        if highest > n_parts:
            n_parts += len(LEGS)
            if bool((labels == 1 + MASKED_PARTS.index("leg")).any()):
                raise ValueError("part labels must tell all legs apart, or none")
        if highest > n_parts:
            raise ValueError(f"part labels must be 0 to {n_parts}, or {UNKNOWN}, got {highest}")
        frame, row, column = labels.nonzero(as_tuple=True)
        group = frame * n_parts + labels[frame, row, column].long() - 1
        order = group.argsort(stable=True)
        lengths = torch.bincount(group, minlength=len(labels) * n_parts)
        starts = lengths.cumsum(0) - lengths
        pixels = torch.stack((column, row), dim=1)[order] + 0.5
        height, width = labels.shape[1:]
        found = unknown if bool(unknown.any()) else None
        return cls(pixels, starts.view(-1, n_parts), lengths.view(-1, n_parts), (height, width), found)

    def __getitem__(self, frames: Tensor | slice | list[int]) -> PartTarget:
        unknown = None if self.unknown is None else self.unknown[frames]
        return PartTarget(self.pixels, self.starts[frames], self.lengths[frames], self.image_size, unknown)

    def to(self, device: torch.device | str) -> PartTarget:
        unknown = None if self.unknown is None else self.unknown.to(device)
        pixels, starts, lengths = (tensor.to(device) for tensor in (self.pixels, self.starts, self.lengths))
        return PartTarget(pixels, starts, lengths, self.image_size, unknown)

    def all_pixels(self) -> PartPixels:
        """Every pixel of every part, as published."""
        slots = torch.arange(max(int(self.lengths.max()), 1), device=self.lengths.device)
        return PartPixels(self._pixels_at(self.starts[..., None] + slots), self.lengths, self.image_size, self.unknown)

    def drawn(self, n_pixels: int, generator: torch.Generator | None = None) -> PartPixels:
        """`n_pixels` pixels of every part, drawn at random with replacement, instead of all."""
        place = _draw(self.lengths[..., None].expand(-1, -1, n_pixels), generator)
        lengths = torch.where(self.lengths > 0, n_pixels, 0)
        return PartPixels(self._pixels_at(self.starts[..., None] + place), lengths, self.image_size, self.unknown)

    def drawn_keypoints(
        self, parts: PartVertices, n_points: int = 200, generator: torch.Generator | None = None
    ) -> PartKeypoints:
        """`n_points` pixels per frame, drawn from the parts in proportion to their area, each with a random vertex of
        its part."""
        total = self.lengths.sum(1)
        place = _draw(total[:, None].expand(-1, n_points), generator)
        ends = self.lengths.cumsum(1)
        n_parts = self.lengths.shape[1]
        told_apart = parts.told_apart(n_parts)
        part = (place[..., None] >= ends[:, None, :]).sum(-1).clamp_max(n_parts - 1)
        sizes = torch.tensor([len(members) for members in told_apart], device=part.device)
        member = _draw(sizes[part], generator)
        begins = sizes.cumsum(0) - sizes
        # One slot more, for parts at the end that have no vertex.
        sorted_vertices = torch.nn.functional.pad(torch.cat(told_apart), (0, 1), value=-1)
        vertices = sorted_vertices[begins[part] + member]
        usable = (total > 0)[:, None] & (sizes[part] > 0)
        pixels = self._pixels_at(self.starts[:, :1] + place)
        return PartKeypoints(pixels, torch.where(usable, vertices, -1), self.image_size)

    def _pixels_at(self, index: Int[Tensor, "*any"]) -> Float[Tensor, "*any 2"]:
        """Any pixel beyond the last one: the lengths say what counts."""
        if len(self.pixels) == 0:
            return self.pixels.new_zeros(*index.shape, 2)
        return self.pixels[index.clamp_max(len(self.pixels) - 1)]


def _draw(sizes: Int[Tensor, "*any"], generator: torch.Generator | None) -> Int[Tensor, "*any"]:
    """A random index below each size, zero where a size is; drawn on the generator's device."""
    device = sizes.device if generator is None else generator.device
    # In double precision, or the last of many pixels could not be drawn as often as the others.
    uniform = torch.rand(sizes.shape, device=device, generator=generator, dtype=torch.float64)
    return (uniform.to(sizes.device) * sizes).long().minimum((sizes - 1).clamp_min(0))


def part_chamfer(
    projected: Float[Tensor, "frames vertices 2"],
    vertex_visible: Bool[Tensor, "frames vertices"],
    parts: PartVertices,
    target: PartPixels,
    part_weights: tuple[float, ...] = CHAMFER_PART_WEIGHTS,
) -> Float[Tensor, "frames"]:
    """Two-sided squared chamfer between the projected vertices of each part and the pixels of its mask.

    In squared units of half the image's shorter side (PyTorch3D's NDC), times the part's weight; the mean over the
    parts that a frame shows. Vertices that cannot be seen count 0.05 of those that can; weights are relative within a
    part, so a part with no visible vertex is as good as one with all. `part_weights` are those of `MASKED_PARTS`; where
    legs are told apart, each has the weight of a leg.
    """
    scale = 2.0 / min(target.image_size)
    total = projected.new_zeros(len(projected))
    present = torch.zeros_like(target.lengths[:, 0])
    leg = MASKED_PARTS.index("leg")
    weights = visibility_weights(vertex_visible)
    if target.unknown is not None:
        weights = weights * torch.where(_falls_on(target.unknown, projected), _UNKNOWN_WEIGHT, 1.0)
    for part, members in enumerate(parts.told_apart(target.lengths.shape[1])):
        if len(members) == 0:
            continue
        distance = chamfer_2d(
            projected.index_select(1, members) * scale,
            target.pixels[:, part] * scale,
            target.lengths[:, part],
            weights.index_select(1, members),
        )
        total = total + part_weights[part if part < len(MASKED_PARTS) else leg] * distance
        present = present + (target.lengths[:, part] > 0)
    return total / present.clamp_min(1)


def _falls_on(
    mask: Bool[Tensor, "frames height width"], points: Float[Tensor, "frames points 2"]
) -> Bool[Tensor, "frames points"]:
    """Whether points (in pixels) lie on a pixel of the mask."""
    _, height, width = mask.shape
    # Points that are not finite end up anywhere: the fit stops at their loss.
    column, row = points.detach().nan_to_num().floor().long().unbind(-1)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    frame = torch.arange(len(mask), device=mask.device)[:, None]
    return inside & mask[frame, row.clamp(0, height - 1), column.clamp(0, width - 1)]


def part_keypoints(
    projected: Float[Tensor, "frames vertices 2"],
    vertex_visible: Bool[Tensor, "frames vertices"],
    parts: PartVertices,
    keypoints: PartKeypoints,
    part_weights: tuple[float, ...] = KEYPOINT_PART_WEIGHTS,
) -> Float[Tensor, "frames"]:
    """SUM over the drawn pixels of the distance (in fractions of the image's longer side) to the projection of their
    vertex, times the part's weight, and times 0.05 where the vertex cannot be seen.

    A pixel and a vertex of the same part are not the same place: this pulls a part towards its mask from afar and
    shrinks it when near, hence its weight that vanishes early.
    """
    usable = keypoints.vertices >= 0
    vertex = keypoints.vertices.clamp_min(0)
    distances = image_distances(vertices_at(projected, vertex), keypoints.pixels, usable, keypoints.image_size)
    by_part = distances.new_tensor(part_weights)[parts.part[vertex]]
    return (distances * by_part * visibility_weights(vertex_visible.gather(1, vertex))).sum(1)
