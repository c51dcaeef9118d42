"""Where the pixels' rays cross the thin shell around the animal, carried to canonical space.

The inner shell is the template itself, the outer one the template inflated along its normals. Both have the same
faces, so a place is a face with barycentrics, on either of them and in every pose. Nothing here carries a gradient:
colours never move the geometry.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from animal4d.geometry.cameras import Cameras
from animal4d.geometry.distance import distance_transform
from animal4d.geometry.mesh import corners_of, face_normals, vertex_normals
from animal4d.geometry.rasterize import Fragments, rasterize

THICKNESS = 0.03
"""Of the shell, in units of the template (published)."""


@dataclass(frozen=True)
class ShellHits:
    """The rays that meet the outer shell, in order of frame, row and column. Every pixel is crossed by a square of
    `rays_per_side` x `rays_per_side` of them, evenly spaced.

    The segment that a ray is rendered on goes straight, in canonical space, from `entry` to `exit`:
    - A ray that reaches the skin (the inner shell): from the outer hit to the inner hit, as published. Where inflated
      folds leave no outer hit before the skin, it enters on the outer shell at the skin's face and barycentrics.
    - A ray that meets the outer shell but not the inner one, along the outline: from its entry into the outer shell to
      its first exit from it, so that the segment shrinks to nothing towards the outer shell's own outline. Where
      the mesh is open and has no exit, the segment is empty.
    """

    image_shape: tuple[int, int, int]
    """Frames, height, width."""
    rays_per_side: int
    ray: Int[Tensor, "rays"]
    """Flat index into pictures of `image_shape` with `rays_per_side` times as many rows and columns."""
    reaches_skin: Bool[Tensor, "rays"]
    face_index: Int[Tensor, "rays"]
    """Face that the texture is looked up on: of the skin where it is reached, else of the outer shell."""
    barycentrics: Float[Tensor, "rays 3"]
    """Of the place on that face."""
    entry: Float[Tensor, "rays 3"]
    exit: Float[Tensor, "rays 3"]
    beyond: Float[Tensor, "rays"]
    """How far beyond the skin's outline the ray passes, in thicknesses of the shell; zero where it reaches the skin."""
    thickness: float
    """Of the shell, in canonical units."""

    def __len__(self) -> int:
        return self.ray.shape[0]

    def __getitem__(self, rays: Tensor | slice) -> ShellHits:
        names = ("ray", "reaches_skin", "face_index", "barycentrics", "entry", "exit", "beyond")
        return replace(self, **{name: getattr(self, name)[rays] for name in names})

    @property
    def pixel(self) -> Int[Tensor, "rays"]:
        """Flat index into pictures of `image_shape`."""
        width = self.image_shape[2]
        rows, columns = self.ray // (width * self.rays_per_side), self.ray % (width * self.rays_per_side)
        # Frames lie below each other: their heights are whole numbers of pixels.
        return rows // self.rays_per_side * width + columns // self.rays_per_side

    @property
    def length(self) -> Float[Tensor, "rays"]:
        """Of the canonical segments, in thicknesses of the shell."""
        return (self.exit - self.entry).norm(dim=-1) / self.thickness

    def image(self, values: Float[Tensor, "rays *channels"]) -> Float[Tensor, "frames height width *channels"]:
        """Means over the rays of every pixel as pictures; rays that miss the shell count 0."""
        frames, height, width = self.image_shape
        flat = values.new_zeros(frames * height * width, *values.shape[1:])
        return flat.index_add(0, self.pixel, values / self.rays_per_side**2).unflatten(0, self.image_shape)

    def pixels_with(self, rays: Bool[Tensor, "rays"]) -> Bool[Tensor, "frames height width"]:
        """Pixels that at least one of the given rays crosses."""
        return self.image(rays.float()) > 0


class Texture(Protocol):
    """What gives colour to rays: the one interface of all textures."""

    @property
    def rays_per_side(self) -> int:
        """Rays along a pixel's side that it is learnt and drawn with."""
        ...

    def render(self, hits: ShellHits) -> tuple[Float[Tensor, "rays 3"], Float[Tensor, "rays"]]:
        """Colour over black (sRGB in [0, 1], already weighed by opacity) and opacity of every ray."""
        ...

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Parameters with their learning rates, as torch's optimisers take them."""
        ...


