"""A reconstruction keeps its shell texture, and is drawn with it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from animal4d.body.template import load_builtin_template
from animal4d.evaluate import image
from animal4d.fit.reconstruction import Reconstruction
from animal4d.fit.texture import draw_shell, shell_texture, with_shell_texture
from animal4d.geometry.rasterize import interpolate, rasterize
from fit.scenes import rest_clip, turning_views

MODEL = load_builtin_template()
FRAMES = 6
STRIPES = torch.sin(40 * MODEL.v_template[:, :1]).sign() * torch.tensor([0.35, 0.25, 0.15]) + 0.5


@pytest.fixture(scope="module")
def striped():
    """A reconstruction that is exactly right, and a clip of it with stripes finer than its first colours."""
    clip, _ = rest_clip(MODEL, FRAMES, size=128)
    rotations = torch.eye(3).repeat(FRAMES, MODEL.n_joints, 1, 1)
    rotations[:, 0] = turning_views(FRAMES)
    root = MODEL.with_shape().joints[0]
    translation = (turning_views(FRAMES) @ root) - root + torch.tensor([0.0, 0.0, 3.2])
    reconstruction = Reconstruction(
        betas=torch.zeros(MODEL.n_betas),
        limb_scales=torch.zeros(7),
        vertex_offsets=torch.zeros(MODEL.n_vertices, 3),
        joint_rotations=rotations,
        translation=translation,
        intrinsics=clip.intrinsics,
        world_to_camera=torch.eye(4).repeat(FRAMES, 1, 1),
        image_size=clip.image_size,
        crop=clip.crop,
        frame_numbers=clip.frame_numbers,
        times=clip.times,
        fps=clip.fps,
        vertex_colors=torch.full((MODEL.n_vertices, 3), 0.5),
    )
    vertices = reconstruction.cameras.transform(reconstruction.posed(MODEL).vertices)
    fragments = rasterize(vertices, MODEL.faces, clip.intrinsics, clip.image_size)
    pictures = interpolate(fragments, MODEL.faces, STRIPES[None])
    frames = (pictures * 255).round().to(torch.uint8)
    return replace(clip, frames=frames, masks=fragments.covered.float()), reconstruction


def psnrm(clip, reconstruction) -> float:
    texture = shell_texture(reconstruction, MODEL)
    assert texture is not None
    drawn = draw_shell(reconstruction, MODEL, texture, torch.tensor([5]))
    return float(image.psnr(drawn, clip.frames[[5]].float() / 255, clip.masks[[5]] > 0.5))


def test_the_texture_shows_a_frame_that_it_was_not_learnt_from(striped, tmp_path):
    clip, plain = striped
    textured = with_shell_texture(plain, MODEL, clip, [0, 1, 2, 3, 4])
    # Grey stands 0.15 to 0.35 off the stripes: some 12 dB. Three texels an edge resolve them but for their borders.
    assert psnrm(clip, textured) > 20
    assert torch.equal(textured.joint_rotations, plain.joint_rotations)

    textured.save(tmp_path / "reconstruction.npz")
    again = Reconstruction.load(tmp_path / "reconstruction.npz")
    assert psnrm(clip, again) == psnrm(clip, textured)


def test_without_a_texture_there_is_none(striped, tmp_path):
    _, plain = striped
    assert shell_texture(plain, MODEL) is None
    plain.save(tmp_path / "reconstruction.npz")
    assert Reconstruction.load(tmp_path / "reconstruction.npz").texel_logits is None
