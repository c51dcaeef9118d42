"""asset.glb read back by readers that know nothing of the package: geometry, motion, names, validity."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh

from animal4d.body.template import load_builtin_template
from animal4d.errors import Animal4dError
from animal4d.export.axes import asset_from_world
from animal4d.export.glb import write_glb
from animal4d.geometry.rotations import rotation_about
from export.gltf_reader import GltfReader
from export.javascript import assert_valid_gltf
from export.toy import toy_animal, toy_reconstruction


def expected_vertices(reconstruction, model) -> np.ndarray:
    return reconstruction.posed(model).vertices.numpy() @ asset_from_world().T


def assert_same_motion(path, reconstruction, model, tolerance: float = 1e-4) -> None:
    reader = GltfReader(path)
    wanted = expected_vertices(reconstruction, model)
    np.testing.assert_allclose(reader.key_times, reconstruction.times, rtol=1e-6)
    for frame, time in enumerate(reader.key_times):
        error = np.linalg.norm(reader.skinned_vertices(float(time)) - wanted[frame], axis=1).max()
        assert error / model.body_length < tolerance, f"frame {frame}"


def test_skinned_vertices_equal_the_model_at_every_key(reconstruction, model, tmp_path):
    summary = write_glb(reconstruction, model, tmp_path / "asset.glb")
    assert summary.exact and summary.max_error == 0.0
    assert_same_motion(tmp_path / "asset.glb", reconstruction, model)


def test_strong_limb_scales_need_no_approximation(reconstruction, model, tmp_path):
    stretched = replace(reconstruction, limb_scales=torch.tensor([0.8, -0.5, 0.6, -0.6, 0.7, 0.5, -0.6]))
    write_glb(stretched, model, tmp_path / "asset.glb")
    assert_same_motion(tmp_path / "asset.glb", stretched, model)


def test_the_built_in_template_is_exact(tmp_path):
    template = load_builtin_template()
    generator = torch.Generator().manual_seed(2)
    wild = toy_reconstruction(template, frames=3)
    wild = replace(wild, betas=torch.randn(template.n_betas, generator=generator))
    summary = write_glb(wild, template, tmp_path / "asset.glb")
    assert summary.exact and summary.size < 1_000_000
    assert_same_motion(tmp_path / "asset.glb", wild, template)


def test_recentred_models_are_exact_too(reconstruction, model, tmp_path):
    recentred = replace(model, recentre_vertices=(3, 100))
    assert write_glb(reconstruction, recentred, tmp_path / "asset.glb").exact
    assert_same_motion(tmp_path / "asset.glb", reconstruction, recentred)


def test_one_frame_gives_its_pose_without_motion(reconstruction, model, tmp_path):
    still = replace(
        reconstruction,
        joint_rotations=reconstruction.joint_rotations[:1],
        translation=reconstruction.translation[:1],
        times=reconstruction.times[:1],
    )
    write_glb(still, model, tmp_path / "asset.glb")
    reader = GltfReader(tmp_path / "asset.glb")
    assert not reader.document.animations
    np.testing.assert_allclose(reader.skinned_vertices(None), expected_vertices(still, model)[0], atol=1e-5)


def test_animal_rests_on_the_ground_looking_along_z(reconstruction, model, tmp_path):
    write_glb(reconstruction, model, tmp_path / "asset.glb")
    reader = GltfReader(tmp_path / "asset.glb")
    assert reader.skinned_vertices(None)[:, 1].min() == pytest.approx(0, abs=1e-6)
    names = [node.name for node in reader.document.nodes]
    assert reader._world(names.index("head"), None)[2, 3] > reader._world(names.index("tail_7"), None)[2, 3] + 0.5
    assert reader._world(names.index("left_ear"), None)[0, 3] > reader._world(names.index("right_ear"), None)[0, 3]


def test_names_influences_and_colors(reconstruction, model, tmp_path):
    write_glb(reconstruction, model, tmp_path / "asset.glb")
    reader = GltfReader(tmp_path / "asset.glb")
    names = [node.name for node in reader.document.nodes]
    assert set(model.joint_names) <= set(names)
    assert [names[joint] for joint in reader.skin.joints] == [
        node for name in model.joint_names for node in (name, f"{name}_skin")
    ]
    moved = reader.attribute("JOINTS_0")[reader.attribute("WEIGHTS_0") > 0]
    assert all(names[reader.skin.joints[joint]].endswith("_skin") for joint in np.unique(moved))
    assert all(reader.document.nodes[names.index(name)].scale is None for name in model.joint_names)
    assert reader.attribute("JOINTS_0").shape == (model.n_vertices, 4)
    np.testing.assert_allclose(reader.attribute("WEIGHTS_0").sum(1), 1, atol=1e-6)
    srgb = reconstruction.vertex_colors.numpy()
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(reader.attribute("COLOR_0"), linear, atol=1e-6)


def test_trimesh_reads_a_closed_outward_surface(reconstruction, model, tmp_path):
    write_glb(reconstruction, model, tmp_path / "asset.glb")
    mesh = trimesh.load(tmp_path / "asset.glb", force="mesh", process=False)
    assert isinstance(mesh, trimesh.Trimesh)
    assert mesh.is_watertight and mesh.volume > 0
    rest = reconstruction.shaped(model).vertices.numpy() @ asset_from_world().T
    np.testing.assert_allclose(mesh.vertices, rest, atol=1e-6)
    outward = (GltfReader(tmp_path / "asset.glb").attribute("NORMAL") * (rest - rest.mean(0))).sum(1)
    assert (outward > 0).mean() > 0.95


def test_fewer_keys_within_the_bound(model, tmp_path):
    calm = toy_reconstruction(model, frames=20)
    still = torch.eye(3).repeat(20, 35, 1, 1)
    still[:, 0] = rotation_about("z", torch.linspace(-0.4, 0.6, 20) ** 2)
    moving = replace(calm, joint_rotations=still)
    sizes = [write_glb(moving, model, tmp_path / f"{bound}.glb", key_bound=bound).size for bound in (0.0, 1e-3)]
    assert sizes[1] < sizes[0]
    reader = GltfReader(tmp_path / "0.001.glb")
    wanted = expected_vertices(moving, model)
    for frame, time in enumerate(moving.times.tolist()):
        error = np.linalg.norm(reader.skinned_vertices(time) - wanted[frame], axis=1).max()
        assert error / model.body_length < 1.1e-3  # the reader of these tests interpolates without slerp


def test_bytes_are_deterministic(reconstruction, model, tmp_path):
    write_glb(reconstruction, model, tmp_path / "a.glb")
    write_glb(reconstruction, model, tmp_path / "b.glb")
    assert (tmp_path / "a.glb").read_bytes() == (tmp_path / "b.glb").read_bytes()


def test_a_hundred_frames_stay_small(model, tmp_path):
    assert write_glb(toy_reconstruction(model, frames=100), model, tmp_path / "asset.glb").size < 1_000_000


def test_more_influences_are_cut_with_a_bound(reconstruction, tmp_path):
    many = toy_animal(influences=8)
    summary = write_glb(reconstruction, many, tmp_path / "asset.glb")
    assert not summary.exact and "4 largest" in summary.notes[0]
    reader = GltfReader(tmp_path / "asset.glb")
    wanted = expected_vertices(reconstruction, many)
    errors = [
        np.linalg.norm(reader.skinned_vertices(float(time)) - wanted[frame], axis=1).max()
        for frame, time in enumerate(reader.key_times)
    ]
    assert max(errors) / many.body_length == pytest.approx(summary.max_error, rel=1e-3)


def test_pose_correctives_are_declared_missing(reconstruction, model, tmp_path):
    correctives = 0.001 * torch.randn(9 * 34, model.n_vertices, 3, generator=torch.Generator().manual_seed(0))
    summary = write_glb(reconstruction, replace(model, pose_correctives=correctives), tmp_path / "asset.glb")
    assert not summary.exact and summary.max_error > 0


@pytest.mark.parametrize("times", [[0.2, 0.2, 0.3, 0.4, 0.5], [-0.1, 0.2, 0.3, 0.4, 0.5]])
def test_times_that_cannot_be_keys_are_refused(reconstruction, model, tmp_path, times):
    with pytest.raises(Animal4dError, match="times must ascend"):
        write_glb(replace(reconstruction, times=torch.tensor(times)), model, tmp_path / "asset.glb")
    assert not (tmp_path / "asset.glb").exists()


def test_nan_is_refused(reconstruction, model, tmp_path):
    broken = replace(reconstruction, betas=torch.full((5,), torch.nan))
    with pytest.raises(Animal4dError, match="betas"):
        write_glb(broken, model, tmp_path / "asset.glb")


@pytest.mark.parametrize("frames", [1, 5])
def test_khronos_validator_has_nothing_to_say(tmp_path, frames):
    template = load_builtin_template()
    write_glb(toy_reconstruction(template, frames), template, tmp_path / "asset.glb")
    assert_valid_gltf(tmp_path / "asset.glb")
