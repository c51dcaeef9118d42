"""A texture image baked from frames, for files and programs that know triangles and pictures only.

Per texel the best views (`observations`), brought to one exposure and blended robustly (`blend`); what no frame saw
is guessed and marked (`completion`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from animal4d.body.model import BodyModel
from animal4d.files.png import png_bytes
from animal4d.geometry.cameras import Cameras
from animal4d.geometry.rasterize import rasterize
from animal4d.texture.atlas import Atlas, atlas_of, texels_of
from animal4d.texture.blend import blend, frame_gains
from animal4d.texture.completion import as_image, complete, padded, seen_image
from animal4d.texture.fit import TextureFootage
from animal4d.texture.observations import Originals, observe, without_background
from animal4d.texture.shell import ShellTexture

SIZE = 1024
LEARNT_WEIGHT = 1.0
"""Of a learnt texture's colour, against the weights of the views of a texel (up to 1 each)."""
LEAST_WEIGHT = 1e-4
"""Of all views of a texel together, from which it counts as seen."""
_SUPERSAMPLING = 2


@dataclass(frozen=True)
class BakedTexture:
    """A picture for the surface of a template."""

    image: UInt8[Tensor, "size size 3"]
    """sRGB; the colours of the charts go on between them."""
    seen: Bool[Tensor, "size size"]
    """Texels that a frame showed; the others are guessed from the animal's other side and from around them."""
    atlas: Atlas

    def color_at(
        self, face_index: Int[Tensor, "points"], barycentrics: Float[Tensor, "points 3"]
    ) -> Float[Tensor, "points 3"]:
        """sRGB in [0, 1] of places on the surface, linear between the four texels around."""
        uv = (barycentrics[..., None] * self.atlas.uv[self.atlas.faces[face_index]]).sum(1)
        size = self.image.shape[0]
        place = uv * size - 0.5
        low = place.floor()
        share = place - low
        column, row = low.long().unbind(1)
        (x0, x1), (y0, y1) = ((first.clamp(0, size - 1), (first + 1).clamp(0, size - 1)) for first in (column, row))
        across, down = share[:, :1], share[:, 1:]
        flat = self.image.flatten(0, 1)

        def texel(row: Tensor, column: Tensor) -> Tensor:
            return flat[row * size + column].to(torch.float32) / 255

        above = (1 - across) * texel(y0, x0) + across * texel(y0, x1)
        below = (1 - across) * texel(y1, x0) + across * texel(y1, x1)
        return (1 - down) * above + down * below

    @cached_property
    def png(self) -> bytes:
        """The picture as a file. To compress it takes longer than a second, and a run needs it twice."""
        return png_bytes(self.image)

    @property
    def seen_share(self) -> float:
        """Share of the surface, as the atlas spreads it, that a frame showed."""
        covered = texels_of(self.atlas, self.image.shape[0]).covered
        return float(self.seen[covered].float().mean())


def bake(
    model: BodyModel,
    footage: TextureFootage,
    frames: Sequence[int],
    size: int = SIZE,
    originals: Originals | None = None,
    working_to_original: Float[Tensor, "frames 2 3"] | None = None,
    learnt: ShellTexture | None = None,
    atlas: Atlas | None = None,
) -> BakedTexture:
    """Bake the given frames (positions in the footage) and look at no others.

    With `originals`, colours are taken from the original pictures at `working_to_original` (pixels to pixels) instead
    of from the footage's own; what is visible is decided in working resolution all the same. `learnt` is a texture
    that was fitted to the same frames: it steadies texels with few good views. The same input gives the same texture.
    """
    atlas = atlas_of(model) if atlas is None else atlas
    texels = texels_of(atlas, size)

    def picture_of(frame: int) -> tuple[np.ndarray, np.ndarray]:
        if originals is not None and working_to_original is not None:
            return originals(frame), working_to_original[frame].numpy()
        mask = (footage.masks[frame] > 0.5).numpy()
        return without_background(footage.images[frame].numpy(), mask), np.eye(2, 3)

    seen = observe(texels, model.faces, footage, frames, picture_of)
    color, weight = blend(seen, frame_gains(seen, len(footage.posed)))
    if learnt is not None:
        color = _steadied(color, weight, learnt.color_at(texels.face_index, texels.barycentrics).detach().numpy())
    completed = complete(color, weight, texels, atlas, model)
    image = torch.from_numpy(padded(as_image(completed, texels), texels))
    return BakedTexture(image, seen_image(weight > LEAST_WEIGHT, texels), atlas)


def _steadied(color: np.ndarray, weight: np.ndarray, learnt: np.ndarray) -> np.ndarray:
    """Colours of the seen texels with the learnt ones as one more view."""
    mixed = (weight[:, None] * color + LEARNT_WEIGHT * learnt) / (weight[:, None] + LEARNT_WEIGHT)
    return np.where(weight[:, None] > 0, mixed, color).astype(np.float32)


@torch.no_grad()
def draw_baked(
    texture: BakedTexture,
    posed: Float[Tensor, "frames vertices 3"],
    faces: Int[Tensor, "faces 3"],
    cameras: Cameras,
    supersampling: int = _SUPERSAMPLING,
) -> Float[Tensor, "frames height width 3"]:
    """Pictures over black of the posed animal (vertices in the world), unlit: the texture holds the light of the video.

    The mean of `supersampling`² samples a pixel.
    """
    height, width = cameras.image_size
    fine = cameras.resized((height * supersampling, width * supersampling))
    pictures = []
    for frame in range(len(cameras)):
        vertices = fine[[frame]].transform(posed[[frame]])
        drawn = rasterize(vertices, faces, fine.intrinsics[[frame]], fine.image_size)
        picture = torch.zeros(*fine.image_size, 3)
        covered = drawn.covered[0]
        picture[covered] = texture.color_at(drawn.face_index[0][covered], drawn.barycentrics[0][covered])
        blocks = picture.view(height, supersampling, width, supersampling, 3)
        pictures.append(blocks.mean((1, 3)))
    return torch.stack(pictures)
