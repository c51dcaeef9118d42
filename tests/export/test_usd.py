"""USD files opened, validated and skinned by usd-core itself."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from animal4d.body.template import load_builtin_template
from animal4d.errors import Animal4dError
from animal4d.export.axes import asset_from_world
from animal4d.export.cameras import asset_cameras
from animal4d.export.scale import in_metres, scaled
from animal4d.export.usd import time_codes, write_usd
from export.toy import toy_animal, toy_reconstruction

pytest.importorskip("pxr", reason="needs usd-core")

BODY_LENGTHS = 1e-5
"""Weights and points have single precision; the demand is 1e-4."""


def opened(path: Path) -> Any:
    from pxr import Usd

    return Usd.Stage.Open(str(path))


def complaints(stage: Any) -> list[str]:
    """Of all validators that come with usd-core: what `usdchecker` runs."""
    from pxr import UsdValidation

    validators = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    assert len(validators) > 10
    found = UsdValidation.ValidationContext(validators).Validate(stage)
    return [f"{error.GetName()}: {error.GetMessage()}" for error in found]


def skinned(stage: Any, code: float) -> np.ndarray:
    """Vertices as UsdSkel moves them."""
    from pxr import Usd, UsdGeom, UsdSkel

    cache = UsdSkel.Cache()
    cache.Populate(UsdSkel.Root.Get(stage, "/asset/animal"), Usd.PrimDefaultPredicate)
    mesh = UsdGeom.Mesh.Get(stage, "/asset/animal/mesh")
    skeleton = cache.GetSkelQuery(UsdSkel.Skeleton.Get(stage, "/asset/animal/skeleton"))
    points = mesh.GetPointsAttr().Get()
    query = cache.GetSkinningQuery(mesh.GetPrim())
    assert query.ComputeSkinnedPoints(skeleton.ComputeSkinningTransforms(code), points, code)
    return np.array(points)


def wanted(reconstruction, model) -> np.ndarray:
    return reconstruction.posed(model).vertices.numpy() @ asset_from_world().T


def assert_same_motion(path: Path, reconstruction, model) -> None:
    stage, truth = opened(path), wanted(reconstruction, model)
    for frame, code in enumerate(time_codes(reconstruction)):
        apart = np.linalg.norm(skinned(stage, code) - truth[frame], axis=1).max()
        assert apart / model.body_length < BODY_LENGTHS, f"frame {frame}"


@pytest.mark.parametrize("name", ["a.usd", "a.usda", "a.usdc", "a.usdz"])
def test_usd_skins_as_the_model_does(reconstruction, model, tmp_path, name):
    assert write_usd(reconstruction, model, tmp_path / name) == (tmp_path / name,)
    assert complaints(opened(tmp_path / name)) == []
    assert_same_motion(tmp_path / name, reconstruction, model)


def test_limb_scales_are_not_inherited(reconstruction, model, tmp_path):
    stretched = replace(reconstruction, limb_scales=torch.tensor([0.8, -0.5, 0.6, -0.6, 0.7, 0.5, -0.6]))
    write_usd(stretched, model, tmp_path / "a.usd")
    assert_same_motion(tmp_path / "a.usd", stretched, model)


def test_more_than_four_influences_are_kept(reconstruction, tmp_path):
    many = toy_animal(influences=8)
    write_usd(reconstruction, many, tmp_path / "a.usd")
    assert_same_motion(tmp_path / "a.usd", reconstruction, many)


def test_recentred_models_agree(reconstruction, model, tmp_path):
    """SMAL files move the vertices before skinning and leave the joints."""
    moved = replace(model, recentre_vertices=(3, 40))
    write_usd(reconstruction, moved, tmp_path / "a.usd")
    assert_same_motion(tmp_path / "a.usd", reconstruction, moved)


def test_builtin_template_in_metres(tmp_path):
    template = load_builtin_template()
    metric, model = in_metres(toy_reconstruction(template, 3), template, 0.6)
    write_usd(metric, model, tmp_path / "a.usdz")
    assert complaints(opened(tmp_path / "a.usdz")) == []
    assert_same_motion(tmp_path / "a.usdz", metric, model)


def test_baked_skinning_agrees(reconstruction, model, tmp_path):
    """UsdSkelBakeSkinning, which writes the points of every frame."""
    from pxr import Gf, UsdGeom, UsdSkel

    write_usd(reconstruction, model, tmp_path / "a.usd")
    stage, codes = opened(tmp_path / "a.usd"), time_codes(reconstruction)
    assert UsdSkel.BakeSkinning(UsdSkel.Root.Get(stage, "/asset/animal"), Gf.Interval(codes[0], codes[-1]))
    points = UsdGeom.Mesh.Get(stage, "/asset/animal/mesh").GetPointsAttr()
    for frame, code in enumerate(codes):
        apart = np.linalg.norm(np.array(points.Get(code)) - wanted(reconstruction, model)[frame], axis=1).max()
        assert apart / model.body_length < BODY_LENGTHS


def test_stage_says_units_axes_and_times(reconstruction, model, tmp_path):
    from pxr import UsdGeom

    write_usd(reconstruction, model, tmp_path / "a.usd", comment="Made of a toy.")
    stage = opened(tmp_path / "a.usd")
    assert UsdGeom.GetStageUpAxis(stage) == "Y" and UsdGeom.GetStageMetersPerUnit(stage) == 1.0
    assert stage.GetDefaultPrim().GetPath() == "/asset"
    assert stage.GetTimeCodesPerSecond() == reconstruction.fps
    seconds = np.array(time_codes(reconstruction)) / stage.GetTimeCodesPerSecond()
    np.testing.assert_allclose(seconds, reconstruction.times, atol=1e-3 / reconstruction.fps)
    assert "Made of a toy." in stage.GetRootLayer().documentation
    names = [str(prim.GetPath()) for prim in stage.Traverse()]
    assert "/asset/animal/skeleton/motion" in names and "/asset/camera" in names


def test_rest_pose_stands_on_the_ground_and_looks_along_z(model, reconstruction, tmp_path):
    from pxr import UsdGeom, UsdSkel

    write_usd(reconstruction, model, tmp_path / "a.usd")
    stage = opened(tmp_path / "a.usd")
    binding = UsdSkel.BindingAPI(stage.GetPrimAtPath("/asset/animal/skeleton"))
    binding.GetAnimationSourceRel().ClearTargets(True)
    at_rest = skinned(stage, 0.0)
    assert at_rest[:, 1].min() == pytest.approx(0, abs=1e-5)
    assert at_rest[:, 2].argmax() == model.keypoint_vertices[0]
    assert UsdGeom.Mesh.Get(stage, "/asset/animal/mesh").GetSubdivisionSchemeAttr().Get() == "none"


def test_camera_sees_the_original_pixels(reconstruction, model, tmp_path):
    """With a principal point off the middle and pixels that are not square."""
    from pxr import UsdGeom

    stretched = reconstruction.intrinsics.clone()
    stretched[:, 1, 1] *= 1.2
    odd = replace(reconstruction, intrinsics=stretched)
    write_usd(odd, model, tmp_path / "a.usd")
    cameras, truth = asset_cameras(odd), wanted(odd, model)
    height, width = cameras.image_size
    pixels = cameras.project(torch.from_numpy(truth).double()).numpy()
    stage = opened(tmp_path / "a.usd")
    for frame, code in enumerate(time_codes(odd)):
        frustum = UsdGeom.Camera.Get(stage, "/asset/camera").GetCamera(code).frustum
        matrix = np.array(frustum.ComputeViewMatrix() * frustum.ComputeProjectionMatrix())
        clip = np.pad(truth[frame], ((0, 0), (0, 1)), constant_values=1.0) @ matrix
        seen = (clip[:, :2] / clip[:, 3:] * [1, -1] + 1) / 2 * [width, height]
        np.testing.assert_allclose(seen, pixels[frame], atol=0.01)


def test_texture_lies_as_in_the_atlas(reconstruction, model, texture, tmp_path):
    from pxr import UsdGeom, UsdShade

    written = write_usd(reconstruction, model, tmp_path / "a.usd", texture)
    assert [path.name for path in written] == ["a.usd", "a_texture.png"]
    stage = opened(tmp_path / "a.usd")
    assert complaints(stage) == []
    mesh = stage.GetPrimAtPath("/asset/animal/mesh")
    coordinates = np.array(UsdGeom.PrimvarsAPI(mesh).GetPrimvar("st").ComputeFlattened())
    flipped = texture.atlas.uv[texture.atlas.faces.flatten()].numpy() * [1, -1] + [0, 1]
    np.testing.assert_allclose(coordinates, flipped, atol=1e-6)
    material, _ = UsdShade.MaterialBindingAPI(mesh).ComputeBoundMaterial()
    assert material.GetPath() == "/asset/materials/coat"
    write_usd(reconstruction, model, tmp_path / "packed.usdz", texture)
    packed = opened(tmp_path / "packed.usdz")
    assert complaints(packed) == []
    file = UsdShade.Shader(packed.GetPrimAtPath("/asset/materials/coat/texture")).GetInput("file").Get()
    assert file.resolvedPath.endswith("packed.usdz[packed_texture.png]")


def test_colors_are_linear(reconstruction, model, tmp_path):
    from pxr import UsdGeom

    write_usd(reconstruction, model, tmp_path / "a.usd")
    stage = opened(tmp_path / "a.usd")
    mesh = UsdGeom.Mesh.Get(stage, "/asset/animal/mesh")
    srgb = reconstruction.vertex_colors.numpy()
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(np.array(mesh.GetDisplayColorAttr().Get()), linear, atol=1e-6)


@pytest.mark.parametrize("suffix", ["usdc", "usda", "usdz"])
def test_bytes_are_deterministic(reconstruction, model, tmp_path, suffix):
    for folder in ("a", "b"):
        write_usd(reconstruction, model, tmp_path / folder / f"dog.{suffix}")
    first, second = ((tmp_path / folder / f"dog.{suffix}").read_bytes() for folder in ("a", "b"))
    assert first == second


def test_validators_do_find_faults(reconstruction, model, tmp_path):
    write_usd(reconstruction, model, tmp_path / "a.usda")
    stage = opened(tmp_path / "a.usda")
    stage.ClearMetadata("upAxis")
    stage.ClearDefaultPrim()
    assert complaints(stage)


def test_one_frame(reconstruction, model, tmp_path):
    single = scaled(toy_reconstruction(model, 1), model, 2.0)
    write_usd(*single, tmp_path / "a.usdz")
    assert complaints(opened(tmp_path / "a.usdz")) == []
    assert_same_motion(tmp_path / "a.usdz", *single)


def test_missing_package_is_said_in_one_line(reconstruction, model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pxr", None)
    with pytest.raises(Animal4dError, match="pip install usd-core"):
        write_usd(reconstruction, model, tmp_path / "a.usd")
    assert not list(tmp_path.iterdir())


def test_times_that_stand_still_are_refused(reconstruction, model, tmp_path):
    with pytest.raises(Animal4dError, match="times must ascend"):
        write_usd(replace(reconstruction, times=torch.zeros(5)), model, tmp_path / "a.usd")
