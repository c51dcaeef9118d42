"""Percentage of correct keypoints (PCK) against BADJA's hand-made 2D keypoints (Biggs et al. 2018)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from animal4d.body.keypoints import keypoint_names
from animal4d.body.model import BodyModel
from animal4d.clip import Clip
from animal4d.errors import Animal4dError
from animal4d.fit.reconstruction import Reconstruction

_LEG_ROWS = {"front": ("elbow", "wrist", "paw"), "back": ("knee", "hock", "paw")}
BODY_POINTS: dict[str, str] = {
    **{
        f"{end}_{side}_{number}{'_paw' if part == 'paw' else ''}": f"{end}_{side}_{part}"
        for end, parts in _LEG_ROWS.items()
        for side in ("left", "right")
        for number, part in enumerate(parts, start=1)
    },
    "neck_lower": "neck",
    "tail_0_base": "tail_start",
    "tail_3_mid": "tail_4",
    "tail_6_tip": "tail_end",
    "jaw": "jaw",
    "nose": "nose_end",
    "chin": "chin",
    "left_ear_tip": "left_ear_tip",
    "right_ear_tip": "right_ear_tip",
}
"""For each of BADJA's names the keypoint of the body, or the joint where there is no such keypoint."""

_LARGEST_STRETCH = 0.05
"""By which the shape of a frame may differ from the one that points were annotated in: sizes are rounded."""
PIXEL_CENTER = 0.5
"""BADJA counts pixel centres at whole numbers, we at halves."""


@dataclass(frozen=True)
class Keypoints2D:
    """Annotated points of some frames of a video."""

    names: tuple[str, ...]
    """Keys of `BODY_POINTS`."""
    frame_numbers: Int[Tensor, "annotated"]
    pixels: Float[Tensor, "annotated points 2"]
    """Continuous pixel coordinates in the original frames; anything where not visible."""
    visible: Bool[Tensor, "annotated points"]


def load_keypoints(path: Path, image_size: tuple[int, int] | None = None) -> Keypoints2D:
    """Read a keypoints.json; points are rescaled where it was made for another size than `image_size` (height, width).

    Raises Animal4dError when the file is not one, or names a point that we do not know.
    """
    try:
        data: dict[str, Any] = json.loads(path.read_text())
        names = {key: str(name) for key, name in data["names"].items()}
        width, height = data["image_size_wh"]
        frames = [(int(frame["frame"]), frame["keypoints_xy"]) for frame in data["frames"]]
        order = list(names)
        pixels = torch.zeros(len(frames), len(order), 2)
        visible = torch.zeros(len(frames), len(order), dtype=torch.bool)
        for row, (_, points) in enumerate(frames):
            for key, (x, y) in points.items():
                pixels[row, order.index(key)] = torch.tensor([x, y], dtype=torch.float32) + PIXEL_CENTER
                visible[row, order.index(key)] = True
    except OSError as error:
        raise Animal4dError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Animal4dError(f"{path}: not a keypoints file as BADJA's ({error})") from error
    unknown = [name for name in names.values() if name not in BODY_POINTS]
    if unknown:
        raise Animal4dError(f"{path}: unknown keypoint {unknown[0]!r}; known are {', '.join(BODY_POINTS)}")
    if image_size is not None:
        if abs(width * image_size[0] / (height * image_size[1]) - 1) > _LARGEST_STRETCH:
            raise Animal4dError(
                f"{path} was made for frames of {width}x{height}, these have {image_size[1]}x{image_size[0]}: it is of "
                "another video"
            )
        pixels *= torch.tensor([image_size[1] / width, image_size[0] / height])
    return Keypoints2D(tuple(names.values()), torch.tensor([number for number, _ in frames]), pixels, visible)


def predicted_points(
    reconstruction: Reconstruction, model: BodyModel, names: tuple[str, ...]
) -> Float[Tensor, "frames points 2"]:
    """Where the fitted body has these points, in pixels of the original frames."""
    posed = reconstruction.posed(model)
    known = {name: posed.joints[:, joint] for joint, name in enumerate(model.joint_names)}
    keypoints = posed.keypoints
    known |= {name: keypoints[:, index] for index, name in enumerate(keypoint_names(model.joint_names))}
    points = torch.stack([known[BODY_POINTS[name]] for name in names], dim=1)
    return reconstruction.crop.to_original(reconstruction.cameras.project(points))


@dataclass(frozen=True)
class KeypointErrors:
    """Distances of the visible annotated points in the frames of a clip that have any."""

    names: tuple[str, ...]
    frames: tuple[int, ...]
    """Positions in the clip."""
    distances: Float[Tensor, "annotated points"]
    """Over sqrt(mask area); NaN where a point is not visible."""

    def correct(self, threshold: float) -> Float[Tensor, "annotated points"]:
        """1 within the threshold, 0 outside, NaN where not visible."""
        hit = (self.distances <= threshold).float()
        return torch.where(self.distances.isnan(), torch.full_like(hit, torch.nan), hit)


def keypoint_errors(
    reconstruction: Reconstruction, model: BodyModel, clip: Clip, keypoints: Keypoints2D
) -> KeypointErrors:
    """Distances over the square root of the area of the original mask; frames without a usable mask are left out."""
    place = {int(number): frame for frame, number in enumerate(clip.frame_numbers)}
    pairs = [
        (row, place[number])
        for row, number in enumerate(keypoints.frame_numbers.tolist())
        if number in place and bool(clip.mask_valid[place[number]])
    ]
    rows, frames = [row for row, _ in pairs], [frame for _, frame in pairs]
    area = (clip.masks[frames] > 0.5).flatten(1).sum(1) * clip.crop.scale[frames].square()
    predicted = predicted_points(reconstruction, model, keypoints.names)[frames]
    distances = (predicted - keypoints.pixels[rows]).norm(dim=-1) / area.sqrt()[:, None]
    distances[~keypoints.visible[rows]] = torch.nan
    return KeypointErrors(keypoints.names, tuple(frames), distances)
