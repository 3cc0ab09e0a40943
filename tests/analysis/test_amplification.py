"""Amplification ratios, each worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from advcam import SettingError
from advcam.analysis.amplification import amplification


def maps(*steps: list[list[float]]) -> np.ndarray:
    return np.array(steps, dtype=np.float32)


def test_both_regions_by_hand():
    # Maximum 8: R_D holds 8 and 4 (exactly half), R_ND 2 and 1.
    result = amplification(maps([[8, 4], [2, 1]], [[8, 6], [6, 2]]))
    inside, outside = result.discriminative, result.non_discriminative
    np.testing.assert_allclose(inside.mean, [1, (8 / 8 + 6 / 4) / 2])
    np.testing.assert_allclose(inside.total, [1, 14 / 12])
    np.testing.assert_allclose(outside.mean, [1, (6 / 2 + 2 / 1) / 2])
    np.testing.assert_allclose(outside.total, [1, 8 / 3])
    assert (inside.positions, outside.positions) == (2, 2)
    assert (inside.undefined, outside.undefined) == (0, 0)


def test_positions_that_start_at_zero_count_in_the_total_only():
    result = amplification(maps([[4, 1], [1, 0]], [[4, 2], [2, 3]])).non_discriminative
    assert (result.positions, result.undefined) == (3, 1)
    np.testing.assert_allclose(result.mean, [1, 2])  # 2/1 and 2/1
    np.testing.assert_allclose(result.total, [1, 7 / 2])  # (2 + 2 + 3) / (1 + 1 + 0)


def test_a_nearly_empty_position_rules_the_mean_but_not_the_total():
    result = amplification(maps([[4, 1], [1, 1e-6]], [[4, 1], [1, 1]])).non_discriminative
    assert result.mean[1] == pytest.approx((1 + 1 + 1e6) / 3, rel=1e-6)
    assert result.total[1] == pytest.approx(3 / 2, rel=1e-5)


def test_an_empty_map_has_no_discriminative_region_and_nothing_to_grow_from():
    result = amplification(np.zeros((3, 2, 2), dtype=np.float32))
    assert (result.discriminative.positions, result.non_discriminative.positions) == (0, 4)
    for growth in (result.discriminative, result.non_discriminative):
        assert np.isnan(growth.mean).all()
        assert np.isnan(growth.total).all()
        assert growth.mean.shape == (3,)


def test_a_flat_map_is_discriminative_everywhere():
    result = amplification(maps([[2, 2]], [[3, 5]]))
    assert (result.discriminative.positions, result.non_discriminative.positions) == (2, 0)
    np.testing.assert_allclose(result.discriminative.mean, [1, 2])
    assert np.isnan(result.non_discriminative.total).all()


def test_another_boundary():
    result = amplification(maps([[8, 4], [2, 1]], [[8, 4], [4, 1]]), boundary=0.25)
    assert result.discriminative.positions == 3
    np.testing.assert_allclose(result.discriminative.mean, [1, 4 / 3])


@given(
    arrays(np.float32, (3, 4), elements=st.floats(0.125, 8, width=32)),
    st.floats(0.25, 4),
)
def test_growth_by_one_factor_is_that_factor_in_every_number(start: np.ndarray, factor: float):
    result = amplification(np.stack([start, start * factor]).astype(np.float64))
    for growth in (result.discriminative, result.non_discriminative):
        if growth.positions:
            np.testing.assert_allclose([growth.mean, growth.total], [[1, factor]] * 2, rtol=1e-6)
    assert result.discriminative.positions >= 1


@pytest.mark.parametrize("shape", [(2, 3), (0, 2, 2), (1, 2, 2, 2)])
def test_other_shapes_are_refused(shape: tuple[int, ...]):
    with pytest.raises(SettingError, match=r"\(S, h, w\) with S of 1 or more"):
        amplification(np.ones(shape, dtype=np.float32))


@pytest.mark.parametrize("boundary", [0, -0.1, 1.1])
def test_a_boundary_outside_its_range_is_refused(boundary: float):
    with pytest.raises(SettingError, match=r"lies in \(0, 1\]"):
        amplification(np.ones((1, 2, 2), dtype=np.float32), boundary)
