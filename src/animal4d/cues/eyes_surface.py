"""Surface points by the built-in network: for its map's pixels the vertices that look most alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from animal4d.clip import Clip
from animal4d.cues.eyes_pass import PROVIDER, EyesPass
from animal4d.cues.surface import SurfacePoints
from animal4d.files.checksums import tensor_checksum


@dataclass(frozen=True, eq=False)
class EyesSurface:
    """Pixels of the network's maps with the nearest vertex in embedding space."""

    name: ClassVar[str] = PROVIDER
    kind: ClassVar[str] = "builtin"
    version: ClassVar[int] = 1
    cue: ClassVar[str] = "surface"

    eyes_pass: EyesPass
    vertex_embeddings: Float[Tensor, "vertices 16"]
    """Of the template that is fitted (`eyes_embeddings.on_template`)."""
    points: int = 400
    """Largest number of pixels of a frame."""
    least_confidence: float = 0.2
    farthest_home: float = 3.0
    """Map pixels by which the way from a pixel to its vertex and back may miss it."""
    seed: int = 0

    def config(self) -> dict[str, Any]:
        return {
            "weights": self.eyes_pass.eyes.version,
            "vertex_embeddings": tensor_checksum((self.vertex_embeddings,)),
            "points": self.points,
            "least_confidence": self.least_confidence,
            "farthest_home": self.farthest_home,
            "seed": self.seed,
        }

    def __call__(self, clip: Clip) -> SurfacePoints:
        """Points in all frames that were looked at; the slots of other frames are empty."""
        sight = self.eyes_pass.sight(clip)
        generator = torch.Generator().manual_seed(self.seed)
        pixels = torch.zeros(len(clip), self.points, 2)
        vertices = torch.zeros(len(clip), self.points, dtype=torch.long)
        confidence = torch.zeros(len(clip), self.points)
        for index, frame in enumerate(sight.frames.tolist()):
            row, column = sight.covered[index].nonzero(as_tuple=True)
            if len(row) == 0:
                continue
            places = torch.stack((column, row), dim=-1)
            embedding = sight.embedding[index][:, row, column].T.float()
            vertex, home = vertex_and_back(embedding, self.vertex_embeddings)
            missed = (places - places[home]).float().norm(dim=-1)
            sure = sight.confidence[index][row, column].float()
            kept = ((sure > self.least_confidence) & (missed <= self.farthest_home)).nonzero().squeeze(1)
            kept = kept[torch.randperm(len(kept), generator=generator)[: self.points]].sort().values
            working = sight.pixel_centers(index)[row, column][kept]
            count = len(kept)
            pixels[frame, :count] = clip.crop[[frame]].to_original(working[None].to(clip.crop.origin))[0].cpu()
            vertices[frame, :count] = vertex[kept]
            confidence[frame, :count] = sure[kept].clamp(0, 1)
        return SurfacePoints(pixels, vertices, confidence)


def vertex_and_back(
    pixel_embeddings: Float[Tensor, "pixels channels"], vertex_embeddings: Float[Tensor, "vertices channels"]
) -> tuple[Int[Tensor, "pixels"], Int[Tensor, "pixels"]]:
    """Each pixel's nearest vertex in embedding space, and of all pixels the one that is nearest to that vertex.

    Both are unit vectors. A pixel that is far in the image from where this way leads shows a place that other pixels
    show better: left and right, or front and back, confused.
    """
    cosines = pixel_embeddings @ vertex_embeddings.to(pixel_embeddings).T
    vertex = cosines.argmax(1)
    return vertex, cosines.argmax(0)[vertex]
