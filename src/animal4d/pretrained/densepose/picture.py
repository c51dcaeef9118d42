"""A picture as the network takes it: resized, in BGR, less the mean colour, padded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image
from torch import Tensor

from animal4d.pretrained.densepose.backbone import DIVISIBILITY

ChannelOrder = Literal["bgr", "rgb"]
SHORTER_SIDE = 800
LONGEST_SIDE = 1333
_MEAN_BGR = (103.53, 116.28, 123.675)


@dataclass(frozen=True)
class NetworkPicture:
    """A picture before the first layer."""

    pixels: Float[Tensor, "1 3 padded_height padded_width"]
    size: tuple[int, int]
    """Height and width without the padding, which lies to the right and below."""
    original_size: tuple[int, int]
    """Height and width of what it was made from."""

    def to_original(self, boxes: Float[Tensor, "n 4"]) -> Float[Tensor, "n 4"]:
        """Boxes in pixels of this picture as those in pixels of the original."""
        y, x = (ours / own for ours, own in zip(self.original_size, self.size, strict=True))
        return boxes * boxes.new_tensor([x, y, x, y])


def network_size(height: int, width: int) -> tuple[int, int]:
    """To what height and width a picture is resized: `SHORTER_SIDE` the shorter one, but `LONGEST_SIDE` at most."""
    scale = SHORTER_SIDE / min(height, width)
    if scale * max(height, width) > LONGEST_SIDE:
        scale = LONGEST_SIDE / max(height, width)
    return int(height * scale + 0.5), int(width * scale + 0.5)


def resized(picture: UInt8[ndarray, "height width 3"]) -> UInt8[ndarray, "network_height network_width 3"]:
    """By Pillow's bilinear filter, which averages where it shrinks; in 8 bits, as the network was trained."""
    height, width = network_size(*picture.shape[:2])
    if (height, width) == picture.shape[:2]:
        return picture
    return np.array(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))


def network_picture(picture: UInt8[ndarray, "height width 3"], channel_order: ChannelOrder = "bgr") -> NetworkPicture:
    """An RGB picture for the network, which was trained on BGR.

    `channel_order` "rgb" hands the channels over as they are: what the published preprocessing of the animals' clips
    did, by mistake.
    """
    values = torch.from_numpy(np.ascontiguousarray(resized(np.ascontiguousarray(picture)))).float()
    if channel_order == "bgr":
        values = values.flip(-1)
    values = (values - torch.tensor(_MEAN_BGR)).permute(2, 0, 1)[None]
    height, width = values.shape[2:]
    padding = (0, -width % DIVISIBILITY, 0, -height % DIVISIBILITY)
    padded = torch.nn.functional.pad(values, padding).contiguous(memory_format=torch.channels_last)
    return NetworkPicture(padded, (height, width), (picture.shape[0], picture.shape[1]))
