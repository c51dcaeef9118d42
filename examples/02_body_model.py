"""The body model: shape, then pose, then skin. Three immutable stages; any batch axes may stand in front.

python examples/02_body_model.py
"""

from __future__ import annotations

import math

import torch

from animal4d.body.template import load_builtin_template, load_species_betas
from animal4d.geometry.rotations import rotation_about


def main() -> None:
    model = load_builtin_template()
    print(f"{model.n_vertices} vertices, {model.n_joints} joints, {model.n_betas} shape directions")

    # An individual: coefficients of the shape space, with longer legs. Limb scales are logarithms.
    betas = load_species_betas()["greyhound"]
    long_legs = torch.tensor([0.15, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    individual = model.with_shape(betas, long_legs)

    # Ten poses at once: the head turns from right to left, everything else rests.
    rotations = torch.eye(3).repeat(10, model.n_joints, 1, 1)
    turn = torch.linspace(-math.pi / 6, math.pi / 6, 10)
    rotations[:, model.joint_names.index("head")] = rotation_about("z", turn)
    posed = individual.with_pose(rotations)

    nose = posed.vertices[:, model.keypoint_vertices[0]]
    print(f"posed vertices {tuple(posed.vertices.shape)}, keypoints {tuple(posed.keypoints.shape)}")
    print("the nose goes from", [round(v, 2) for v in nose[0].tolist()], "to", [round(v, 2) for v in nose[-1].tolist()])


if __name__ == "__main__":
    main()
