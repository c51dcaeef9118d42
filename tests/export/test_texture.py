"""The textured asset: what its bytes hold is what was baked and measured."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from animal4d.body.template import load_builtin_template
from animal4d.errors import Animal4dError
from animal4d.evaluate.metrics import evaluate
from animal4d.export.axes import asset_from_world
from animal4d.export.glb import write_glb
from animal4d.export.render import MeshView
from animal4d.export.texture import read_texture, write_texture
from animal4d.export.turntable import Turntable
from animal4d.export.video import write_contact_sheet
from animal4d.files.png import png_bytes
from animal4d.geometry.rasterize import rasterize
from animal4d.texture.atlas import atlas_of, texels_of
from animal4d.texture.bake import BakedTexture, draw_baked
from export.gltf_reader import GltfReader
from export.javascript import assert_valid_gltf
from export.test_glb import assert_same_motion
from export.toy import toy_clip, toy_reconstruction

SIZE = 256


@pytest.fixture(scope="module")
def model():
    return load_builtin_template()


@pytest.fixture(scope="module")
def reconstruction(model):
    calm = toy_reconstruction(model)
    return replace(calm, betas=torch.zeros(model.n_betas), vertex_offsets=0 * calm.vertex_offsets)


@pytest.fixture(scope="module")
def texture(model):
    """Smooth along the body, with some noise that only a picture can hold."""
    atlas = atlas_of(model)
    texels = texels_of(atlas, SIZE)
    generator = torch.Generator().manual_seed(0)
    image = torch.full((SIZE, SIZE, 3), 127, dtype=torch.uint8)
    corners = model.v_template[model.faces[texels.face_index]]
    place = (texels.barycentrics[..., None] * corners).sum(1)
    colors = 0.5 + 0.4 * torch.sin(6 * place) + 0.05 * torch.randn(place.shape, generator=generator)
    image[texels.covered] = (colors.clamp(0, 1) * 255).to(torch.uint8)
    seen = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    seen[:, : SIZE // 2] = True
    return BakedTexture(image, seen, atlas)


@pytest.fixture
def reader(reconstruction, model, texture, tmp_path):
    write_glb(reconstruction, model, tmp_path / "asset.glb", texture)
    return GltfReader(tmp_path / "asset.glb")


def picture_of(reader: GltfReader) -> np.ndarray:
    material = reader.document.materials[reader.primitive.material]
    image = reader.document.images[
        reader.document.textures[material.pbrMetallicRoughness.baseColorTexture.index].source
    ]
    view = reader.document.bufferViews[image.bufferView]
    start = view.byteOffset or 0
    with Image.open(io.BytesIO(reader._binary[start : start + view.byteLength])) as picture:
        assert image.mimeType == Image.MIME[picture.format or ""]
        return np.asarray(picture)


def test_the_picture_is_kept_to_the_last_bit(reader, texture):
    np.testing.assert_array_equal(picture_of(reader), texture.image.numpy())
    sampler = reader.document.samplers[0]
    assert (sampler.wrapS, sampler.wrapT, sampler.minFilter) == (33071, 33071, 9987)
    # glTF multiplies a texture with vertex colours.
    assert reader.primitive.attributes.COLOR_0 is None


def test_split_vertices_move_like_the_model(reader, reconstruction, model, texture):
    wanted = reconstruction.posed(model).vertices.numpy() @ asset_from_world().T
    for frame, time in enumerate(reader.key_times):
        error = reader.skinned_vertices(float(time)) - wanted[frame][texture.atlas.vertex_of_corner.numpy()]
        assert np.linalg.norm(error, axis=1).max() / model.body_length < 1e-4


def test_without_a_texture_no_vertex_is_split(reconstruction, model, tmp_path):
    write_glb(reconstruction, model, tmp_path / "asset.glb")
    assert_same_motion(tmp_path / "asset.glb", reconstruction, model)
    assert GltfReader(tmp_path / "asset.glb").primitive.attributes.TEXCOORD_0 is None


def test_measured_pictures_are_those_of_the_file(reader, reconstruction, model, texture):
    """Skinned, projected and textured from the file's bytes alone."""
    camera = reconstruction.cameras[[1]]
    points = reader.skinned_vertices(float(reader.key_times[1])) @ asset_from_world()
    faces = torch.from_numpy(reader.array(reader.primitive.indices).astype(np.int64)).view(-1, 3)
    in_camera = camera.transform(torch.from_numpy(points).float()[None])
    drawn = rasterize(in_camera, faces, camera.intrinsics, camera.image_size)
    covered = drawn.covered[0].numpy()
    corners = reader.attribute("TEXCOORD_0")[faces[drawn.face_index[0]][covered]]
    uv = (drawn.barycentrics[0].numpy()[covered][..., None] * corners).sum(1)
    place = uv * SIZE - 0.5
    low = np.floor(place).astype(int)
    share = place - low
    picture = np.pad(picture_of(reader).astype(float) / 255, ((1, 1), (1, 1), (0, 0)), mode="edge")
    color = np.zeros((len(uv), 3))
    for down in (0, 1):
        for across in (0, 1):
            weight = np.where(across, share[:, 0], 1 - share[:, 0]) * np.where(down, share[:, 1], 1 - share[:, 1])
            color += weight[:, None] * picture[low[:, 1] + 1 + down, low[:, 0] + 1 + across]
    wanted = draw_baked(texture, reconstruction.posed(model, [1]).vertices, model.faces, camera, supersampling=1)[0]
    difference = np.abs(wanted.numpy()[covered] - color).max(1)
    # Rounding may put a pixel's centre on the other side of an edge.
    assert (difference < 2e-3).mean() > 0.995
    assert ((wanted > 0).any(-1).numpy() == covered).mean() > 0.999


