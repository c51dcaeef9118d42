"""What a synthetic clip is made of, and the two clips that the project measures itself on."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from animal4d.errors import Animal4dError

CameraMode = Literal["fixed", "pan", "dolly", "orbit"]


@dataclass(frozen=True)
class CameraStyle:
    """What the camera operator does."""

    mode: CameraMode
    """`fixed` on a tripod; `pan` turns on the spot; `dolly` rides along a straight line; `orbit` goes round."""
    start_azimuth: float
    """Degrees, at the first frame; `fixed` and `pan` take the mean of start and end at mid-clip."""
    sweep: float
    """Degrees by which the azimuth changes (`dolly` and `orbit`)."""
    lens_height: float
    """Above the ground, in world units."""
    fov: float
    """Field of view along the longer side of the image, degrees."""
    fill: float
    """Largest share of the image's width that the animal spans."""
    shake: float
    """Amplitude of the handheld shake, degrees."""


@dataclass(frozen=True)
class SynthConfig:
    """A clip of an animated animal with everything known about it."""

    source: str = "builtin"
    """`builtin` for the project's own body, or the path of a skinned, animated glTF (.glb, .gltf)."""
    motion: str = "walk"
    """walk, trot, gallop, stand, look_around or sit; for a glTF the name of one of its animations."""
    shape: str = "random"
    """Built-in body: `random`, `mean`, or a breed or species of the shape space (greyhound, cat, horse, ...)."""
    shape_sigma: float = 0.6
    """Built-in body: how far a random shape strays, in standard deviations of the shape space."""
    coat: Literal["random", "uniform", "two_colour", "patches", "spots", "stripes", "brindle"] = "random"
    """Built-in body: the pattern of the coat. A glTF keeps the colours of its materials."""
    frames: int = 40
    """Number of frames."""
    fps: float = 24.0
    """Frames per second."""
    image_size: tuple[int, int] = (360, 480)
    """Height and width of the frames in pixels."""
    camera: CameraMode = "orbit"
    """`fixed` on a tripod, `pan` turning on the spot, `dolly` riding along a straight line, `orbit` going round."""
    start_azimuth: float = 55.0
    """Where the camera starts, in degrees from the animal's heading towards its left: 0 sees the face, 90 the left
    side, 180 the tail. `fixed` and `pan` stand at the middle of the sweep."""
    sweep: float = 60.0
    """By how many degrees the camera goes round the animal over the clip."""
    fov: float = 50.0
    """Field of view along the longer side of the image, in degrees."""
    lens_height: float = 0.85
    """Height of the camera above the ground; the animal's body is about 1.3 long from nose to tail base."""
    fill: float = 0.62
    """Largest share of the image's width that the animal takes."""
    shake: float = 0.25
    """How much the camera shakes in the hand, in degrees. 0 is a perfect rail."""
    biome: Literal["random", "meadow", "yard", "beach", "autumn"] = "random"
    """What the place looks like."""
    heading: float | None = None
    """Direction in which the animal goes, in degrees about the vertical from the world's x axis; drawn if not given."""
    tracks: int = 256
    """Number of surface points that are followed through the clip."""
    seed: int = 0
    """Draws everything that is random. The same configuration gives the same clip."""

    def __post_init__(self) -> None:
        height, width = self.image_size
        for name in ("fps", "start_azimuth", "sweep", "fov", "lens_height", "fill", "shake", "shape_sigma", "heading"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise Animal4dError(f"synth: {name} must be a finite number, got {value}")
        for wrong, message in (
            (self.frames < 1, f"frames must be at least 1, got {self.frames}"),
            (self.fps <= 0, f"fps must be positive, got {self.fps}"),
            (
                min(height, width) < 16 or max(height, width) > 4096,
                f"image_size must lie between 16 x 16 and 4096 x 4096, got {height} x {width}",
            ),
            (self.seed < 0, f"seed must not be negative, got {self.seed}"),
            (self.tracks < 0, f"tracks must not be negative, got {self.tracks}"),
            (self.shape_sigma < 0, f"shape_sigma must not be negative, got {self.shape_sigma}"),
            (not 5 <= self.fov <= 120, f"fov must lie between 5 and 120 degrees, got {self.fov}"),
            (not 0.05 <= self.fill <= 0.95, f"fill must lie between 0.05 and 0.95, got {self.fill}"),
            (self.lens_height <= 0, f"lens_height must be positive, got {self.lens_height}"),
        ):
            if wrong:
                raise Animal4dError(f"synth: {message}")

    @property
    def camera_style(self) -> CameraStyle:
        return CameraStyle(
            mode=self.camera,
            start_azimuth=self.start_azimuth,
            sweep=self.sweep,
            lens_height=self.lens_height,
            fov=self.fov,
            fill=self.fill,
            shake=self.shake,
        )


def demo_config() -> SynthConfig:
    """The clip of `make demo`: a dog trots past a moving camera, 40 frames."""
    return SynthConfig(
        motion="trot",
        shape="shepherd",
        coat="two_colour",
        camera="dolly",
        start_azimuth=58.0,
        sweep=50.0,
        fill=0.66,
        biome="meadow",
        seed=1,
    )


def third_party_config(path: str | Path) -> SynthConfig:
    """An animal that neither our template nor our gaits produced, walking under a camera that sweeps from 40 to 110
    degrees around it."""
    return replace(
        SynthConfig(),
        source=str(path),
        motion="Walk",
        frames=60,
        fps=30.0,
        camera="orbit",
        start_azimuth=40.0,
        sweep=70.0,
        biome="meadow",
        seed=1,
    )
