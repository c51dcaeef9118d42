"""Part masks of original frames from the surface maps that a network saw in them."""

from __future__ import annotations

import torch
from jaxtyping import Bool, UInt8
from numpy import ndarray
from torch import Tensor

from animal4d.body.model import PART_NAMES, BodyModel
from animal4d.clip import Clip
from animal4d.cues.cache import Provider
from animal4d.cues.parts import LEG, NONE, PART_LABELS, UNKNOWN
from animal4d.cues.surface import SurfacePoints
from animal4d.cues.surface_parts import SurfaceParts

_LEGS = [part for part, name in enumerate(PART_NAMES) if name.endswith("leg")]


def seen_parts(clip: Clip, surface: Provider[SurfacePoints], model: BodyModel) -> UInt8[Tensor, "frames height width"]:
    """Labels of `cues.parts.PART_LABELS` in the working images of a clip, as files hold them: all legs are "leg", and
    there is no label for what is not known.

    Where parts meet, the votes of the surface points decide; what no point is near is none. Raises what `surface`
    raises.
    """
    # All legs vote together.
    parts = model.part_labels.clone()
    parts[torch.isin(parts, torch.tensor(_LEGS))] = _LEGS[0]
    labels = SurfaceParts(surface, parts, least_share=0.0)(clip).labels
    labels[labels == PART_LABELS[PART_NAMES[_LEGS[0]]]] = LEG
    labels[labels == UNKNOWN] = NONE
    return labels


def in_original_frame(
    labels: UInt8[Tensor, "frames height width"], clip: Clip, frame: int, mask: Bool[ndarray, "rows columns"]
) -> UInt8[ndarray, "rows columns"]:
    """One frame's labels at the resolution of the original frame, by nearest neighbour; none beyond the mask."""
    crop = clip.crop[[frame]]
    rows, columns = (torch.arange(length, dtype=torch.float32) + 0.5 for length in crop.original_size)
    size = labels.shape[1:]
    along_x = (
        crop.from_original(torch.stack((columns, torch.zeros_like(columns)), dim=-1)[None])[0, :, 0].floor().long()
    )
    along_y = crop.from_original(torch.stack((torch.zeros_like(rows), rows), dim=-1)[None])[0, :, 1].floor().long()
    inside = ((along_y >= 0) & (along_y < size[0]))[:, None] & ((along_x >= 0) & (along_x < size[1]))
    taken = labels[frame][along_y.clamp(0, size[0] - 1)[:, None], along_x.clamp(0, size[1] - 1)]
    taken = taken * (inside & torch.from_numpy(mask))
    return taken.numpy()
