"""Where a synthetic clip plays: ground, sky, things that stand about, and the sun. Anchored in the world, so that
parallax is right. World: z up, ground at z = 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from animal4d.synth.noise import fractal_noise, smoothstep, speckles
from animal4d.synth.props import PROPS, Prop, joined

_PATH_MARGIN = 0.9
"""Tall things stay this far from the animal's way, in world units (the animal is about 1.3 long)."""


@dataclass(frozen=True)
class Biome:
    """Colours (linear RGB) and things of a kind of place."""

    ground: tuple[tuple[float, float, float], ...]
    """Two colours in large patches, a third in small ones, and that of the speckles."""
    plant: tuple[float, float, float]
    stone: tuple[float, float, float]
    zenith: tuple[float, float, float]
    horizon: tuple[float, float, float]
    hills: tuple[float, float, float]
    tall: tuple[str, ...]
    """Kinds of props that stand about; repeated names are more frequent."""
    small: tuple[str, ...]


BIOMES: dict[str, Biome] = {
    "meadow": Biome(
        ground=((0.115, 0.170, 0.045), (0.190, 0.205, 0.075), (0.215, 0.160, 0.090), (0.420, 0.400, 0.300)),
        plant=(0.070, 0.150, 0.035),
        stone=(0.260, 0.250, 0.235),
        zenith=(0.180, 0.360, 0.760),
        horizon=(0.680, 0.790, 0.900),
        hills=(0.170, 0.250, 0.220),
        tall=("bush", "bush", "tree", "rock", "tree"),
        small=("tuft", "tuft", "tuft", "rock"),
    ),
    "yard": Biome(
        ground=((0.300, 0.285, 0.265), (0.235, 0.225, 0.215), (0.350, 0.320, 0.270), (0.130, 0.120, 0.110)),
        plant=(0.085, 0.130, 0.050),
        stone=(0.330, 0.310, 0.290),
        zenith=(0.300, 0.450, 0.720),
        horizon=(0.780, 0.820, 0.860),
        hills=(0.300, 0.310, 0.340),
        tall=("crate", "crate", "bush", "tree", "crate"),
        small=("rock", "tuft", "crate"),
    ),
    "beach": Biome(
        ground=((0.520, 0.400, 0.250), (0.440, 0.330, 0.200), (0.380, 0.290, 0.185), (0.700, 0.640, 0.540)),
        plant=(0.200, 0.210, 0.080),
        stone=(0.250, 0.225, 0.205),
        zenith=(0.150, 0.400, 0.800),
        horizon=(0.740, 0.860, 0.930),
        hills=(0.120, 0.300, 0.390),
        tall=("rock", "rock", "bush", "crate"),
        small=("rock", "tuft"),
    ),
    "autumn": Biome(
        ground=((0.200, 0.130, 0.060), (0.160, 0.140, 0.060), (0.110, 0.080, 0.050), (0.500, 0.210, 0.050)),
        plant=(0.330, 0.150, 0.035),
        stone=(0.240, 0.230, 0.225),
        zenith=(0.400, 0.500, 0.650),
        horizon=(0.820, 0.800, 0.760),
        hills=(0.250, 0.190, 0.160),
        tall=("tree", "tree", "bush", "rock"),
        small=("tuft", "rock", "tuft"),
    ),
}


@dataclass(frozen=True)
class Sun:
    """A distant light with the sky's ambient."""

    direction: Float[ndarray, "3"]
    """Towards the sun."""
    color: Float[ndarray, "3"]
    ambient: Float[ndarray, "3"]
    """Of the sky above."""
    bounce: Float[ndarray, "3"]
    """Of the ground below."""


@dataclass(frozen=True)
class Scenery:
    """Everything but the animal."""

    biome: Biome
    props: Prop
    sun: Sun
    seed: int

    def ground_color(
        self, places: Float[ndarray, "points 2"], footprint: Float[ndarray, "points"]
    ) -> Float[ndarray, "points 3"]:
        """Albedo of the ground; `footprint` is the size of a pixel there."""
        flat = np.column_stack((places, np.zeros(len(places))))
        first, second, third, speckle = (np.array(color) for color in self.biome.ground)
        large = smoothstep(-0.25, 0.25, fractal_noise(flat, 0.45, 3, self.seed, footprint))[:, None]
        color = first * (1 - large) + second * large
        medium = smoothstep(0.12, 0.38, fractal_noise(flat, 1.6, 3, self.seed + 10, footprint))[:, None]
        color = color * (1 - medium) + third * medium
        fine = fractal_noise(flat, 9.0, 3, self.seed + 20, footprint)
        color = color * np.exp(0.75 * fine)[:, None]
        ragged = 0.25 * fine
        for cell, density, number in ((0.34, 0.30, 31), (0.12, 0.35, 32)):
            distance, identity = speckles(places, cell, density, self.seed + number)
            distance = distance * (1 + ragged)
            # A speckle smaller than the pixel fades into the ground.
            share = np.clip(1.5 - footprint / (0.2 * cell), 0.0, 1.0) * (1 - smoothstep(0.75, 1.05, distance))
            tone = speckle * (0.40 + 0.6 * identity)[:, None]
            color = color * (1 - share[:, None]) + tone * share[:, None]
        return color

    def sky_color(self, directions: Float[ndarray, "points 3"]) -> Float[ndarray, "points 3"]:
        """Radiance of sky, clouds and distant hills in unit directions."""
        up = np.clip(directions[:, 2], 0.0, 1.0)
        blend = (up**0.45)[:, None]
        color = np.array(self.biome.horizon) * (1 - blend) + np.array(self.biome.zenith) * blend
        # Clouds lie on a plane above; towards the horizon they flatten.
        plane = directions[:, :2] / (up + 0.12)[:, None]
        field = fractal_noise(np.column_stack((plane, np.zeros(len(plane)))), 1.3, 4, self.seed + 40)
        clouds = (0.75 * smoothstep(0.05, 0.5, field) * smoothstep(0.02, 0.2, up))[:, None]
        color = color * (1 - clouds) + 0.92 * clouds
        ring = directions[:, :2] / np.linalg.norm(directions[:, :2], axis=1, keepdims=True).clip(1e-6)
        ring3 = np.column_stack((ring, np.zeros(len(ring))))
        for layer, (top, distance) in enumerate(((0.085, 0.65), (0.045, 0.3))):
            ridge = top * (1 + 0.8 * fractal_noise(ring3, 2.5 + 2 * layer, 4, self.seed + 41 + layer))
            inside = 1 - smoothstep(-0.002, 0.002, directions[:, 2] - ridge)
            hill = np.array(self.biome.hills) * (1 - distance) + np.array(self.biome.horizon) * distance
            texture = 1 + 0.25 * fractal_noise(np.column_stack((ring, directions[:, 2] * 3)), 22.0, 2, self.seed + 43)
            color = color * (1 - inside[:, None]) + (hill * texture[:, None]) * inside[:, None]
        return color


