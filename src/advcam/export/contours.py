"""Masks as polygons with holes, and back, without losing a pixel.

Two conventions are in use, and each is exact with the programs that have it:

- "edges": along the edges of pixels, so a pixel (x, y) is the square from (x, y) to (x + 1, y + 1). pycocotools, and
  whatever counts a polygon's area, reads them so.
- "centres": through the outermost pixels themselves, so one pixel is one point. OpenCV's `fillPoly`, and with it the
  trainers of YOLO, colours the pixels that a contour passes through as well.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle

#: (N, 2): x and y of the corners of a closed line, in pixels.
Ring: TypeAlias = NDArray[np.float64]
Along = Literal["edges", "centres"]


@dataclass(frozen=True, eq=False)
class Polygon:
    """One connected part of a mask (connected by sides and corners).

    Args:
        outer: Its outline.
        holes: The outlines of what is missing inside.
    """

    outer: Ring
    holes: tuple[Ring, ...] = ()


def trace(mask: NDArray[np.bool_], along: Along = "edges") -> list[Polygon]:
    """The connected parts of a mask as polygons, in the order of their first pixels.

    Args:
        mask: (H, W).
        along: The convention.

    Returns:
        Corners in whole pixels; a part of one pixel is one point where contours run through centres.
    """
    return [Polygon(_corners(outer), tuple(map(_corners, holes))) for outer, holes in _parts(mask, along)]


def trace_slit(mask: NDArray[np.bool_], along: Along = "edges") -> list[Ring]:
    """As `trace`, each part as a single ring, for formats whose polygons have no holes.

    A hole is joined to the outline by a slit of no width: a line that runs up from the hole's topmost point to the next
    outline and back. `fill` and pycocotools ("edges") and `fillPoly` ("centres") make the same mask of it.
    """
    return [_corners(_join(outer, holes)) for outer, holes in _parts(mask, along)]


def fill(polygons: Iterable[Polygon], size: tuple[int, int], along: Along = "edges") -> NDArray[np.bool_]:
    """The pixels of polygons: the inverse of `trace` and, for polygons of one ring, of `trace_slit`.

    Args:
        polygons: In pixels; corners may be fractions and may lie outside the picture, but not far.
        size: (H, W) of the mask.
        along: The convention. "edges" takes the pixels whose centres lie inside; "centres" those that the outline, its
            corners cut to whole pixels, passes through or encloses.
    """
    mask = np.zeros(size, dtype=np.uint8)
    for polygon in polygons:
        if along == "centres":
            rings = [np.floor(ring).astype(np.int32) for ring in (polygon.outer, *polygon.holes)]
            cv2.fillPoly(mask, rings, (1,))
        else:
            part = _inside(polygon.outer, size)
            for hole in polygon.holes:
                part &= ~_inside(hole, size)
            mask |= part
    return mask.astype(np.bool_)


def _inside(ring: Ring, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Pixels whose centres a ring encloses, (H, W), 0 or 1."""
    if len(ring) < 3:  # encloses nothing, and the rasteriser would take two points for a box
        return np.zeros(size, dtype=np.uint8)
    pixels: NDArray[np.uint8] = rle.decode(rle.frPyObjects([ring.ravel().tolist()], *size))[..., 0]
    return pixels


def _parts(mask: NDArray[np.bool_], along: Along) -> list[tuple[Ring, list[Ring]]]:
    """Outline and holes of each part, with every point on the way."""
    box = cv2.boundingRect(mask.astype(np.uint8))
    x0, y0, width, height = (int(side) for side in box)
    pixels = mask[y0 : y0 + height, x0 : x0 + width].astype(np.uint8)
    if not pixels.size:
        return []
    if along == "edges":  # of pixels twice as large, each quarter stands for the corner that it touches
        pixels = pixels.repeat(2, axis=0).repeat(2, axis=1)
    found, hierarchy = cv2.findContours(pixels, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    points = [one[:, 0] for one in found]
    if along == "edges":
        points = [(one + 1) // 2 for one in points]
    rings = [np.add(one, (x0, y0), dtype=np.float64) for one in points]
    parents = np.asarray(hierarchy)[0, :, 3]
    holes: dict[int, list[Ring]] = {number: [] for number in np.flatnonzero(parents < 0).tolist()}
    for number in np.flatnonzero(parents >= 0).tolist():
        holes[int(parents[number])].append(rings[number])
    parts = [(rings[number], holes[number]) for number in holes]
    return sorted(parts, key=lambda part: _first(part[0]))


def _first(ring: Ring) -> tuple[float, float]:
    """(y, x) of the topmost point, the left one of several."""
    x, y = ring[_top(ring)]
    return float(y), float(x)


def _top(ring: Ring) -> int:
    return int(np.lexsort((ring[:, 0], ring[:, 1]))[0])


def _join(outer: Ring, holes: list[Ring]) -> Ring:
    """One ring of an outline and its holes, the topmost hole first: above it there are only rings already joined."""
    joined = outer
    for hole in sorted(holes, key=_first):
        start = _top(hole)
        x, y = hole[start]
        above = np.flatnonzero((joined[:, 0] == x) & (joined[:, 1] <= y))
        at = int(above[joined[above, 1].argmax()])
        around = np.concatenate([hole[start:], hole[: start + 1]])
        joined = np.concatenate([joined[: at + 1], around, joined[at:]])
    return joined


def _corners(ring: Ring) -> Ring:
    """A ring without its repeated points and those in the middle of a straight line."""
    ring = ring[(ring != np.roll(ring, 1, axis=0)).any(axis=1)] if len(ring) > 1 else ring
    if len(ring) < 3:
        return ring
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    straight = (before[:, 0] * after[:, 1] == before[:, 1] * after[:, 0]) & ((before * after).sum(axis=1) > 0)
    return np.ascontiguousarray(ring[~straight])
