"""Colour: the drawn texture looks like the filmed animal, on black in both. One loss per frame.

Published: LPIPS with VGG (Zhang et al. 2018). Where that network is not at hand: L1 and structural similarity (Wang et
al. 2004), as novel-view synthesis uses them together.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from animal4d.errors import Animal4dError
from animal4d.geometry.images import SSIM_RADIUS, ssim

Perceptual = Callable[[Tensor, Tensor], Tensor]
"""From two batches of pictures "frames height width 3" in [0, 1] to one distance per frame."""

_SSIM_SHARE = 0.2
"""Of the loss without LPIPS; the rest is L1 (Kerbl et al. 2023)."""
_VGG_FILE = "vgg16-397923af.pth"
_VGG_ADDRESS = f"https://download.pytorch.org/models/{_VGG_FILE}"


def color_loss(
    drawn: Float[Tensor, "frames height width 3"],
    filmed: Float[Tensor, "frames height width 3"],
    masks: Float[Tensor, "frames height width"],
    lpips: Perceptual | None = None,
) -> Float[Tensor, "frames"]:
    """Distance between the texture drawn over black and the filmed animal on black: LPIPS, or L1 + SSIM without it.

    Pictures are sRGB in [0, 1]; masks are 0 to 1. A gradient goes to `drawn` only. L1 is the mean over all pixels over
    the mask's share of the picture, so that the margin around the animal does not count; a frame with an empty mask
    has no loss and no gradient. Pictures smaller than the 11 x 11 pixels of SSIM's window are padded with black.
    """
    target = (filmed * masks[..., None]).detach()
    share = masks.detach().mean((1, 2))
    if lpips is not None:
        distance = lpips(drawn, target)
    else:
        absolute = (drawn - target).abs().mean((1, 2, 3)) / share.clamp_min(1e-6)
        missing = [max(0, 2 * SSIM_RADIUS + 1 - size) for size in drawn.shape[1:3]]
        margin = (0, 0, 0, missing[1], 0, missing[0])
        pad = torch.nn.functional.pad
        unlike = 0.5 * (1 - ssim(pad(drawn, margin), pad(target, margin)))
        distance = (1 - _SSIM_SHARE) * absolute + _SSIM_SHARE * unlike / share.clamp_min(1e-6)
    return torch.where(share > 0, distance, 0.0)


def load_lpips(device: torch.device | str = "cpu") -> Perceptual:
    """LPIPS with VGG, ready for `color_loss` and as a metric. Nothing is downloaded.

    Raises Animal4dError where the package `lpips`, torchvision or the weights of VGG are missing, with what to install
    or download.
    """
    weights = Path(torch.hub.get_dir()) / "checkpoints" / _VGG_FILE
    try:
        package = importlib.import_module("lpips")
    except Exception as error:  # a torchvision that does not fit to torch fails in many ways
        reason = " ".join(str(error).split()) or type(error).__name__
        raise Animal4dError(
            f"LPIPS is not available ({reason}): pip install 'animal4d[lpips]' with a torchvision that fits to torch "
            f"{torch.__version__}, and download {_VGG_ADDRESS} to {weights}"
        ) from error
    if not weights.is_file():
        raise Animal4dError(f"LPIPS needs the weights of VGG: download {_VGG_ADDRESS} to {weights}")
    try:
        network = package.LPIPS(net="vgg", verbose=False).eval().requires_grad_(False).to(device)
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise Animal4dError(f"LPIPS cannot be loaded ({reason}): download {_VGG_ADDRESS} to {weights} again") from error

    def distance(
        a: Float[Tensor, "frames height width 3"], b: Float[Tensor, "frames height width 3"]
    ) -> Float[Tensor, "frames"]:
        first, second = a.permute(0, 3, 1, 2), b.permute(0, 3, 1, 2)
        return network(first, second, normalize=True).flatten()

    return distance
