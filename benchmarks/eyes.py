"""What the built-in network sees in animals and footage that it never learnt from: `python benchmarks/eyes.py`.

Third-party animals (Quaternius, CC0) rendered with their truth, with masks and without; DAVIS footage in crops from the
boxes of its hand-made masks, without masks. These measure only: no weights were chosen by them. Prints two tables and
writes `runs/eyes-benchmark.json`.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy import ndarray
from PIL import Image
from result_cases import REPOSITORY, SHARED
from torch import Tensor

from animal4d.body.model import PART_NAMES
from animal4d.eyes.eyes import Eyes, Look, load_eyes
from animal4d.eyes.labels import CROP, LABELS, MAP
from animal4d.eyes.training.validation import leg_side_share, part_overlaps
from animal4d.files.atomic import write_json
from animal4d.synth.clip import SyntheticClip, make_synthetic_clip
from animal4d.synth.config import third_party_config

ANIMALS, FOOTAGE = ("Husky", "ShibaInu", "Cow"), ("dog", "camel")
FILL = 0.8
"""Share of the crop that the box's longer side takes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="a file of animal4d train-eyes (default: the shipped one)")
    parser.add_argument("--frames", type=int, default=60, help="at most so many frames of each")
    parser.add_argument("--pictures", type=Path, help="folder for what was seen, drawn over the crops")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "runs" / "eyes-benchmark.json")
    options = parser.parse_args()
    eyes = load_eyes(options.weights)
    found: dict[str, dict[str, float]] = {}
    for name in ANIMALS:
        path = SHARED / "animals" / f"{name}.glb"
        if not path.is_file():
            print(f"{path} is not here: skipped")
            continue
        clip = make_synthetic_clip(replace(third_party_config(path), frames=options.frames))
        for given in (True, False):
            title = name + (" with mask" if given else " without")
            found[title] = animal_measures(eyes, clip, given, options.pictures and options.pictures / f"{title}.png")
    for name in FOOTAGE:
        folder = SHARED / "davis" / name
        if not folder.is_dir():
            print(f"{folder} is not here: skipped")
            continue
        found[name] = footage_measures(
            eyes, folder, options.frames, options.pictures and options.pictures / f"{name}.png"
        )
    print_tables(found)
    write_json(options.out, {"weights": eyes.version, "training": dict(eyes.training), "found": found})


def animal_measures(eyes: Eyes, clip: SyntheticClip, given: bool, picture: Path | None) -> dict[str, float]:
    """Shares of the frames and pixels that are read as the truth says."""
    windows = [square_window(mask) for mask in clip.masks]
    images = torch.from_numpy(np.stack([cut(f, w, smooth=True) for f, w in zip(clip.frames, windows, strict=True)]))
    parts = np.stack([cut(labels, w, smooth=False) for labels, w in zip(clip.parts, windows, strict=True)])
    masks = torch.from_numpy(parts > 0).float() if given else None
    began = time.monotonic()
    look = eyes.look(images, masks)
    seconds = (time.monotonic() - began) / len(images)
    labels, seen = quarter(parts), look.parts.argmax(1)
    view, true = look.view, true_views(clip)
    overlaps = part_overlaps(seen, labels)
    covered, foreground = labels > 0, look.foreground > 0.5
    if picture is not None:
        draw(images, look, picture)
    angle = (view * true).sum(-1).clamp(-1, 1).acos().rad2deg()
    return {
        "right_way": float(((view[:, :2] * true[:, :2]).sum(-1) > 0).float().mean()),
        "part_iou": float(torch.stack(list(overlaps.values())).nanmean()),
        "leg_side": float(leg_side_share(seen, labels)),
        "mask_iou": float(iou(foreground, covered).mean()),
        "view_error": float(angle.median()),
        "ms_per_crop": 1000 * seconds,
        **{f"iou_{part}": float(value) for part, value in overlaps.items()},
    }


def footage_measures(eyes: Eyes, folder: Path, frames: int, picture: Path | None) -> dict[str, float]:
    """Overlap of the mask that the network finds in the crop with the hand-made one, at the crop's resolution."""
    images, masks = [], []
    for path in sorted((folder / "frames").iterdir())[:frames]:
        mask = np.asarray(Image.open(folder / "masks" / f"{path.stem}.png"))
        mask = (mask if mask.ndim == 2 else mask[..., 0]) > 0
        window = square_window(mask)
        images.append(cut(np.asarray(Image.open(path).convert("RGB")), window, smooth=True))
        masks.append(cut(mask.astype(np.uint8), window, smooth=False) > 0)
    crops = torch.from_numpy(np.stack(images))
    look = eyes.look(crops)
    full = torch.nn.functional.interpolate(look.foreground[:, None], scale_factor=CROP / MAP, mode="bilinear")[:, 0]
    overlap = iou(full > 0.5, torch.from_numpy(np.stack(masks)))
    if picture is not None:
        draw(crops, look, picture)
    return {"mask_iou": float(overlap.mean()), "worst": float(overlap.min())}


