"""Boxes and instances of a label mask."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from advcam.errors import SettingError
from advcam.pseudo.labels import PseudoSettings, pseudo_label
from advcam.pseudo.objects import instances, mask_boxes
from advcam.types import Attribution, Box


def attribution(*maps, class_ids=(7, 2)):
    stacked = np.array(maps, dtype=np.float32)
    ids = class_ids[: len(stacked)]
    return Attribution(ids, tuple(map(str, ids)), stacked, stacked.shape[1:], np.zeros(len(ids), np.float32))


def two_parts():
    """A 12 x 16 map: 3 x 5 pixels of 0.5, one of them 0.75, and 2 x 2 pixels of 1."""
    scores = np.zeros((12, 16), dtype=np.float32)
    scores[2:5, 1:6] = 0.5
    scores[3, 3] = 0.75
    scores[8:10, 10:12] = 1
    return scores


class TestBoxes:
    def test_largest_and_all(self):
        found = attribution(two_parts())
        mask = pseudo_label(found).mask
        large, small = Box(7, 1, 2, 6, 5, 0.75), Box(7, 10, 8, 12, 10, 1.0)
        assert mask_boxes(found, mask) == [large]
        assert mask_boxes(found, mask, "all") == [large, small]

    def test_what_the_mask_leaves_out_has_no_box(self):
        found = attribution(two_parts())
        mask = pseudo_label(found, PseudoSettings(min_area=0.05)).mask  # 4 pixels of 192 are ignored
        assert mask_boxes(found, mask, "all") == [Box(7, 1, 2, 6, 5, 0.75)]

    def test_classes_share_out_the_pixels(self):
        left, right = np.full((4, 6), 0.5), np.full((4, 6), 0.4)
        right[:, 4:] = 1
        found = attribution(left, right)
        assert mask_boxes(found, pseudo_label(found).mask) == [Box(7, 0, 0, 4, 4, 0.5), Box(2, 4, 0, 6, 4, 1.0)]
        assert found.boxes()[0] == Box(7, 0, 0, 6, 4, 0.5)  # without competition: the whole picture

    @settings(derandomize=True, deadline=None, max_examples=60)
    @given(
        arrays.arrays(np.float32, (6, 7), elements=st.integers(0, 8).map(lambda number: number / 8)),
        st.integers(0, 8).map(lambda number: number / 8),
        st.sampled_from(["largest", "all"]),
    )
    def test_of_one_class_they_are_the_boxes_of_its_map(self, scores, threshold, contours):
        found = attribution(scores)
        mask = pseudo_label(found, PseudoSettings(threshold)).mask
        assert mask_boxes(found, mask, contours) == found.boxes(threshold, contours)

    def test_empty(self):
        found = attribution(np.zeros((3, 4)))
        assert mask_boxes(found, np.zeros((3, 4), dtype=np.int32), "all") == []


class TestInstances:
    def test_largest_first_with_their_mean_score(self):
        found = attribution(two_parts())
        large, small = instances(found, pseudo_label(found).mask)
        assert (large.class_id, small.class_id) == (7, 7)
        assert (large.score, small.score) == (pytest.approx((14 * 0.5 + 0.75) / 15), 1.0)
        np.testing.assert_array_equal(large.mask | small.mask, two_parts() > 0)
        assert (large.mask.sum(), small.mask.sum(), large.mask.dtype) == (15, 4, np.bool_)

    def test_parts_below_an_area_are_left_out(self):
        found = attribution(two_parts())
        mask = pseudo_label(found).mask
        assert [found.mask.sum() for found in instances(found, mask, 5 / 192)] == [15]
        assert len(instances(found, mask, 4 / 192)) == 2
        assert instances(found, mask, 1.0) == []

    @settings(derandomize=True, deadline=None, max_examples=60)
    @given(arrays.arrays(np.int32, (6, 7), elements=st.sampled_from([0, 8, 3, 255])))
    def test_parts_by_another_library(self, mask):
        found = instances(attribution(np.ones((6, 7)), np.ones((6, 7))), mask)
        for class_id in (7, 2):
            parts, count = ndimage.label(mask == class_id + 1, np.ones((3, 3)))
            expected = {(parts == number).tobytes() for number in range(1, count + 1)}
            assert {one.mask.tobytes() for one in found if one.class_id == class_id} == expected
        assert [one.class_id for one in found] == sorted((one.class_id for one in found), reverse=True)

    @pytest.mark.parametrize("area", [-0.1, 1.5, float("nan")])
    def test_area_out_of_range(self, area):
        with pytest.raises(SettingError) as caught:
            instances(attribution(np.ones((2, 2))), np.ones((2, 2), dtype=np.int32), area)
        assert str(caught.value) == f"min_area is a share of the picture, 0 to 1; got {area}"


@pytest.mark.parametrize("use", [mask_boxes, instances])
def test_mask_of_another_size(use):
    with pytest.raises(SettingError) as caught:
        use(attribution(np.ones((2, 3))), np.ones((3, 2), dtype=np.int32))
    assert str(caught.value) == "a label mask has the size of its picture, (2, 3); got (3, 2)"
