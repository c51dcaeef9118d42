"""Descriptors of points in a frame, and where they fit best in another frame, to a fraction of a cell.

Places are in working pixels, integer-centred as OpenCV counts them; cells are those of the network's descriptor map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from torch import Tensor

from animal4d.pretrained.xfeat import CELL, CHANNELS, XFeatNetwork

_REACH = 3
"""Cells around the expected place that are searched, in each direction."""
_PATCH = 2
"""The same for the way back."""


@dataclass
class Descriptors:
    """What the network knows of points: the descriptor of each, and the cells around it for the way back."""

    at_point: Float[Tensor, "points 64"]
    around: Float[Tensor, "points cells 64"]
    """Half precision."""
    inside_cell: Float[Tensor, "points 2"]
    """x, y of the point from the middle of the patch, in cells."""

    @staticmethod
    def none() -> Descriptors:
        cells = (2 * _PATCH + 1) ** 2
        return Descriptors(torch.zeros(0, CHANNELS), torch.zeros(0, cells, CHANNELS).half(), torch.zeros(0, 2))

    def rows(self, rows: Int[ndarray, "rows"]) -> Descriptors:
        index = torch.from_numpy(rows)
        return Descriptors(self.at_point[index], self.around[index], self.inside_cell[index])

    def replace(self, rows: Int[ndarray, "rows"], by: Descriptors) -> None:
        index = torch.from_numpy(rows)
        self.at_point[index], self.around[index], self.inside_cell[index] = by.at_point, by.around, by.inside_cell

    def and_also(self, others: Descriptors) -> Descriptors:
        return Descriptors(
            torch.cat((self.at_point, others.at_point)),
            torch.cat((self.around, others.around)),
            torch.cat((self.inside_cell, others.inside_cell)),
        )


@dataclass(frozen=True)
class Match:
    """Where descriptors fit best."""

    places: Float[ndarray, "points 2"]
    similarity: Float[ndarray, "points"]
    """Cosine, at the best cell."""
    way_back: Float[ndarray, "points"]
    """Distance in working pixels from where the found descriptor fits best around the point in its own frame to the
    point; infinite where that, or the match itself, lies at the edge of what was searched."""


@dataclass(frozen=True)
class DescriptorMap:
    """The descriptors of one frame."""

    cells: Float[Tensor, "rows columns 64"]
    cells_per_pixel: tuple[float, float]
    """Along x and y."""

    def describe(self, places: Float[ndarray, "points 2"]) -> Descriptors:
        at = self._in_cells(places)
        middle = at.round().long()
        return Descriptors(self._between(at), self._windows(middle, _PATCH).half(), at - middle)

    def match(self, wanted: Descriptors, around: Float[ndarray, "points 2"]) -> Match:
        """Looks for descriptors in a square of 7 x 7 cells around the given places."""
        middle = self._in_cells(around).round().long()
        similarity = torch.einsum("psc,pc->ps", self._windows(middle, _REACH), wanted.at_point)
        shift, inner = _peak(similarity, _REACH)
        at = middle + shift
        back = torch.einsum("psc,pc->ps", wanted.around.float(), self._between(at))
        shift_back, inner_back = _peak(back, _PATCH)
        scale = torch.tensor(self.cells_per_pixel)
        error = ((shift_back - wanted.inside_cell) / scale).norm(dim=-1)
        places = (at + 0.5) / scale - 0.5
        return Match(
            places.numpy().astype(np.float32),
            similarity.amax(dim=1).numpy(),
            torch.where(inner & inner_back, error, torch.inf).numpy(),
        )

    def _in_cells(self, places: Float[ndarray, "points 2"]) -> Float[Tensor, "points 2"]:
        """Integer-centred coordinates of the map."""
        return (torch.from_numpy(places).float() + 0.5) * torch.tensor(self.cells_per_pixel) - 0.5

    def _windows(self, middle: Int[Tensor, "points 2"], reach: int) -> Float[Tensor, "points cells 64"]:
        """Squares of cells, row by row; beyond the map its edge is repeated."""
        height, width = self.cells.shape[:2]
        offset = torch.arange(-reach, reach + 1)
        rows = (middle[:, 1, None] + offset).clamp(0, height - 1)
        columns = (middle[:, 0, None] + offset).clamp(0, width - 1)
        return self.cells[rows[:, :, None], columns[:, None, :]].flatten(1, 2)

    def _between(self, at: Float[Tensor, "points 2"]) -> Float[Tensor, "points 64"]:
        """Unit descriptors between the cells, bicubic."""
        height, width = self.cells.shape[:2]
        grid = (at + 0.5) / torch.tensor([width, height]) * 2 - 1
        sampled = torch.nn.functional.grid_sample(
            self.cells.permute(2, 0, 1)[None], grid[None, None], "bicubic", "border", align_corners=False
        )
        return torch.nn.functional.normalize(sampled[0, :, 0].T, dim=1)


@torch.no_grad()
def describe_frame(
    network: XFeatNetwork,
    picture: UInt8[Tensor, "height width 3"],
    mask: Bool[Tensor, "height width"],
    longer_side: int,
) -> DescriptorMap:
    """The descriptors of a frame, enlarged to `longer_side`, with the mean colour of the animal for background."""
    image = picture.float()
    image = torch.where(mask[..., None], image, image[mask].mean(dim=0) if mask.any() else image.mean(dim=(0, 1)))
    height, width = mask.shape
    size = [max(round(side * longer_side / max(height, width) / 32), 1) * 32 for side in (height, width)]
    enlarged = torch.nn.functional.interpolate(
        image.permute(2, 0, 1)[None], size=size, mode="bicubic", align_corners=False
    )
    device = next(network.parameters()).device
    cells = network(enlarged.to(device))[0][0].permute(1, 2, 0).cpu().contiguous()
    return DescriptorMap(cells, (size[1] / CELL / width, size[0] / CELL / height))


def _peak(
    similarity: Float[Tensor, "points cells"], reach: int
) -> tuple[Float[Tensor, "points 2"], Bool[Tensor, "points"]]:
    """x, y of the best cell of each square from its middle, refined by a parabola along each axis; and whether it is
    not at the square's edge, where the parabola cannot be drawn."""
    side = 2 * reach + 1
    square = similarity.unflatten(1, (side, side))
    best = similarity.argmax(dim=1)
    row, column = best // side, best % side
    inner = (row > 0) & (row < side - 1) & (column > 0) & (column < side - 1)
    row, column = row.clamp(1, side - 2), column.clamp(1, side - 2)
    point = torch.arange(len(square))
    middle = square[point, row, column]

    def refined(before: Tensor, after: Tensor) -> Tensor:
        curvature = (before - 2 * middle + after).clamp(max=-1e-6)
        return (0.5 * (before - after) / curvature).clamp(-0.5, 0.5)

    x = column + refined(square[point, row, column - 1], square[point, row, column + 1])
    y = row + refined(square[point, row - 1, column], square[point, row + 1, column])
    return torch.stack((x, y), dim=-1) - reach, inner
