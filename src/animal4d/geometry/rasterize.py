"""First-hit rasterisation of triangle meshes, what is seen, and differentiable lookup of what is drawn.

Finding the face behind every pixel is discrete and carries no gradient. What follows from it does: `interpolate`
gathers vertex attributes through fixed barycentrics (gradients reach the attributes), and `barycentrics_of` computes
the barycentrics again in torch, where gradients to the vertices' positions are wanted.

Pixels are continuous: the centre of the pixel in column j and row i is (j + 0.5, i + 0.5).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from animal4d.geometry._rasterize_numba import rasterize_numba
from animal4d.geometry._rasterize_reference import rasterize_reference
from animal4d.geometry.mesh import corners_in_frames


@dataclass(frozen=True)
class Fragments:
    """The nearest face behind every pixel centre."""

    face_index: Int[Tensor, "frames height width"]
    """int64, -1 where no face is."""
    barycentrics: Float[Tensor, "frames height width 3"]
    """Perspective-correct weights of the face's corners, 0 where no face is."""
    depth: Float[Tensor, "frames height width"]
    """Distance along the camera's z axis, 0 where no face is."""

    @property
    def covered(self) -> Bool[Tensor, "frames height width"]:
        """Pixels whose centre lies on the mesh: its silhouette."""
        return self.face_index >= 0


Backend = Callable[[Tensor, Tensor, Tensor, tuple[int, int]], tuple[Tensor, Tensor, Tensor]]
"""Takes detached float vertices "frames vertices 3", int64 faces, intrinsics and (height, width), all on one device;
returns the three tensors of `Fragments` on that device."""

_BACKENDS: dict[str, Backend] = {}
_PREFERRED: dict[str, str] = {}


def register_backend(name: str, backend: Backend, preferred_on: tuple[str, ...] = ()) -> None:
    """Makes `rasterize(..., backend=name)` available, and "auto" choose it for tensors on the given device types."""
    _BACKENDS[name] = backend
    _PREFERRED.update(dict.fromkeys(preferred_on, name))


register_backend("torch", rasterize_reference)
register_backend("numba", rasterize_numba, preferred_on=("cpu", "cuda", "mps"))


def rasterize(
    vertices_in_camera: Float[Tensor, "frames vertices 3"],
    faces: Int[Tensor, "faces 3"],
    intrinsics: Float[Tensor, "frames 3 3"],
    image_size: tuple[int, int],
    backend: str = "auto",
) -> Fragments:
    """Nearest face, its barycentrics and its depth at every pixel centre, without gradients.

    Faces are drawn from both sides. Those with a corner nearer than 1e-4 to the camera plane, or behind it, are
    skipped. `image_size` is (height, width). `backend` is "numba" (compiled, CPU; other devices are served by a copy),
    "torch" (the plain reference), the name of a registered one, or "auto". Raises ValueError on any other.
    """
    name = _PREFERRED.get(vertices_in_camera.device.type, "numba") if backend == "auto" else backend
    if name not in _BACKENDS:
        raise ValueError(f'backend must be "auto" or one of {sorted(_BACKENDS)}, got "{backend}"')
    n_frames = vertices_in_camera.shape[0]
    if intrinsics.shape != (n_frames, 3, 3):
        raise ValueError(f"expected intrinsics {(n_frames, 3, 3)}, one per frame, got {tuple(intrinsics.shape)}")
    return Fragments(*_BACKENDS[name](vertices_in_camera.detach(), faces, intrinsics.detach(), image_size))


def interpolate(
    fragments: Fragments,
    faces: Int[Tensor, "faces 3"],
    attributes: Float[Tensor, "#frames vertices channels"],
    barycentrics: Float[Tensor, "frames height width 3"] | None = None,
) -> Float[Tensor, "frames height width channels"]:
    """Image of a vertex attribute, 0 where no face is. Differentiable in the attributes, and in `barycentrics` where
    they are given instead of the fragments' own (see `barycentrics_of`)."""
    pixel, frame, corners = _covered_pixels(fragments, faces)
    weights = (fragments.barycentrics if barycentrics is None else barycentrics).flatten(0, 2).index_select(0, pixel)
    at_corners = corners_in_frames(attributes, frame if attributes.shape[0] > 1 else frame * 0, corners)
    return _image(fragments, pixel, (weights[..., None] * at_corners).sum(1))


