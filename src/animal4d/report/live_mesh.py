"""The animal of a run as a mesh per frame for the live viewer: in its coat where the run has one."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from animal4d.export.colors import linear_from_srgb
from animal4d.export.texture import read_texture
from animal4d.geometry.mesh import vertex_normals
from animal4d.report.run import ShownRun
from animal4d.texture.bake import BakedTexture

if TYPE_CHECKING:
    from trimesh import Trimesh

_COAT_SIZE = 512
"""Every frame carries its own copy of the picture to the browser."""
_NEUTRAL = 0.45
"""Linear grey of an animal without coat and vertex colours."""


def mesh_of_frame(run: ShownRun) -> Callable[[int], Trimesh]:
    """From a frame to the posed animal in the world. Raises Animal4dError where the run's coat is damaged."""
    import trimesh  # comes with viser
    from trimesh.visual import ColorVisuals, TextureVisuals
    from trimesh.visual.material import PBRMaterial

    posed = run.reconstruction.posed(run.model).vertices
    normals = vertex_normals(posed, run.model.faces)
    texture = read_texture(run.folder.path, run.model)
    if texture is None:
        faces, vertex_of_corner = run.model.faces, None
        colors = _vertex_colors(run)

        def visual() -> ColorVisuals | TextureVisuals:
            return ColorVisuals(vertex_colors=colors)

    else:
        faces, vertex_of_corner = texture.atlas.faces, texture.atlas.vertex_of_corner
        uv = texture.atlas.uv.numpy() * [1, -1] + [0, 1]  # v upwards
        material = PBRMaterial(baseColorTexture=_coat(texture), metallicFactor=0.0, roughnessFactor=1.0)

        def visual() -> ColorVisuals | TextureVisuals:
            return TextureVisuals(uv=uv, material=material)  # a copy of one would be a PNG

    def mesh(frame: int) -> Trimesh:
        corners = slice(None) if vertex_of_corner is None else vertex_of_corner
        return trimesh.Trimesh(
            posed[frame][corners].numpy(),
            faces.numpy(),
            vertex_normals=normals[frame][corners].numpy(),
            visual=visual(),
            process=False,
        )

    return mesh


def _coat(texture: BakedTexture) -> Image.Image:
    """A JPEG, which trimesh passes on as one."""
    picture = Image.fromarray(texture.image.numpy())
    if picture.width > _COAT_SIZE:
        picture = picture.resize((_COAT_SIZE, _COAT_SIZE), Image.Resampling.BOX)
    compressed = io.BytesIO()
    picture.save(compressed, format="JPEG", quality=95)
    return Image.open(compressed)


def _vertex_colors(run: ShownRun) -> UInt8[ndarray, "vertices 4"]:
    """Linear, as the glTF that viser hands to the browser has them."""
    colors = run.reconstruction.vertex_colors
    if colors is None:
        known = np.full((run.model.n_vertices, 3), _NEUTRAL)
    else:
        known = linear_from_srgb(colors.clamp(0, 1)).numpy()
    return np.concatenate((known * 255 + 0.5, np.full((len(known), 1), 255.0)), axis=1).astype(np.uint8)
