"""OBJ and PLY sequences read back by trimesh, and refused where they would overwrite something else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh

from animal4d.errors import Animal4dError
from animal4d.export.axes import asset_from_world
from animal4d.export.cameras import read_cameras
from animal4d.export.meshes import write_obj_sequence, write_ply_sequence
from animal4d.geometry.mesh import vertex_normals
from export.toy import toy_reconstruction


def wanted(reconstruction, model) -> np.ndarray:
    return reconstruction.posed(model).vertices.numpy() @ asset_from_world().T


def loaded(path, **options) -> trimesh.Trimesh:
    mesh = trimesh.load(path, process=False, **options)
    assert isinstance(mesh, trimesh.Trimesh)
    return mesh


@pytest.mark.parametrize(("write", "suffix"), [(write_obj_sequence, "obj"), (write_ply_sequence, "ply")])
def test_every_frame_comes_back(reconstruction, model, tmp_path, write, suffix):
    written = write(reconstruction, model, tmp_path / "meshes")
    meshes = [path for path in written if path.suffix == f".{suffix}"]
    assert [path.name for path in meshes] == [f"frame_000{frame}.{suffix}" for frame in range(5)]
    for path, truth in zip(meshes, wanted(reconstruction, model), strict=True):
        mesh = loaded(path, maintain_order=True)
        np.testing.assert_allclose(mesh.vertices, truth, atol=1e-6)
        np.testing.assert_array_equal(mesh.faces, model.faces)
        colors = mesh.visual.vertex_colors[:, :3] / 255
        np.testing.assert_allclose(colors, reconstruction.vertex_colors, atol=0.5 / 255 + 1e-3)
        outward = vertex_normals(torch.tensor(truth), model.faces)
        np.testing.assert_allclose(mesh.vertex_normals, outward, atol=1e-5)
    track = read_cameras(tmp_path / "meshes" / "cameras.json")
    torch.testing.assert_close(track.times, reconstruction.times)


def test_obj_wears_its_texture(reconstruction, model, texture, tmp_path):
    write_obj_sequence(reconstruction, model, tmp_path / "meshes", texture)
    mesh = loaded(tmp_path / "meshes" / "frame_0002.obj")
    np.testing.assert_array_equal(np.asarray(mesh.visual.material.image.convert("RGB")), texture.image)
    truth = wanted(reconstruction, model)[2][model.faces.numpy()]
    np.testing.assert_allclose(mesh.vertices[mesh.faces], truth, atol=1e-6)
    flipped = texture.atlas.uv[texture.atlas.faces].numpy() * [1, -1] + [0, 1]
    np.testing.assert_allclose(mesh.visual.uv[mesh.faces], flipped, atol=1e-6)


def test_a_shorter_sequence_leaves_no_frame_of_the_longer(reconstruction, model, tmp_path):
    write_ply_sequence(reconstruction, model, tmp_path / "meshes")
    write_obj_sequence(toy_reconstruction(model, 2), model, tmp_path / "meshes")
    names = sorted(path.name for path in (tmp_path / "meshes").iterdir())
    assert names == ["cameras.json", "frame_0000.obj", "frame_0001.obj"]
    assert [path.name for path in tmp_path.iterdir()] == ["meshes"]


def test_other_folders_are_left_alone(reconstruction, model, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "rex.jpg").write_text("")
    with pytest.raises(Animal4dError, match=r"rex\.jpg, which is no part of a mesh sequence"):
        write_obj_sequence(reconstruction, model, tmp_path / "photos")
    (tmp_path / "file").write_text("")
    with pytest.raises(Animal4dError, match="is a file"):
        write_ply_sequence(reconstruction, model, tmp_path / "file")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "photos", "rex.jpg"]
