"""Confidence of pseudo-labels, worked out by hand and for any scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from advcam.pseudo.confidence import class_confidence


def confidence(maps, mask, class_ids=(0, 1)):
    stacked = np.array(maps, dtype=np.float32)
    return class_confidence(stacked, np.array(mask, dtype=np.int32), class_ids[: len(stacked)]).tolist()


def test_share_of_the_score_inside_by_hand():
    assert confidence([[[0.5, 0.25, 0.25]]], [[1, 0, 0]]) == [0.5]
    assert confidence([[[0.5, 0.25, 0.25]]], [[1, 1, 0]]) == [0.75]
    assert confidence([[[0.5, 0.25, 0.0]]], [[1, 1, 0]]) == [1.0]


def test_of_several_parts_the_one_with_most_score_counts_not_the_largest():
    assert confidence([[[1.0, 0.0, 0.25, 0.25, 0.5]]], [[1, 0, 1, 1, 0]]) == [0.5]


def test_parts_touch_by_corners():
    assert confidence([np.eye(3)], np.eye(3)) == [1.0]


def test_pixels_that_another_class_takes_or_none_is_sure_of_are_lost():
    maps = [[[0.5, 0.25, 0.25]], [[0.0, 0.75, 0.25]]]
    assert confidence(maps, [[1, 2, 255]]) == [0.5, 0.75]


def test_nothing_to_be_confident_of():
    assert confidence([[[0.0, 0.0]], [[0.5, 0.5]]], [[1, 0]]) == [0.0, 0.0]


def test_class_numbers_need_not_be_in_order():
    assert confidence([[[1.0, 1.0]], [[1.0, 3.0]]], [[8, 3]], class_ids=(7, 2)) == [0.5, 0.75]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    arrays.arrays(np.float32, (2, 5, 6), elements=st.floats(0, 1, width=32)),
    arrays.arrays(np.int32, (5, 6), elements=st.sampled_from([0, 1, 2, 255])),
    st.sampled_from([0.25, 0.5, 4.0]),
)
def test_a_share_whatever_the_scores_and_their_scale(maps, mask, factor):
    found = class_confidence(maps, mask, (0, 1))
    assert ((found >= 0) & (found <= 1)).all()
    # A power of two, so that only the least numbers of float32 could round.
    np.testing.assert_allclose(class_confidence(maps * np.float32(factor), mask, (0, 1)), found, atol=1e-6)
    flipped = class_confidence(maps[:, ::-1].copy(), mask[::-1].copy(), (0, 1))
    np.testing.assert_allclose(flipped, found, atol=1e-12)


@pytest.mark.parametrize("blur", [1, 2, 4])
def test_a_smeared_map_is_trusted_less(blur):
    y, x = np.mgrid[-20:21, -20:21]
    sharp, smeared = (np.exp(-(x**2 + y**2) / (2 * width**2)) for width in (3 * blur, 4 * blur))
    square = ((abs(x) <= 4) & (abs(y) <= 4)).astype(int)
    assert confidence([sharp], square)[0] > confidence([smeared], square)[0]
