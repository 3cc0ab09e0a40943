"""Pairs of grid positions as views of a map, and how strongly the two of a pair belong together.

All pairs (i, i + offset) of one offset are two shifted views of the same map, so no index is ever stored. For an offset
(dy, dx) and a map (.., h, w) both views have the shape (.., h - dy, w - |dx|), placed by i.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from advcam.errors import SettingError
from advcam.refine.irn.paths import Offset, offsets, runs


def offsets_within(radius: int, height: int, width: int) -> list[Offset]:
    """Offsets of a radius that have at least one pair on a grid.

    Raises:
        SettingError: The radius is below 2.
    """
    return [(dy, dx) for dy, dx in offsets(radius) if dy < height and abs(dx) < width]


def pair_views(grid: Tensor, offset: Offset) -> tuple[Tensor, Tensor]:
    """A map at i and at j = i + offset, for every pair of an offset on the grid.

    Args:
        grid: (.., h, w), larger than the offset.
        offset: (dy, dx) with dy >= 0.

    Returns:
        Two views (.., h - dy, w - |dx|).
    """
    dy, dx = offset
    height, width = grid.shape[-2] - dy, grid.shape[-1] - abs(dx)
    left, right = max(0, -dx), max(0, dx)
    return grid[..., :height, left : left + width], grid[..., dy:, right : right + width]


class PathMaxima:
    """The highest boundary on the path of every pair, max_{k in path(i, j)} B_k.

    A path of up to 19 cells is a few runs within rows or columns. The maximum of a run is a pooled map that all offsets
    share, so a pair costs a handful of comparisons instead of one for each cell. Gradients flow to the highest cell.

    Args:
        boundary: B, boundary probabilities in [0, 1], (N, h, w).
        radius: Of the pairs, in cells.

    Raises:
        SettingError: The radius is below 2, or B is no (N, h, w).
    """

    def __init__(self, boundary: Tensor, radius: int) -> None:
        if boundary.ndim != 3:
            raise SettingError(f"boundaries are (N, h, w); got shape {tuple(boundary.shape)}")
        self.size = (boundary.shape[-2], boundary.shape[-1])
        self.offsets = offsets_within(radius, *self.size)
        extents = {(run.height, run.width) for offset in self.offsets for run in runs(offset)}
        self._pooled = {extent: functional.max_pool2d(boundary, extent, stride=1) for extent in extents}

    def along(self, offset: Offset) -> Tensor:
        """The maximum for every pair of one of `offsets`, (N, h - dy, w - |dx|)."""
        dy, dx = offset
        height, width = self.size[0] - dy, self.size[1] - abs(dx)
        views = []
        for run in runs(offset):
            top, left = run.y, run.x + max(0, -dx)
            views.append(self._pooled[run.height, run.width][:, top : top + height, left : left + width])
        highest = views[0]
        for view in views[1:]:
            highest = torch.maximum(highest, view)
        return highest


def affinities(boundary: Tensor, radius: int) -> Iterator[tuple[Offset, Tensor]]:
    """Each offset of a radius with a_ij = 1 - max_{k in path(i, j)} B_k of its pairs (Ahn, Cho, Kwak, CVPR 2019).

    A pair with an end outside the grid does not exist. The published code pads B with 1 there, which makes its
    affinity 0: the same.

    Args:
        boundary: B, boundary probabilities in [0, 1], (N, h, w).
        radius: In cells.

    Yields:
        (offset, (N, h - dy, w - |dx|)), values in [0, 1].

    Raises:
        SettingError: The radius is below 2, or B is no (N, h, w).
    """
    maxima = PathMaxima(boundary, radius)
    for offset in maxima.offsets:
        yield offset, 1 - maxima.along(offset)
