"""What stands behind the animal: a picture, or ground and wall in true perspective, with things about."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from animal4d.eyes.labels import CROP
from animal4d.eyes.training.coats import draw_color
from animal4d.eyes.training.textures import N_SCENES, N_TAME, N_WILD, SIDE, octaves, texture_pool
from animal4d.eyes.training.views import View

Image = Float[ndarray, "CROP CROP 3"]
"""sRGB, about in [0, 1]."""


def draw_texture(rng: np.random.Generator, seed: int, wild: bool) -> Image:
    """A piece of one picture of the pool: cropped, enlarged or shrunk, flipped, recoloured."""
    return _piece(rng, texture_pool(seed)[rng.integers(N_TAME + N_WILD if wild else N_TAME)], rng.uniform(0.3, 1), wild)


def _piece(rng: np.random.Generator, picture: UInt8[ndarray, "SIDE SIDE 3"], share: float, wild: bool) -> Image:
    side = int(share * SIDE)
    top, left = rng.integers(0, SIDE - side + 1, 2)
    crop = cv2.resize(picture[top : top + side, left : left + side], (CROP, CROP), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    return _recoloured(rng, crop.astype(np.float32) / 255, wild)


def _recoloured(rng: np.random.Generator, image: Image, wild: bool) -> Image:
    mean = np.array(cv2.mean(np.ascontiguousarray(image))[:3], np.float32)
    contrast = rng.uniform(0.5, 1.2) if wild else rng.uniform(0.7, 1.1)
    target = mean * rng.uniform(0.65, 1.4) + rng.normal(0, 0.07 if wild else 0.02, 3)
    return (image - mean) * np.float32(contrast) + np.clip(target, 0.05, 0.95).astype(np.float32)


def draw_background(rng: np.random.Generator, seed: int, view: View, ground: float, wild: bool) -> Image:
    """`ground` is the height of the plane on which the animal stands, in the world; `wild` allows any colours."""
    if rng.random() < 0.2:
        scene = texture_pool(seed)[N_TAME + N_WILD + rng.integers(N_SCENES)]
        image = _piece(rng, scene, rng.uniform(0.4, 1), wild)
    elif rng.random() < 0.6 and view.center[2] > ground + 0.05:
        image = _room(rng, seed, view, ground, wild)
    else:
        image = draw_texture(rng, seed, wild)
        if rng.random() < 0.4:  # a second one behind a ragged border
            border = octaves(rng, CROP, 2, 0.5)
            share = np.clip(border * rng.choice([3.0, 30.0]) + 0.5, 0, 1)
            image = image * (1 - share) + draw_texture(rng, seed, wild) * share
    for _ in range(int(rng.choice([0, 1, 2, 4, 7], p=[0.3, 0.2, 0.2, 0.2, 0.1]))):
        place_thing(rng, seed, image, wild)
    return image


def _room(rng: np.random.Generator, seed: int, view: View, ground: float, wild: bool) -> Image:
    """The ground's texture in perspective up to some distance, and a wall, a sky or a hedge behind it."""
    floor, above = _floor(rng, seed, view, ground, wild)
    wall = draw_texture(rng, seed, wild)
    if rng.random() < 0.4:  # sky or plain wall
        top, low = (np.clip(draw_color(rng, not wild or rng.random() < 0.5) * 0.5 + 0.5, 0, 1) for _ in range(2))
        ramp = np.linspace(0, 1, CROP, dtype=np.float32)[:, None, None]
        wall = (top * (1 - ramp) + low * ramp) * np.ones((CROP, CROP, 1)) + rng.choice([0, 0.1]) * octaves(
            rng, CROP, 4, 0.5
        )
        wall = wall.astype(np.float32)
    return np.where(above[..., None], wall, floor)


