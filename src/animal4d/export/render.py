"""A small renderer for people to look at: smooth shading, soft occlusion, anti-aliased edges, on plain NumPy images.

Light is added up linearly and the result is sRGB. Images are float, height x width x 3 in [0, 1], with a separate
coverage (alpha), so that they can be laid over anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from animal4d.export.colors import linear_from_srgb, srgb_from_linear
from animal4d.geometry.cameras import Cameras
from animal4d.geometry.mesh import vertex_normals
from animal4d.geometry.rasterize import rasterize
from animal4d.texture.bake import BakedTexture

Image = NDArray[np.floating]
Coat = Float[Tensor, "vertices 3"] | BakedTexture
"""What an animal wears: sRGB colours of its vertices in [0, 1], or a baked texture."""

SUPERSAMPLING = 2
CLAY = (0.36, 0.62, 0.85)
"""sRGB colour of an animal shown for its shape."""

_KEY_LIGHT = torch.nn.functional.normalize(torch.tensor([-0.6, -0.8, -0.5]), dim=0)
"""Direction to the main light in the camera's frame: from above, the left, and behind the camera."""
_KEY, _SKY, _BOUNCE, _RIM = 0.85, 0.4, 0.14, 0.15
"""Strengths of the main light, the light from above, from below, and along the outline."""
_OCCLUSION = 0.45


@dataclass(frozen=True)
class Rendering:
    """A mesh seen by one camera."""

    color: Image
    """sRGB; meaningful where alpha is positive."""
    alpha: Image
    """Share of the pixel that the mesh covers."""

    def over(self, background: Image, opacity: float = 1.0) -> Image:
        alpha = (self.alpha * opacity)[..., None]
        return alpha * self.color + (1 - alpha) * background


class MeshView:
    """A mesh seen by a single camera, at the camera's image size; can be drawn in several ways."""

    def __init__(
        self, vertices_in_world: Float[Tensor, "vertices 3"], faces: Int[Tensor, "faces 3"], camera: Cameras
    ) -> None:
        height, width = camera.image_size
        fine = camera.resized((height * SUPERSAMPLING, width * SUPERSAMPLING))
        vertices = fine.transform(vertices_in_world[None])
        fragments = rasterize(vertices, faces, fine.intrinsics, fine.image_size)
        self._covered = fragments.covered[0]
        self._face_index = fragments.face_index[0][self._covered]
        self._corners = faces[self._face_index]
        self._barycentrics = fragments.barycentrics[0][self._covered]
        covered = self._covered.float().numpy()
        self.alpha = shrink(covered)
        geometry = torch.cat((vertex_normals(vertices, faces), vertices), dim=-1)[0]
        normal, position = self._at_pixels(geometry).split(3, dim=-1)
        occlusion = torch.from_numpy(_occlusion(fragments.depth[0].numpy(), covered))[self._covered]
        self._light = _light(normal, position) * (1 - _OCCLUSION * occlusion[:, None])

    def draw(self, coat: Coat | None = None, shading: float = 1.0) -> Rendering:
        """Without a coat the mesh is of clay. `shading` goes from 0 (the colours as they are,
        for colours taken from a video hold its light) to 1 (lit)."""
        if coat is None:
            base = linear_from_srgb(torch.tensor(CLAY))
        elif isinstance(coat, BakedTexture):
            base = linear_from_srgb(coat.color_at(self._face_index, self._barycentrics))
        else:
            base = self._at_pixels(linear_from_srgb(coat))
        lit = torch.zeros(*self._covered.shape, 3)
        lit[self._covered] = base * (1 + shading * (self._light - 1))
        color = torch.from_numpy(shrink(lit.numpy()) / np.maximum(self.alpha, 1e-6)[..., None])
        return Rendering(srgb_from_linear(color.clamp(0, 1)).numpy(), self.alpha)

    def _at_pixels(self, attributes: Float[Tensor, "vertices channels"]) -> Float[Tensor, "pixels channels"]:
        """Vertex attributes at the covered pixels."""
        return (self._barycentrics[..., None] * attributes[self._corners]).sum(1)


def shrink(image: Image) -> Image:
    """Mean of every block of supersampled pixels."""
    height, width = image.shape[0] // SUPERSAMPLING, image.shape[1] // SUPERSAMPLING
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def _light(normal: Float[Tensor, "pixels 3"], position: Float[Tensor, "pixels 3"]) -> Float[Tensor, "pixels 1"]:
    """Light that reaches a point: a wrapped main light, sky and ground, and a rim that draws the outline."""
    normal = torch.nn.functional.normalize(normal, dim=-1)
    to_camera = -torch.nn.functional.normalize(position, dim=-1)
    key = (0.5 + 0.5 * normal @ _KEY_LIGHT) ** 2
    up = 0.5 - 0.5 * normal[:, 1]
    rim = (1 - (normal * to_camera).sum(-1).clamp(0, 1)) ** 3
    return (_KEY * key + _SKY * up + _BOUNCE * (1 - up) + _RIM * rim)[:, None]


def _occlusion(depth: Image, covered: Image) -> Image:
    """How far a pixel lies behind the surface around it, 0 to 1: the unsharp-masked depth buffer (Luft et al. 2006)."""
    inside = covered > 0
    if not inside.any():
        return np.zeros_like(depth)
    thickness = float(np.ptp(depth[inside])) + 1e-6
    small_depth, small_covered = shrink(depth), shrink(covered)
    total = np.zeros_like(small_depth)
    for share in (1 / 64, 1 / 24):
        sigma = share * len(small_depth)
        weight = cv2.GaussianBlur(small_covered, (0, 0), sigma)
        nearby = cv2.GaussianBlur(small_depth, (0, 0), sigma) / np.maximum(weight, 1e-3)
        behind = small_depth / np.maximum(small_covered, 1e-3) - nearby
        total += np.clip(behind / (0.15 * thickness), 0, 1)
    return cv2.resize(total / 2, depth.shape[::-1], interpolation=cv2.INTER_LINEAR) * covered
