"""What textures show on held-out frames and what they cost on one core: `python benchmarks/texture.py`.

A synthetic clip of the built-in body with its TRUE poses, so that only the texture is judged: learnt from the training
and validation frames, PSNRM on the test frames. The published volume (whole grid, whole decoder, 64 samples) is trained
for minutes instead of the hours of 10,000 steps of 32 frames: few steps of one frame each, first of half-size pictures.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from scene import table  # isort: skip

import torch
from torch import Tensor

from animal4d.body.model import BodyModel
from animal4d.body.template import load_builtin_template
from animal4d.clip import Clip, Crop
from animal4d.evaluate.image import psnr
from animal4d.export.colors import vertex_colors
from animal4d.fit.reconstruction import Reconstruction
from animal4d.fit.split import split_frames
from animal4d.fit.texture import shell_texture, with_shell_texture
from animal4d.geometry.rasterize import interpolate, rasterize
from animal4d.losses.color import color_loss
from animal4d.synth.clip import make_synthetic_clip
from animal4d.synth.config import SynthConfig
from animal4d.texture.duplex import DuplexTexture
from animal4d.texture.fit import TextureFootage, TextureSchedule, draw_texture, fit_texture, lessons_of
from animal4d.texture.hits import Shells, Texture
from animal4d.texture.shell import shell_schedule

SIZE = (256, 256)


@dataclass(frozen=True)
class Scene:
    model: BodyModel
    clip: Clip
    reconstruction: Reconstruction
    """The truth."""
    footage: TextureFootage
    shells: Shells
    train: list[int]
    test: list[int]


def make_scene(coat: str, frames: int = 40) -> Scene:
    config = SynthConfig(frames=frames, image_size=SIZE, fill=0.85, coat=coat, seed=3)  # pyright: ignore[reportArgumentType]
    synthetic = make_synthetic_clip(config)
    model, truth = load_builtin_template(), synthetic.truth
    body = truth.body
    assert body is not None
    number = torch.arange(frames)
    cameras = truth.cameras
    crop = Crop(torch.zeros(frames, 2), torch.ones(frames), SIZE)
    masks = torch.from_numpy(synthetic.masks)
    reconstruction = Reconstruction(
        betas=body.betas,
        limb_scales=body.limb_scales,
        vertex_offsets=torch.zeros(model.n_vertices, 3),
        joint_rotations=body.joint_rotations,
        translation=body.translation,
        intrinsics=cameras.intrinsics,
        world_to_camera=cameras.world_to_camera,
        image_size=SIZE,
        crop=crop,
        frame_numbers=number,
        times=number / truth.fps,
        fps=truth.fps,
    )
    clip = Clip(
        name="synthetic",
        frames=torch.from_numpy(synthetic.frames),
        masks=masks.float(),
        mask_valid=masks.flatten(1).any(1),
        frame_numbers=number,
        times=number / truth.fps,
        fps=truth.fps,
        intrinsics=cameras.intrinsics,
        crop=crop,
    )
    footage = TextureFootage(reconstruction.posed(model).vertices, cameras, clip.frames, clip.masks)
    split = split_frames(clip.mask_valid)
    train = sorted((*split.train.tolist(), *split.validation.tolist()))
    shells = Shells.around(model.v_template, model.faces)
    return Scene(model, clip, reconstruction, footage, shells, train, split.test.tolist())


def judged(scene: Scene, draw: Callable[[int], Tensor]) -> tuple[float, float]:
    """PSNRM and PSNR (background black), mean over the test frames."""
    inside, whole = [], []
    for frame in scene.test:
        mask = scene.clip.masks[[frame]] > 0.5
        filmed = scene.clip.frames[[frame]].float() / 255 * mask[..., None]
        drawn = draw(frame)
        inside.append(float(psnr(drawn, filmed, mask)))
        whole.append(float(psnr(drawn, filmed)))
    return sum(inside) / len(inside), sum(whole) / len(whole)


def with_vertex_colors(scene: Scene, colors: Tensor) -> Callable[[int], Tensor]:
    def draw(frame: int) -> Tensor:
        camera = scene.footage.cameras[[frame]]
        vertices = camera.transform(scene.footage.posed[[frame]])
        fragments = rasterize(vertices, scene.model.faces, camera.intrinsics, SIZE)
        return interpolate(fragments, scene.model.faces, colors[None])

    return draw


def with_texture(scene: Scene, texture: Texture) -> Callable[[int], Tensor]:
    def draw(frame: int) -> Tensor:
        place = (scene.footage.posed[[frame]], scene.footage.cameras[[frame]])
        hits = scene.shells.hits(*place, rays_per_side=texture.rays_per_side)
        return draw_texture(texture, hits)[0]

    return draw


def coarser(footage: TextureFootage) -> TextureFootage:
    """Pictures of half the size."""
    height, width = SIZE[0] // 2, SIZE[1] // 2
    images = footage.images.permute(0, 3, 1, 2).float()
    smaller = torch.nn.functional.avg_pool2d(images, 2).round().to(torch.uint8).permute(0, 2, 3, 1)
    masks = torch.nn.functional.avg_pool2d(footage.masks[:, None], 2)[:, 0]
    return TextureFootage(footage.posed, footage.cameras.resized((height, width)), smaller, masks)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--coats", nargs="+", default=["two_colour", "spots"])
    parser.add_argument("--coarse-steps", type=int, default=60, help="of the volume, a half-size frame each")
    parser.add_argument("--fine-steps", type=int, default=20, help="of the volume, a whole frame each, after those")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[tuple[str, ...]] = []
    for coat in arguments.coats:
        scene = make_scene(coat)

        def measured(
            name: str, start: float, draw: Callable[[int], Tensor], scene: Scene = scene, coat: str = coat
        ) -> None:
            seconds = time.process_time() - start
            inside, whole = judged(scene, draw)
            rows.append((f"{coat}: {name}", f"{inside:.2f}", f"{whole:.2f}", f"{seconds:.1f}"))
            print(" | ".join(rows[-1]), flush=True)

        start = time.process_time()
        colors = vertex_colors(scene.reconstruction, scene.model, scene.clip, scene.train)
        measured("vertex colours", start, with_vertex_colors(scene, colors))

        start = time.process_time()
        plain = replace(scene.reconstruction, vertex_colors=colors)
        textured = with_shell_texture(plain, scene.model, scene.clip, scene.train)
        shell = shell_texture(textured, scene.model)
        assert shell is not None
        steps = shell_schedule(len(scene.train)).steps
        measured(f"shell, {steps} steps", start, with_texture(scene, shell))

        if arguments.coarse_steps + arguments.fine_steps > 0:
            start = time.process_time()
            duplex = DuplexTexture()
            for footage, steps in (
                (coarser(scene.footage), arguments.coarse_steps),
                (scene.footage, arguments.fine_steps),
            ):
                lessons = lessons_of(scene.shells, footage, scene.train)
                fit_texture(duplex, lessons, color_loss, TextureSchedule(steps))
            name = f"published volume, {arguments.coarse_steps} + {arguments.fine_steps} steps"
            measured(name, start, with_texture(scene, duplex))

    table("Textures on held-out frames, one core", ("texture", "PSNRM, dB", "PSNR, dB", "CPU seconds"), rows)


if __name__ == "__main__":
    main()
