"""A clip whose truth is known: frames, masks, parts, cameras, vertices, joints and point tracks.

`source` may also be any skinned, animated glTF (then `motion` names one of its animations).

    python examples/03_synthetic_clip.py --out runs/examples/03
"""

from __future__ import annotations

import argparse
from pathlib import Path

from animal4d.synth.clip import make_synthetic_clip, write_synthetic_clip
from animal4d.synth.config import SynthConfig
from animal4d.synth.truth import load_truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/examples/03"))
    parser.add_argument("--frames", type=int, default=12)
    arguments = parser.parse_args()

    config = SynthConfig(
        motion="trot", shape="random", coat="spots", camera="orbit", frames=arguments.frames, image_size=(240, 320)
    )
    write_synthetic_clip(make_synthetic_clip(config), arguments.out, overwrite=True)

    truth = load_truth(arguments.out)
    seen = truth.track_visible.float().mean()
    print(f"{len(truth)} frames in {arguments.out}")
    print(f"{truth.vertices.shape[1]} vertices, {len(truth.joint_names)} joints, body length {truth.body_length:.2f}")
    print(f"{truth.tracks.shape[1]} surface points are followed; {seen:.0%} of their places are visible")


if __name__ == "__main__":
    main()
