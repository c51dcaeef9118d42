"""The spectral files of DensePose's dog, from the shape of its mesh laid on a template."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.spatial import KDTree

from animal4d.body.model import BodyModel
from animal4d.cues.category_embeddings import DOG_VERTICES, laid_on_template
from animal4d.data import layout
from animal4d.geometry.spectral import laplace_beltrami
from animal4d.pretrained.densepose.mesh_file import read_mesh


def write_dog_bases(spectral: Sequence[Path], texture: Path, dog_mesh: Path, model: BodyModel, functions: int) -> None:
    """Write `lbo_smal.pk` (of the template), `lbo_cse.pk`, `lbo_cse_to_smal.pk` and `texture_cse.pk`, in this order.

    Raises Animal4dError where the mesh is damaged or not of the template's shape.
    """
    vertices, faces = read_mesh(dog_mesh, DOG_VERTICES)
    dog_vertex = laid_on_template(dog_mesh, vertices, faces, model)
    own = model.v_template.double().numpy()
    template, dog = laplace_beltrami(own, model.faces.numpy(), functions), laplace_beltrami(vertices, faces, functions)
    to, of = template.unit_area, dog.unit_area
    matrix = to.functions.T @ (to.areas[:, None] * of.functions[dog_vertex])
    for path, basis in zip(spectral, (template, dog), strict=False):
        layout.write_basis(path, basis.functions, basis.areas)
    layout.write_functional_map(spectral[2], matrix)
    nearest = np.asarray(KDTree(to.functions).query(of.functions @ matrix.T)[1])
    layout.write_texture(texture, layout.color_bytes(layout.surface_colors(own)[nearest]))
