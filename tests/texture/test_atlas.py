"""Atlases: nothing overlaps, charts keep their distance and shape, and every mesh can have one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from animal4d.body.builder.unwrap import PADDING
from animal4d.body.model import BodyModel
from animal4d.body.template import load_builtin_template
from animal4d.texture.atlas import Atlas, atlas_of, texels_of
from export.toy import toy_animal

SIZE = 1024


@pytest.fixture(scope="module", params=["builtin", "toy"])
def model(request: pytest.FixtureRequest) -> BodyModel:
    if request.param == "builtin":
        return load_builtin_template()
    return toy_animal()


@pytest.fixture(scope="module")
def atlas(model: BodyModel) -> Atlas:
    return atlas_of(model)


def charts_of(atlas: Atlas) -> np.ndarray:
    """The chart of every face."""
    a, b, c = atlas.faces.numpy().T
    n = len(atlas.uv)
    joined = coo_matrix((np.ones(2 * len(a)), (np.concatenate((a, b)), np.concatenate((b, c)))), shape=(n, n))
    return connected_components(joined, directed=False)[1][a]


def test_faces_are_the_templates(model, atlas):
    assert torch.equal(atlas.vertex_of_corner[atlas.faces], model.faces)
    assert atlas.uv.min() >= 0 and atlas.uv.max() <= 1


def test_no_two_faces_overlap(atlas):
    """Areas of the faces drawn one by one at each pixel centre add up to the drawn area: nothing is drawn twice."""
    corners = atlas.uv.double()[atlas.faces] * SIZE
    drawn = np.zeros((SIZE, SIZE), np.int32)
    for triangle in corners.numpy():
        low, high = np.floor(triangle.min(0)).astype(int), np.ceil(triangle.max(0)).astype(int)
        x, y = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
        sides = []
        for first, second in ((0, 1), (1, 2), (2, 0)):
            edge = triangle[second] - triangle[first]
            sides.append(edge[0] * (y - triangle[first, 1]) - edge[1] * (x - triangle[first, 0]))
        inside = (np.stack(sides) > 1e-6).all(0) | (np.stack(sides) < -1e-6).all(0)
        drawn[low[1] : high[1], low[0] : high[0]] += inside
    assert (drawn > 1).sum() == 0


def test_charts_keep_their_distance(atlas):
    """No texel has two charts within less than the padding, but for rounding of a texel on either side."""
    texels = texels_of(atlas, SIZE)
    chart = np.zeros((SIZE, SIZE), np.int64)
    chart[texels.covered.numpy()] = charts_of(atlas)[texels.face_index.numpy()] + 1
    for shift in range(1, PADDING - 1):
        for axis in (0, 1):
            first = chart.take(np.arange(SIZE - shift), axis)
            second = chart.take(np.arange(shift, SIZE), axis)
            assert ((first != second) & (first > 0) & (second > 0)).sum() == 0


def test_area_is_used_and_texels_are_of_one_size():
    model = load_builtin_template()
    atlas = atlas_of(model)
    assert len(texels_of(atlas, SIZE)) / SIZE**2 > 0.55
    assert len(np.unique(charts_of(atlas))) < 100
    # Singular values of the map from a face's plane to the square, in units of their mean.
    corners, flat = model.v_template[model.faces].double(), atlas.uv[atlas.faces].double()
    edges = corners[:, 1:] - corners[:, :1]
    along = torch.nn.functional.normalize(edges[:, 0], dim=-1)
    normal = torch.nn.functional.normalize(torch.linalg.cross(edges[:, 0], edges[:, 1]), dim=-1)
    across = torch.linalg.cross(normal, along)
    plane = torch.stack(((edges * along[:, None]).sum(-1), (edges * across[:, None]).sum(-1)), dim=-1)
    stretch = torch.linalg.svdvals(torch.linalg.solve(plane, flat[:, 1:] - flat[:, :1]))
    stretch = stretch / stretch.mean()
    assert torch.quantile(stretch[:, 0], 0.99) < 1.6 and torch.quantile(stretch[:, 1], 0.01) > 0.5


def test_texels_lie_where_their_coordinates_say(atlas):
    texels = texels_of(atlas, 256)
    row, column = texels.covered.nonzero().T
    uv = (texels.barycentrics[..., None] * atlas.uv[atlas.faces[texels.face_index]]).sum(1)
    torch.testing.assert_close(uv, torch.stack((column + 0.5, row + 0.5), dim=1) / 256, atol=1e-4, rtol=0)
