"""Surface points by DensePose CSE (arXiv 2011.12438), for those who have its weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from animal4d.clip import Clip
from animal4d.cues.category_embeddings import CategoryEmbeddings
from animal4d.cues.surface import Detection, SurfacePoints, points_of_detections
from animal4d.errors import Animal4dError
from animal4d.files.checksums import file_checksum
from animal4d.geometry.padded_frame import PADDED_SIZE
from animal4d.pretrained.densepose.boxes import overlaps
from animal4d.pretrained.densepose.load import load_densepose
from animal4d.pretrained.densepose.meshes import CATEGORIES
from animal4d.pretrained.densepose.network import AnimalSurface, DensePoseCse
from animal4d.pretrained.densepose.picture import ChannelOrder
from animal4d.readers.crop import mask_box

_LEAST_OVERLAP = 0.3
"""Intersection over union of an animal's box and that of the mask, under which it is another animal."""


@dataclass(frozen=True, eq=False)
class DensePoseSurface:
    """What DensePose sees in the working image of every frame that has a mask."""

    name: ClassVar[str] = "densepose-cse"
    kind: ClassVar[str] = "pretrained"
    version: ClassVar[int] = 1
    cue: ClassVar[str] = "surface"

    weights: Path
    """`model_final_8c9d99.pkl`."""
    embeddings: CategoryEmbeddings
    """The way to the template that is fitted."""
    category: str | None = None
    """One of `meshes.CATEGORIES`, which alone is looked for; without it the one that is seen most."""
    channel_order: ChannelOrder = "bgr"
    """ "rgb" is what the published preprocessing feeds, by mistake."""
    least_score: float = 0.5
    points: int = 1000
    """Largest number of pixels of a frame."""
    least_cycle: float = 0.5
    seed: int = 0
    device: str = "cpu"
    progress: Callable[[str, int, int], None] | None = None
    """Called as `progress(what, done, of)`."""

    def config(self) -> dict[str, Any]:
        return {
            "weights": file_checksum(self.weights) if self.weights.is_file() else "",
            "embeddings": self.embeddings.fingerprint(),
            "category": self.category,
            "channel_order": self.channel_order,
            "least_score": self.least_score,
            "points": self.points,
            "least_cycle": self.least_cycle,
            "seed": self.seed,
        }

    def __call__(self, clip: Clip) -> SurfacePoints:
        """Points in all frames in which the masked animal is seen; the slots of other frames are empty.

        Raises Animal4dError where a file is missing or damaged, and where no animal is seen in any frame.
        """
        if self.category is not None and self.category not in CATEGORIES:
            raise Animal4dError(f'"{self.category}" is nothing that DensePose sees: choose {", ".join(CATEGORIES)}')
        self.embeddings.check()  # before the minutes that the network may take
        network = load_densepose(self.weights, self.device)
        seen = self._seen(clip, network)
        votes: Counter[str] = Counter()
        for animal in seen:
            if animal is not None:
                votes[animal.category] += animal.score  # pyright: ignore[reportArgumentType]
        if not votes:
            wanted = self.category or "animal"
            raise Animal4dError(
                f"{clip.name}: DensePose sees no {wanted} under the masks of any frame: look at the masks, or go "
                "without it"
            )
        # One mesh for the whole clip: the pixels' embeddings do not depend on what the animal is taken for.
        category = max(votes, key=lambda name: votes[name])
        vertex_embeddings = self.embeddings.of(category, network.roi_heads.embedder)
        detections = [_in_square(animal, clip, frame) for frame, animal in enumerate(seen)]
        return points_of_detections(clip, detections, vertex_embeddings, self.points, self.least_cycle, self.seed)

    def _seen(self, clip: Clip, network: DensePoseCse) -> list[AnimalSurface | None]:
        """The masked animal in every frame, None where it is not seen."""
        wanted = CATEGORIES if self.category is None else (self.category,)
        result: list[AnimalSurface | None] = []
        for frame in range(len(clip)):
            box = mask_box(clip.masks[frame].cpu().numpy()) if clip.mask_valid[frame] else None
            found = None
            if box is not None:
                glance = network.glance(clip.frames[frame].cpu().numpy(), self.least_score, self.channel_order)
                masked = torch.tensor([[box[0], box[1], box[0] + box[2], box[1] + box[3]]]).to(glance.boxes)
                overlap = overlaps(glance.boxes, masked)[:, 0]
                right = torch.tensor([glance.category(place) in wanted for place in range(len(overlap))]).to(overlap)
                worth = glance.found.scores * overlap * right * (overlap > _LEAST_OVERLAP)
                if len(worth) and worth.max() > 0:
                    found = network.surfaces(glance, [int(worth.argmax())])[0]
            result.append(found)
            if self.progress is not None:
                self.progress("looking for the animal's surface", frame + 1, len(clip))
        return result


def _in_square(animal: AnimalSurface | None, clip: Clip, frame: int) -> Detection | None:
    """What was seen in a working image as it lies in the padded square."""
    if animal is None:
        return None
    corners = clip.crop[[frame]].to_original(animal.box.reshape(1, 2, 2).to(clip.crop.origin)).reshape(4).cpu()
    box = corners * (PADDED_SIZE / max(clip.crop.original_size))
    return Detection(animal.embedding, animal.segmentation, box, animal.score)


def detections_in_frame(
    network: DensePoseCse,
    frame: UInt8[ndarray, "height width 3"],
    most: int,
    least_score: float = 0.5,
    channel_order: ChannelOrder = "bgr",
) -> list[tuple[str, Detection]]:
    """The `most` best animals of all categories in an original RGB frame, as the published files hold them.

    As there, the network is shown the padded square.
    """
    glance = network.glance(_padded_square(frame), least_score, channel_order)
    animals = network.surfaces(glance, range(min(most, len(glance.boxes))))
    return [
        (animal.category, Detection(animal.embedding, animal.segmentation, animal.box, animal.score))
        for animal in animals
    ]


def _padded_square(frame: UInt8[ndarray, "height width 3"]) -> UInt8[ndarray, "800 800 3"]:
    height, width = (max(round(side * PADDED_SIZE / max(frame.shape[:2])), 1) for side in frame.shape[:2])
    values: Float[Tensor, "1 3 h w"] = torch.tensor(frame).permute(2, 0, 1)[None].float()
    small = torch.nn.functional.interpolate(
        values, (height, width), mode="bilinear", align_corners=False, antialias=True
    )
    square = np.zeros((PADDED_SIZE, PADDED_SIZE, 3), np.uint8)
    square[:height, :width] = small[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy()
    return square
