"""Polygons of masks: exact in both conventions, against a literal even-odd rule, pycocotools and OpenCV."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as rle

from advcam.export.contours import Polygon, fill, trace, trace_slit

MASKS = arrays.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))
ALONG = pytest.mark.parametrize("along", ["edges", "centres"])


def literal_fill(rings, height, width):
    """Even-odd rule at the centre of each pixel, one crossing after the other."""
    mask = np.zeros((height, width), dtype=bool)
    for row in range(height):
        for column in range(width):
            x, y, crossings = column + 0.5, row + 0.5, 0
            for ring in rings:
                for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
                    if (y0 > y) != (y1 > y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
                        crossings += 1
            mask[row, column] = crossings % 2
    return mask


@ALONG
@settings(max_examples=150, deadline=None)
@given(mask=MASKS)
def test_what_is_traced_is_filled_again(along, mask):
    assert (fill(trace(mask, along), mask.shape, along) == mask).all()
    assert (fill(map(Polygon, trace_slit(mask, along)), mask.shape, along) == mask).all()


@settings(max_examples=100, deadline=None)
@given(mask=MASKS)
def test_edges_are_what_the_even_odd_rule_says(mask):
    polygons = trace(mask)
    assert (literal_fill([ring for one in polygons for ring in (one.outer, *one.holes)], *mask.shape) == mask).all()
    assert (literal_fill(trace_slit(mask), *mask.shape) == mask).all()


@settings(max_examples=100, deadline=None)
@given(mask=MASKS)
def test_pycocotools_and_opencv_see_the_same_pixels(mask):
    rings = trace_slit(mask)
    if rings:
        merged = rle.merge(rle.frPyObjects([ring.ravel().tolist() for ring in rings], *mask.shape))
        assert (rle.decode(merged).astype(bool) == mask).all()
    drawn = np.zeros(mask.shape, dtype=np.uint8)
    for ring in trace_slit(mask, "centres"):
        cv2.fillPoly(drawn, [ring.astype(np.int32)], 1)
    assert (drawn.astype(bool) == mask).all()


@ALONG
@settings(max_examples=60, deadline=None)
@given(mask=MASKS)
def test_one_polygon_a_connected_part(along, mask):
    count, _ = cv2.connectedComponents(mask.astype(np.uint8))
    assert len(trace(mask, along)) == len(trace_slit(mask, along)) == count - 1


def test_a_ring_of_pixels_in_numbers():
    mask = np.zeros((5, 6), dtype=bool)
    mask[1:4, 2:5] = True
    mask[2, 3] = False
    (edges,), (centres,) = trace(mask), trace(mask, "centres")
    assert edges.outer.tolist() == [[2, 1], [2, 4], [5, 4], [5, 1]]
    assert [sorted(hole.tolist()) for hole in edges.holes] == [[[3, 2], [3, 3], [4, 2], [4, 3]]]
    assert centres.outer.tolist() == [[2, 1], [2, 3], [4, 3], [4, 1]]
    (slit,) = trace_slit(mask)
    assert [3, 1] in slit.tolist(), "the slit meets the outline above the hole"


def test_one_pixel_is_a_square_or_a_point():
    mask = np.zeros((3, 3), dtype=bool)
    mask[1, 2] = True
    assert trace(mask)[0].outer.tolist() == [[2, 1], [2, 2], [3, 2], [3, 1]]
    assert trace(mask, "centres")[0].outer.tolist() == [[2, 1]]


@ALONG
def test_no_pixel_no_polygon(along):
    assert trace(np.zeros((4, 5), dtype=bool), along) == []


def test_a_polygon_of_two_points_encloses_nothing():
    assert not fill([Polygon(np.array([[0.0, 0.0], [4.0, 4.0]]))], (5, 5)).any()


def test_polygons_may_lie_over_the_border():
    polygon = Polygon(np.array([[-3.0, -3.0], [2.0, -3.0], [2.0, 9.0], [-3.0, 9.0]]))
    assert fill([polygon], (4, 4)).tolist() == [[True, True, False, False]] * 4
    assert fill([polygon], (4, 4), "centres").tolist() == [[True, True, True, False]] * 4
