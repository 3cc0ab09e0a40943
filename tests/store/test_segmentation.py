"""COCO segmentations against pycocotools, and everything that is none."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as rle

from advcam.errors import DatasetError
from advcam.store.segmentation import paint, segment_pixels

MASKS = arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24))
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**400), 10**400) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.sampled_from(["size", "counts"]), inner),
    max_leaves=12,
)


def pixels(segmentation, height=6, width=8):
    return segment_pixels(segmentation, height, width, "a.json, annotation 1")


@settings(max_examples=150, deadline=None, derandomize=True)
@given(mask=MASKS)
def test_compressed_runs_as_pycocotools_reads_them(mask):
    encoded = rle.encode(np.asfortranarray(mask, dtype=np.uint8))
    assert (rle.decode(encoded) == mask).all()
    for counts in (encoded["counts"], encoded["counts"].decode()):
        assert (pixels({"size": list(mask.shape), "counts": counts}, *mask.shape) == mask).all()


def test_compressed_runs_of_long_stretches():
    mask = np.zeros((700, 900), dtype=np.uint8)
    mask[3:650, 5:800] = 1
    mask[100:400, 200:777] = 0
    encoded = rle.encode(np.asfortranarray(mask))
    assert (pixels({"size": [700, 900], "counts": encoded["counts"]}, 700, 900) == mask).all()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(counts=st.lists(st.integers(0, 30), min_size=1, max_size=20).filter(sum))
def test_uncompressed_runs_as_pycocotools_reads_them(counts):
    size = [1, sum(counts)]
    expected = rle.decode(rle.frPyObjects({"size": size, "counts": counts}, *size))
    assert (pixels({"size": size, "counts": counts}, *size) == expected).all()


def test_runs_go_down_the_columns_and_begin_with_background():
    found = pixels({"size": [2, 3], "counts": [1, 2, 3]}, 2, 3)
    assert found.tolist() == [[False, True, False], [True, False, False]]
    assert found.dtype == np.bool_


@settings(max_examples=100, deadline=None, derandomize=True)
@given(points=st.lists(st.floats(-5, 25), min_size=6, max_size=20).filter(lambda points: len(points) % 2 == 0))
def test_polygon_as_pycocotools_rasterises_it(points):
    expected = rle.decode(rle.frPyObjects([points], 20, 20))[..., 0]
    assert (pixels([points], 20, 20) == expected).all()


def test_rectangle_on_whole_pixels_is_exact():
    expected = np.zeros((6, 8), dtype=bool)
    expected[1:4, 2:7] = True
    assert (pixels([[2, 1, 7, 1, 7, 4, 2, 4]]) == expected).all()


def test_several_polygons_are_one_object():
    found = pixels([[0, 0, 2, 0, 2, 2, 0, 2], [5.0, 3.0, 8.0, 3.0, 8.0, 6.0, 5.0, 6.0]])
    assert found.sum() == 2 * 2 + 3 * 3
    assert found[:2, :2].all()
    assert found[3:, 5:].all()


@pytest.mark.parametrize(
    ("segmentation", "text"),
    [
        (None, "neither polygons nor run lengths"),
        ([], "neither polygons nor run lengths"),
        ("abc", "neither polygons nor run lengths"),
        ([1, 2, 3, 4, 5, 6], "a polygon is a list of numbers"),
        ([[1, 2, 3, 4, 5, "6"]], "a polygon is a list of numbers"),
        ([[1, 2, 3, 4, 5, True]], "a polygon is a list of numbers"),
        ([[1, 2, 3, 4]], "has 4 numbers; it needs x and y of at least 3 points"),
        ([[0, 0, 2, 0, 2, 2], [1, 2, 3, 4]], "has 4 numbers"),
        ([[1, 2, 3, 4, 5, 6, 7]], "has 7 numbers"),
        ([[]], "has 0 numbers"),
        ([[0, 0, 17, 0, 2, 2]], "far outside the picture of 8 x 6 pixels"),
        ([[0, 0, 2, 13, 2, 2]], "far outside"),
        ([[0, 0, 2, float("nan"), 2, 2]], "far outside"),
        ([[0, 0, 10**400, 0, 2, 2]], "far outside"),
        ({"size": "8\n6"}, r"size '8\\n6' in a picture"),
        ({"size": [8, 6], "counts": [48]}, r"size \[8, 6\] in a picture of height 6 and width 8"),
        ({"counts": [48]}, "size None"),
        ({"size": [6, 8]}, "run lengths are integers from 0 to 178,000,000"),
        ({"size": [6, 8], "counts": [24, "24"]}, "run lengths are integers from 0 to 178,000,000"),
        ({"size": [6, 8], "counts": [50, -2]}, "run lengths are integers from 0 to 178,000,000"),
        ({"size": [6, 8], "counts": [48.0]}, "run lengths are integers from 0 to 178,000,000"),
        ({"size": [6, 8], "counts": [40]}, "cover 40 of 48 pixels"),
        ({"size": [6, 8], "counts": []}, "cover 0 of 48 pixels"),
        ({"size": [6, 8], "counts": [10**30]}, "run lengths are integers from 0 to 178,000,000"),
        ({"size": [6, 8], "counts": [10**4300 - 1] * 2}, "run lengths are integers from 0 to 178,000,000"),
        ({"size": [6, 8], "counts": "\n"}, "compressed run lengths are damaged"),
        ({"size": [6, 8], "counts": "o" * 40}, "compressed run lengths are damaged"),
        ({"size": [6, 8], "counts": "P"}, "compressed run lengths end early"),
        ({"size": [6, 8], "counts": b"\xff"}, "compressed run lengths are damaged"),
    ],
)
def test_what_is_no_segmentation(segmentation, text):
    with pytest.raises(DatasetError, match=text) as caught:
        pixels(segmentation)
    assert str(caught.value).startswith("a.json, annotation 1: ")
    assert "\n" not in str(caught.value)


def test_every_cut_of_a_compressed_text_is_refused():
    mask = np.random.default_rng(0).random((40, 50)) > 0.5
    text = rle.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode()
    for length in range(len(text)):
        with pytest.raises(DatasetError, match=r"end early|pixels|integers from 0 on"):
            pixels({"size": [40, 50], "counts": text[:length]}, 40, 50)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(segmentation=JUNK)
def test_junk_gives_pixels_or_the_one_kind_of_error(segmentation):
    with suppress(DatasetError):
        assert pixels(segmentation).shape == (6, 8)


def test_of_objects_that_overlap_the_smaller_lies_above():
    large, small, same, undecided = (np.zeros((1, 6), dtype=bool) for _ in range(4))
    large[0, :4] = small[0, 2:4] = same[0, 3:5] = undecided[0, 1:] = True
    parts = [(1, small), (2, large), (3, same), (255, undecided)]
    assert paint(parts, (1, 6)).tolist() == [[2, 2, 1, 3, 3, 255]]
    assert paint(reversed(parts), (1, 6)).tolist() == [[2, 2, 1, 1, 3, 255]]
