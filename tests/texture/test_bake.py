"""The baked texture against a coat that is known everywhere."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from animal4d.body.template import load_builtin_template
from animal4d.evaluate import image
from animal4d.export.texture import baked_texture
from animal4d.texture.atlas import texels_of
from animal4d.texture.bake import draw_baked
from animal4d.texture.blend import frame_gains
from animal4d.texture.observations import Views
from export.toy import toy_clip
from texture.painted import coat, exposed, film, painted_reconstruction, truly_seen

SIZE = 512
TEST = [2, 7, 12]
TRAIN = [frame for frame in range(16) if frame not in TEST]


@pytest.fixture(scope="module")
def model():
    return load_builtin_template()


@pytest.fixture(scope="module")
def reconstruction(model):
    return painted_reconstruction(model)


@pytest.fixture(scope="module")
def clip(reconstruction, model):
    return toy_clip(reconstruction, *film(reconstruction, model))


@pytest.fixture(scope="module")
def baked(reconstruction, model, clip):
    return baked_texture(reconstruction, model, clip, TRAIN, SIZE)


@pytest.fixture(scope="module")
def texels(baked):
    return texels_of(baked.atlas, SIZE)


@pytest.fixture(scope="module")
def truth(model, texels):
    corners = model.v_template[model.faces[texels.face_index]]
    return coat((texels.barycentrics[..., None] * corners).sum(1))


def colors_of(texture, texels):
    return texture.image[texels.covered].float() / 255


def test_held_out_frames_are_foretold(baked, reconstruction, model, clip):
    posed = reconstruction.posed(model, TEST).vertices
    drawn = draw_baked(baked, posed, model.faces, reconstruction.cameras[TEST])
    mask = clip.masks[TEST] > 0.5
    filmed = clip.frames[TEST].float() / 255 * mask[..., None]
    # Pixels along the outline mix with the green background, which no texture can show.
    assert image.psnr(drawn, filmed, mask).min() >= 24
    inner = torch.nn.functional.max_pool2d((~mask).float()[:, None], 5, 1, 2)[:, 0] == 0
    assert image.psnr(drawn, filmed, inner).min() >= 32


def test_seen_texels_have_the_coats_color(baked, texels, truth):
    error = (colors_of(baked, texels) - truth).abs().mean(1)[baked.seen[texels.covered]]
    assert error.mean() < 0.02 and torch.quantile(error, 0.95) < 0.08


def test_unseen_texels_are_marked(baked, reconstruction, model, texels):
    seen = truly_seen(reconstruction, model, TRAIN, texels.barycentrics, texels.face_index)
    assert 0.3 < seen.float().mean() < 0.7
    assert (baked.seen[texels.covered] == seen).float().mean() > 0.95


def test_the_other_side_is_mirrored(baked, texels, truth):
    """The coat is the same on both sides, so what no frame saw can be right wherever its mirror image was seen."""
    error = (colors_of(baked, texels) - truth).abs().mean(1)[~baked.seen[texels.covered]]
    assert error.mean() < 0.1 and error.median() < 0.05


def test_no_background_bleeds_in(baked):
    """The background is pure green, and no place of the coat is greener than red."""
    red, green = baked.image[..., 0].int(), baked.image[..., 1].int()
    assert (green - red).max() < 12


def test_colors_go_on_across_seams(baked, model):
    """Along every edge between two charts both charts show the same colour, but for the coat's change in a texel."""
    faces, corners = model.faces, baked.atlas.faces
    first, second = faces.flatten(), faces.roll(-1, 1).flatten()
    key = torch.minimum(first, second) * model.n_vertices + torch.maximum(first, second)
    order = key.argsort(stable=True)
    pairs = order.view(-1, 2)  # the template is closed: every edge has two faces
    ends = torch.stack((corners.flatten(), corners.roll(-1, 1).flatten()), dim=1)[pairs]
    seam = (ends[:, 0] != ends[:, 1].flip(1)).any(1)
    assert seam.sum() > 100
    colors = []
    for side in (0, 1):
        half_edge = pairs[seam, side]
        barycentrics = torch.zeros(len(half_edge), 3)
        rows = torch.arange(len(half_edge))
        barycentrics[rows, half_edge % 3] = 0.5
        barycentrics[rows, (half_edge % 3 + 1) % 3] = 0.5
        colors.append(baked.color_at(half_edge // 3, barycentrics))
    step = (colors[0] - colors[1]).abs().amax(1)
    assert step.mean() < 0.02 and torch.quantile(step, 0.98) < 0.1


def test_frames_left_out_do_not_count(baked, reconstruction, model, clip):
    spoiled = clip.frames.clone()
    spoiled[TEST] = 255
    again = baked_texture(reconstruction, model, replace(clip, frames=spoiled), TRAIN, SIZE)
    assert torch.equal(again.image, baked.image) and torch.equal(again.seen, baked.seen)


def test_a_spoiled_frame_is_outvoted(baked, reconstruction, model, clip, texels):
    spoiled = clip.frames.clone()
    spoiled[5] = torch.tensor([255, 0, 255], dtype=torch.uint8)
    odd = baked_texture(reconstruction, model, replace(clip, frames=spoiled), TRAIN, SIZE)
    change = (colors_of(odd, texels) - colors_of(baked, texels)).abs().mean(1)[baked.seen[texels.covered]]
    assert change.mean() < 0.03


def test_changing_exposure_is_evened_out(reconstruction, model, clip, texels, truth):
    generator = torch.Generator().manual_seed(0)
    gains = torch.exp(0.12 * torch.randn(len(clip), 3, generator=generator)).clamp(0.75, 1.15)
    texture = baked_texture(reconstruction, model, exposed(clip, gains), TRAIN, SIZE)
    seen = texture.seen[texels.covered]
    ratio = colors_of(texture, texels)[seen] / truth[seen]
    # One exposure for all: the ratio to the truth is the same everywhere.
    assert ((ratio / ratio.median(0).values).log().abs() < 0.1).float().mean() > 0.9


def test_gains_come_back():
    generator = torch.Generator().manual_seed(1)
    truth = torch.exp(0.1 * torch.randn(8, 3, generator=generator))
    color = 60 + 120 * torch.rand(500, 3, generator=generator)
    frame = torch.stack([torch.randperm(8, generator=generator)[:4] for _ in range(500)], dim=1)
    views = Views(
        (color * truth[frame]).round().clamp(0, 255).to(torch.uint8).numpy(),
        torch.ones(4, 500).numpy(),
        frame.to(torch.int32).numpy(),
    )
    found = torch.from_numpy(frame_gains(views, 8)).log()
    torch.testing.assert_close(found, (truth.log() - truth.log().mean(0)).double(), atol=0.02, rtol=0)


def test_original_pictures_are_sharper(reconstruction, model, clip, baked, texels, truth):
    fine, _ = film(reconstruction, model, finer=2)
    crop = replace(clip.crop, scale=2 * clip.crop.scale, original_size=(320, 320))
    sharper = baked_texture(
        reconstruction, model, replace(clip, crop=crop), TRAIN, SIZE, lambda frame: fine[frame].numpy()
    )
    seen = baked.seen[texels.covered]
    coarse_error = (colors_of(baked, texels) - truth)[seen].square().mean()
    assert (colors_of(sharper, texels) - truth)[seen].square().mean() < coarse_error
    assert (sharper.image[..., 1].int() - sharper.image[..., 0].int()).max() < 40


def test_without_masks_the_texture_is_grey_and_unseen(reconstruction, model, clip):
    blind = replace(clip, masks=0 * clip.masks, mask_valid=torch.zeros(len(clip), dtype=torch.bool))
    texture = baked_texture(reconstruction, model, blind, TRAIN, 64)
    assert not texture.seen.any() and texture.image.float().std() < 1
