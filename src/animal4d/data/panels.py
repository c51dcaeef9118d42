"""Pictures of single cues over a frame: small drawings on uint8 RGB images."""

from __future__ import annotations

import colorsys
import textwrap

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from animal4d.body.keypoints import KEYPOINT_NAMES
from animal4d.cues.parts import HEAD, LEG, TAIL, TORSO
from animal4d.export.render import Rendering

Image = UInt8[ndarray, "height width 3"]
Color = tuple[int, int, int]

PART_COLORS: dict[int, tuple[str, Color]] = {
    HEAD: ("head", (238, 102, 76)),
    TORSO: ("body", (246, 199, 78)),
    LEG: ("leg", (72, 170, 220)),
    TAIL: ("tail", (151, 108, 201)),
}
SIDE_COLORS: dict[str, Color] = {"left": (255, 150, 50), "right": (70, 160, 255), "middle": (245, 245, 245)}
_OUTLINE: Color = (80, 255, 120)
_PAPER: Color = (236, 236, 238)
_INK: Color = (110, 110, 118)
_LINKS = (
    ("paw", "wrist"),
    ("wrist", "elbow"),
    ("paw", "hock"),
    ("hock", "knee"),
    ("ear_base", "ear_tip"),
)
_MIDDLE_LINKS = (
    ("tail_start", "tail_end"),
    ("tail_start", "withers"),
    ("withers", "throat"),
    ("throat", "chin"),
    ("chin", "nose_end"),
    ("nose_end", "left_eye"),
    ("nose_end", "right_eye"),
    ("left_eye", "left_ear_base"),
    ("right_eye", "right_ear_base"),
)
_LEAST_SCORE = 0.1


def dimmed(frame: Image) -> Image:
    """A faint grey picture, on which colours show."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    return np.repeat(0.45 * grey + 30, 3, axis=2).astype(np.uint8)


def blend(image: Image, colors: ndarray, where: Bool[ndarray, "height width"], opacity: float) -> Image:
    """Colours laid over an image where the mask holds."""
    mixed = image.astype(np.float32)
    mixed[where] = (1 - opacity) * mixed[where] + opacity * np.asarray(colors, np.float32)[where]
    return (mixed + 0.5).astype(np.uint8)


def outlined(image: Image, mask: Bool[ndarray, "height width"], color: Color = _OUTLINE) -> Image:
    """The outline of a mask, drawn over an image."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    drawn = np.ascontiguousarray(image.copy())
    cv2.drawContours(drawn, contours, -1, color, 1, cv2.LINE_AA)
    return drawn


def mask_panel(frame: Image, mask: Float[ndarray, "height width"]) -> Image:
    """The animal in colour, all else faint."""
    return outlined(blend(dimmed(frame), frame, mask > 0.5, 1.0), mask > 0.5)


def parts_panel(frame: Image, labels: UInt8[ndarray, "height width"]) -> Image:
    colors = np.zeros((*labels.shape, 3), np.uint8)
    for label, (_, color) in PART_COLORS.items():
        colors[labels == label] = color
    return blend(dimmed(frame), colors, labels > 0, 0.75)


def surface_panel(frame: Image, colors: Image, animal: Bool[ndarray, "height width"]) -> Image:
    return blend(dimmed(frame), colors, animal, 0.9)


def tracks_panel(
    frame: Image, trails: Float[ndarray, "frames points 2"], visible: Bool[ndarray, "frames points"]
) -> Image:
    """Points in the last of some frames with the way that they came; in pixels of the panel."""
    image = np.ascontiguousarray(dimmed(frame))
    n_points = trails.shape[1]
    size = max(1, round(min(image.shape[:2]) / 160))
    for point in range(n_points):
        red, green, blue = colorsys.hsv_to_rgb(point / max(n_points, 1), 0.75, 1.0)
        color = (round(255 * red), round(255 * green), round(255 * blue))
        for step in range(1, len(trails)):
            if visible[step - 1 : step + 1, point].all():
                fading = 0.35 + 0.65 * step / len(trails)
                faint = tuple(round(fading * channel) for channel in color)
                cv2.line(image, _pixel(trails[step - 1, point]), _pixel(trails[step, point]), faint, 1, cv2.LINE_AA)
        if visible[-1, point]:
            cv2.circle(image, _pixel(trails[-1, point]), size, color, -1, cv2.LINE_AA)
    return image


def keypoints_panel(frame: Image, points: Float[ndarray, "24 2"], score: Float[ndarray, "24"]) -> Image:
    """Joined keypoints, left and right in their colours; those without a score to speak of are left out."""
    image = np.ascontiguousarray(dimmed(frame))
    for first, second in _keypoint_links():
        if min(score[first], score[second]) > _LEAST_SCORE:
            color = SIDE_COLORS[_side(KEYPOINT_NAMES[second])]
            faint = tuple(round(0.7 * channel) for channel in color)
            cv2.line(image, _pixel(points[first]), _pixel(points[second]), faint, 1, cv2.LINE_AA)
    for name, place, value in zip(KEYPOINT_NAMES, points, score, strict=True):
        if value > _LEAST_SCORE:
            radius = max(2, round(min(image.shape[:2]) / 120))
            cv2.circle(image, _pixel(place), radius, SIDE_COLORS[_side(name)], -1, cv2.LINE_AA)
    return image


def rest_pose_panel(frame: Image, rendering: Rendering) -> Image:
    """The template over the frame, with its outline."""
    over = rendering.over(frame.astype(np.float32) / 255, opacity=0.55)
    return outlined((over.clip(0, 1) * 255 + 0.5).astype(np.uint8), rendering.alpha > 0.5)


def empty_panel(size: tuple[int, int], title: str, reason: str, frame: Image | None = None) -> Image:
    """A panel that says in words why it shows nothing; over the faint frame where only this frame has nothing."""
    height, width = size
    image = PillowImage.new("RGB", (width, height), _PAPER) if frame is None else PillowImage.fromarray(dimmed(frame))
    draw = ImageDraw.Draw(image)
    large, small = font(14), font(11)
    lines = [(title, large)]
    letters = max(8, int((width - 16) / 6))
    lines += [(line, small) for line in textwrap.wrap(reason, letters, break_long_words=True)[:8]]
    total = sum(18 if used is large else 14 for _, used in lines)
    top = (height - total) / 2
    for text, used in lines:
        draw.text((width / 2, top), text, font=used, fill=_INK if frame is None else (230, 230, 232), anchor="ma")
        top += 18 if used is large else 14
    return np.asarray(image)


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def _keypoint_links() -> list[tuple[int, int]]:
    places = {name: place for place, name in enumerate(KEYPOINT_NAMES)}
    links = [(places[first], places[second]) for first, second in _MIDDLE_LINKS]
    for name, place in places.items():
        for first, second in _LINKS:
            if name.endswith(first) and (other := name[: -len(first)] + second) in places:
                links.append((place, places[other]))
    return links


def _side(name: str) -> str:
    return "left" if "left" in name else "right" if "right" in name else "middle"


def _pixel(place: Float[ndarray, "2"]) -> tuple[int, int]:
    """The pixel that holds a place; far outside of the picture, a pixel far outside."""
    x, y = np.nan_to_num(place).clip(-10_000, 10_000)
    return int(np.floor(x)), int(np.floor(y))