@dataclass(frozen=True)
class Shells:
    """The two shells in canonical space."""

    inner: Float[Tensor, "vertices 3"]
    outer: Float[Tensor, "vertices 3"]
    faces: Int[Tensor, "faces 3"]
    thickness: float

    @classmethod
    def around(
        cls, template: Float[Tensor, "vertices 3"], faces: Int[Tensor, "faces 3"], thickness: float = THICKNESS
    ) -> Shells:
        """Of a template in canonical space (its rest pose)."""
        return cls(template, inflated(template, faces, thickness), faces, thickness)

    @torch.no_grad()
    def hits(
        self,
        posed: Float[Tensor, "frames vertices 3"],
        cameras: Cameras,
        region: Bool[Tensor, "frames height width"] | None = None,
        rays_per_side: int = 1,
    ) -> ShellHits:
        """All rays that meet the posed outer shell, or those of the pixels in `region` only.

        `posed` are the skin's vertices in the world. The posed outer shell lies `thickness` along THEIR normals: the
        template inflated and then posed, but for the limb scales and the shrinking of blended rotations.
        """
        in_camera = cameras.transform(posed)
        in_camera_outer = inflated(in_camera, self.faces, self.thickness)
        height, width = cameras.image_size
        fine = cameras.resized((height * rays_per_side, width * rays_per_side))
        view = (fine.intrinsics, fine.image_size)
        inner = rasterize(in_camera, self.faces, *view)
        outer = rasterize(in_camera_outer, self.faces, *view)
        rays = inner.covered | outer.covered
        if region is not None:
            rays = rays & region.repeat_interleave(rays_per_side, 1).repeat_interleave(rays_per_side, 2)
        ray = rays.flatten().nonzero().squeeze(1)
        skin, skin_depth = _Place.of(inner, ray)
        first, first_depth = _Place.of(outer, ray)
        last, last_depth = _Place.of(self._back(in_camera_outer, *view), ray)

        reaches_skin = skin.face_index >= 0
        # Where the inflated mesh folds over itself its front may be missing, or lie behind the skin.
        above_skin = reaches_skin & ((first.face_index < 0) | (first_depth > skin_depth))
        enters = first.where(~above_skin, skin)
        leaves = last.where((last.face_index >= 0) & (last_depth > first_depth), first)
        at_rim = self._canonical(leaves, self.outer)
        return ShellHits(
            image_shape=(len(cameras), height, width),
            rays_per_side=rays_per_side,
            ray=ray,
            reaches_skin=reaches_skin,
            face_index=torch.where(reaches_skin, skin.face_index, enters.face_index),
            barycentrics=torch.where(reaches_skin[:, None], skin.barycentrics, enters.barycentrics),
            entry=self._canonical(enters, self.outer),
            exit=torch.where(reaches_skin[:, None], self._canonical(skin, self.inner), at_rim),
            beyond=self._beyond(inner, fine, ray, first_depth),
            thickness=self.thickness,
        )

    def _beyond(
        self, inner: Fragments, cameras: Cameras, ray: Int[Tensor, "rays"], depth: Float[Tensor, "rays"]
    ) -> Float[Tensor, "rays"]:
        """How far the rays pass beyond the skin's outline, where it is nearest in the picture; `depth` is the one at
        which they meet the outer shell."""
        # The outline runs halfway between the last ray that reaches the skin and the first that does not.
        steps = (distance_transform(inner.covered).flatten()[ray] - 0.5).clamp_min(0)
        frame = ray // (cameras.image_size[0] * cameras.image_size[1])
        distance = steps * depth / cameras.intrinsics[frame, 0, 0] / self.thickness
        return torch.where(inner.covered.flatten()[ray], 0.0, distance)

    def _back(
        self, outer: Float[Tensor, "frames vertices 3"], intrinsics: Float[Tensor, "frames 3 3"], size: tuple[int, int]
    ) -> Fragments:
        """The nearest of the faces that look away from the camera: where a ray leaves a closed mesh."""
        away = (face_normals(outer, self.faces) * corners_of(outer, self.faces).mean(-2)).sum(-1) > 0
        frames = []
        for frame, faces in enumerate(away):
            kept = faces.nonzero().squeeze(1)
            drawn = rasterize(outer[frame, None], self.faces[kept], intrinsics[frame, None], size)
            number = torch.cat((kept, kept.new_tensor([-1])))[drawn.face_index]  # -1 stays -1
            frames.append((number, drawn.barycentrics, drawn.depth))
        return Fragments(*(torch.cat(parts) for parts in zip(*frames, strict=True)))

    def _canonical(self, place: _Place, shell: Float[Tensor, "vertices 3"]) -> Float[Tensor, "rays 3"]:
        corners = shell[self.faces[place.face_index.clamp_min(0)]]
        return (place.barycentrics[..., None] * corners).sum(1)


def inflated(
    vertices: Float[Tensor, "*batch vertices 3"], faces: Int[Tensor, "faces 3"], thickness: float
) -> Float[Tensor, "*batch vertices 3"]:
    """Vertices moved outwards along their normals."""
    return vertices + thickness * vertex_normals(vertices, faces)


@dataclass(frozen=True)
class _Place:
    """Faces (-1 for none) and barycentrics of rays."""

    face_index: Int[Tensor, "rays"]
    barycentrics: Float[Tensor, "rays 3"]

    @classmethod
    def of(cls, fragments: Fragments, pixel: Int[Tensor, "rays"]) -> tuple[_Place, Float[Tensor, "rays"]]:
        """With their depth."""
        place = cls(fragments.face_index.flatten()[pixel], fragments.barycentrics.flatten(0, 2)[pixel])
        return place, fragments.depth.flatten()[pixel]

    def where(self, condition: Bool[Tensor, "rays"], other: _Place) -> _Place:
        return _Place(
            torch.where(condition, self.face_index, other.face_index),
            torch.where(condition[:, None], self.barycentrics, other.barycentrics),
        )