def barycentrics_of(
    fragments: Fragments,
    faces: Int[Tensor, "faces 3"],
    vertices_in_camera: Float[Tensor, "frames vertices 3"],
    intrinsics: Float[Tensor, "frames 3 3"],
) -> Float[Tensor, "frames height width 3"]:
    """The fragments' barycentrics as a differentiable function of the vertices, 0 where no face is.

    A pixel's ray d meets the triangle (a, b, c) where the weights are proportional to (d . b x c, d . c x a,
    d . a x b).
    """
    width = fragments.face_index.shape[2]
    pixel, frame, corners = _covered_pixels(fragments, faces)
    at_corners = corners_in_frames(vertices_in_camera, frame, corners)
    row = (pixel - frame * fragments.face_index[0].numel()) // width
    centre = torch.stack((pixel % width, row), dim=-1).to(vertices_in_camera) + 0.5
    focal = intrinsics[:, [0, 1], [0, 1]].index_select(0, frame)
    principal_point = intrinsics[:, :2, 2].index_select(0, frame)
    ray = torch.cat(((centre - principal_point) / focal, torch.ones_like(centre[:, :1])), dim=-1)
    normals = torch.linalg.cross(at_corners[:, [1, 2, 0]], at_corners[:, [2, 0, 1]])
    weights = (normals * ray[:, None]).sum(-1)
    return _image(fragments, pixel, weights / weights.sum(-1, keepdim=True))


def _covered_pixels(
    fragments: Fragments, faces: Int[Tensor, "faces 3"]
) -> tuple[Int[Tensor, "pixels"], Int[Tensor, "pixels"], Int[Tensor, "pixels 3"]]:
    """Flat index, frame and face corners of every pixel that shows a face."""
    pixel = fragments.covered.flatten().nonzero().squeeze(1)
    face = fragments.face_index.flatten().index_select(0, pixel)
    return pixel, pixel // fragments.face_index[0].numel(), faces.index_select(0, face)


def _image(
    fragments: Fragments, pixel: Int[Tensor, "pixels"], values: Float[Tensor, "pixels channels"]
) -> Float[Tensor, "frames height width channels"]:
    image = values.new_zeros(fragments.face_index.numel(), values.shape[-1])
    return image.index_copy(0, pixel, values).view(*fragments.face_index.shape, -1)


def nearest_corners(fragments: Fragments, faces: Int[Tensor, "faces 3"]) -> Int[Tensor, "frames height width"]:
    """The vertex of the largest weight behind every pixel centre; any where no face is."""
    nearest = fragments.barycentrics.argmax(dim=-1, keepdim=True)
    return faces[fragments.face_index.clamp_min(0)].gather(-1, nearest).squeeze(-1)


def visible_faces(fragments: Fragments, n_faces: int) -> Bool[Tensor, "frames faces"]:
    """Faces that are the nearest behind at least one pixel centre."""
    # The pixels without a face write into a slot of their own, so that face 0 counts like any other.
    seen = torch.zeros(fragments.face_index.shape[0], n_faces + 1, dtype=torch.bool, device=fragments.face_index.device)
    return seen.scatter_(1, fragments.face_index.flatten(1) + 1, True)[:, 1:]


def visible_vertices(
    fragments: Fragments, faces: Int[Tensor, "faces 3"], n_vertices: int
) -> Bool[Tensor, "frames vertices"]:
    """Corners of visible faces."""
    return corners_of_marked(visible_faces(fragments, len(faces)), faces, n_vertices)


def corners_of_marked(
    marked: Bool[Tensor, "frames faces"], faces: Int[Tensor, "faces 3"], n_vertices: int
) -> Bool[Tensor, "frames vertices"]:
    """Vertices of the marked faces."""
    frame, face = marked.nonzero(as_tuple=True)
    corners = torch.zeros(len(marked), n_vertices, dtype=torch.bool, device=faces.device)
    corners[frame[:, None], faces[face]] = True
    return corners
