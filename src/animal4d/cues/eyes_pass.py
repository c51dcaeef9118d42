"""One look of the built-in network at every frame of a clip, shared by all cues that are made of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from animal4d.clip import Clip
from animal4d.eyes.eyes import Eyes
from animal4d.eyes.labels import CROP, LABELS, MAP, MARGIN
from animal4d.readers.crop import cut_image, cut_mask, mask_box, square_around

PROVIDER = "builtin-eyes"
"""Name of the provider of every cue that the network makes."""
_LEAST_SIDE = 4
"""Of a crop, in working pixels."""
_BATCH = 16


@dataclass(frozen=True)
class Sight:
    """What the network saw of a clip. Maps are those of the frames that were looked at, in order of time."""

    frames: Int[Tensor, "seen"]
    """Frames of the clip: those with a mask."""
    origins: Float[Tensor, "seen 2"]
    """Where crops begin (x, y), in working pixels."""
    sides: Float[Tensor, "seen"]
    """Of the crops, in working pixels."""
    parts: Float[Tensor, "seen 8 map map"]
    """Probabilities of the labels of `eyes/labels.py`."""
    embedding: Float[Tensor, "seen 16 map map"]
    """Unit vectors."""
    confidence: Float[Tensor, "seen map map"]
    """In [0, 1]: how well the embedding is believed to say where on the body a pixel is."""
    view: Float[Tensor, "seen 3"]
    """Unit vectors from the animal to the camera in the frame of its trunk (x ahead, y left, z up)."""
    features: Float[Tensor, "seen channels"]
    covered: Bool[Tensor, "seen map map"]
    """Map pixels whose centre the clip's mask covers, within the filmed frame."""

    def pixel_centers(self, index: int) -> Float[Tensor, "map map 2"]:
        """Where the map pixels of a look lie, in working pixels (x, y)."""
        ticks = (torch.arange(MAP) + 0.5) / MAP
        x, y = torch.meshgrid(ticks, ticks, indexing="xy")
        return self.origins[index] + torch.stack((x, y), dim=-1) * self.sides[index]

    def clarity(self) -> Float[Tensor, "seen"]:
        """Mean confidence over the animal: how well a frame could be read."""
        total = (self.confidence * self.covered).flatten(1).sum(1)
        return total / self.covered.flatten(1).sum(1).clamp_min(1)


class EyesPass:
    """Looks at a clip once, however many cues ask for it."""

    def __init__(self, eyes: Eyes) -> None:
        self.eyes = eyes
        self._last: tuple[str, Sight] | None = None

    def sight(self, clip: Clip) -> Sight:
        """What there is to see in the clip's frames, guided by its masks."""
        checksum = clip.checksum()
        if self._last is None or self._last[0] != checksum:
            self._last = (checksum, look_at_clip(self.eyes, clip))
        return self._last[1]


def look_at_clip(eyes: Eyes, clip: Clip) -> Sight:
    """Run the network on a crop of every frame that has a mask."""
    frames, masks = clip.frames.cpu().numpy(), clip.masks.cpu().numpy()
    inside = ((clip.masks > 0.5) & clip.inside_frame()).cpu().numpy()
    boxes = {index: mask_box(masks[index]) for index in torch.nonzero(clip.mask_valid).squeeze(1).tolist()}
    around = {index: square_around(box, MARGIN, _LEAST_SIDE) for index, box in boxes.items() if box is not None}
    seen, squares = list(around), np.array(list(around.values())).reshape(-1, 3)
    looks = []
    for start in range(0, len(seen), _BATCH):
        chosen = list(zip(seen[start : start + _BATCH], squares[start : start + _BATCH], strict=True))
        pictures = np.stack([cut_image(frames[index], square[:2], square[2], CROP) for index, square in chosen])
        guides = np.stack([cut_mask(masks[index], square[:2], square[2], CROP) for index, square in chosen])
        looks.append(eyes.look(torch.from_numpy(pictures), torch.from_numpy(guides)))
    covered = [
        cut_mask(inside[index].astype(np.float32), square[:2], square[2], MAP) > 0.5
        for index, square in zip(seen, squares, strict=True)
    ]
    if not looks:
        empty = torch.zeros(0, MAP, MAP)
        return Sight(
            frames=torch.zeros(0, dtype=torch.long),
            origins=torch.zeros(0, 2),
            sides=torch.zeros(0),
            parts=torch.zeros(0, LABELS, MAP, MAP),
            embedding=torch.zeros(0, eyes.vertex_embeddings.shape[1], MAP, MAP),
            confidence=empty,
            view=torch.zeros(0, 3),
            features=torch.zeros(0, 0),
            covered=empty.bool(),
        )
    return Sight(
        frames=torch.tensor(seen),
        origins=torch.from_numpy(squares[:, :2]).float(),
        sides=torch.from_numpy(squares[:, 2]).float(),
        parts=torch.cat([look.parts for look in looks]),
        embedding=torch.cat([look.embedding for look in looks]),
        confidence=torch.cat([look.confidence for look in looks]),
        view=torch.cat([look.view for look in looks]),
        features=torch.cat([look.features for look in looks]),
        covered=torch.from_numpy(np.stack(covered)),
    )
