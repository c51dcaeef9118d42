"""Is this pixel the animal's? A tiny network that learns it from the known frames of one clip.

It sees where a carried mask has the pixel and how far that mask was carried, the colours at the pixel and around it,
how much more common its colour is on the animal than beside it, and its place in the animal's box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

_REACH = 40
"""Pixels from the carried outline within which a pixel may be either; farther away the carried mask is believed."""
_BINS = (16, 32, 32)
"""Of L, a and b, for how common a colour is."""
_PIXELS_PER_FRAME = 1500
_STEPS, _BATCH, _RATE = 300, 4096, 0.01

Picture = NDArray[np.float32]


@dataclass(frozen=True)
class ColorEvidence:
    """How much more common every colour is on the animal than beside it, as a logarithm."""

    log_ratio: Float[NDArray[np.float32], "bins"]

    @staticmethod
    def of(pictures: Sequence[Picture], masks: Float[NDArray[np.float32], "frames height width"]) -> ColorEvidence:
        """From frames whose mask is known; pictures are L, a, b in 8 bits."""
        animal, beside = np.zeros(np.prod(_BINS)), np.zeros(np.prod(_BINS))
        for picture, mask in zip(pictures, masks, strict=True):
            inside = mask > 0.5
            near = cv2.dilate(inside.astype(np.uint8), np.ones((2 * _REACH + 1, 2 * _REACH + 1), np.uint8)) > 0
            bins = _bins(picture)
            animal += np.bincount(bins[inside], minlength=len(animal))
            beside += np.bincount(bins[near & ~inside], minlength=len(beside))
        ratio = (animal / max(animal.sum(), 1) + 1e-6) / (beside / max(beside.sum(), 1) + 1e-6)
        return ColorEvidence(np.log(ratio).astype(np.float32))

    def at(self, picture: Picture) -> Picture:
        return self.log_ratio[_bins(picture)]


def describe_pixels(
    carried: Picture, picture: Picture, colors: ColorEvidence, distance: int
) -> Float[Tensor, "pixels features"]:
    """What the network sees of every pixel. `distance` is in frames, to the nearest known mask."""
    evidence = colors.at(picture)
    around = cv2.GaussianBlur(picture, (0, 0), 4.0)
    x, y, width, height = cv2.boundingRect((carried > 0.5).astype(np.uint8))
    rows, columns = np.indices(carried.shape, dtype=np.float32)
    planes = (
        carried,
        _signed_distance(carried),
        *np.moveaxis(picture, 2, 0),
        *np.moveaxis(around, 2, 0),
        evidence,
        cv2.GaussianBlur(evidence, (0, 0), 1.5),
        (columns - x) / max(width, 1),
        (rows - y) / max(height, 1),
        np.full_like(carried, distance),
    )
    return torch.from_numpy(np.stack(planes, axis=-1).reshape(-1, len(planes)).astype(np.float32))


@dataclass(frozen=True)
class PixelClassifier:
    """The network, and the scale of its inputs."""

    network: nn.Module
    mean: Float[Tensor, "features"]
    spread: Float[Tensor, "features"]

    @staticmethod
    def learn(
        examples: Sequence[tuple[Picture, Float[Tensor, "pixels features"]]], truths: Sequence[Picture]
    ) -> PixelClassifier:
        """From carried masks with their descriptions, and the true masks. The same examples give the same network."""
        generator = torch.Generator().manual_seed(0)
        inputs, targets = [], []
        for (carried, description), truth in zip(examples, truths, strict=True):
            near = torch.from_numpy(np.flatnonzero(_near_outline(carried)))
            chosen = near[torch.randperm(len(near), generator=generator)[:_PIXELS_PER_FRAME]]
            inputs.append(description[chosen])
            targets.append(torch.from_numpy(truth).flatten()[chosen])
        x, y = torch.cat(inputs), (torch.cat(targets) > 0.5).float()
        mean, spread = x.mean(0), x.std(0) + 1e-3
        x = (x - mean) / spread
        network = _network(x.shape[1], generator)
        optimizer = torch.optim.Adam(network.parameters(), lr=_RATE, weight_decay=1e-4)
        for step in range(_STEPS):
            optimizer.param_groups[0]["lr"] = _RATE * (1 - step / _STEPS)
            batch = torch.randint(len(x), (_BATCH,), generator=generator)
            loss = nn.functional.binary_cross_entropy_with_logits(network(x[batch])[:, 0], y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return PixelClassifier(network, mean, spread)

    @torch.no_grad()
    def mend(self, carried: Picture, description: Float[Tensor, "pixels features"]) -> Picture:
        """The carried mask with the pixels near its outline judged anew."""
        near = _near_outline(carried)
        inputs = (description[torch.from_numpy(near.ravel())] - self.mean) / self.spread
        mended = carried.copy()
        mended[near] = self.network(inputs)[:, 0].sigmoid().numpy()
        return np.asarray(cv2.GaussianBlur(mended, (0, 0), 1.0), dtype=np.float32)


def _network(inputs: int, generator: torch.Generator, hidden: int = 32) -> nn.Module:
    """Two hidden layers, whose first weights come from the generator alone."""
    # Layers are made with weights from the global generator, which belongs to others.
    with torch.random.fork_rng(devices=[]):
        network = nn.Sequential(
            nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1)
        )
    for layer in network:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(layer.bias)
    return network


def _bins(picture: Picture) -> NDArray[np.int64]:
    steps = np.array([256 / count for count in _BINS], np.float32)
    levels = (picture / steps).astype(np.int64)
    return (levels[..., 0] * _BINS[1] + levels[..., 1]) * _BINS[2] + levels[..., 2]


def _signed_distance(carried: Picture) -> Picture:
    """To the outline of a mask in pixels, positive inside, not beyond `_REACH`."""
    inside = (carried > 0.5).astype(np.uint8)
    signed = cv2.distanceTransform(inside, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    return np.asarray(np.clip(signed, -_REACH, _REACH), dtype=np.float32)


def _near_outline(carried: Picture) -> NDArray[np.bool_]:
    return np.abs(_signed_distance(carried)) < _REACH
