"""Unwraps a template onto a square: ``python -m animal4d.body.builder.unwrap`` writes the built-in template's atlas.

Charts are grown and packed by xatlas (MIT licence), the same in every run.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xatlas

from animal4d.files.atomic import write_npz

SIZE = 1024
"""Side of the square, in texels, that the padding refers to."""
PADDING = 4
"""Least number of texels between two charts."""
_STEPS = 65535
"""Of the stored coordinates."""

Array = np.ndarray


def unwrap(vertices: Array, faces: Array, thorough: bool = False) -> tuple[Array, Array, Array]:
    """UV coordinates (corners, 2) in [0, 1] with v downwards, the vertex of each corner (corners,), and faces (F, 3) of
    corners, in the order of the given ones.

    A corner is a vertex as one chart sees it: vertices on the border between charts have several.
    """
    low, high = 0.0, 0.0
    atlas, density = _generate(vertices, faces, 0.0, False)
    best = None
    # The packer takes a density, not a size: that of the largest packing that fits is looked for.
    for _ in range(8):
        side = max(atlas.width, atlas.height)
        if side <= SIZE:
            best, low = atlas, density
            if side >= 0.99 * SIZE:
                break
        else:
            high = density
        density *= 0.995 * SIZE / side
        if high and not low < density < high:
            density = (low + high) / 2
        atlas, density = _generate(vertices, faces, density, thorough)
    assert best is not None, "the packer found no density that fits"
    vertex_of_corner, corners, uv = best[0]
    uv = uv * [best.width, best.height] / max(best.width, best.height)
    return uv, vertex_of_corner.astype(np.int64), corners.astype(np.int64)


def _generate(vertices: Array, faces: Array, density: float, thorough: bool):
    """Charts of a round shape, which pack well, at `density` texels per unit (0: any).

    `thorough` tries every place for every chart.
    """
    charts, packing = xatlas.ChartOptions(), xatlas.PackOptions()
    charts.max_cost, charts.max_iterations = 1.0, 4
    charts.normal_deviation_weight, charts.normal_seam_weight = 2.0, 0.0
    charts.straightness_weight, charts.roundness_weight = 0.0, 0.05
    packing.padding, packing.texels_per_unit, packing.bruteForce = PADDING, density, thorough
    packing.resolution = 0 if density else SIZE
    atlas = xatlas.Atlas()
    atlas.add_mesh(vertices.astype(np.float32), faces.astype(np.uint32))
    atlas.generate(charts, packing)
    return atlas, atlas.texels_per_unit


def write_atlas(uv: Array, vertex_of_corner: Array, faces: Array, path: Path) -> None:
    """Store an atlas in a few bytes."""
    write_npz(
        path,
        {
            "uv": np.round(uv * _STEPS).astype(np.uint16),
            "vertex_of_corner": vertex_of_corner.astype(np.uint16),
            "faces": faces.astype(np.uint16),
        },
    )


def read_atlas(stream) -> tuple[Array, Array, Array]:
    """What `write_atlas` stored."""
    with np.load(stream) as packed:
        return packed["uv"] / _STEPS, packed["vertex_of_corner"].astype(np.int64), packed["faces"].astype(np.int64)


def main() -> None:
    """Entry point of ``python -m animal4d.body.builder.unwrap``."""
    from animal4d.body.template import load_builtin_template

    model = load_builtin_template()
    out = Path(__file__).parents[1] / "data" / "builtin_atlas.npz"
    write_atlas(*unwrap(model.v_template.numpy(), model.faces.numpy(), thorough=True), out)
    print(f"wrote {out} ({out.stat().st_size / 1e3:.0f} kB)")


if __name__ == "__main__":
    main()
