"""The texture of a reconstruction: fitted to its finished poses, kept with it, drawn again from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from animal4d.body.model import BodyModel
from animal4d.clip import Clip
from animal4d.fit.reconstruction import Reconstruction
from animal4d.losses.color import color_loss
from animal4d.texture.coat import counted_coat
from animal4d.texture.fit import TextureFootage, draw_texture, fit_texture, lessons_of
from animal4d.texture.hits import Shells
from animal4d.texture.shell import RAYS_PER_SIDE, ShellTexture, shell_schedule

Progress = Callable[[int, int, float], None]


def with_shell_texture(
    reconstruction: Reconstruction,
    model: BodyModel,
    clip: Clip,
    frames: Sequence[int],
    seed: int = 0,
    progress: Progress = lambda step, steps, loss: None,
) -> Reconstruction:
    """The same with a shell texture learnt from the given frames of the clip. Poses stay as they are."""
    shells = Shells.around(model.v_template, model.faces)
    footage = TextureFootage(
        reconstruction.posed(model).vertices.detach(),
        reconstruction.cameras,
        clip.frames,
        clip.masks,
        clip.inside_frame(),
    )
    lessons = lessons_of(shells, footage, frames, RAYS_PER_SIDE)
    coat = counted_coat(lessons, model.faces, model.n_vertices)
    texture = ShellTexture(model.faces, model.n_vertices, reconstruction.vertex_colors, coat)
    fit_texture(texture, lessons, color_loss, shell_schedule(len(frames), seed), progress)
    return replace(reconstruction, texel_logits=texture.color_logits.detach().clone(), coat=coat)


def shell_texture(reconstruction: Reconstruction, model: BodyModel) -> ShellTexture | None:
    """The texture that `with_shell_texture` kept, None where there is none."""
    if reconstruction.texel_logits is None or reconstruction.coat is None:
        return None
    texture = ShellTexture(model.faces, model.n_vertices)
    texture.load_state_dict({"color_logits": reconstruction.texel_logits, "coat": reconstruction.coat})
    return texture


@torch.no_grad()
def draw_shell(
    reconstruction: Reconstruction, model: BodyModel, texture: ShellTexture, frames: Tensor
) -> Float[Tensor, "frames height width 3"]:
    """Pictures of the textured animal over black, in working resolution."""
    vertices = reconstruction.posed(model, frames).vertices
    shells = Shells.around(model.v_template, model.faces)
    hits = shells.hits(vertices, reconstruction.cameras[frames], rays_per_side=texture.rays_per_side)
    return draw_texture(texture, hits)[0]
