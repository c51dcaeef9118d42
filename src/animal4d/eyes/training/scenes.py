"""Empty scenery of the synthetic clips, rendered from many places: backgrounds with ground, plants, things and sky."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import UInt8
from numpy import ndarray

from animal4d.geometry.cameras import Cameras
from animal4d.synth.camera_paths import look_at
from animal4d.synth.render import Surface, render
from animal4d.synth.scenery import make_scenery

_VIEWS_PER_SCENE = 4


def render_scenes(seed: int, count: int, side: int) -> UInt8[ndarray, "count side side 3"]:
    """Square sRGB pictures, four of each place."""
    rng = np.random.default_rng([seed, 202])
    pictures: list[ndarray] = []
    while len(pictures) < count:
        azimuths = rng.uniform(0, 2 * np.pi, _VIEWS_PER_SCENE)
        distances = rng.uniform(2.0, 5.0, _VIEWS_PER_SCENE)
        heights = rng.uniform(0.25, 2.2, _VIEWS_PER_SCENE)
        places = np.stack((distances * np.cos(azimuths), distances * np.sin(azimuths), heights), axis=1)
        targets = rng.normal(0, 0.4, (_VIEWS_PER_SCENE, 3)) * (1, 1, 0.5) + (0, 0, 0.3)
        world_to_camera = look_at(places, targets, rng.normal(0, 0.06, _VIEWS_PER_SCENE))
        focal = side * rng.uniform(0.7, 2.5)
        intrinsics = torch.tensor([[[focal, 0, side / 2], [0, focal, side / 2], [0, 0, 1.0]]])
        cameras = Cameras(
            intrinsics.expand(_VIEWS_PER_SCENE, 3, 3).contiguous(),
            torch.as_tensor(world_to_camera, dtype=torch.float32),
            (side, side),
        )
        scenery = make_scenery(int(rng.integers(1 << 20)), np.zeros((1, 2)), places[:, :2], clutter=24)
        pictures.extend(render(_nothing(), _NO_SURFACE, cameras, scenery, workers=1))
    return np.stack(pictures[:count])


_NO_SURFACE = Surface(
    faces=torch.tensor([[0, 1, 2]]), color=lambda face, barycentrics: np.zeros((len(face), 3)), smooth=True
)


def _nothing() -> torch.Tensor:
    """The renderer wants an animal: one triangle, too small to be met by any pixel's centre."""
    corners = torch.tensor([[0.0, 0.0, 0.0], [1e-7, 0.0, 0.0], [0.0, 1e-7, 0.0]])
    return corners.expand(_VIEWS_PER_SCENE, 3, 3).contiguous()
