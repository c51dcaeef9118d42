"""How long tracks last and how true they stay, with and without XFeat: `python benchmarks/tracks.py`.

An animal that is not ours (../shared/clips/animals) walks under a camera that sweeps round it; frames and masks alone
go into the trackers. Wherever a track is seen it is tied to the point of the TRUE surface under it, and compared with
that point 1 to 40 frames later: does the track still live, where the point is truly in view, and how far off is it?
Each pair of frames of a track counts once. `python benchmarks/tracks.py Cow` takes another animal.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from scene import table  # isort: skip
from result_cases import SHARED  # isort: skip

import torch
from torch import Tensor

from animal4d.clip import Clip
from animal4d.cues.cache import Provider
from animal4d.cues.tracks import LucasKanadeTracks, Tracks
from animal4d.cues.xfeat_tracks import XFeatTracks
from animal4d.geometry.rasterize import Fragments, rasterize
from animal4d.losses.tracks import TrackAnchors, anchor_tracks
from animal4d.readers.load import load_clip
from animal4d.synth.clip import make_synthetic_clip, write_synthetic_clip
from animal4d.synth.config import third_party_config
from animal4d.synth.truth import Truth, visible_points

GAPS = (1, 10, 20, 40)
"""Frames apart."""
RIGHT = 4.0
"""Pixels of the original frames (480 x 360) up to which a track is on its point: about half a leg's width."""
WRONG = 8.0
"""Beyond it is on something else."""
_TOLERANCE = 0.008
"""Of the body length: how much nearer another surface must be to hide a point (as in the clip's own tracks)."""


@dataclass(frozen=True)
class Pairs:
    """All pairs of frames of all tracks at one gap."""

    in_view: Tensor
    """The point is truly in view in the later frame."""
    alive: Tensor
    error: Tensor
    """Pixels of the original frames."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("animal", nargs="?", default="Husky", choices=("Husky", "ShibaInu", "Cow"))
    animal = parser.parse_args().animal
    clip, truth = make_clip(animal)
    fragments = rasterize(
        truth.cameras.transform(truth.vertices), truth.faces, truth.cameras.intrinsics, truth.cameras.image_size
    )
    providers: tuple[tuple[str, Provider[Tracks]], ...] = (
        ("Lucas-Kanade", LucasKanadeTracks()),
        ("Lucas-Kanade + XFeat", XFeatTracks()),
    )
    summary, rows = [], []
    for name, provider in providers:
        start = time.process_time()
        tracks = provider(clip)
        seconds = time.process_time() - start
        length = tracks.visible.sum(0).float().mean()
        living = tracks.visible.sum(1).float().mean()
        summary.append((name, f"{len(tracks)}", f"{length:.1f}", f"{living:.0f}", f"{1e3 * seconds / len(clip):.0f}"))
        anchors = anchor_tracks(fragments, tracks.points, tracks.visible)
        for gap in GAPS:
            rows.append((f"{gap}", name, *figures(compare(tracks, anchors, truth, fragments, gap), len(clip) - gap)))
    rows.sort(key=lambda row: int(row[0]))
    table(
        f"{animal}, {len(clip)} frames: all tracks",
        ("tracker", "tracks", "frames seen, mean", "seen per frame", "CPU ms per frame"),
        summary,
    )
    columns = ("frames apart", "tracker", "survive", f"within {RIGHT:g} px", "such points", "mean px", "median")
    tails = ("90 %", "95 %", "99 %", f"> {RIGHT:g} px", f"> {WRONG:g} px")
    table("Survival of points truly in view, and errors of those that survive", (*columns, *tails), rows)


def make_clip(animal: str) -> tuple[Clip, Truth]:
    path = SHARED / "animals" / f"{animal}.glb"
    if not path.is_file():
        raise SystemExit(f"{path} is not there: this benchmark needs the shared animals")
    synthetic = make_synthetic_clip(third_party_config(path))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / animal
        write_synthetic_clip(synthetic, folder)
        clip = load_clip(folder / "frames", masks=folder / "masks", fps=synthetic.config.fps)
    return clip, synthetic.truth


def compare(tracks: Tracks, anchors: TrackAnchors, truth: Truth, fragments: Fragments, gap: int) -> Pairs:
    """Every track in every frame with itself `gap` frames later."""
    in_view, alive, error = [], [], []
    for now in range(len(truth) - gap):
        later = now + gap
        chosen = anchors.valid[now].nonzero().flatten()
        face, weights = anchors.surface.face_index[now, chosen], anchors.surface.barycentrics[now, chosen]
        point = (truth.vertices[later][truth.faces[face]] * weights[..., None]).sum(1)[None]
        camera = truth.cameras[[later]]
        there = Fragments(*(getattr(fragments, name)[[later]] for name in ("face_index", "barycentrics", "depth")))
        in_view.append(visible_points(point, camera, there, _TOLERANCE * truth.body_length)[0])
        alive.append(tracks.visible[later, chosen])
        expected = camera.project(point)[0] + anchors.offset[now, chosen]
        error.append((tracks.points[later, chosen] - expected).norm(dim=-1))
    return Pairs(torch.cat(in_view), torch.cat(alive), torch.cat(error))


def figures(pairs: Pairs, frames: int) -> tuple[str, ...]:
    """Survival, share and number per pair of frames of right points; mean, quantiles and tails of the errors."""
    error = pairs.error[pairs.alive]
    right = pairs.alive & (pairs.error < RIGHT)
    count = pairs.in_view.sum()
    quantiles = torch.quantile(error, torch.tensor([0.5, 0.9, 0.95, 0.99]))
    return (
        f"{(pairs.alive & pairs.in_view).sum() / count:.1%}",
        f"{(right & pairs.in_view).sum() / count:.1%}",
        f"{right.sum() / frames:.0f}",
        f"{error.mean():.2f}",
        *(f"{quantile:.2f}" for quantile in quantiles),
        f"{(error > RIGHT).float().mean():.1%}",
        f"{(error > WRONG).float().mean():.1%}",
    )


if __name__ == "__main__":
    main()