def true_views(clip: SyntheticClip) -> Tensor:
    """Unit vectors "frames 3" from the animal to the camera: x along its heading, z up."""
    truth = clip.truth
    ahead = truth.facing * truth.facing.new_tensor((1.0, 1.0, 0.0))
    ahead = torch.nn.functional.normalize(ahead, dim=-1)
    up = torch.tensor((0.0, 0.0, 1.0)).expand_as(ahead)
    axes = torch.stack((ahead, torch.linalg.cross(up, ahead), up), dim=1)
    towards = truth.cameras.centers - truth.vertices.mean(1)
    return torch.nn.functional.normalize(torch.einsum("fij,fj->fi", axes, towards), dim=-1)


def square_window(mask: ndarray) -> tuple[float, float, float]:
    """Left, top and side of the crop around a mask, in pixels."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    side = max(bottom - top, right - left) / FILL
    return (left + right - side) / 2, (top + bottom - side) / 2, side


def cut(image: ndarray, window: tuple[float, float, float], smooth: bool) -> ndarray:
    """The window as CROP x CROP pixels; what lies outside of the image is black."""
    left, top, side = window
    fine = 4 if smooth and side > CROP else 1
    scale = fine * CROP / side
    # OpenCV's pixel centres lie at integers, ours at halves.
    shift = [-left * scale + 0.5 * scale - 0.5, -top * scale + 0.5 * scale - 0.5]
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    how = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
    large = cv2.warpAffine(image, matrix, (fine * CROP, fine * CROP), flags=how)
    return cv2.resize(large, (CROP, CROP), interpolation=cv2.INTER_AREA) if fine > 1 else large


def quarter(parts: ndarray) -> Tensor:
    """Most frequent label of every block of 4 x 4 pixels."""
    blocks = parts.reshape(len(parts), MAP, 4, MAP, 4)
    counts = np.stack([(blocks == label).sum((2, 4)) for label in range(LABELS)])
    return torch.from_numpy(counts.argmax(0))


def iou(first: Tensor, second: Tensor) -> Tensor:
    return (first & second).sum((1, 2)) / (first | second).sum((1, 2)).clamp_min(1)


def draw(images: Tensor, look: Look, path: Path) -> None:
    """Every sixth crop: as it is, and with the parts that were seen."""
    colors = np.array(
        [
            [0, 0, 0],
            [255, 60, 60],
            [200, 200, 60],
            [255, 0, 255],
            [0, 90, 255],
            [0, 230, 255],
            [0, 150, 0],
            [160, 255, 60],
        ]
    )
    rows = []
    for image, seen in zip(images[::6].numpy(), look.parts[::6].argmax(1).numpy(), strict=True):
        label = np.kron(seen, np.ones((4, 4), int))
        share = np.where(label > 0, 0.5, 0.0)[..., None]
        rows.append(np.concatenate((image, ((1 - share) * image + share * colors[label]).astype(np.uint8)), axis=1))
    rows += [np.zeros_like(rows[0])] * (-len(rows) % 5)
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = [np.concatenate(rows[start : start + 5], axis=0) for start in range(0, len(rows), 5)]
    Image.fromarray(np.concatenate(columns, axis=1)).save(path)


def print_tables(found: dict[str, dict[str, float]]) -> None:
    print(f"{'':22}{'right way':>10}{'part IoU':>10}{'leg side':>10}{'mask IoU':>10}{'view':>8}{'ms':>6}")
    for name, values in found.items():
        if "part_iou" in values:
            print(
                f"{name:22}{values['right_way']:10.1%}{values['part_iou']:10.3f}{values['leg_side']:10.1%}"
                f"{values['mask_iou']:10.3f}{values['view_error']:7.1f}°{values['ms_per_crop']:6.0f}"
            )
    print("\n" + f"{'IoU':22}" + "".join(f"{name.replace('_leg', ''):>12}" for name in PART_NAMES))
    for name, values in found.items():
        if "part_iou" in values:
            print(f"{name:22}" + "".join(f"{values[f'iou_{part}']:12.3f}" for part in PART_NAMES))
    print("\n" + f"{'mask not given':22}{'mask IoU':>10}{'worst':>10}")
    for name, values in found.items():
        if "part_iou" not in values:
            print(f"{name:22}{values['mask_iou']:10.3f}{values['worst']:10.3f}")


if __name__ == "__main__":
    main()
