"""OpenCV cameras and the way to and from PyTorch3D's, against PyTorch3D's numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from animal4d.geometry.cameras import (
    Cameras,
    cameras_from_pytorch3d,
    cameras_to_pytorch3d,
    intrinsics_from_fov,
    project,
)
from animal4d.geometry.rotations import matrix_from_axis_angle

FORMATS = ["ndc_isotropic", "ndc_norm_image_bounds"]


@pytest.fixture(scope="module")
def golden(golden_dir) -> dict[str, torch.Tensor]:
    arrays = np.load(golden_dir / "cameras_pytorch3d.npz")
    return {key: torch.from_numpy(arrays[key]) for key in arrays.files}


def from_golden(golden: dict[str, torch.Tensor], image_size: tuple[int, int]) -> Cameras:
    return cameras_from_pytorch3d(
        golden["R"], golden["T"], golden["focal_length"], golden["principal_point"], image_size
    )


@pytest.fixture
def cameras() -> Cameras:
    generator = torch.Generator().manual_seed(0)
    world_to_camera = torch.eye(4).repeat(3, 1, 1)
    world_to_camera[:, :3, :3] = matrix_from_axis_angle(torch.randn(3, 3, generator=generator))
    world_to_camera[:, :3, 3] = torch.randn(3, 3, generator=generator) * 0.2 + torch.tensor([0.0, 0.0, 5.0])
    return Cameras(intrinsics_from_fov(50.0, (120, 200)).repeat(3, 1, 1), world_to_camera, (120, 200))


@pytest.mark.golden
@pytest.mark.parametrize("image_size", [(256, 256), (480, 640), (640, 360)])
def test_golden_screen_coordinates(golden, image_size):
    cameras = from_golden(golden, image_size)
    expected = golden[f"screen_{image_size[0]}x{image_size[1]}"]
    pixels = cameras.project(golden["points"][None])
    depth = cameras.transform(golden["points"][None])[..., 2]
    torch.testing.assert_close(pixels, expected[..., :2], rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(1 / depth, expected[..., 2], rtol=1e-4, atol=0)


@pytest.mark.golden
@pytest.mark.parametrize("image_size", [(640, 360), (360, 640), (1080, 1920)])
def test_golden_cameras_after_padding_to_a_square_and_resizing(golden, image_size):
    """Padding at the right and at the bottom leaves intrinsics in pixels as they are."""
    padded = replace(from_golden(golden, image_size), image_size=(max(image_size), max(image_size)))
    published = cameras_to_pytorch3d(padded.resized((800, 800)))
    name = f"800_from_{image_size[0]}x{image_size[1]}"
    torch.testing.assert_close(published["focal_length"], golden[f"focal_after_{name}"], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(published["principal_point"], golden[f"principal_after_{name}"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("intrinsics_format", FORMATS)
def test_there_and_back_again(cameras, intrinsics_format):
    published = cameras_to_pytorch3d(cameras, intrinsics_format)
    again = cameras_from_pytorch3d(**published, image_size=cameras.image_size, intrinsics_format=intrinsics_format)
    torch.testing.assert_close(again.intrinsics, cameras.intrinsics)
    torch.testing.assert_close(again.world_to_camera, cameras.world_to_camera)


def test_unknown_format_is_named(cameras):
    with pytest.raises(ValueError, match="ndc_isotropic"):
        cameras_to_pytorch3d(cameras, "screen")


def test_a_camera_sees_its_axis_in_the_principal_point(cameras):
    ahead = cameras.centers + cameras.R_cam_from_world[:, 2]
    pixels = cameras.project(ahead[:, None])
    torch.testing.assert_close(pixels[:, 0], cameras.intrinsics[:, :2, 2], rtol=0, atol=1e-3)


def test_image_axes_point_right_and_down(cameras):
    ahead = cameras.centers + 2 * cameras.R_cam_from_world[:, 2]
    middle, right, down = (
        cameras.project((ahead + step)[:, None])[:, 0]
        for step in (0 * ahead, 0.1 * cameras.R_cam_from_world[:, 0], 0.1 * cameras.R_cam_from_world[:, 1])
    )
    assert (right[:, 0] > middle[:, 0]).all()
    assert (down[:, 1] > middle[:, 1]).all()


def test_field_of_view_spans_the_longer_side():
    intrinsics = intrinsics_from_fov(60.0, (100, 300))
    half = torch.deg2rad(torch.tensor(30.0))
    edge = torch.tensor([[[-half.sin(), 0.0, half.cos()], [half.sin(), 0.0, half.cos()]]])
    torch.testing.assert_close(project(edge, intrinsics[None])[0, :, 0], torch.tensor([0.0, 300.0]), rtol=0, atol=1e-3)


def test_resized_images_show_the_same(cameras):
    points = torch.randn(1, 20, 3, generator=torch.Generator().manual_seed(1))
    scaled = cameras.resized((60, 400)).project(points)
    torch.testing.assert_close(scaled, cameras.project(points) * torch.tensor([2.0, 0.5]))


def test_points_behind_the_camera_stay_finite(cameras):
    behind = cameras.centers - 3 * cameras.R_cam_from_world[:, 2]
    assert cameras.project(behind[:, None]).isfinite().all()


def test_frames_are_selected_and_shapes_checked(cameras):
    assert len(cameras[[2, 0]]) == 2
    torch.testing.assert_close(cameras[[2, 0]].centers, cameras.centers[[2, 0]])
    with pytest.raises(ValueError, match="world_to_camera"):
        Cameras(cameras.intrinsics, cameras.world_to_camera[:2], cameras.image_size)
