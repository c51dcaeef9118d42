"""Animals painted with their own coordinates, and eyes that read them: the network's place without its weights.

Red, green and blue of a painted pixel are the place x, y, z on the template's surface; whoever knows that sees
foreground, parts, surface and view without error, in any crop, and nothing in other pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from animal4d.body.template import load_builtin_template
from animal4d.eyes.eyes import Eyes, Look
from animal4d.eyes.labels import CROP, EMBEDDING_SIZE, LABELS, MAP
from animal4d.geometry.rasterize import interpolate, rasterize

MODEL = load_builtin_template()
_LOW, _HIGH = MODEL.v_template.amin(0), MODEL.v_template.amax(0)
_DARKEST, _BRIGHTEST = 90.0, 250.0


def painted(
    vertices_in_camera: Tensor, intrinsics: Tensor, size: tuple[int, int], seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Frames (uint8) of the template's vertices in some pose before dark clutter, and their masks (bool)."""
    fragments = rasterize(vertices_in_camera, MODEL.faces, intrinsics, size)
    colors = _DARKEST + (MODEL.v_template - _LOW) / (_HIGH - _LOW) * (_BRIGHTEST - _DARKEST)
    drawn = interpolate(fragments, MODEL.faces, colors[None])
    clutter = 40 * torch.rand(len(drawn), *size, 3, generator=torch.Generator().manual_seed(seed))
    frames = torch.where(fragments.covered[..., None], drawn, clutter)
    return frames.round().to(torch.uint8), fragments.covered


@dataclass(frozen=True, eq=False)
class TruthEyes(Eyes):
    """Eyes without a network."""

    network: Any = None
    vertex_embeddings: Tensor = field(default_factory=lambda: _embedded(MODEL.v_template))
    version: str = "truth"
    training: Mapping[str, Any] = field(default_factory=dict)
    confidence: float = 0.9
    batches: list[int] = field(default_factory=list)

    @property
    def looks(self) -> int:
        """Crops that were looked at."""
        return sum(self.batches)

    def look(self, images: Tensor, masks: Tensor | None = None) -> Look:
        assert images.shape[1:] == (CROP, CROP, 3) and images.dtype == torch.uint8
        assert masks is None or masks.shape == images.shape[:3]
        self.batches.append(len(images))
        looks = [self._one(image) for image in images.numpy()]
        return Look(*(torch.stack(values) for values in zip(*looks, strict=True)))

    def _one(self, image: np.ndarray) -> tuple[Tensor, ...]:
        animal = (image.min(axis=2) > 70).astype(np.float32)
        coverage = torch.from_numpy(cv2.resize(animal, (MAP, MAP), interpolation=cv2.INTER_AREA))
        middle = torch.from_numpy(image[2 :: CROP // MAP, 2 :: CROP // MAP].astype(np.float32))
        places = _LOW + (middle - _DARKEST) / (_BRIGHTEST - _DARKEST) * (_HIGH - _LOW)
        embedding = _embedded(places.flatten(0, 1))
        near = coverage.flatten() > 0.1
        vertex = torch.zeros(MAP * MAP, dtype=torch.long)
        vertex[near] = (embedding[near] @ self.vertex_embeddings.T).argmax(1)
        labels = 1 + MODEL.part_labels[vertex.view(MAP, MAP)]
        parts = torch.zeros(LABELS, MAP, MAP).scatter_(0, labels[None], 1.0) * coverage
        parts[0] = 1 - coverage
        seen = coverage > 0.999
        features = torch.cat((places[seen].mean(0), places[seen].std(0))) if seen.sum() > 9 else torch.zeros(6)
        return (
            coverage,
            parts,
            embedding.T.view(EMBEDDING_SIZE, MAP, MAP),
            self.confidence * coverage,
            _view(places, seen),
            features,
        )


def _embedded(places: Tensor) -> Tensor:
    """Unit vectors whose cosine falls with the distance of places."""
    near = (places - 0.5 * (_LOW + _HIGH)) * 0.8 / float((_HIGH - _LOW).norm() / 2)
    up = (1 - near.square().sum(-1, keepdim=True)).clamp_min(0).sqrt()
    vectors = torch.nn.functional.normalize(torch.cat((near, up), dim=-1), dim=-1)
    return torch.nn.functional.pad(vectors, (0, EMBEDDING_SIZE - 4))


def _view(places: Tensor, seen: Tensor) -> Tensor:
    """Direction from the body's origin to the centre of the camera that maps the places to where they are seen: the
    null vector of its projection matrix, found by the direct linear transform (Hartley and Zisserman, 7.1)."""
    row, column = torch.nonzero(seen, as_tuple=True)
    if len(row) < 30:
        return torch.tensor([0.0, 1.0, 0.0])
    points = torch.cat((places[row, column], torch.ones(len(row), 1)), dim=1).double()
    u, v = ((index[:, None] - MAP / 2) / MAP for index in (column, row))
    zero = torch.zeros_like(points)
    equations = torch.cat((torch.cat((points, zero, -u * points), 1), torch.cat((zero, points, -v * points), 1)))
    projection = torch.linalg.svd(equations, full_matrices=False).Vh[-1].view(3, 4)
    center = torch.linalg.svd(projection).Vh[-1]
    return torch.nn.functional.normalize(center[:3] / center[3], dim=0).float()