def test_asset_metrics_judge_the_texture(reconstruction, model, texture):
    drawn = draw_baked(texture, reconstruction.posed(model).vertices, model.faces, reconstruction.cameras)
    clip = toy_clip(reconstruction, (drawn * 255).round().to(torch.uint8), (drawn > 0).all(-1))
    metrics = evaluate(reconstruction, model, clip, splits={"train": [0, 1, 2], "test": [3, 4]}, texture=texture)
    for name, least in (("asset_psnr", 25), ("asset_psnrm", 40), ("asset_ssim", 0.95)):
        assert metrics[name]["test"] > least and len(metrics[name]["per_frame"]) == len(clip)
    negative = replace(texture, image=255 - texture.image)
    worse = evaluate(reconstruction, model, clip, texture=negative)
    assert worse["asset_psnrm"]["mean"] < 15
    assert evaluate(reconstruction, model, clip)["asset_psnrm"]["reason"] == "the asset has no texture"


def test_a_hundred_frames_stay_small(model, tmp_path):
    """With the worst picture there is: noise does not compress."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (1024, 1024, 3), generator=generator, dtype=torch.uint8)
    texture = BakedTexture(noise, torch.ones(1024, 1024, dtype=torch.bool), atlas_of(model))
    assert write_glb(toy_reconstruction(model, 100), model, tmp_path / "asset.glb", texture).size < 5_000_000


def test_pictures_beside_the_asset(texture, model, reader, tmp_path):
    write_texture(texture, tmp_path)
    back = read_texture(tmp_path, model)
    assert back is not None
    assert torch.equal(back.image, texture.image) and torch.equal(back.seen, texture.seen)
    assert reader.document.asset.extras["seen_mask"] == "texture_seen.png"
    assert 0 < reader.document.asset.extras["seen_share"] < 1
    assert read_texture(tmp_path / "elsewhere", model) is None


@pytest.mark.parametrize("broken", ["texture.png", "texture_seen.png"])
def test_damaged_pictures_are_refused_in_one_line(texture, model, tmp_path, broken):
    write_texture(texture, tmp_path)
    (tmp_path / broken).write_bytes((tmp_path / broken).read_bytes()[:100])
    with pytest.raises(Animal4dError, match=broken) as raised:
        read_texture(tmp_path, model)
    assert "\n" not in str(raised.value)
    (tmp_path / broken).write_bytes(png_bytes(torch.zeros(8, 8, dtype=torch.uint8)))
    with pytest.raises(Animal4dError, match="square size"):
        read_texture(tmp_path, model)


def test_the_renderer_shows_the_texture(reconstruction, model, texture):
    vertices = reconstruction.posed(model, [1]).vertices
    rendering = MeshView(vertices[0], model.faces, reconstruction.cameras[[1]]).draw(texture, shading=0)
    inside = rendering.alpha > 0.99
    wanted = draw_baked(texture, vertices, model.faces, reconstruction.cameras[[1]])[0].numpy()
    assert np.abs(rendering.color - wanted)[inside].mean() < 0.02
    plain, worn = (Turntable(reconstruction, model, 64, coat).draw(0) for coat in (None, texture))
    assert np.abs(plain - worn).mean() > 0.005


def test_the_contact_sheet_wears_the_texture(reconstruction, model, texture, tmp_path):
    drawn = draw_baked(texture, reconstruction.posed(model).vertices, model.faces, reconstruction.cameras)
    clip = toy_clip(reconstruction, (drawn * 255).round().to(torch.uint8), (drawn > 0).all(-1))
    write_contact_sheet(reconstruction, model, clip, tmp_path / "clay.png", rows=1, pane=64)
    write_contact_sheet(reconstruction, model, clip, tmp_path / "worn.png", rows=1, pane=64, texture=texture)
    assert (tmp_path / "clay.png").read_bytes() != (tmp_path / "worn.png").read_bytes()


@pytest.mark.parametrize("frames", [1, 5])
def test_khronos_validator_has_nothing_to_say(model, texture, tmp_path, frames):
    write_glb(toy_reconstruction(model, frames), model, tmp_path / "asset.glb", texture)
    assert_valid_gltf(tmp_path / "asset.glb")
