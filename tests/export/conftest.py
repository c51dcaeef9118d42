"""The small animal of toy.py and its motion, for tests that do not need another one."""

from __future__ import annotations

import pytest
import torch

from animal4d.body.model import BodyModel
from animal4d.fit.reconstruction import Reconstruction
from animal4d.texture.atlas import Atlas
from animal4d.texture.bake import BakedTexture
from export.toy import coloured_reconstruction, toy_animal


@pytest.fixture(scope="session")
def model() -> BodyModel:
    return toy_animal()


@pytest.fixture(scope="session")
def reconstruction(model: BodyModel) -> Reconstruction:
    return coloured_reconstruction(model)


@pytest.fixture(scope="session")
def texture(model: BodyModel) -> BakedTexture:
    """Every corner of every face apart, in its own place."""
    corners = torch.arange(model.faces.numel())
    uv = torch.stack((corners / len(corners), torch.linspace(0, 1, len(corners))), dim=-1)
    image = torch.randint(0, 255, (16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    atlas = Atlas(uv, model.faces.flatten(), corners.reshape(-1, 3))
    return BakedTexture(image, torch.ones(16, 16, dtype=torch.bool), atlas)
