"""What casts doubt on a run, in plain words: computed from its results, for the top of the report."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from animal4d import __version__
from animal4d.config import ASSUMED_BODY_LENGTH
from animal4d.report.motion import Motion, seen_shares
from animal4d.report.run import ShownRun

_UNSEEN = 0.12
_HARDLY_SEEN = 0.4
"""Shares of a flank."""
_LOW_IOU = 0.75
_COARSE_IOU = 0.85
_GAP_IOU = 0.05
_SUNK = 0.03
"""Share of the leg length that a paw may lie below the ground."""
_UNSURE_DEGREES = 30.0
_FEW_FRAMES = 10


def doubts(run: ShownRun, motion: Motion) -> list[str]:
    """One sentence each, the gravest first; none where nothing stands out."""
    return [
        *_of_the_fit(run),
        *_of_the_view(run),
        *_of_the_frames(run),
        *_of_the_motion(run, motion),
        *(f"{str(text)[:1].upper()}{str(text)[1:].rstrip('.')}." for text in run.metrics.get("warnings") or ()),
    ]


def assumptions(run: ShownRun) -> list[str]:
    """What the run took for granted, for want of something better."""
    found = []
    intrinsics = str(run.setting("clip", "intrinsics") or "")
    if intrinsics.startswith("assumed"):
        found.append(f"The focal length is {intrinsics}. Depth and size depend on it.")
    if run.body_length == ASSUMED_BODY_LENGTH:
        found.append(f"The animal is taken to be {run.body_length:g} m long from nose to tail base; nobody said so.")
    if run.setting("request", "cameras") is None and "cameras of" not in intrinsics:
        found.append("No camera track was given: the camera counts as still, and speeds are relative to it.")
    if run.setting("request", "truth") is None:
        found.append("No truth was given: 3D errors are not known, only how well the pictures agree.")
    version = str(run.setting("versions", "animal4d") or "unknown")
    if version != __version__:
        found.append(f"The run was made by animal4d {version}, this report by {__version__}.")
    return found


def _of_the_fit(run: ShownRun) -> Iterable[str]:
    diverged = run.metrics.get("diverged")
    if diverged:
        yield f"The fit stopped early ({diverged}); these are the results of its last good state."
    for decision in run.record.get("decisions") or ():
        if "; unsure" in str(decision):
            yield f"The direction that the animal looks in is unsure: {decision}."


def _of_the_view(run: ShownRun) -> Iterable[str]:
    for side, share in seen_shares(run.reconstruction, run.model).items():
        if share < _UNSEEN:
            yield f"The {side} side was never seen: its colours and small shapes are guesses."
        elif share < _HARDLY_SEEN:
            yield f"Of the {side} side only {share:.0%} was ever seen: the rest of its colours is a guess."


def _of_the_frames(run: ShownRun) -> Iterable[str]:
    if len(run.reconstruction) < _FEW_FRAMES:
        yield f"{len(run.reconstruction)} frames are few: shape and motion lean on the prior."
    overlaps = run.per_frame("iou")
    numbers = run.frame_numbers
    lost = [number for number, overlap in zip(numbers, overlaps, strict=True) if overlap is None]
    if lost:
        yield f"{frames_in_words(lost, numbers)} without a usable mask: their poses come from the neighbours."
    low = [
        number for number, overlap in zip(numbers, overlaps, strict=True) if overlap is not None and overlap < _LOW_IOU
    ]
    if low:
        yield f"{frames_in_words(low, numbers)} with an overlap below {_LOW_IOU:.0%}: do not trust the poses there."
    test, train = run.value("iou", "test"), run.value("iou", "train")
    if test is not None and test < _COARSE_IOU:
        yield f"On held-out frames mesh and mask overlap by {test:.0%} only: the animal is followed coarsely."
    if test is not None and train is not None and train - test > _GAP_IOU:
        yield f"Held-out frames fit worse than those that were fitted (IoU {test:.3f} against {train:.3f})."


def _of_the_motion(run: ShownRun, motion: Motion) -> Iterable[str]:
    sunk = {leg: -float(heights.min()) / motion.leg_length for leg, heights in motion.paw_heights.items()}
    deep = [leg.replace("_", " ") for leg, depth in sunk.items() if depth > _SUNK]
    if deep:
        paws = f"The {_listed(deep)} {'paw sinks' if len(deep) == 1 else 'paws sink'}"
        yield f"{paws} into the ground, by up to {max(sunk.values()):.0%} of the leg's length."
    unsure = [
        angle.joint.replace("_", " ")
        for angle in motion.angles
        if angle.uncertainty is not None and statistics.median(angle.uncertainty.tolist()) > _UNSURE_DEGREES
    ]
    if unsure:
        yield f"Hardly observed for most of the clip: {', '.join(unsure)}."


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def frames_in_words(chosen: Sequence[int], numbers: Sequence[int]) -> str:
    """Runs of neighbouring frames as ranges: "3 frames (4-5, 9)"."""
    place = {number: index for index, number in enumerate(numbers)}
    ranges: list[list[int]] = []
    for number in chosen:
        if ranges and place[number] == place[ranges[-1][1]] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    words = [str(first) if first == last else f"{first}-{last}" for first, last in ranges]
    shown = ", ".join(words[:6]) + (", …" if len(words) > 6 else "")
    return f"{len(chosen)} {'frame' if len(chosen) == 1 else 'frames'} ({shown})"
