"""Fewer keys: what is played between them stays within the bound, measured by a player of the tests' own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation, Slerp

from animal4d.export.keyframes import fewest_keys
from animal4d.geometry.rotations import matrix_from_axis_angle
from export.toy import toy_reconstruction

FRAMES = 32
BOUND = 1e-3


def moving(model, amount: float, wave: float = 0.2):
    """Every joint swings slowly; `amount` of it is noise from frame to frame."""
    generator = torch.Generator().manual_seed(0)
    time = torch.linspace(0, 1, FRAMES)[:, None, None]
    phase = torch.rand(1, 35, 3, generator=generator) * 6.28
    vectors = wave * torch.sin(3 * time + phase) + amount * torch.randn(FRAMES, 35, 3, generator=generator)
    still = toy_reconstruction(model, FRAMES)
    return replace(still, joint_rotations=matrix_from_axis_angle(vectors))


def played(reconstruction, keys):
    """By scipy's slerp and numpy's interp."""
    times = reconstruction.times.double().numpy()
    rotations = np.empty((len(times), 35, 3, 3))
    for joint, frames in enumerate(keys.joints):
        kept = Rotation.from_matrix(reconstruction.joint_rotations[frames, joint].double().numpy())
        rotations[:, joint] = Slerp(times[frames], kept)(times).as_matrix()
    places = reconstruction.translation.double().numpy()
    translation = [np.interp(times, times[keys.root], places[keys.root, axis]) for axis in range(3)]
    return replace(
        reconstruction,
        joint_rotations=torch.tensor(rotations).float(),
        translation=torch.tensor(np.stack(translation, axis=1)).float(),
    )


@pytest.mark.parametrize(("amount", "most"), [(0.0, 0.7), (1e-3, 0.95), (0.1, 1.0)])
def test_no_vertex_leaves_its_place(model, amount, most):
    reconstruction = moving(model, amount)
    keys = fewest_keys(reconstruction, model, BOUND)
    apart = played(reconstruction, keys).posed(model).vertices - reconstruction.posed(model).vertices
    measured = float(apart.norm(dim=-1).max()) / model.body_length
    assert measured < BOUND and measured == pytest.approx(keys.deviation, abs=2e-6)
    assert keys.share <= most
    for frames in (keys.root, *keys.joints):
        assert frames[0] == 0 and frames[-1] == FRAMES - 1 and (np.diff(frames) > 0).all()


def test_unequal_times_count(model):
    reconstruction = moving(model, 0.0)
    gaps = torch.rand(FRAMES, generator=torch.Generator().manual_seed(2)) + 0.2
    uneven = replace(reconstruction, times=gaps.cumsum(0) / 30)
    apart = played(uneven, fewest_keys(uneven, model, BOUND)).posed(model).vertices - uneven.posed(model).vertices
    assert float(apart.norm(dim=-1).max()) / model.body_length < BOUND


def test_a_still_animal_needs_next_to_no_keys(model):
    still = replace(
        moving(model, 0.0),
        joint_rotations=torch.eye(3).repeat(FRAMES, 35, 1, 1),
        translation=torch.zeros(FRAMES, 3),
    )
    keys = fewest_keys(still, model)
    assert keys.share < 0.15 and keys.deviation < 1e-6


def test_a_wider_bound_keeps_fewer(model):
    reconstruction = moving(model, 2e-3)
    shares = [fewest_keys(reconstruction, model, bound).share for bound in (1e-3, 1e-2)]
    assert shares[1] < shares[0]


def test_without_a_bound_every_frame_stays(model):
    keys = fewest_keys(toy_reconstruction(model, 5), model, 0.0)
    assert keys.share == 1.0 and keys.deviation == 0.0


@pytest.mark.parametrize("frames", [1, 2])
def test_short_motions(model, frames):
    keys = fewest_keys(toy_reconstruction(model, frames), model)
    assert keys.root.tolist() == list(range(frames)) and keys.deviation < 1e-6
