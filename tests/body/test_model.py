"""The forward model against the published implementation, its gradients, and laws it must obey."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from animal4d.body.model import BodyModel, limb_mask
from animal4d.geometry.rotations import matrix_from_6d


@pytest.fixture(scope="module")
def smal_like(golden_recipe, golden_seed) -> BodyModel:
    buffers = golden_recipe.smal_like(golden_seed)
    place = buffers["inds_back"]
    order = torch.argsort(place)
    n_center, n_left = buffers["n_center"], buffers["n_left"]
    n_joints = len(golden_recipe.PARENTS)
    return BodyModel(
        v_template=buffers["v_template"],
        faces=buffers["faces"],
        shape_directions=buffers["shapedirs"].T.unflatten(0, (-1, 3)),
        joint_regressor=buffers["joint_regressor"].T,
        skinning_weights=buffers["weights"],
        parents=tuple(golden_recipe.PARENTS),
        joint_names=tuple(f"joint_{i}" for i in range(n_joints)),
        center_indices=order[:n_center],
        left_indices=order[n_center : n_center + n_left],
        right_indices=order[n_center + n_left :],
        part_labels=torch.zeros(3889, dtype=torch.long),
        keypoint_vertices=torch.tensor([1863, 26, 2124, 150, 3055, 1097, 1330, 3282, 1521, 3473, 6, 20]),
        joint_limits=torch.zeros(n_joints, 3, 2),
        pose_correctives=buffers["posedirs"].unflatten(1, (-1, 3)),
        recentre_vertices=(37, 1808),
        name="smal-like",
    )


@pytest.mark.golden
def test_forward_pass_matches_the_published_model(smal_like, golden_dir):
    golden = np.load(golden_dir / "smal_forward.npz")
    tensors = {key: torch.from_numpy(golden[key]) for key in golden.files}
    offsets = smal_like.expand_offsets(tensors["offsets_compact"])
    shaped = smal_like.with_shape(tensors["betas"], tensors["limb_scales"], offsets)
    posed = shaped.with_pose(matrix_from_6d(tensors["rotations_6d"]), tensors["translation"])
    torch.testing.assert_close(limb_mask(35), tensors["limb_mask"])
    torch.testing.assert_close(posed.vertices[:, tensors["vertex_index"]], tensors["vertices"], rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(posed.keypoints, tensors["keypoints"], rtol=1e-4, atol=2e-5)
