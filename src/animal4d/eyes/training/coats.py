"""Coats for recognition: colour as a function of the place on the template, drawn far more widely than fur grows."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from animal4d.body.keypoints import KEYPOINT_VERTICES
from animal4d.eyes.training.animals import template_arrays
from animal4d.synth.noise import fractal_noise, smoothstep

Points = Float[ndarray, "points 3"]
Field = Float[ndarray, "points"]
_TOP, _GROUND = 0.33, -0.63
"""Heights of back and ground of the template."""


def linear_from_srgb(color: Float[ndarray, "*batch"]) -> Float[ndarray, "*batch"]:
    color = np.asarray(color, np.float32)
    return np.where(color <= 0.04045, color / 12.92, np.power((color + 0.055) / 1.055, np.float32(2.4)))


def draw_color(rng: np.random.Generator, natural: bool = True) -> Float[ndarray, "3"]:
    """sRGB in [0, 1]: of fur (black over brown, red and grey to white), or any."""
    if not natural:
        return rng.uniform(0, 1, 3)
    value = rng.beta(1.0, 1.0) * 0.93 + 0.03
    hue = rng.uniform(0.02, 0.11)
    saturation = rng.choice([0.06, 0.25, 0.5, 0.75], p=[0.3, 0.25, 0.3, 0.15]) * rng.uniform(0.6, 1.3)
    if value > 0.8:
        saturation *= 0.5
    if rng.random() < 0.05:
        hue = rng.uniform(0.5, 0.65)  # bluish greys
        saturation = rng.uniform(0, 0.2)
    # One sextant of the colour wheel is enough: red to yellow, or the same towards blue.
    chroma = value * min(saturation, 0.9)
    ramp = (hue * 6) % 1.0
    rgb = np.array([value, value - chroma * (1 - ramp), value - chroma])
    return np.clip(rgb if hue < 0.4 else rgb[::-1], 0.01, 0.98)


def paint(
    rng: np.random.Generator, points: Points, part: Int[ndarray, "points"], height_in_world: Field, natural: bool
) -> Points:
    """Linear RGB albedo at places of the template.

    `part` is the label (1 to 7) of each place; `height_in_world` (0 at the ground, 1 at the top) is for what wears off
    on standing animals, as mud. `natural` keeps to colours of fur.
    """
    seed = int(rng.integers(1 << 20))
    base, second, third = (draw_color(rng, natural) for _ in range(3))
    if rng.random() < 0.5:  # tones of one colour go together more often than any two
        second = np.clip(base * rng.uniform(0.35, 2.0), 0.02, 0.97)
    share = np.clip(_PATTERNS[rng.choice(len(_PATTERNS), p=_SHARES)](rng, points, seed), 0, 1)[:, None]
    color = base * (1 - share) + second * share
    for mark in _MARKS:
        if rng.random() < _MARKS[mark]:
            inside = np.clip(mark(rng, points, part, seed), 0, 1)[:, None]
            tone = rng.choice(3, p=[0.4, 0.25, 0.35])
            ink = (third, np.full(3, rng.uniform(0.02, 0.15)), np.full(3, rng.uniform(0.75, 0.97)))[tone]
            color = color * (1 - inside) + ink * inside
    if rng.random() < 0.1:
        mud = smoothstep(rng.uniform(0.1, 0.4), 0.0, height_in_world)[:, None]
        color = color * (1 - 0.8 * mud) + draw_color(rng) * 0.8 * mud
    stretch = np.array([rng.uniform(0.3, 1.0), 1.0, rng.uniform(0.4, 1.0)])
    hair = fractal_noise(points * stretch, rng.uniform(30, 110), 2, seed + 50)
    tone = fractal_noise(points, rng.uniform(4, 12), 2, seed + 51)
    grain = np.float32(rng.uniform(0.0, 0.5)) * hair + np.float32(rng.uniform(0.0, 0.35)) * tone
    color = linear_from_srgb(np.clip(color, 0, 1)) * np.exp(grain)[:, None]
    return _face(rng, points, np.clip(color, 0.002, 0.95))


def _face(rng: np.random.Generator, points: Points, color: Points) -> Points:
    """Nose, eyes and the mouth's line, dark in most."""
    if rng.random() < 0.08:
        return color
    vertices = template_arrays().vertices
    spots = [(KEYPOINT_VERTICES["nose_end"], rng.uniform(0.025, 0.055))]
    eye = rng.uniform(0.014, 0.030)
    spots += [(KEYPOINT_VERTICES[f"{side}_eye"], eye) for side in ("left", "right")]
    dark = np.full(3, rng.uniform(0.002, 0.03))
    iris = dark if rng.random() < 0.8 else linear_from_srgb(rng.uniform(0.2, 0.8, 3))
    for number, (vertex, radius) in enumerate(spots):
        distance = np.linalg.norm(points - vertices[vertex], axis=1) / radius
        near = distance < 1.6
        if not near.any():
            continue
        inside = (1 - smoothstep(0.8, 1.0, distance[near]))[:, None]
        ink = iris if number else dark
        if number and rng.random() < 0.3:  # a rim round the eye
            rim = (1 - smoothstep(1.2, 1.5, distance[near]))[:, None]
            color[near] = color[near] * (1 - rim) + dark * rim
        color[near] = color[near] * (1 - inside) + ink * inside
    return color