def _floor(
    rng: np.random.Generator, seed: int, view: View, ground: float, wild: bool
) -> tuple[Image, Bool[ndarray, "CROP CROP"]]:
    """The ground at all pixels, and where the wall is instead."""
    texture = texture_pool(seed)[rng.integers(N_TAME + N_WILD if wild else N_TAME)]
    texel = np.exp(rng.uniform(np.log(0.003), np.log(0.015)))
    turn = rng.uniform(0, 2 * np.pi)
    cosine, sine = texel * np.cos(turn), texel * np.sin(turn)
    center_of_texture = 0.5 * SIDE
    # Columns: what one texel to the right and one down is in the world, and where texel (0, 0) lies.
    across, along = np.array([cosine, sine, 0]), np.array([-sine, cosine, 0])
    origin = np.array([rng.normal(0, 0.5), rng.normal(0, 0.5), ground]) - center_of_texture * (across + along)
    plane = np.stack((across, along, origin - view.center), axis=1)
    homography = view.intrinsics @ view.R_cam_from_world @ plane
    floor = cv2.warpPerspective(texture, homography, (CROP, CROP), borderMode=cv2.BORDER_REFLECT)
    floor = _recoloured(rng, floor.astype(np.float32) / 255, wild)

    rows, columns = np.mgrid[0:CROP, 0:CROP] + 0.5
    pixels = np.stack((columns, rows, np.ones_like(rows)), axis=-1)
    rays = pixels @ np.linalg.inv(view.intrinsics).T @ view.R_cam_from_world
    heading = view.R_cam_from_world[2, :2] / max(np.linalg.norm(view.R_cam_from_world[2, :2]), 1e-6)
    down = np.minimum(rays[..., 2], -1e-6)
    distance = (ground - view.center[2]) / down * (rays[..., :2] @ heading)
    to_animal = np.linalg.norm(view.center[:2])
    wall_at = to_animal + np.exp(rng.uniform(np.log(0.6), np.log(30)))
    return floor, (rays[..., 2] >= -1e-6) | (distance > wall_at)


def place_thing(rng: np.random.Generator, seed: int, image: Image, wild: bool) -> None:
    """Draws a thing into the image: furniture, a trunk, a bush, a fence, a pipe or leg, a person."""
    masks = _person(rng) if rng.random() < 0.15 else [thing_mask(rng)]
    for mask in masks:
        lay(image, mask, fill_of_thing(rng, seed, mask, wild))


def lay(image: Image, mask: Float[ndarray, "CROP CROP"], fill: Image) -> None:
    """Draws `fill` into the image where the mask is 1."""
    image += mask[..., None] * (fill - image)


def fill_of_thing(rng: np.random.Generator, seed: int, mask: Float[ndarray, "CROP CROP"], wild: bool) -> Image:
    """What a thing looks like: a texture or one colour, often darker towards its outline as round things are."""
    if rng.random() < 0.5:
        fill = draw_texture(rng, seed, wild)
    else:
        color = draw_color(rng, not wild or rng.random() < 0.3)
        if not wild and rng.random() < 0.3:
            color = np.clip(color.mean() + rng.normal(0, 0.12, 3), 0, 1)
        fill = np.broadcast_to(color.astype(np.float32), (CROP, CROP, 3))
    if rng.random() < 0.7:
        depth = cv2.GaussianBlur(mask, (0, 0), rng.uniform(2, 9))
        shift = np.roll(depth, rng.integers(-5, 6, 2).tolist(), (0, 1))
        fill = fill * np.clip(0.25 + 0.95 * shift, 0, 1.2)[..., None]
    return fill


def thing_mask(rng: np.random.Generator) -> Float[ndarray, "CROP CROP"]:
    """Coverage of a random shape."""
    mask = np.zeros((CROP, CROP), np.uint8)
    shape = _SHAPES[rng.integers(len(_SHAPES))]
    shape(rng, mask)
    return mask.astype(np.float32) / 255


def _point(place: Float[ndarray, "2"]) -> tuple[int, int]:
    """OpenCV's fixed-point place with four binary digits."""
    return int(place[0] * 16), int(place[1] * 16)


