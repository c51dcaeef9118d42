"""Scale, rate, cameras in glTF, .gltf files and AMASS-like motion: each against what it was made of."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh
from pygltflib import GLTF2
from scipy.spatial.transform import Rotation, Slerp

from animal4d.errors import Animal4dError
from animal4d.export.axes import asset_from_world
from animal4d.export.cameras import asset_cameras
from animal4d.export.glb import write_glb
from animal4d.export.gltf import reopened
from animal4d.export.gltf_files import with_camera, with_extras, write_gltf
from animal4d.export.interchange import write_interchange
from animal4d.export.resample import resampled
from animal4d.export.scale import in_metres, rest_length, scaled
from export.gltf_reader import GltfReader


@pytest.fixture
def glb(reconstruction, model, tmp_path) -> bytes:
    write_glb(reconstruction, model, tmp_path / "asset.glb")
    return (tmp_path / "asset.glb").read_bytes()


def test_metres_keep_the_pictures(reconstruction, model):
    """Animal and cameras grow alike: every vertex stays on its pixel."""
    metric, larger = in_metres(reconstruction, model, 0.6)
    assert rest_length(metric, larger) == pytest.approx(0.6, rel=1e-5)
    factor = 0.6 / rest_length(reconstruction, model)
    vertices = reconstruction.posed(model).vertices
    torch.testing.assert_close(metric.posed(larger).vertices, vertices * factor)
    before = reconstruction.cameras.project(vertices)
    torch.testing.assert_close(metric.cameras.project(metric.posed(larger).vertices), before, atol=1e-3, rtol=1e-5)


def test_pose_correctives_grow_too(reconstruction, model):
    correctives = 0.001 * torch.randn(9 * 34, model.n_vertices, 3, generator=torch.Generator().manual_seed(0))
    corrected = replace(model, pose_correctives=correctives)
    metric, larger = scaled(reconstruction, corrected, 3.0)
    torch.testing.assert_close(metric.posed(larger).vertices, reconstruction.posed(corrected).vertices * 3)


@pytest.mark.parametrize("length", [0.0, -1.0, float("nan"), float("inf"), 1e4])
def test_lengths_of_no_animal(reconstruction, model, length):
    with pytest.raises(Animal4dError, match="--body-length"):
        in_metres(reconstruction, model, length)


@pytest.mark.parametrize("fps", [7.0, 15.0, 60.0])
def test_resampled_motion_is_interpolated(reconstruction, fps):
    other = resampled(reconstruction, fps)
    times, wanted = reconstruction.times.double().numpy(), other.times.double().numpy()
    assert other.fps == fps and len(other) == int((times[-1] - times[0]) * fps + 1e-4) + 1
    inside = wanted.clip(times[0], times[-1])
    np.testing.assert_allclose(np.diff(wanted), 1 / fps, atol=1e-6)
    for joint in (0, 8):
        track = Slerp(times, Rotation.from_matrix(reconstruction.joint_rotations[:, joint].double().numpy()))
        np.testing.assert_allclose(other.joint_rotations[:, joint], track(inside).as_matrix(), atol=1e-5)
    for axis in range(3):
        for name in ("translation", "centers"):
            values = [getattr(r if name == "translation" else r.cameras, name) for r in (reconstruction, other)]
            line = np.interp(inside, times, values[0][:, axis].numpy())
            np.testing.assert_allclose(values[1][:, axis], line, atol=1e-5)


def test_the_own_rate_changes_nothing(reconstruction):
    same = resampled(reconstruction, reconstruction.fps)
    torch.testing.assert_close(same.joint_rotations, reconstruction.joint_rotations, atol=1e-5, rtol=1e-5)
    assert same.frame_numbers.tolist() == reconstruction.frame_numbers.tolist()
    before, after = asset_cameras(reconstruction), asset_cameras(same)
    assert before.image_size == after.image_size
    torch.testing.assert_close(after.intrinsics, before.intrinsics, atol=1e-3, rtol=1e-5)
    torch.testing.assert_close(after.world_to_camera, before.world_to_camera, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("fps", [0.0, -3.0, float("nan"), 1e6])
def test_rates_that_are_none(reconstruction, fps):
    with pytest.raises(Animal4dError, match="--fps"):
        resampled(reconstruction, fps)


def test_gltf_camera_sees_the_original_pixels(model, reconstruction, tmp_path):
    """Up to the principal point, which glTF has no place for, and which is therefore told."""
    size = reconstruction.crop.original_size
    middle = torch.tensor([[300.0, 0, size[1] / 2], [0, 330.0, size[0] / 2], [0, 0, 1]]).repeat(5, 1, 1)
    centred = replace(reconstruction, intrinsics=reconstruction.crop.working_intrinsics(middle))
    write_glb(centred, model, tmp_path / "asset.glb")
    data, notes = with_camera((tmp_path / "asset.glb").read_bytes(), centred)
    assert notes == ()
    (tmp_path / "asset.glb").write_bytes(data)
    reader = GltfReader(tmp_path / "asset.glb")
    lens = reader.document.cameras[0].perspective
    node = next(i for i, node in enumerate(reader.document.nodes) if node.camera is not None)
    focal = 0.5 / np.tan(lens.yfov / 2)
    truth = centred.crop.to_original(centred.cameras.project(centred.posed(model).vertices)).numpy()
    for frame, time in enumerate(reader.key_times):
        local = np.linalg.inv(reader._world(node, float(time)))
        vertices = reader.skinned_vertices(float(time)) @ local[:3, :3].T + local[:3, 3]
        x, y = (vertices[:, :2] / -vertices[:, 2:]).T * [[focal / lens.aspectRatio], [focal]]
        pixels = np.stack(((x + 0.5) * size[1], (0.5 - y) * size[0]), axis=1)
        np.testing.assert_allclose(pixels, truth[frame], atol=0.02)
    shifted, notes = with_camera(data, reconstruction)
    assert len(notes) == 1 and "pixels off" in notes[0] and shifted


def test_extras_and_animal_stay(glb, reconstruction, model, tmp_path):
    (tmp_path / "more.glb").write_bytes(with_extras(with_camera(glb, reconstruction)[0], {"run": "toy"}))
    reader = GltfReader(tmp_path / "more.glb")
    assert reader.document.asset.extras["run"] == "toy"
    truth = reconstruction.posed(model).vertices.numpy() @ asset_from_world().T
    for frame, time in enumerate(reader.key_times):
        np.testing.assert_allclose(reader.skinned_vertices(float(time)), truth[frame], atol=1e-5)


def test_gltf_holds_the_same(glb, tmp_path):
    (tmp_path / "out").mkdir()
    written = write_gltf(glb, tmp_path / "out" / "dog.gltf")
    assert [path.name for path in written] == ["dog.gltf", "dog.bin"]
    meshes = [trimesh.load(path, force="mesh", process=False) for path in (tmp_path / "asset.glb", written[0])]
    np.testing.assert_array_equal(meshes[0].vertices, meshes[1].vertices)
    apart, whole = json.loads(written[0].read_text()), GLTF2().load(str(tmp_path / "asset.glb"))
    assert apart["buffers"][0]["uri"] == "dog.bin" and len(apart["accessors"]) == len(whole.accessors)


def test_pictures_of_a_gltf_lie_beside_it(glb, tmp_path):
    document, builder = reopened(glb)
    view = builder.add_bytes(b"\x89PNG of sorts")
    document["images"] = [{"name": "coat", "bufferView": view, "mimeType": "image/png"}]
    later = builder.add(np.arange(6, dtype=np.float32))
    written = write_gltf(builder.to_bytes(document), tmp_path / "dog.gltf")
    assert (tmp_path / "dog_coat.png").read_bytes() == b"\x89PNG of sorts"
    apart = json.loads(written[0].read_text())
    assert apart["images"] == [{"name": "coat", "uri": "dog_coat.png"}]
    accessor = apart["accessors"][later]
    place = apart["bufferViews"][accessor["bufferView"]]["byteOffset"]
    values = np.frombuffer((tmp_path / "dog.bin").read_bytes(), np.float32, 6, place)
    np.testing.assert_array_equal(values, np.arange(6))


def test_interchange_poses_the_model(reconstruction, model, tmp_path):
    """As a reader of AMASS does it: rotation vectors, betas, translation."""
    write_interchange(reconstruction, model, tmp_path / "motion.npz", 0.5)
    with np.load(tmp_path / "motion.npz") as motion:
        data = {name: motion[name] for name in motion.files}
    assert data["poses"].shape == (5, 105) and data["trans"].shape == (5, 3)
    assert str(data["gender"]) == "neutral" and float(data["mocap_framerate"]) == 15.0
    rotations = Rotation.from_rotvec(data["poses"].reshape(-1, 3)).as_matrix().reshape(5, 35, 3, 3)
    shaped = model.with_shape(*(torch.tensor(data[n]).float() for n in ("betas", "limb_scales", "vertex_offsets")))
    posed = shaped.with_pose(torch.tensor(rotations).float(), torch.tensor(data["trans"]).float())
    torch.testing.assert_close(posed.vertices, reconstruction.posed(model).vertices, atol=1e-5, rtol=1e-5)
