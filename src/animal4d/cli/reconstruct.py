"""`animal4d reconstruct`: from a video to an animated 3D animal."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from animal4d.cli.options import Avoided, OptionalBox, OptionalFloat, OptionalInt, OptionalPath, OptionalPoint, Uses
from animal4d.config import ASSUMED_BODY_LENGTH, Config, Cue, load_config
from animal4d.errors import Animal4dError

if TYPE_CHECKING:
    from animal4d.run_folder import RunRequest


@dataclass(frozen=True)
class Reconstruct:
    """Fit an animal to a video and write a skinned, animated GLB, cameras, metrics and a video to look at.

    Example: animal4d reconstruct my_dog.mp4 --out runs/my_dog

    Example: animal4d reconstruct my_dog.mp4 --masks my_dog_masks --out runs/my_dog
    """

    source: tyro.conf.Positional[Path]
    """A video file (mp4, mov, webm, gif) or a folder of frames; or a sequence of COP3D or of 4D-Animal's external data,
    cop3d:ROOT:SEQUENCE or external:ROOT:SEQUENCE (`animal4d data list ROOT` shows them)."""
    out: Path
    """Run folder to write, for example runs/my_dog."""
    masks: OptionalPath = None
    """Folder of masks with the frames' names or in their order (or a mask video): where the animal is. Without them
    SAM 2 finds it where its weights are there, else the built-in network."""
    box: OptionalBox = None
    """Without masks: a box around the animal in the first frame, in pixels, where there are several, or none is
    found."""
    point: OptionalPoint = None
    """The same by a point on the animal."""
    eyes: bool = True
    """Whether the built-in network finds masks where none are given, and parts, surface and views of the animal where
    no files bring them. Without it, --box starts GrabCut."""
    use: Uses = ()
    """Who makes a cue, as masks=sam2 or tracks=lucas-kanade; `animal4d doctor` lists them. By default the best that is
    at hand does. Give them after the source."""
    avoid: Avoided = ()
    """Providers that are never used, as xfeat."""
    strict: bool = False
    """Stop where a network fails, instead of going on with the next best provider."""
    cameras: OptionalPath = None
    """Intrinsics and camera poses, if you have them: cameras.json (format: docs/conventions.md), the folder of a COLMAP
    model, or an npz of VGGT or MegaSaM."""
    fov: OptionalFloat = None
    """Field of view along the longer side of the picture, in degrees, where no camera data tell it (default: 50)."""
    fps: OptionalFloat = None
    """Frames per second of a folder of frames (default: 30)."""
    start: int = 0
    """First frame to use."""
    stop: OptionalInt = None
    """Frame to stop before."""
    stride: int = 1
    """Use every n-th frame."""
    max_frames: OptionalInt = None
    """Use at most so many frames."""
    config: OptionalPath = None
    """YAML file with settings that differ from the defaults (a run's config.yaml has them all)."""
    preset: Literal["default", "paper"] = "default"
    """Losses and schedule: ours, or those of the 4D-Animal paper scaled to the number of steps (--steps 10000 has the
    published number). --config changes single settings of either."""
    template: Annotated[str | None, tyro.conf.arg(metavar="builtin|FILE", help_behavior_hint="")] = None
    """Body model: the built-in one (default), or a SMAL pickle of yours."""
    without: tuple[Cue, ...] = ()
    """Cues to leave out, to see what they are worth. Give them after the source."""
    steps: OptionalInt = None
    """Optimisation steps, instead of the usual number: fewer are faster and coarser."""
    seed: OptionalInt = None
    """Of everything random: the same seed gives the same result (default: 0)."""
    device: Annotated[
        Literal["auto", "cpu", "cuda"] | None, tyro.conf.arg(metavar="{auto,cpu,cuda}", help_behavior_hint="")
    ] = None
    """Where to compute; auto, the default, takes CUDA where there is one."""
    truth: OptionalPath = None
    """truth.npz of a synthetic clip: measure 3D errors as well."""
    keypoints: OptionalPath = None
    """keypoints.json (BADJA's): measure PCK as well. Never used for fitting."""
    body_length: float = ASSUMED_BODY_LENGTH
    """Metres from nose to tail base, which no video tells: the scale of asset.glb and cameras.json."""
    overwrite: bool = False
    """Replace a finished run in the folder."""
    resume: bool = False
    """Go on with an interrupted run in the folder."""

    def run(self) -> None:
        from animal4d.run_folder import RunRequest

        request = RunRequest(
            source=self.source,
            out=self.out,
            masks=self.masks,
            box=self.box,
            point=self.point,
            cameras=self.cameras,
            fov=self.fov,
            fps=self.fps,
            start=self.start,
            stop=self.stop,
            stride=self.stride,
            max_frames=self.max_frames,
            truth=self.truth,
            keypoints=self.keypoints,
            body_length=self.body_length,
            overwrite=self.overwrite,
            resume=self.resume,
        )
        reconstruct_and_report(request, self.resolved_config())

    def resolved_config(self) -> Config:
        """Defaults, then the YAML file, then the flags."""
        from animal4d.fit.presets import preset

        config = Config(fit=preset(self.preset))
        config = config if self.config is None else load_config(self.config, config)
        flags = {name: getattr(self, name) for name in ("seed", "device", "template", "without", "use", "avoid")}
        config = replace(config, **{name: value for name, value in flags.items() if value not in (None, ())})
        if not self.eyes:
            config = replace(config, eyes=False)
        if self.strict:
            config = replace(config, strict=True)
        if self.steps is not None:
            if self.steps < 1:
                raise Animal4dError(f"--steps must be at least 1, got {self.steps}")
            config = replace(config, fit=replace(config.fit, steps=self.steps))
        return config


def reconstruct_and_report(request: RunRequest, config: Config) -> None:
    """Run with progress on the console, and the summary. Raises Animal4dError when the fit diverged."""
    from animal4d.cli.console import ConsoleProgress, print_summary
    from animal4d.runs import run_reconstruction

    with ConsoleProgress() as progress:
        result = run_reconstruction(request, config, progress)
    print_summary(result, request.out)
    if result.diverged is not None:
        raise Animal4dError(result.diverged)
