"""The baked texture of a reconstruction: made from its clip, and as two pictures beside the asset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from animal4d.body.model import BodyModel
from animal4d.clip import Clip, Crop
from animal4d.errors import Animal4dError
from animal4d.files.atomic import write_bytes
from animal4d.files.png import png_bytes
from animal4d.fit.reconstruction import Reconstruction
from animal4d.fit.texture import shell_texture
from animal4d.texture.atlas import atlas_of
from animal4d.texture.bake import SIZE, BakedTexture, bake
from animal4d.texture.fit import TextureFootage
from animal4d.texture.observations import Originals

TEXTURE_NAME, SEEN_NAME = "texture.png", "texture_seen.png"


def baked_texture(
    reconstruction: Reconstruction,
    model: BodyModel,
    clip: Clip,
    frames: Sequence[int] | None = None,
    size: int = SIZE,
    originals: Originals | None = None,
) -> BakedTexture:
    """Baked from all frames with a usable mask, or from those of the given ones (positions in the clip) that have one.

    Leave the test frames out where the texture is to be judged on them. `originals` gives the original pictures of the
    frames (height, width, 3), where they have more pixels than the clip's working images.
    """
    reconstruction, model = reconstruction.to("cpu"), model.to("cpu")
    chosen = range(len(clip)) if frames is None else sorted(frames)
    usable = [frame for frame in chosen if bool(clip.mask_valid[frame])]
    footage = TextureFootage(
        reconstruction.posed(model).vertices.detach(),
        reconstruction.cameras,
        clip.frames.cpu(),
        clip.masks.cpu(),
        clip.inside_frame().cpu(),
    )
    return bake(model, footage, usable, size, originals, _to_original(clip.crop), shell_texture(reconstruction, model))


def _to_original(crop: Crop) -> Float[Tensor, "frames 2 3"]:
    """Working pixels to original ones."""
    scaled = crop.scale.cpu()[:, None, None] * torch.eye(2)
    return torch.cat((scaled, crop.origin.cpu()[:, :, None]), dim=2)


def write_texture(texture: BakedTexture, folder: Path) -> None:
    """Write `texture.png`, and `texture_seen.png`: white where a frame showed the surface, black where guessed."""
    write_bytes(folder / TEXTURE_NAME, texture.png)
    write_bytes(folder / SEEN_NAME, png_bytes(texture.seen.to(torch.uint8) * 255))


def read_texture(folder: Path, model: BodyModel) -> BakedTexture | None:
    """What `write_texture` wrote for a template; None where there is no `texture.png`.

    Raises Animal4dError where the pictures are damaged or do not belong together.
    """
    if not (folder / TEXTURE_NAME).is_file():
        return None
    image, seen = _read(folder / TEXTURE_NAME, "RGB"), _read(folder / SEEN_NAME, "L")
    if image.shape[0] != image.shape[1] or image.shape[:2] != seen.shape:
        raise Animal4dError(
            f"{folder / SEEN_NAME}: not of the same square size as {TEXTURE_NAME}; run `animal4d reconstruct` again"
        )
    return BakedTexture(image, seen > 127, atlas_of(model))


def _read(path: Path, mode: str) -> Tensor:
    try:
        with Image.open(path) as picture:
            return torch.from_numpy(np.array(picture.convert(mode)))
    except (OSError, ValueError, SyntaxError) as error:
        raise Animal4dError(
            f"{path}: cannot be read as a picture ({error}); run `animal4d reconstruct` again"
        ) from None
