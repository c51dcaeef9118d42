"""Parts from any surface cue: a pixel belongs to the part of the vertex that it shows.

Surface points are sparse. Between them a pixel of the mask asks those around it, nearer and surer ones more; where
they do not agree, or none is near, its part is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from scipy.spatial import KDTree
from torch import Tensor

from animal4d.body.model import PART_NAMES
from animal4d.clip import Clip
from animal4d.cues.cache import Provider
from animal4d.cues.parts import LEG, NONE, PART_LABELS, UNKNOWN, Parts
from animal4d.cues.surface import SurfacePoints
from animal4d.files.checksums import tensor_checksum


@dataclass(frozen=True, eq=False)
class SurfaceParts:
    """Parts of the frames that `given` has none for, from the surface points of another provider.

    The legs are told apart, unless the given part masks do not: labels of both kinds would contradict each other.
    """

    name: ClassVar[str] = "surface-parts"
    kind: ClassVar[str] = "pretrained"
    version: ClassVar[int] = 1

    surface: Provider[SurfacePoints]
    vertex_parts: Int[Tensor, "vertices"]
    """Of the template: indices into `PART_NAMES` (`BodyModel.part_labels`)."""
    given: Provider[Parts] | None = None
    """Part masks that are there, perhaps not in all frames."""
    neighbours: int = 6
    """Surface points that a pixel asks."""
    reach: float = 0.12
    """Largest distance of a surface point that is asked, as a fraction of the square root of the mask's area."""
    least_share: float = 0.7
    """Of the votes, for a pixel to be labelled."""

    @property
    def cue(self) -> str:
        return "parts"

    def config(self) -> dict[str, Any]:
        return {
            "surface": [self.surface.name, self.surface.version, self.surface.config()],
            "given": None if self.given is None else [self.given.name, self.given.version, self.given.config()],
            "vertex_parts": tensor_checksum((self.vertex_parts,)),
            "neighbours": self.neighbours,
            "reach": self.reach,
            "least_share": self.least_share,
        }

    def __call__(self, clip: Clip) -> Parts:
        """Labels of `PART_LABELS` within the masks; none in frames without surface points. Raises what the providers
        raise."""
        labels = torch.full((len(clip), *clip.image_size), NONE, dtype=torch.uint8)
        if self.given is not None:
            labels = self.given(clip).labels.cpu().clone()
        missing = ~(labels != NONE).flatten(1).any(1)
        if not bool(missing.any()):
            return Parts(labels)
        whole_legs = bool((labels == LEG).any())
        table = np.array([PART_LABELS["leg" if whole_legs and name.endswith("leg") else name] for name in PART_NAMES])
        points = self.surface(clip)
        pixels = clip.crop.from_original(points.pixels.to(clip.crop.origin)).cpu().numpy()
        inside = ((clip.masks > 0.5) & clip.inside_frame()).cpu().numpy()
        part_of_point = table[self.vertex_parts.cpu().numpy()[points.vertices.numpy()]]
        for frame in missing.nonzero().squeeze(1).tolist():
            there = points.confidence[frame].numpy() > 0
            if there.any() and inside[frame].any():
                labels[frame] = torch.from_numpy(
                    self._labelled(
                        inside[frame],
                        pixels[frame][there],
                        part_of_point[frame][there],
                        points.confidence[frame].numpy()[there],
                    )
                )
        return Parts(labels)

    def _labelled(
        self,
        inside: Bool[np.ndarray, "height width"],
        pixels: Float[np.ndarray, "points 2"],
        parts: Int[np.ndarray, "points"],
        confidence: Float[np.ndarray, "points"],
    ) -> UInt8[np.ndarray, "height width"]:
        """One frame's labels. Points are in working pixels."""
        rows, columns = np.nonzero(inside)
        reach = self.reach * float(np.sqrt(len(rows)))
        distance, nearest = KDTree(pixels).query(
            np.stack((columns, rows), axis=1) + 0.5, k=self.neighbours, distance_upper_bound=reach
        )
        found = np.isfinite(distance)
        nearest = np.where(found, nearest, 0)
        votes = np.where(found, confidence[nearest] * np.exp(-0.5 * (2 * distance / reach) ** 2), 0.0)
        kinds = np.unique(parts)
        shares = np.stack([(votes * (parts[nearest] == kind)).sum(1) for kind in kinds], axis=1)
        total = shares.sum(1)
        sure = shares.max(1) > self.least_share * np.maximum(total, 1e-12)
        labels = np.full(inside.shape, NONE, np.uint8)
        labels[rows, columns] = np.where(sure & (total > 0), kinds[shares.argmax(1)], UNKNOWN)
        return labels
