"""How many pictures go through a network at once, and what a network reads of them."""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of R, G and B in [0, 1]: what most networks were trained with."""
_CPU_BYTES = 1 << 29
"""On a CPU larger batches bring no speed."""
_SHARE = 0.5
"""Of a GPU's free memory."""
_MOST = 32


def batch_by_memory(bytes_each: int, device: torch.device) -> int:
    """Pictures in a batch, where each needs about so many bytes; at least one."""
    room = _SHARE * torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else _CPU_BYTES
    return int(min(max(room // bytes_each, 1), _MOST))


def resized(
    images: UInt8[Tensor, "n height width 3"], size: tuple[int, int], mode: str, device: torch.device
) -> Float[Tensor, "n 3 size_height size_width"]:
    """Pictures in [0, 1] at a network's size (height, width), resampled with antialiasing (`bilinear`, `bicubic`)."""
    pictures = images.to(device).permute(0, 3, 1, 2).float() / 255
    if pictures.shape[-2:] == size:
        return pictures
    return interpolate(pictures, size, mode=mode, antialias=True, align_corners=False).clamp(0, 1)


def normalized(
    pictures: Float[Tensor, "n 3 height width"],
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
) -> Float[Tensor, "n 3 height width"]:
    """With zero mean and unit variance over the pictures of the training set."""
    low, spread = (pictures.new_tensor(values)[:, None, None] for values in (mean, std))
    return (pictures - low) / spread
