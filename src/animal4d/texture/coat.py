"""How opaque the shell is beyond the skin: fur, and what the fitted skin leaves uncovered of the animal.

Nothing is optimised. Rays that pass beside the skin are counted by the vertex that they pass and by how far away they
do, and the opacity there is the share of them that cross the mask: what is best in least squares.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from animal4d.geometry.mesh import uniform_laplacian
from animal4d.texture.fit import Lesson
from animal4d.texture.hits import ShellHits

STEPS = 8
"""Of distance, through the thickness of the shell."""
EXCESS_WEIGHT = 0.15
"""What a ray outside of the mask counts against one inside. Outlines of poses are off to both sides by a fraction of a
pixel; a hole in the animal shows more than an outline that is a little too full."""
_DOUBT = 0.1
"""Of a ray outside of the mask, seen by every vertex beforehand: where nothing was filmed there is no coat."""
_SPREAD = 8
"""Rounds in which vertices share what they have counted with their neighbours."""


def counted_coat(
    lessons: Sequence[Lesson], faces: Int[Tensor, "faces 3"], n_vertices: int
) -> Float[Tensor, "vertices steps"]:
    """Opacity in [0, 1] of the coat around every vertex, by steps of distance from the skin; zero without lessons."""
    shown, hidden = (torch.zeros(n_vertices * STEPS, device=faces.device) for _ in range(2))
    for lesson in lessons:
        for counts, rays in ((shown, lesson.shown), (hidden, ~lesson.shown)):
            beside = lesson.hits[rays & ~lesson.hits.reaches_skin]
            cells = faces[beside.face_index] * STEPS + _step(beside)[:, None]
            counts.index_add_(0, cells.flatten(), beside.barycentrics.flatten())
    counts = torch.stack((shown, hidden)).unflatten(1, (n_vertices, STEPS))
    laplacian = uniform_laplacian(faces, n_vertices).to(faces.device)
    for _ in range(_SPREAD):
        counts = counts + 0.5 * (laplacian @ counts)
    return counts[0] / (counts[0] + EXCESS_WEIGHT * counts[1] + _DOUBT)


def coat_opacity(
    coat: Float[Tensor, "vertices steps"], faces: Int[Tensor, "faces 3"], hits: ShellHits
) -> Float[Tensor, "rays"]:
    """Of rays that pass beside the skin."""
    at_corners = coat[faces[hits.face_index], _step(hits)[:, None]]
    return (hits.barycentrics * at_corners).sum(1)


def no_coat(n_vertices: int, device: torch.device | str = "cpu") -> Float[Tensor, "vertices steps"]:
    return torch.zeros(n_vertices, STEPS, device=device)


def _step(hits: ShellHits) -> Int[Tensor, "rays"]:
    return (hits.beyond * STEPS).long().clamp_max(STEPS - 1)
