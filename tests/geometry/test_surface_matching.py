"""Meshes of animals are laid on each other without being told how they stand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from animal4d.body.keypoints import KEYPOINT_VERTICES
from animal4d.body.template import load_builtin_template
from animal4d.geometry.surface_matching import match_surfaces
from animal4d.synth.gltf import load_gltf

MODEL = load_builtin_template()
VERTICES, FACES = MODEL.v_template.double().numpy(), MODEL.faces.numpy()


def test_a_foreign_husky_finds_its_places_on_the_template(shared_dir: Path):
    """An artist's mesh of 962 vertices, of another size and turned into other axes."""
    animal = load_gltf(shared_dir / "clips/animals/Husky.glb")
    used, faces = np.unique(animal.faces, return_inverse=True)
    husky = np.asarray(animal.vertices, np.float64)[used][:, [2, 0, 1]]  # x ahead, y to the left, z up
    turn = Rotation.from_euler("xyz", [95.0, -85.0, 175.0], degrees=True).as_matrix()
    match = match_surfaces(7.0 * husky @ turn.T + 30, faces.reshape(-1, 3), VERTICES, FACES, k=40)
    assert match.misfit < 0.4

    low, high = husky.min(0), husky.max(0)
    where = {name: husky[match.source_vertex[vertex]] for name, vertex in KEYPOINT_VERTICES.items()}
    shares = {name: (place - low) / (high - low) for name, place in where.items()}
    assert shares["nose_end"][0] > 0.9
    for name, share in shares.items():
        if name.endswith("paw"):
            assert share[2] < 0.25, name
            assert (share[0] > 0.5) == ("front" in name), name
        if name.endswith("ear_tip"):
            assert share[2] > 0.85, name
        if name.startswith(("left", "front_left", "back_left")):
            assert where[name][1] > 0, name
        if name.startswith(("right", "front_right", "back_right")):
            assert where[name][1] < 0, name
    # Mirrored vertices go to mirrored places.
    left, right = (match.source_vertex[indices.numpy()] for indices in (MODEL.left_indices, MODEL.right_indices))
    mirrored = husky[right] * [1, -1, 1]
    assert np.median(np.linalg.norm(husky[left] - mirrored, axis=1)) < 0.05 * (high - low)[0]


@pytest.mark.parametrize("fault", ["flat to a point", "NaN", "lonely vertex"])
def test_broken_meshes_are_refused(fault: str):
    vertices, faces = VERTICES.copy(), FACES
    if fault == "flat to a point":
        vertices[:] = 1.0
    elif fault == "NaN":
        vertices[3] = np.nan
    else:
        faces = FACES[(FACES != 7).all(1)]
    with pytest.raises(ValueError):
        match_surfaces(vertices, faces, VERTICES, FACES)
