"""Procedural coats: colour as a function of the place on the animal in rest pose, so that patterns are sharp at any
distance and stay with the skin when it moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from animal4d.body.model import ShapedBody
from animal4d.errors import Animal4dError
from animal4d.synth.noise import fractal_noise, smoothstep

COATS = ("uniform", "two_colour", "patches", "spots", "stripes", "brindle")

_FURS: dict[str, tuple[float, float, float]] = {
    "black": (0.030, 0.027, 0.026),
    "chocolate": (0.095, 0.045, 0.024),
    "red": (0.330, 0.130, 0.045),
    "golden": (0.480, 0.260, 0.105),
    "sable": (0.230, 0.125, 0.060),
    "grey": (0.200, 0.200, 0.210),
    "cream": (0.720, 0.580, 0.400),
    "white": (0.800, 0.770, 0.710),
}
"""Linear RGB."""
_PALETTES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "uniform": (("black", "chocolate", "red", "grey"), ("golden", "cream", "white")),
    "two_colour": (("black", "red", "sable", "grey", "chocolate"), ("golden", "cream", "white")),
    "patches": (("black", "chocolate", "red", "sable"), ("white", "cream")),
    "spots": (("black", "chocolate"), ("white", "golden")),
    "stripes": (("black", "chocolate"), ("red", "golden")),
    "brindle": (("black", "chocolate"), ("red", "sable", "golden")),
}
"""Dark and light furs that go together in a pattern."""
_SKIN = (0.012, 0.010, 0.010)
"""Nose, lips and eyes."""


@dataclass(frozen=True)
class Coat:
    """A pattern with its two colours, fitted to one individual."""

    pattern: str
    dark: Float[ndarray, "3"]
    light: Float[ndarray, "3"]
    seed: int
    low: Float[ndarray, "3"]
    """Lower corner of the individual's box in rest pose; coordinates are taken relative to the box's size."""
    size: Float[ndarray, "3"]
    features: tuple[tuple[Float[ndarray, "3"], float], ...]
    """Centres and radii of the dark patches on nose and eyes."""

    def color(self, points: Float[ndarray, "points 3"]) -> Float[ndarray, "points 3"]:
        """Linear RGB at places of the rest pose."""
        length = float(self.size[0])
        scaled = (points - self.low) / length
        light = np.clip(_PATTERNS[self.pattern](self, scaled), 0.0, 1.0)[:, None]
        color = self.dark * (1 - light) + self.light * light
        # Hair runs along the body: noise stretched in x.
        hair = fractal_noise(scaled * np.array([0.4, 1.2, 1.0]), 90.0, 2, self.seed + 50)
        tone = fractal_noise(scaled, 9.0, 3, self.seed + 51)
        color = color * np.exp(0.30 * hair + 0.28 * tone)[:, None]
        for centre, radius in self.features:
            inside = 1 - smoothstep(0.8, 1.0, np.linalg.norm(points - centre, axis=1) / radius)
            color = color * (1 - inside[:, None]) + np.array(_SKIN) * inside[:, None]
        return color

    def height(self, scaled: Float[ndarray, "points 3"]) -> Float[ndarray, "points"]:
        """0 at the soles, 1 at the highest point."""
        return scaled[:, 2] * float(self.size[0] / self.size[2])


def _uniform(coat: Coat, scaled: ndarray) -> ndarray:
    shade = coat.seed % 5 / 4
    return shade + 0.1 * fractal_noise(scaled, 4.0, 2, coat.seed)


def _two_colour(coat: Coat, scaled: ndarray) -> ndarray:
    """Dark saddle, light belly and legs."""
    edge = coat.height(scaled) + 0.10 * fractal_noise(scaled, 5.0, 3, coat.seed)
    return 1 - smoothstep(0.42, 0.60, edge)


def _patches(coat: Coat, scaled: ndarray) -> ndarray:
    field = fractal_noise(scaled, 4.2, 3, coat.seed) + 0.25 * (0.5 - coat.height(scaled))
    return smoothstep(-0.05, 0.03, field)


def _spots(coat: Coat, scaled: ndarray) -> ndarray:
    field = fractal_noise(scaled, 17.0, 1, coat.seed)
    return 1 - smoothstep(0.22, 0.34, field)


def _stripes(coat: Coat, scaled: ndarray) -> ndarray:
    warp = 0.9 * fractal_noise(scaled, 4.0, 2, coat.seed)
    wave = np.sin(2 * np.pi * (13.0 * scaled[:, 0] + warp + 0.8 * coat.height(scaled)))
    belly = 1 - smoothstep(0.15, 0.40, coat.height(scaled))
    return np.maximum(smoothstep(-0.35, 0.15, wave), belly)


def _brindle(coat: Coat, scaled: ndarray) -> ndarray:
    return smoothstep(-0.35, 0.40, fractal_noise(scaled * np.array([2.6, 0.7, 0.7]), 11.0, 3, coat.seed))


_PATTERNS: dict[str, Callable[[Coat, ndarray], ndarray]] = {
    "uniform": _uniform,
    "two_colour": _two_colour,
    "patches": _patches,
    "spots": _spots,
    "stripes": _stripes,
    "brindle": _brindle,
}


def make_coat(body: ShapedBody, pattern: str = "random", seed: int = 0) -> Coat:
    """A coat for an individual (`body` without batch axes); the seed draws its colours, and the pattern where it is
    "random". Raises Animal4dError for an unknown pattern."""
    if pattern != "random" and pattern not in COATS:
        raise Animal4dError(f'unknown coat "{pattern}": choose random or one of {", ".join(COATS)}')
    rng = np.random.default_rng([seed, 7])
    drawn = str(rng.choice(COATS))
    pattern = drawn if pattern == "random" else pattern
    darks, lights = _PALETTES[pattern]
    dark = np.array(_FURS[str(rng.choice(darks))]) * rng.uniform(0.9, 1.15, 3)
    light = np.array(_FURS[str(rng.choice(lights))]) * rng.uniform(0.92, 1.08, 3)
    rest = body.vertices.double().numpy()
    low = rest.min(axis=0)
    return Coat(
        pattern=pattern,
        dark=dark,
        light=np.clip(light, 0, 0.85),
        seed=int(rng.integers(1 << 20)),
        low=low,
        size=rest.max(axis=0) - low,
        features=_features(body, rest),
    )


def _features(body: ShapedBody, rest: Float[ndarray, "vertices 3"]) -> tuple[tuple[ndarray, float], ...]:
    """Nose and eyes, where the template names them."""
    # Order of the twelve keypoint vertices: nose, chin, ear tips, right eye, left eye, paws, throat, withers.
    nose, _, _, _, right_eye, left_eye = body.model.keypoint_vertices[:6].tolist()
    length = body.model.body_length
    return (
        (rest[nose], 0.034 * length),
        (rest[right_eye], 0.016 * length),
        (rest[left_eye], 0.016 * length),
    )
