"""The pieces below the fit, on their own: render a silhouette, and pull a body towards it by a gradient.

python examples/04_rasterize_and_losses.py
"""

from __future__ import annotations

import torch

from animal4d.body.template import load_builtin_template
from animal4d.fit.view_search import view_rotation
from animal4d.geometry.cameras import Cameras, intrinsics_from_fov
from animal4d.geometry.mesh import sample_surface
from animal4d.geometry.rasterize import rasterize, visible_vertices
from animal4d.losses.silhouette import SilhouetteTarget, silhouette_distance

SIZE = (128, 128)


def main() -> None:
    model = load_builtin_template()
    camera = torch.eye(4)
    camera[:3, :3] = view_rotation(torch.tensor(0.3), torch.tensor(0.2))
    camera[2, 3] = 3.2
    cameras = Cameras(intrinsics_from_fov(40.0, SIZE)[None], camera[None], SIZE)

    # Silhouette and visibility by one call; it has no gradient, what is gathered by it has.
    body = model.v_template[None]
    fragments = rasterize(cameras.transform(body), model.faces, cameras.intrinsics, SIZE)
    seen = visible_vertices(fragments, model.faces, model.n_vertices)
    print(f"{int(fragments.covered.sum())} pixels, {int(seen.sum())} of {model.n_vertices} vertices are seen")

    # The same body somewhere else: the silhouette alone brings it home.
    target = SilhouetteTarget.from_masks(fragments.covered)
    shift = torch.tensor([0.25, 0.0, 0.15], requires_grad=True)
    optimizer = torch.optim.Adam([shift], lr=0.02)
    samples = sample_surface(model.v_template, model.faces, 1500, torch.Generator().manual_seed(0))
    for step in range(61):
        pixels = cameras.project(samples.on(body + shift, model.faces))
        loss = silhouette_distance(pixels, target).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 20 == 0:
            print(f"step {step}: loss {float(loss.detach()):.5f}, {float(shift.detach().norm()):.3f} away")


if __name__ == "__main__":
    main()