def _rectangle(rng: np.random.Generator, mask: ndarray) -> None:
    place, size = rng.uniform(-30, CROP, 2), rng.uniform(8, 110, 2)
    tilt = rng.normal(0, 0.1)
    axes = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    corners = place + (np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * size) @ axes
    cv2.fillPoly(mask, [(corners * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)


def _post(rng: np.random.Generator, mask: ndarray) -> None:
    x, width, lean = rng.uniform(0, CROP), rng.uniform(2, 22), rng.normal(0, 12)
    bottom = CROP + 10 if rng.random() < 0.6 else rng.uniform(0.4, 1) * CROP
    cv2.line(mask, _point(np.array([x, -10.0])), _point(np.array([x + lean, bottom])), 255, int(width), cv2.LINE_AA, 4)


def _limb(rng: np.random.Generator, mask: ndarray) -> None:
    """A bent tube."""
    place = rng.uniform(0, CROP, 2)
    width = rng.uniform(4, 20)
    angle = rng.uniform(0, 2 * np.pi)
    for _ in range(int(rng.integers(2, 5))):
        angle += rng.normal(0, 0.6)
        end = place + rng.uniform(10, 45) * np.array([np.cos(angle), np.sin(angle)])
        cv2.line(mask, _point(place), _point(end), 255, max(1, int(width)), cv2.LINE_AA, 4)
        place, width = end, width * rng.uniform(0.6, 1.1)


def _blob(rng: np.random.Generator, mask: ndarray) -> None:
    place, radius = rng.uniform(0, CROP, 2), rng.uniform(5, 55)
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    wobble = sum(rng.normal(0, 0.4 / n) * np.cos(n * angles + rng.uniform(0, 6)) for n in range(1, 7))
    outline = radius * np.exp(0.7 * wobble) * np.stack((np.cos(angles), np.sin(angles) * rng.uniform(0.5, 1.2)))
    cv2.fillPoly(mask, [((place + outline.T) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)


def _bush(rng: np.random.Generator, mask: ndarray) -> None:
    place, radius = rng.uniform(0, CROP, 2), rng.uniform(10, 50)
    size = rng.uniform(1.5, 6)
    for dx, dy in rng.normal(0, 0.5, (int(min(400, 60 * radius / size)), 2)):
        axes = (max(1, int(size * rng.uniform(0.6, 1.5))), max(1, int(size * 0.5)))
        spot = (int(place[0] + dx * radius), int(place[1] + dy * radius))
        cv2.ellipse(mask, spot, axes, rng.uniform(0, 180), 0, 360, 255, -1, cv2.LINE_AA)


def _fence(rng: np.random.Generator, mask: ndarray) -> None:
    """Bars with rails, or wire netting, across all of the picture or a piece of it."""
    spacing = rng.uniform(7, 40)
    width = max(1, int(spacing * rng.uniform(0.05, 0.45)))
    top, bottom = rng.uniform(-20, 0.4 * CROP), rng.uniform(0.5 * CROP, CROP + 20)
    left, right = (-20.0, CROP + 20.0) if rng.random() < 0.7 else np.sort(rng.uniform(-20, CROP + 20, 2))
    slope = rng.normal(0, 0.08)
    netting = rng.random() < 0.3
    lean = (bottom - top) * (rng.uniform(0.5, 1) if netting else 0.0)
    for x in np.arange(left - lean, right + lean, spacing):
        for sign in (-1, 1) if netting else (1,):
            ends = np.array([[x, top + slope * x], [x + sign * lean, bottom + slope * x]])
            cv2.line(
                mask, _point(ends[0]), _point(ends[1]), 255, max(1, width // (3 if netting else 1)), cv2.LINE_AA, 4
            )
    for height in rng.uniform(top, bottom, int(rng.integers(0, 4))):
        ends = np.array([[left, height + slope * left], [right, height + slope * right]])
        cv2.line(
            mask, _point(ends[0]), _point(ends[1]), 255, max(1, int(width * rng.uniform(0.6, 1.5))), cv2.LINE_AA, 4
        )


def _person(rng: np.random.Generator) -> list[Float[ndarray, "CROP CROP"]]:
    """Coverage of skin, top and trousers of somebody upright, the last in front; often only legs are in the picture."""
    height = rng.uniform(90, 450)
    foot = np.array([rng.uniform(0, CROP), rng.uniform(0.6, 1.2) * CROP])
    hip, neck = foot - (0, 0.48 * height), foot - (0, 0.84 * height)
    limb = max(2, int(0.085 * height))
    stride = rng.uniform(0.02, 0.16) * height
    skin, top, trousers = (np.zeros((CROP, CROP), np.uint8) for _ in range(3))
    cv2.circle(skin, _point(neck - (0, 0.08 * height)), int(16 * 0.065 * height), 255, -1, cv2.LINE_AA, 4)
    cv2.line(top, _point(hip), _point(neck), 255, int(1.9 * limb), cv2.LINE_AA, 4)
    bare = rng.random() < 0.3
    for side in (-1, 1):
        shoe = foot + np.array([side * stride, 0.0])
        knee = 0.5 * (hip + shoe) + (rng.normal(0, 0.02) * height, 0)
        cv2.polylines(trousers, [np.array([_point(hip), _point(knee)], np.int32)], False, 255, limb, cv2.LINE_AA, 4)
        lower = skin if bare else trousers
        cv2.polylines(
            lower, [np.array([_point(knee), _point(shoe)], np.int32)], False, 255, int(0.8 * limb), cv2.LINE_AA, 4
        )
        hand = neck + height * np.array([side * rng.uniform(0.05, 0.25), rng.uniform(0.1, 0.4)])
        shoulder = neck + height * np.array([side * 0.08, 0.03])
        cv2.line(top, _point(shoulder), _point(hand), 255, max(1, limb // 2), cv2.LINE_AA, 4)
        cv2.circle(skin, _point(hand), 16 * max(1, limb // 3), 255, -1, cv2.LINE_AA, 4)
    return [mask.astype(np.float32) / 255 for mask in (skin, top, trousers)]


_SHAPES = (_rectangle, _rectangle, _post, _limb, _limb, _blob, _bush, _fence)
