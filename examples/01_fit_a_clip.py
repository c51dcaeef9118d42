"""From a clip to an animated GLB by the Python API, without a run folder.

The clip is a synthetic one, made on the spot; put your own video and masks in the place of `clip_folder`.

    python examples/01_fit_a_clip.py --steps 60
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import animal4d
from animal4d.body.template import load_builtin_template
from animal4d.evaluate.metrics import evaluate
from animal4d.export.colors import vertex_colors
from animal4d.export.glb import write_glb
from animal4d.synth.clip import make_synthetic_clip, write_synthetic_clip
from animal4d.synth.config import SynthConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/examples/01"))
    parser.add_argument("--steps", type=int, default=60, help="optimisation steps; the default of a real run is 600")
    parser.add_argument("--frames", type=int, default=16)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    clip_folder = arguments.out / "clip"
    written = make_synthetic_clip(SynthConfig(motion="walk", shape="fox", frames=arguments.frames, sweep=30, seed=4))
    write_synthetic_clip(written, clip_folder, overwrite=True)

    clip = animal4d.load_clip(clip_folder / "frames", masks=clip_folder / "masks")
    config = animal4d.Config()
    short = max(10, arguments.steps // 6)
    fit = replace(config.fit, steps=arguments.steps, start_steps=short, starts=2)
    reconstruction = animal4d.reconstruct(clip, replace(config, fit=fit))

    model = load_builtin_template()
    reconstruction = replace(reconstruction, vertex_colors=vertex_colors(reconstruction, model, clip))
    write_glb(reconstruction, model, arguments.out / "asset.glb")
    metrics = evaluate(reconstruction, model, clip, truth=clip_folder / "truth.npz")
    print(f"IoU {metrics['iou']['mean']:.3f}, vertex error {metrics['vertex_error']['mean']:.1%} of the body length")
    print(f"written: {arguments.out / 'asset.glb'}")


if __name__ == "__main__":
    main()