def make_scenery(
    seed: int,
    animal_path: Float[ndarray, "frames 2"],
    camera_path: Float[ndarray, "frames 2"],
    biome: str | None = None,
    clutter: int = 34,
) -> Scenery:
    """A place with things about, none of which hides the animal or stands in its way.

    The sun shines on the side of the animal that the camera sees. `clutter` is the number of tall things.
    """
    rng = np.random.default_rng([seed, 11])
    name = biome or str(rng.choice(list(BIOMES)))
    kind = BIOMES[name]
    props: list[Prop] = []
    middle = animal_path.mean(axis=0)
    for kinds, count, sizes, nearest, farthest, margin in (
        (kind.tall, clutter, (0.35, 1.0), 1.6, 15.0, _PATH_MARGIN),
        (kind.small, 3 * clutter, (0.06, 0.20), 0.3, 7.0, 0.35),
    ):
        for _ in range(count):
            what = str(rng.choice(kinds))
            color = np.array(kind.stone if what == "rock" else kind.plant)
            prop = PROPS[what](rng, color, float(rng.uniform(*sizes)))
            props += _place(rng, prop, middle, nearest, farthest, margin, animal_path, camera_path)
    towards_camera = camera_path.mean(axis=0) - middle
    azimuth = np.arctan2(towards_camera[1], towards_camera[0]) + np.radians(rng.uniform(25, 65)) * rng.choice([-1, 1])
    elevation = np.radians(rng.uniform(38, 58))
    direction = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    warmth = rng.uniform(0.0, 1.0)
    ground = np.mean(np.array(kind.ground[:2]), axis=0)
    sun = Sun(
        direction=direction,
        color=1.55 * np.array([1.0, 0.97 - 0.05 * warmth, 0.92 - 0.16 * warmth]),
        ambient=0.42 * (0.5 * np.array(kind.horizon) + 0.5 * np.array(kind.zenith)) + 0.12,
        bounce=0.55 * ground + 0.03,
    )
    return Scenery(kind, joined(props), sun, int(rng.integers(1 << 20)))


def _place(
    rng: np.random.Generator,
    prop: Prop,
    middle: ndarray,
    nearest: float,
    farthest: float,
    margin: float,
    animal_path: Float[ndarray, "frames 2"],
    camera_path: Float[ndarray, "frames 2"],
) -> list[Prop]:
    """The prop at a free place near the animal's way; nothing where none is found in a few tries."""
    for _ in range(12):
        anchor = animal_path[rng.integers(len(animal_path))] if nearest < 1.0 else middle
        distance = farthest * np.sqrt(rng.uniform((nearest / farthest) ** 2, 1.0))
        angle = rng.uniform(0, 2 * np.pi)
        place = anchor + distance * np.array([np.cos(angle), np.sin(angle)])
        clearance = prop.radius
        if np.linalg.norm(animal_path - place, axis=1).min() < clearance + margin + 0.4:
            continue
        if np.linalg.norm(camera_path - place, axis=1).min() < clearance + 0.8:
            continue
        if _distance_to_segments(place, camera_path, animal_path).min() < clearance + margin:
            continue
        return [prop.placed(float(place[0]), float(place[1]), float(rng.uniform(0, 2 * np.pi)))]
    return []


def _distance_to_segments(
    point: Float[ndarray, "2"], starts: Float[ndarray, "frames 2"], ends: Float[ndarray, "frames 2"]
) -> Float[ndarray, "frames"]:
    along = ends - starts
    share = ((point - starts) * along).sum(axis=1) / np.maximum((along**2).sum(axis=1), 1e-9)
    nearest = starts + np.clip(share, 0.0, 1.0)[:, None] * along
    return np.linalg.norm(point - nearest, axis=1)
