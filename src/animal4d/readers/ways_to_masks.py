"""Which finders of masks are at hand, the best first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, cast

from animal4d.candidates import EYES, FILES, Candidate, Choice
from animal4d.errors import Animal4dError
from animal4d.eyes.eyes import Eyes
from animal4d.pretrained.weights import require_weights
from animal4d.readers.grabcut import GrabCutMaskFinder
from animal4d.readers.mask_finders import NOWHERE, MaskFinder, Place
from animal4d.readers.masks import MaskSource
from animal4d.readers.masks_by_densepose import DensePoseMaskFinder
from animal4d.readers.masks_by_eyes import EyesMaskFinder
from animal4d.readers.masks_by_onnx import OnnxMaskFinder
from animal4d.readers.masks_by_sam2 import Sam2MaskFinder
from animal4d.readers.source import FrameSource, Progress, Selection


def ways_to_masks(choice: Choice, place: Place, device: str, load_eyes: Callable[[], Eyes]) -> list[MaskFinder]:
    """Finders of masks as the user's choice and the device order them; none where there is no way.

    GrabCut needs a box, and is the last resort of those who go without the built-in network. Raises Animal4dError where
    the one that was asked for is not at hand.
    """
    if choice.wanted("masks") == FILES:
        raise Animal4dError(f"--use masks={FILES}: no masks came with the clip; give them by --masks")
    finders: list[MaskFinder] = []
    for candidate in choice.at_hand("masks", device):
        if candidate.kind == "pretrained":
            finders.append(_pretrained(candidate, device, load_eyes if choice.may_use(EYES) else None))
        elif candidate.name == EYES:
            finders.append(EyesMaskFinder(load_eyes()))
        elif choice.wanted("masks") is not None or (place.box is not None and not choice.may_use(EYES)):
            finders.append(GrabCutMaskFinder())
    return finders


class _BrokenFinder:
    """One whose weights are damaged: it says so when it is asked for masks, and the next one makes them."""

    kind: ClassVar[str] = "pretrained"

    def __init__(self, name: str, error: Animal4dError) -> None:
        self.name, self.error = name, error

    def config(self) -> dict[str, Any]:
        return {"damaged": str(self.error)}

    def __call__(
        self, frames: FrameSource, selection: Selection, place: Place = NOWHERE, progress: Progress | None = None
    ) -> MaskSource:
        del frames, selection, place, progress
        raise self.error


def were_found(description: str) -> bool:
    """Whether masks of this description were found by a network, which may find them otherwise another time."""
    return description.startswith("found by ")


def _pretrained(candidate: Candidate, device: str, load_eyes: Callable[[], Eyes] | None) -> MaskFinder:
    """A finder with a network that others have trained; the built-in one says where the animal is, if it may."""
    try:
        weights = require_weights(candidate.name)
    except Animal4dError as error:
        return cast("MaskFinder", _BrokenFinder(candidate.name, error))
    if candidate.name == "densepose-cse":
        return DensePoseMaskFinder(weights, device)
    eyes = None if load_eyes is None else load_eyes()
    if candidate.name.startswith("sam2"):
        return Sam2MaskFinder(weights, eyes, device)
    return OnnxMaskFinder(weights, eyes, device=device)
