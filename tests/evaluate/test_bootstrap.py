"""Bootstrap intervals: against a loop over resamples, known spreads, and undefined ratios."""

import numpy as np
import pytest

from advcam.errors import DatasetError, SettingError
from advcam.evaluate import bootstrap as module
from advcam.evaluate.bootstrap import bootstrap, bootstrap_mean, bootstrap_ratio


def test_mean_against_a_loop():
    values = np.random.default_rng(1).random(13)
    generator = np.random.default_rng(7)
    means = [np.mean([values[i] for i in generator.integers(13, size=13)]) for _ in range(50)]
    interval = bootstrap_mean(values, resamples=50, confidence=0.9, seed=7)
    assert interval.value == pytest.approx(values.mean(), abs=1e-12)
    assert (interval.low, interval.high) == pytest.approx(tuple(np.percentile(means, [5, 95])), abs=1e-12)
    assert interval.confidence == 0.9


def test_ratio_against_a_loop():
    data = np.random.default_rng(2)
    below = data.integers(0, 5, (9, 3))
    below[:, 2] = [4, 0, 0, 0, 0, 0, 0, 0, 0]  # many resamples go without this class
    above = data.integers(0, below + 1)
    generator = np.random.default_rng(0)
    scores = []
    for _ in range(40):
        drawn = generator.integers(9, size=9)
        ratios = [above[drawn, k].sum() / below[drawn, k].sum() for k in range(3) if below[drawn, k].sum()]
        scores.append(np.mean(ratios))
    interval = bootstrap_ratio(above, below, resamples=40)
    assert (interval.low, interval.high) == pytest.approx(tuple(np.percentile(scores, [2.5, 97.5])), abs=1e-12)
    assert interval.value == pytest.approx((above.sum(0) / below.sum(0)).mean(), abs=1e-12)


def test_width_is_that_of_the_normal_approximation():
    # 400 coins, half of them heads: the standard error of the mean is 0.5 / 20 = 0.025, and 1.96 of it on either side.
    interval = bootstrap_mean(np.arange(400) % 2 == 0, resamples=4000)
    assert interval.value == 0.5
    assert (interval.low, interval.high) == pytest.approx((0.5 - 1.96 * 0.025, 0.5 + 1.96 * 0.025), abs=0.005)


def test_same_seed_same_interval():
    values = np.random.default_rng(1).random(20)
    assert bootstrap_mean(values, seed=3) == bootstrap_mean(values, seed=3) != bootstrap_mean(values, seed=4)


def test_blocks_change_nothing(monkeypatch):
    values = np.random.default_rng(1).random(20)
    whole = bootstrap_mean(values, resamples=30)
    monkeypatch.setattr(module, "_WEIGHTS", 45)
    assert bootstrap_mean(values, resamples=30) == whole


def test_equal_values_have_no_spread():
    interval = bootstrap_mean([0.25, 0.25, 0.25])
    assert (interval.low, interval.value, interval.high) == (0.25, 0.25, 0.25)


def test_more_confidence_is_wider():
    values = np.random.default_rng(1).random(30)
    narrow, wide = bootstrap_mean(values, confidence=0.5), bootstrap_mean(values, confidence=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_one_ratio_may_be_flat():
    assert bootstrap_ratio([1, 2], [2, 4]) == bootstrap_ratio([[1], [2]], [[2], [4]])


def test_resamples_without_a_score_are_left_out():
    # One picture in two has pixels: a resample without it has no ratio; all the others have exactly 1 / 2.
    interval = bootstrap_ratio([[1], [0]], [[2], [0]], resamples=50)
    assert (interval.low, interval.value, interval.high) == (0.5, 0.5, 0.5)


def test_no_score_at_all_is_nan():
    interval = bootstrap_ratio([0, 0], [0, 0])
    assert np.isnan([interval.low, interval.value, interval.high]).all()


def test_any_statistic_of_sums():
    terms = np.array([[1.0, 4.0], [3.0, 0.0]])
    assert bootstrap(terms, lambda sums: sums.max(axis=1), resamples=9).value == 4


def test_errors():
    with pytest.raises(DatasetError, match=r"^no picture to draw from; add pictures"):
        bootstrap_mean([])
    with pytest.raises(SettingError, match=r"^1 of 2 pictures have no value \(NaN\); leave them out and say so$"):
        bootstrap_mean([0.5, np.nan])
    with pytest.raises(SettingError, match=r"of one shape; got \(2,\) and \(3,\)"):
        bootstrap_ratio([1, 2], [1, 2, 3])
    with pytest.raises(SettingError, match=r"at least one resample and a confidence between 0 and 1; got 0 and 0.95"):
        bootstrap_mean([1], resamples=0)
    with pytest.raises(SettingError, match=r"got 1000 and 1$"):
        bootstrap_mean([1], confidence=1)
