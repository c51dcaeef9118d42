"""The texture of the default run: colours on a fine lattice over every face, one look-up a ray.

Mesh colours (Yuksel, Keyser, House 2010): corners, edges and faces hold colours at evenly spaced places, shared
between neighbours, so there are no seams and nothing to unwrap. A ray that reaches the skin shows the skin's colour. A
ray that only grazes the shell, along the outline, passes a coat in the colour of the skin nearby (`coat.py`): fur, and
what a pose leaves uncovered of the mask.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from animal4d.geometry.mesh import unique_edges
from animal4d.texture.coat import coat_opacity, no_coat
from animal4d.texture.fit import TextureSchedule
from animal4d.texture.hits import ShellHits

RESOLUTION = 3
"""Lattice steps along an edge."""
RAYS_PER_SIDE = 2
"""A pixel of the film mixes what falls into it; with one ray, borders between colours and outlines have steps."""
COLOR_RATE = 0.1
_PASSES, _LEAST_STEPS = 2, 60
"""Over the frames. More of them learn the light of single frames, which held-out ones do not have."""
_NEUTRAL = 0.6
_DARKEST, _BRIGHTEST = 0.01, 0.99
"""Of the colours to start from: beyond, the logistic function has hardly a slope left."""


class ShellTexture(nn.Module):
    """Colours of the skin, which are learnt, and the opacity of the coat around it, for a mesh of given faces.

    Starts from `vertex_colors` (sRGB in [0, 1]; grey without): what no ray ever shows keeps them. `coat` is what
    `counted_coat` found; without it there is none.
    """

    faces: Tensor
    texel_of: Tensor
    coat: Tensor

    def __init__(
        self,
        faces: Int[Tensor, "faces 3"],
        n_vertices: int,
        vertex_colors: Float[Tensor, "vertices 3"] | None = None,
        coat: Float[Tensor, "vertices steps"] | None = None,
        resolution: int = RESOLUTION,
    ) -> None:
        super().__init__()
        if vertex_colors is None:
            vertex_colors = torch.full((n_vertices, 3), _NEUTRAL, device=faces.device)
        self.resolution = resolution
        texel_of, corners, weights = lattice(faces, n_vertices, resolution)
        start = (weights[..., None] * vertex_colors[corners]).sum(1)
        self.color_logits = nn.Parameter(start.clamp(_DARKEST, _BRIGHTEST).logit())
        self.register_buffer("coat", no_coat(n_vertices, faces.device) if coat is None else coat)
        self.register_buffer("faces", faces, persistent=False)
        self.register_buffer("texel_of", texel_of, persistent=False)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": [self.color_logits], "lr": COLOR_RATE}]

    @property
    def rays_per_side(self) -> int:
        return RAYS_PER_SIDE

    @property
    def texels(self) -> Float[Tensor, "texels 3"]:
        """sRGB in [0, 1]; those of the vertices come first."""
        return self.color_logits.sigmoid()

    def render(self, hits: ShellHits) -> tuple[Float[Tensor, "rays 3"], Float[Tensor, "rays"]]:
        """Colour over black and opacity (see `Texture`)."""
        color = self.color_at(hits.face_index, hits.barycentrics)
        # The coat borrows its colour: what shines through there must not stain the skin.
        color = torch.where(hits.reaches_skin[:, None], color, color.detach())
        opacity = torch.where(hits.reaches_skin, 1.0, coat_opacity(self.coat, self.faces, hits))
        return color * opacity[:, None], opacity

    def color_at(
        self, face_index: Int[Tensor, "points"], barycentrics: Float[Tensor, "points 3"]
    ) -> Float[Tensor, "points 3"]:
        """sRGB of places on the surface, linear between the texels around."""
        place, weights = lattice_triangle(barycentrics, self.resolution)
        texel = self.texel_of[face_index[:, None], place]
        return (weights[..., None] * self.texels.index_select(0, texel.flatten()).unflatten(0, (-1, 3))).sum(1)


def shell_schedule(n_frames: int, seed: int = 0) -> TextureSchedule:
    """For a shell texture that starts from vertex colours, learnt from `n_frames` frames."""
    return TextureSchedule(steps=max(_LEAST_STEPS, _PASSES * n_frames), seed=seed)


def lattice(
    faces: Int[Tensor, "faces 3"], n_vertices: int, resolution: int
) -> tuple[Int[Tensor, "faces places"], Int[Tensor, "texels 3"], Float[Tensor, "texels 3"]]:
    """The texels of a mesh: their numbers at the places of every face's lattice, and each one's corners and weights.

    A place has whole coordinates (i, j, k) >= 0 with i + j + k = resolution and lies at barycentrics (i, j, k) /
    resolution. Numbers go through the vertices, then the inner places of the edges, then those of the faces.
    """
    device = faces.device
    places = torch.tensor(
        [(i, j, resolution - i - j) for i in range(resolution + 1) for j in range(resolution + 1 - i)], device=device
    )
    edges = unique_edges(faces)
    key_of_edge = edges[:, 0] * n_vertices + edges[:, 1]
    first_on_faces = n_vertices + len(edges) * (resolution - 1)
    inner = (places > 0).all(1)
    texel_of = faces.new_empty(len(faces), len(places))
    texel_of[:, inner] = first_on_faces + torch.arange(len(faces) * int(inner.sum()), device=device).view(
        len(faces), -1
    )
    for column in (~inner).nonzero().squeeze(1).tolist():
        on = places[column].nonzero().squeeze(1)
        if len(on) == 1:
            texel_of[:, column] = faces[:, on[0]]
            continue
        (low, high), order = faces[:, on].sort(dim=1).values.unbind(1), faces[:, on].argsort(dim=1)
        steps = places[column, on][order[:, 1]]  # away from the edge's vertex of the lower number
        edge = torch.searchsorted(key_of_edge, low * n_vertices + high)
        texel_of[:, column] = n_vertices + edge * (resolution - 1) + steps - 1
    n_texels = first_on_faces + len(faces) * int(inner.sum())
    # Faces that share a texel agree on where it is: the first of them says.
    flat = torch.arange(texel_of.numel(), device=device)
    owner = flat.new_zeros(n_texels).scatter_reduce(0, texel_of.flatten(), flat, "amin", include_self=False)
    return texel_of, faces[owner // len(places)], places[owner % len(places)] / resolution


def lattice_triangle(
    barycentrics: Float[Tensor, "points 3"], resolution: int
) -> tuple[Int[Tensor, "points 3"], Float[Tensor, "points 3"]]:
    """The three lattice places around each point (columns of `lattice`'s first result) and their weights."""
    u, v = (barycentrics[:, :2].clamp(0, 1) * resolution).unbind(1)
    # The last place of a row begins no cell; the point is then the far end of the cell before it.
    i = u.floor().clamp_max(resolution - 1)
    j = torch.minimum(v.floor(), resolution - 1 - i)
    du, dv = u - i, v - j
    # Rounding must not turn a point of a row's last cell to where there is none.
    upright = (du + dv <= 1) | (i + j >= resolution - 1)
    i, j = i.long(), j.long()

    def place(i: Tensor, j: Tensor) -> Tensor:
        return i * (resolution + 1) - i * (i - 1) // 2 + j  # rows of i hold resolution + 1 - i places each

    flipped = (~upright).long()
    corners = ((i + 1 - flipped, j + flipped), (i + flipped, j + 1 - flipped), (i + flipped, j + flipped))
    places = torch.stack([place(*corner) for corner in corners], dim=1)
    weights = torch.where(
        upright[:, None], torch.stack((du, dv, 1 - du - dv), dim=1), torch.stack((1 - du, 1 - dv, du + dv - 1), dim=1)
    )
    return places, weights
