"""The compiled rasteriser against the reference, the golden numbers, and laws of visibility."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.geometry.shapes import bumpy_sphere, icosphere, pinhole

from animal4d.geometry.cameras import cameras_from_pytorch3d, project
from animal4d.geometry.rasterize import (
    barycentrics_of,
    interpolate,
    rasterize,
    register_backend,
    visible_faces,
    visible_vertices,
)

SIZE = 48


@pytest.fixture(scope="module")
def scene():
    """Two different bumpy spheres four units in front of the camera."""
    first, faces = bumpy_sphere(0)
    second, _ = bumpy_sphere(1)
    offset = torch.tensor([[0.1, -0.2, 4.0], [-0.3, 0.1, 3.0]])
    return torch.stack((first, second)) + offset[:, None], faces, pinhole(70.0, SIZE, 2)


@pytest.mark.golden
@pytest.mark.parametrize(("backend", "frames"), [("numba", 3), ("torch", 1)])
def test_golden_rasterization(golden_dir, backend, frames):
    golden = np.load(golden_dir / "rasterization.npz")
    tensors = {key: torch.from_numpy(golden[key]) for key in golden.files}
    faces = tensors.pop("faces").long()
    tensors = {key: values[:frames] for key, values in tensors.items()}
    cameras = cameras_from_pytorch3d(
        tensors["R"], tensors["T"], tensors["focal_length"], tensors["principal_point"], (128, 128)
    )
    in_camera = cameras.transform(tensors["vertices"])
    fragments = rasterize(in_camera, faces, cameras.intrinsics, (128, 128), backend)

    expected = tensors["face_index"].long()
    same = fragments.face_index == expected
    assert (~same).sum() <= 0.002 * (expected >= 0).sum()
    both = same & (expected >= 0)
    torch.testing.assert_close(fragments.depth[both], tensors["depth"][both], rtol=1e-4, atol=0)
    # The golden barycentrics are stored in half precision.
    torch.testing.assert_close(fragments.barycentrics[both], tensors["barycentrics"].float()[both], rtol=0, atol=1e-3)


@pytest.mark.parametrize("image_size", [(48, 48), (30, 57), (1, 1)])
def test_compiled_kernel_equals_the_reference(scene, image_size):
    in_camera, faces, intrinsics = scene
    fast = rasterize(in_camera, faces, intrinsics, image_size, backend="numba")
    plain = rasterize(in_camera, faces, intrinsics, image_size, backend="torch")
    same = fast.face_index == plain.face_index
    assert (~same).sum() <= 2
    torch.testing.assert_close(fast.barycentrics[same], plain.barycentrics[same], rtol=0, atol=1e-5)
    torch.testing.assert_close(fast.depth[same], plain.depth[same], rtol=1e-6, atol=0)


def test_convex_body_is_drawn_without_holes():
    """Between the first and the last covered pixel of a row all are covered."""
    vertices, faces = icosphere()
    in_camera = vertices[None] + torch.tensor([0.1, -0.2, 4.0])
    covered = rasterize(in_camera, faces, pinhole(70.0, SIZE), (SIZE, SIZE)).covered
    for row in covered.flatten(0, 1):
        columns = row.nonzero().flatten()
        if len(columns):
            assert row[columns[0] : columns[-1] + 1].all()


def test_orientation_does_not_matter(scene):
    in_camera, faces, intrinsics = scene
    outside = rasterize(in_camera, faces, intrinsics, (SIZE, SIZE))
    inside = rasterize(in_camera, faces.flip(1), intrinsics, (SIZE, SIZE))
    assert torch.equal(outside.face_index, inside.face_index)


def test_interpolated_positions_project_to_the_pixel_centre(scene):
    in_camera, faces, intrinsics = scene
    fragments = rasterize(in_camera, faces, intrinsics, (SIZE, SIZE))
    position = interpolate(fragments, faces, in_camera)
    frame, row, column = fragments.covered.nonzero(as_tuple=True)
    for t in range(2):
        of_frame = frame == t
        pixels = project(position[t][fragments.covered[t]], intrinsics[t])
        centres = torch.stack((column[of_frame], row[of_frame]), dim=-1) + 0.5
        torch.testing.assert_close(pixels, centres, rtol=0, atol=1e-3)
    torch.testing.assert_close(position[..., 2], fragments.depth, rtol=1e-5, atol=1e-6)


def test_one_set_of_attributes_serves_all_frames(scene):
    in_camera, faces, intrinsics = scene
    fragments = rasterize(in_camera, faces, intrinsics, (SIZE, SIZE))
    colours = torch.rand(1, in_camera.shape[1], 3)
    image = interpolate(fragments, faces, colours)
    torch.testing.assert_close(image, interpolate(fragments, faces, colours.expand(2, -1, -1)))
    assert (image[~fragments.covered] == 0).all()


def test_barycentrics_in_torch_equal_the_kernels_and_carry_gradients(scene):
    in_camera, faces, intrinsics = scene
    fragments = rasterize(in_camera, faces, intrinsics, (SIZE, SIZE))
    in_camera = in_camera.double().requires_grad_()
    weights = barycentrics_of(fragments, faces, in_camera, intrinsics.double())
    torch.testing.assert_close(weights.float(), fragments.barycentrics, rtol=0, atol=1e-4)

    def depth_seen(x):
        return interpolate(fragments, faces, x, barycentrics_of(fragments, faces, x, intrinsics.double()))[..., 2].sum()

    (gradient,) = torch.autograd.grad(depth_seen(in_camera), in_camera)
    direction = torch.randn(in_camera.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    step = 1e-6 * direction
    with torch.no_grad():
        numeric = (depth_seen(in_camera + step) - depth_seen(in_camera - step)) / 2e-6
    torch.testing.assert_close((gradient * direction).sum(), numeric, rtol=1e-5, atol=0)


def test_face_zero_is_visible_and_pixels_without_a_face_are_nobodys():
    triangle = torch.tensor([[[-1.0, -1.0, 2.0], [1.0, -1.0, 2.0], [0.0, 1.0, 2.0], [90.0, 90.0, 2.0]]])
    faces = torch.tensor([[0, 1, 2], [3, 3, 3]])
    fragments = rasterize(triangle, faces, pinhole(8.0, 16), (16, 16))
    assert visible_faces(fragments, 2).tolist() == [[True, False]]
    assert visible_vertices(fragments, faces, 4).tolist() == [[True, True, True, False]]
    away = rasterize(triangle + torch.tensor([100.0, 0.0, 0.0]), faces, pinhole(8.0, 16), (16, 16))
    assert not visible_faces(away, 2).any()
    assert not visible_vertices(away, faces, 4).any()


def test_hidden_faces_are_not_visible():
    near = torch.tensor([[-1.0, -1.0, 2.0], [1.0, -1.0, 2.0], [0.0, 1.0, 2.0]])
    vertices = torch.cat((near * 0.5 + torch.tensor([0.0, 0.0, 2.0]), near))[None]
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
    fragments = rasterize(vertices, faces, pinhole(8.0, 16), (16, 16))
    assert visible_faces(fragments, 2).tolist() == [[False, True]]
    assert visible_vertices(fragments, faces, 6).tolist() == [[False] * 3 + [True] * 3]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e30, -3.0, 1e-5])
@pytest.mark.parametrize("axis", [0, 2])
def test_faces_that_cannot_be_drawn_are_skipped_without_harm(bad, axis):
    vertices = torch.tensor([[[-1.0, -1.0, 2.0], [1.0, -1.0, 2.0], [0.0, 1.0, 2.0]]])
    vertices[0, 1, axis] = bad
    fragments = rasterize(vertices, torch.tensor([[0, 1, 2]]), pinhole(8.0, 16), (16, 16))
    assert torch.isfinite(fragments.depth).all()
    if axis == 2 and bad < 1:
        assert not fragments.covered.any()


def test_unknown_backend_and_wrong_intrinsics_are_named(scene):
    in_camera, faces, intrinsics = scene
    with pytest.raises(ValueError, match="numba"):
        rasterize(in_camera, faces, intrinsics, (8, 8), backend="opengl")
    with pytest.raises(ValueError, match="one per frame"):
        rasterize(in_camera, faces, intrinsics[:1], (8, 8))


def test_a_registered_backend_is_used(scene):
    in_camera, faces, intrinsics = scene

    def empty(vertices, faces, intrinsics, image_size):
        shape = (len(vertices), *image_size)
        return torch.full(shape, -1), torch.zeros(*shape, 3), torch.zeros(shape)

    register_backend("empty", empty)
    assert not rasterize(in_camera, faces, intrinsics, (8, 8), backend="empty").covered.any()
