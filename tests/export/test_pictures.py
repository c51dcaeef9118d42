"""Vertex colours, the renderer and the video: colours come back, silhouettes agree, files are what players expect."""

from __future__ import annotations

from dataclasses import replace

import av
import numpy as np
import pytest
import torch
from PIL import Image

from animal4d.export.colors import linear_from_srgb, srgb_from_linear, vertex_colors
from animal4d.export.render import MeshView
from animal4d.export.video import write_contact_sheet, write_overlay
from animal4d.geometry.rasterize import interpolate, rasterize, visible_vertices
from export.toy import IMAGE_SIZE, toy_clip, toy_reconstruction


@pytest.fixture(scope="module")
def reconstruction(model):
    calm = toy_reconstruction(model, frames=6)
    gentle = torch.eye(3).repeat(6, 35, 1, 1)
    gentle[:, 0] = calm.joint_rotations[:, 0]
    return replace(calm, joint_rotations=gentle, limb_scales=torch.zeros(7), vertex_offsets=0 * calm.vertex_offsets)


@pytest.fixture(scope="module")
def coat(model):
    x, _, z = model.v_template.T
    return torch.stack((0.5 + 0.4 * x, 0.5 + z, 0.5 - 0.3 * x), dim=-1).clamp(0.05, 0.95)


@pytest.fixture(scope="module")
def fragments(reconstruction, model):
    vertices = reconstruction.cameras.transform(reconstruction.posed(model).vertices)
    return rasterize(vertices, model.faces, reconstruction.intrinsics, IMAGE_SIZE)


@pytest.fixture(scope="module")
def clip(reconstruction, model, coat, fragments):
    images = interpolate(fragments, model.faces, coat[None])
    images[~fragments.covered] = torch.tensor([0.0, 1.0, 0.0])
    return toy_clip(reconstruction, (images * 255).round().to(torch.uint8), fragments.covered)


def test_srgb_conversion_is_a_bijection():
    values = torch.linspace(0, 1, 300)
    torch.testing.assert_close(srgb_from_linear(linear_from_srgb(values)), values, atol=1e-5, rtol=1e-5)


def test_seen_vertices_get_their_colors_back(reconstruction, model, clip, coat, fragments):
    colors = vertex_colors(reconstruction, model, clip)
    seen = visible_vertices(fragments, model.faces, model.n_vertices).sum(0) >= 4
    assert (colors - coat)[seen].abs().mean() < 0.02


def test_unseen_side_mirrors_the_seen_one(reconstruction, model, clip, coat):
    """The coat is symmetric, so what the camera never sees can be right too; the green background never leaks in."""
    colors = vertex_colors(reconstruction, model, clip)
    assert (colors - coat).abs().mean() < 0.05
    assert (colors[:, 1] < coat[:, 1] + 0.2).all()


def test_frames_left_out_do_not_count(reconstruction, model, clip):
    spoiled = clip.frames.clone()
    spoiled[2] = 255
    frames = [0, 1, 3, 4, 5]
    torch.testing.assert_close(
        vertex_colors(reconstruction, model, replace(clip, frames=spoiled), frames),
        vertex_colors(reconstruction, model, clip, frames),
    )


def test_without_masks_the_animal_is_grey(reconstruction, model, clip):
    blind = replace(clip, masks=0 * clip.masks, mask_valid=torch.zeros(len(clip), dtype=torch.bool))
    colors = vertex_colors(reconstruction, model, blind)
    assert torch.isfinite(colors).all() and colors.std() < 1e-6


def test_unlit_rendering_shows_the_colors_and_the_silhouette(reconstruction, model, clip, coat):
    view = MeshView(reconstruction.posed(model, [1]).vertices[0], model.faces, reconstruction.cameras[[1]])
    rendering = view.draw(coat, shading=0)
    inside = rendering.alpha > 0.99
    assert (np.abs(rendering.alpha - clip.masks[1].numpy()) > 0.6).mean() < 0.002
    wanted = clip.frames[1].numpy()[inside] / 255
    assert np.abs(rendering.color[inside] - wanted).mean() < 0.01
    np.testing.assert_allclose(rendering.over(np.zeros((*IMAGE_SIZE, 3)))[rendering.alpha == 0], 0)


@pytest.mark.parametrize("colored", [True, False])
def test_overlay_is_a_playable_video(reconstruction, model, clip, coat, tmp_path, colored):
    shown = replace(reconstruction, vertex_colors=coat if colored else None)
    write_overlay(shown, model, clip, tmp_path / "overlay.mp4", pane=64)
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert float(stream.average_rate or 0) == pytest.approx(reconstruction.fps)
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(frames) == len(clip)
    assert frames[0].shape[1] > 4 * 64 and frames[0].shape[1] % 2 == 0
    assert np.abs(frames[0].astype(int) - frames[-1]).mean() > 1


def test_one_frame_can_be_shown(reconstruction, model, clip, tmp_path):
    single = {
        name: getattr(reconstruction, name)[:1]
        for name in (
            "joint_rotations",
            "translation",
            "intrinsics",
            "world_to_camera",
            "frame_numbers",
            "times",
            "crop",
        )
    }
    still = replace(reconstruction, **single)
    write_overlay(still, model, toy_clip(still, clip.frames[:1], clip.masks[:1]), tmp_path / "overlay.mp4", pane=64)
    assert (tmp_path / "overlay.mp4").stat().st_size > 0


def test_contact_sheet(reconstruction, model, clip, tmp_path):
    write_contact_sheet(reconstruction, model, clip, tmp_path / "overlay.png", rows=3, pane=64)
    with Image.open(tmp_path / "overlay.png") as sheet:
        assert sheet.width > 4 * 64 and sheet.height > 3 * 64
