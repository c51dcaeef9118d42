"""Which frames teach, which choose, which judge: of each run of 20 frames, 13 train, 2 validate and 5 test.

The published split is 15 for training and 5 for testing. The two validation frames are taken from the 15: the best
checkpoint is chosen by them, never by the test frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

RUN, TRAIN_AND_VALIDATION = 20, 15
VALIDATION_PLACES = (4, 10)


@dataclass(frozen=True)
class Split:
    """Indices of working frames, ascending, disjoint."""

    train: Int[Tensor, "train"]
    validation: Int[Tensor, "validation"]
    test: Int[Tensor, "test"]

    @property
    def held_out(self) -> Int[Tensor, "held_out"]:
        """Frames whose masks nothing may learn from."""
        return torch.cat((self.validation, self.test)).sort().values

    def as_lists(self) -> dict[str, list[int]]:
        return {"train": self.train.tolist(), "validation": self.validation.tolist(), "test": self.test.tolist()}


def split_frames(mask_valid: Bool[Tensor, "frames"]) -> Split:
    """The split of a clip; frames without a mask are in none of the parts.

    A clip shorter than one run keeps the same proportions. Fewer than four frames all train: nothing is held out.
    """
    frames = len(mask_valid)
    run = min(RUN, frames)
    held_in = max(1, round(run * TRAIN_AND_VALIDATION / RUN)) if frames >= 4 else run
    places = {round(place * held_in / TRAIN_AND_VALIDATION) for place in VALIDATION_PLACES} if held_in >= 6 else set()
    kinds: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for frame in torch.nonzero(mask_valid).squeeze(1).tolist():
        place = frame % run
        kind = "test" if place >= held_in else "validation" if place in places else "train"
        kinds[kind].append(frame)
    if not kinds["train"]:
        kinds = {"train": sorted(frame for part in kinds.values() for frame in part), "validation": [], "test": []}
    return Split(**{name: torch.tensor(indices, dtype=torch.long) for name, indices in kinds.items()})
