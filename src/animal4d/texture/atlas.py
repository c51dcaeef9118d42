"""Where the surface of a template lies on the square of a texture.

The built-in template comes with its atlas (`body/builder/unwrap.py` made it); any other mesh is unwrapped when it is
first asked for, in some ten seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from animal4d.body.builder.unwrap import read_atlas, unwrap
from animal4d.body.model import BodyModel
from animal4d.files.checksums import tensor_checksum
from animal4d.geometry.rasterize import rasterize

_UNWRAPPED: dict[str, Atlas] = {}
"""By the checksum of the mesh."""


@dataclass(frozen=True)
class Atlas:
    """A mesh cut into flat charts. A corner is a vertex as one chart sees it."""

    uv: Float[Tensor, "corners 2"]
    """In [0, 1]: u to the right and v downwards, as in glTF."""
    vertex_of_corner: Int[Tensor, "corners"]
    faces: Int[Tensor, "faces 3"]
    """Of corners, in the order of the template's faces."""


@dataclass(frozen=True)
class Texels:
    """The texels of a square texture whose centre lies in a chart, in order of row and column."""

    size: int
    covered: Bool[Tensor, "size size"]
    face_index: Int[Tensor, "texels"]
    barycentrics: Float[Tensor, "texels 3"]

    def __len__(self) -> int:
        return len(self.face_index)


def atlas_of(model: BodyModel) -> Atlas:
    """The atlas of a template, the same for the same mesh."""
    shipped = _shipped()
    # The coordinates are of the faces alone: any shape of the built-in template's mesh wears the same atlas.
    if torch.equal(shipped.vertex_of_corner[shipped.faces], model.faces.cpu()):
        return shipped
    key = tensor_checksum((model.v_template.cpu(), model.faces.cpu()))
    if key not in _UNWRAPPED:
        _UNWRAPPED[key] = _from_arrays(unwrap(model.v_template.cpu().numpy(), model.faces.cpu().numpy()))
    return _UNWRAPPED[key]


@lru_cache(maxsize=1)
def _shipped() -> Atlas:
    with files("animal4d.body").joinpath("data/builtin_atlas.npz").open("rb") as stream:
        return _from_arrays(read_atlas(stream))


def _from_arrays(arrays: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Atlas:
    uv, vertex_of_corner, faces = arrays
    return Atlas(torch.tensor(uv, dtype=torch.float32), torch.tensor(vertex_of_corner), torch.tensor(faces))


def texels_of(atlas: Atlas, size: int) -> Texels:
    """The places on the surface that a texture of `size` x `size` texels shows."""
    # The square is what a camera with the identity for intrinsics sees at depth 1.
    flat = torch.cat((atlas.uv * size, torch.ones_like(atlas.uv[:, :1])), dim=1)
    fragments = rasterize(flat[None], atlas.faces, torch.eye(3)[None], (size, size))
    covered = fragments.covered[0]
    return Texels(size, covered, fragments.face_index[0][covered], fragments.barycentrics[0][covered])