def _height(points: Points) -> Field:
    return (points[:, 2] - _GROUND) / (_TOP - _GROUND)


def _uniform(rng, points, seed):
    return np.full(len(points), 0.0)


def _cloudy(rng, points, seed):
    width = rng.uniform(0.1, 0.8)
    return smoothstep(-width, width, fractal_noise(points, rng.uniform(1, 4), 3, seed))


def _countershade(rng, points, seed):
    """Back and belly differ."""
    edge = _height(points) + rng.uniform(0, 0.2) * fractal_noise(points, 4.0, 2, seed)
    middle, width = rng.uniform(0.35, 0.85), rng.uniform(0.03, 0.3)
    return smoothstep(middle - width, middle + width, edge)


def _lengthwise(rng, points, seed):
    """Front and rear differ."""
    middle, width = rng.uniform(-0.4, 0.5), rng.uniform(0.02, 0.4)
    return smoothstep(middle - width, middle + width, points[:, 0] + 0.1 * fractal_noise(points, 5.0, 2, seed))


def _patches(rng, points, seed):
    edge = rng.uniform(0.01, 0.08)
    level = rng.uniform(-0.2, 0.2)
    return smoothstep(level - edge, level + edge, fractal_noise(points, rng.uniform(2, 6), 3, seed))


def _spots(rng, points, seed):
    level = rng.uniform(0.1, 0.35)
    return smoothstep(level, level + 0.12, fractal_noise(points, rng.uniform(9, 22), 1, seed))


def _stripes(rng, points, seed):
    warp = rng.uniform(0.2, 1.2) * fractal_noise(points, 4.0, 2, seed)
    direction = rng.normal(0, 1, 3) * (1, 0.1, 0.4)
    direction *= rng.uniform(6, 16) / np.linalg.norm(direction)
    wave = np.sin(2 * np.pi * (points @ direction + warp))
    return smoothstep(-0.3, 0.3, wave + rng.uniform(-0.5, 0.5))


def _brindle(rng, points, seed):
    return smoothstep(-0.35, 0.4, fractal_noise(points * np.array([2.6, 0.7, 0.7]), rng.uniform(6, 14), 3, seed))


_PATTERNS = (_uniform, _cloudy, _countershade, _lengthwise, _patches, _spots, _stripes, _brindle)
_SHARES = np.array([0.22, 0.16, 0.20, 0.06, 0.16, 0.06, 0.07, 0.07])


def _socks(rng, points, part, seed):
    legs = part >= 4
    which = rng.random(8) < (1.0 if rng.random() < 0.6 else 0.5)
    top = rng.uniform(-0.55, -0.25) + 0.03 * fractal_noise(points, 12.0, 1, seed + 3)
    return (legs & which[part]) * smoothstep(0.02, -0.02, points[:, 2] - top)


