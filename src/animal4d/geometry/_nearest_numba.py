"""Compiled exact nearest neighbours in the plane: targets are sorted into a uniform grid, searched ring by ring."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

_TARGETS_PER_CELL = 2.0


@njit(cache=True, nogil=True)
def _grid_of(targets):
    """Targets sorted by cell: their order, where each cell starts, lower corner, cell size, columns and rows."""
    n = targets.shape[0]
    x_low, y_low = targets[0, 0], targets[0, 1]
    x_high, y_high = x_low, y_low
    for i in range(1, n):
        x_low, x_high = min(x_low, targets[i, 0]), max(x_high, targets[i, 0])
        y_low, y_high = min(y_low, targets[i, 1]), max(y_high, targets[i, 1])
    width, height = float(x_high - x_low), float(y_high - y_low)
    n_cells = max(n / _TARGETS_PER_CELL, 1.0)
    # Square cells; a set on a line has no area, so its length decides. The floor keeps a single place finite.
    cell = max(np.sqrt(width * height / n_cells), max(width, height) / n_cells, 1e-12)
    columns, rows = int(width / cell) + 1, int(height / cell) + 1

    cell_of = np.empty(n, np.int64)
    start = np.zeros(columns * rows + 1, np.int64)
    for i in range(n):
        column = min(int((targets[i, 0] - x_low) / cell), columns - 1)
        row = min(int((targets[i, 1] - y_low) / cell), rows - 1)
        cell_of[i] = row * columns + column
        start[cell_of[i] + 1] += 1
    for c in range(columns * rows):
        start[c + 1] += start[c]
    filled = start[:-1].copy()
    order = np.empty(n, np.int64)
    for i in range(n):
        order[filled[cell_of[i]]] = i
        filled[cell_of[i]] += 1
    return order, start, float(x_low), float(y_low), cell, columns, rows


@njit(cache=True, nogil=True)
def _nearest_in_row(x, y, ordered, start, first_cell, last_cell, best, best_squared):
    """The nearest target in consecutive cells of one grid row: they lie side by side in `ordered`."""
    for place in range(start[first_cell], start[last_cell + 1]):
        dx, dy = ordered[place, 0] - x, ordered[place, 1] - y
        squared = dx * dx + dy * dy
        if squared < best_squared:
            best, best_squared = place, squared
    return best, best_squared


@njit(cache=True, nogil=True)
def _nearest_of_frame(queries, targets, result):
    order, start, x_low, y_low, cell, columns, rows = _grid_of(targets)
    ordered = np.empty(targets.shape, targets.dtype)
    for place in range(order.shape[0]):
        ordered[place, 0], ordered[place, 1] = targets[order[place], 0], targets[order[place], 1]
    for i in range(queries.shape[0]):
        x, y = queries[i, 0], queries[i, 1]
        if not (abs(x) < np.inf and abs(y) < np.inf):
            result[i] = 0
            continue
        # The search runs around the place of the grid's box nearest to the query. Every target is at least as far from
        # the query as from that place, by Pythagoras even farther: this bounds what lies in rings not yet searched.
        x_inside = min(max(float(x), x_low), x_low + cell * columns)
        y_inside = min(max(float(y), y_low), y_low + cell * rows)
        outside = (x - x_inside) ** 2 + (y - y_inside) ** 2
        column = min(int((x_inside - x_low) / cell), columns - 1)
        row = min(int((y_inside - y_low) / cell), rows - 1)
        x_in_cell, y_in_cell = x_inside - x_low - column * cell, y_inside - y_low - row * cell
        to_border = max(min(x_in_cell, cell - x_in_cell, y_in_cell, cell - y_in_cell), 0.0)
        best, best_squared = 0, np.inf
        ring, searched = 0, 0.0
        while best_squared > outside + searched**2 and ring <= max(columns, rows):
            left, right = max(column - ring, 0), min(column + ring, columns - 1)
            for r in range(max(row - ring, 0), min(row + ring, rows - 1) + 1):
                cells = r * columns
                if abs(r - row) == ring:
                    best, best_squared = _nearest_in_row(
                        x, y, ordered, start, cells + left, cells + right, best, best_squared
                    )
                    continue
                if column - ring >= 0:
                    best, best_squared = _nearest_in_row(
                        x, y, ordered, start, cells + left, cells + left, best, best_squared
                    )
                if column + ring < columns:
                    best, best_squared = _nearest_in_row(
                        x, y, ordered, start, cells + right, cells + right, best, best_squared
                    )
            searched = ring * cell + to_border
            ring += 1
        result[i] = order[best]


@njit(cache=True, parallel=True, nogil=True)
def nearest_on_grid(queries, query_lengths, targets, target_lengths, result):
    """Fills `result` "frames queries" with indices of targets.

    It is -1 beyond a frame's queries, and in frames that have no target or one that is not finite.
    """
    for frame in prange(queries.shape[0]):
        result[frame] = -1
        n, m = query_lengths[frame], target_lengths[frame]
        if n > 0 and m > 0 and np.isfinite(targets[frame, :m]).all():
            _nearest_of_frame(queries[frame, :n], targets[frame, :m], result[frame])
