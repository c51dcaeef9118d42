"""DensePose CSE for animals (Neverova et al., arXiv 2011.12438): a picture in, animals and their surfaces out.

The R50-FPN network of `densepose_rcnn_R_50_FPN_soft_animals_*`; its parameters have the names of Detectron2's files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor, nn

from animal4d.pretrained.densepose.backbone import Pyramid, PyramidBackbone
from animal4d.pretrained.densepose.boxes import clipped, not_empty
from animal4d.pretrained.densepose.heads import FoundBoxes, Heads
from animal4d.pretrained.densepose.meshes import CATEGORIES
from animal4d.pretrained.densepose.picture import ChannelOrder, network_picture
from animal4d.pretrained.densepose.proposals import ProposalGenerator


@dataclass(frozen=True)
class AnimalSurface:
    """An animal in a picture, and what of it each pixel shows."""

    category: str
    """One of `meshes.CATEGORIES`."""
    score: float
    """Probability, in [0, 1]."""
    box: Float[Tensor, "4"]
    """Left, top, right, bottom in pixels of the picture that was given; the maps cover it."""
    embedding: Float[Tensor, "16 112 112"]
    """Not normalised."""
    segmentation: Float[Tensor, "2 112 112"]
    """Logits of background and animal."""


@dataclass(frozen=True)
class Glance:
    """The animals in a picture, before their surfaces are looked at, which takes most of the time where there are
    many."""

    found: FoundBoxes
    boxes: Float[Tensor, "n 4"]
    """Left, top, right, bottom in pixels of the picture that was given."""
    pyramid: Pyramid

    def category(self, place: int) -> str:
        return CATEGORIES[int(self.found.classes[place])]


class DensePoseCse(nn.Module):
    """The network. `load.load_densepose` reads its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = PyramidBackbone()
        self.proposal_generator = ProposalGenerator()
        self.roi_heads = Heads()

    @torch.no_grad()
    def glance(
        self,
        picture: UInt8[ndarray, "height width 3"],
        least_score: float = 0.5,
        channel_order: ChannelOrder = "bgr",
    ) -> Glance:
        """Animals in an RGB picture with a score above `least_score`, best first."""
        shown = network_picture(picture, channel_order)
        pyramid = self.backbone(shown.pixels.to(self.roi_heads.decoder.predictor.weight.device))
        proposals = self.proposal_generator(pyramid, shown.size)
        found = self.roi_heads.find(pyramid, proposals, shown.size, least_score)
        boxes = clipped(shown.to_original(found.boxes), shown.original_size)
        kept = not_empty(boxes)
        return Glance(found[kept], boxes[kept], pyramid)

    @torch.no_grad()
    def surfaces(self, glance: Glance, chosen: Sequence[int]) -> list[AnimalSurface]:
        """The surfaces of some animals of a glance, by their places in it; on the CPU."""
        places = torch.tensor(chosen, dtype=torch.long, device=glance.boxes.device)
        maps = self.roi_heads.surface(glance.pyramid, glance.found.boxes[places])
        boxes, embedding, segmentation = (x.cpu() for x in (glance.boxes[places], maps.embedding, maps.segmentation))
        return [
            AnimalSurface(
                glance.category(place), float(glance.found.scores[place]), boxes[i], embedding[i], segmentation[i]
            )
            for i, place in enumerate(chosen)
        ]
