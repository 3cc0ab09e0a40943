"""Which pairs of grid positions IRN looks at, and the positions that lie between the two of a pair.

Ahn, Cho, Kwak, "Weakly Supervised Learning of Instance Segmentation With Inter-Pixel Relations", CVPR 2019. A pair
(i, j) is written as i and the offset j - i = (dy, dx); the offsets of one half plane name each pair once.
"""

from functools import cache
from typing import NamedTuple

from advcam.errors import SettingError

#: (dy, dx) from one grid position to another, in cells.
Offset = tuple[int, int]


class Run(NamedTuple):
    """Neighbouring cells of one row (height 1) or one column (width 1).

    Args:
        y, x: The upper left cell, seen from i.
        height, width: Its extent in cells.
    """

    y: int
    x: int
    height: int
    width: int


@cache
def offsets(radius: int) -> tuple[Offset, ...]:
    """Offsets of one half plane that are shorter than the radius: 34 at radius 5, 152 at radius 10.

    Args:
        radius: In cells of the grid, at least 2.

    Returns:
        (dy, dx) with dy > 0, or dy = 0 and dx > 0; by dy, then dx.

    Raises:
        SettingError: The radius is below 2: no pair is that near.
    """
    if radius < 2:
        raise SettingError(f"the radius of pairs is a whole number of cells, 2 or more; got {radius}")
    reach = range(-radius + 1, radius)
    half_plane = ((dy, dx) for dy in range(radius) for dx in reach if dy > 0 or dx > 0)
    return tuple((dy, dx) for dy, dx in half_plane if dy * dy + dx * dx < radius * radius)


@cache
def path(offset: Offset) -> tuple[Offset, ...]:
    """Cells between (0, 0) and an offset, both included: in their bounding rectangle, less than 1 from the line.

    Args:
        offset: (dy, dx) with dy >= 0, not (0, 0).

    Returns:
        Cells (y, x), by y, then x.
    """
    dy, dx = offset
    rows, columns = range(dy + 1), range(min(0, dx), max(0, dx) + 1)
    # The distance of (y, x) from the line is |dy x - dx y| / sqrt(dy^2 + dx^2); squared it is exact in integers.
    return tuple((y, x) for y in rows for x in columns if (dy * x - dx * y) ** 2 < dy * dy + dx * dx)


@cache
def runs(offset: Offset) -> tuple[Run, ...]:
    """The path of an offset as runs: by rows where the line is flat, by columns where it is steep.

    A band around a line cuts each row and each column in one piece, so there are at most min(|dy|, |dx|) + 1 runs.
    """
    dy, dx = offset
    cells = path(offset)
    if abs(dx) >= dy:
        rows = [[x for y, x in cells if y == row] for row in range(dy + 1)]
        return tuple(Run(row, xs[0], 1, len(xs)) for row, xs in enumerate(rows))
    columns = range(min(0, dx), max(0, dx) + 1)
    ys = {column: [y for y, x in cells if x == column] for column in columns}
    return tuple(Run(ys[column][0], column, len(ys[column]), 1) for column in columns)