def _legs(rng, points, part, seed):
    return smoothstep(0.05, -0.15, points[:, 2] + rng.uniform(-0.05, 0.2)) * (part >= 4)


def _muzzle(rng, points, part, seed):
    nose = template_arrays().vertices[KEYPOINT_VERTICES["nose_end"]]
    reach = rng.uniform(0.07, 0.22)
    return smoothstep(reach + 0.02, reach - 0.02, np.linalg.norm(points - nose, axis=1)) * (part == 1)


def _blaze(rng, points, part, seed):
    width = rng.uniform(0.008, 0.03)
    return smoothstep(width + 0.008, width, np.abs(points[:, 1])) * (part == 1) * (points[:, 2] > 0.28)


def _chest(rng, points, part, seed):
    centre = np.array([rng.uniform(0.35, 0.5), 0.0, rng.uniform(-0.15, 0.1)])
    reach = rng.uniform(0.12, 0.28)
    return smoothstep(reach + 0.04, reach - 0.04, np.linalg.norm(points - centre, axis=1))


def _belly(rng, points, part, seed):
    top = rng.uniform(-0.2, -0.02)
    return smoothstep(0.04, -0.04, points[:, 2] - top) * (part == 2)


def _head(rng, points, part, seed):
    return (part == 1).astype(float)


def _ears(rng, points, part, seed):
    vertices = template_arrays().vertices
    tips = [vertices[KEYPOINT_VERTICES[f"{side}_ear_tip"]] for side in ("left", "right")]
    distance = np.minimum(*(np.linalg.norm(points - tip, axis=1) for tip in tips))
    reach = rng.uniform(0.05, 0.13)
    return smoothstep(reach + 0.02, reach - 0.02, distance)


def _tail(rng, points, part, seed):
    start = rng.uniform(-0.85, -0.5)
    return smoothstep(0.02, -0.02, points[:, 0] - start) * (part == 3)


def _mane(rng, points, part, seed):
    ridge = smoothstep(0.03, 0.015, np.abs(points[:, 1]) + 0.01 * fractal_noise(points, 30.0, 1, seed + 5))
    return ridge * (points[:, 0] > rng.uniform(-0.6, 0.3)) * (points[:, 2] > 0.15) * (part == 2)


def _collar(rng, points, part, seed):
    along = points[:, 0] + 0.9 * (points[:, 2] - 0.2)
    place, width = rng.uniform(0.5, 0.62), rng.uniform(0.012, 0.035)
    return smoothstep(width + 0.006, width, np.abs(along - place)) * (part == 2)


def _harness(rng, points, part, seed):
    place, width = rng.uniform(0.05, 0.4), rng.uniform(0.015, 0.06)
    return smoothstep(width + 0.006, width, np.abs(points[:, 0] - place)) * (part == 2)


def _blanket(rng, points, part, seed):
    """A saddle, or a dark back."""
    rear, front, low = rng.uniform(-0.4, 0.0), rng.uniform(0.1, 0.4), rng.uniform(-0.1, 0.2)
    ragged = rng.choice([0.0, 0.06]) * fractal_noise(points, 9.0, 2, seed + 6)
    inside = np.minimum.reduce([points[:, 0] - rear, front - points[:, 0], points[:, 2] - low]) + ragged
    return smoothstep(-0.012, 0.012, inside) * (part == 2)


def _hooves(rng, points, part, seed):
    return smoothstep(0.02, -0.01, points[:, 2] - rng.uniform(-0.61, -0.57)) * (part >= 4)


_MARKS = {
    _legs: 0.08,
    _belly: 0.15,
    _chest: 0.15,
    _head: 0.07,
    _socks: 0.15,
    _muzzle: 0.15,
    _blaze: 0.08,
    _ears: 0.12,
    _tail: 0.10,
    _mane: 0.10,
    _blanket: 0.10,
    _collar: 0.12,
    _harness: 0.06,
    _hooves: 0.12,
}
"""Markings and how often an animal has them, the lower layers first."""
