"""DINO (Caron et al. 2021, arXiv 2104.14294), DINOv2 (2304.07193) and DINOv3 (2508.10104): features of patches.

The networks come from `transformers`. Those with learnt positions were trained at one size and interpolate them to
others (`interpolate_pos_encoding`); DINOv3's positions are rotations, which fit any size.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from animal4d.pretrained.batches import batch_by_memory, normalized, resized
from animal4d.pretrained.transformers_folder import read_network

PUBLISHED_SIZE = 480
"""Side in pixels at which 4D-Animal looks."""
_CLASSES = {
    "vit": "ViTModel",
    "dinov2": "Dinov2Model",
    "dinov2_with_registers": "Dinov2WithRegistersModel",
    "dinov3_vit": "DINOv3ViTModel",
}
_COPIES = 20
"""Of the tokens that are in memory at once: the hidden layer of an MLP, queries, keys, values and results."""


@dataclass(frozen=True, eq=False)
class Dino:
    """A network ready to look."""

    network: Any
    kind: str
    patch: int
    """Side of a patch in pixels."""
    device: torch.device

    def side(self, wanted: int = PUBLISHED_SIZE) -> int:
        """The multiple of the patch's side that is nearest to a wanted side of the picture, in pixels."""
        return max(round(wanted / self.patch), 1) * self.patch

    def batch(self, side: int) -> int:
        """Pictures of this side that the memory takes at once."""
        return batch_by_memory(_COPIES * 4 * self.network.config.hidden_size * (side // self.patch) ** 2, self.device)

    @torch.inference_mode()
    def patch_features(
        self, images: UInt8[Tensor, "n height width 3"], wanted: int = PUBLISHED_SIZE
    ) -> Float[Tensor, "n patches channels"]:
        """The last layer's normalised tokens of the patches, row by row, of RGB pictures resized to `side(wanted)`."""
        side = self.side(wanted)
        pictures = normalized(resized(images, (side, side), "bicubic", self.device))
        learnt = {"interpolate_pos_encoding": True} if self.kind == "vit" else {}
        tokens = self.network(pixel_values=pictures, **learnt).last_hidden_state
        # The class token and registers come first.
        return tokens[:, tokens.shape[1] - (side // self.patch) ** 2 :]


def read_dino(folder: Path, device: torch.device | str = "cpu") -> Dino:
    """The network in a folder as `transformers` keeps it. Raises Animal4dError as `read_network`."""
    where = torch.device(device)
    network = read_network(folder, _CLASSES, "DINO", where)
    size = network.config.patch_size
    return Dino(network, network.config.model_type, size if isinstance(size, int) else int(size[0]), where)
