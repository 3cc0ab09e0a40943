"""PxAP: against the definition without histograms, by hand, and with ignored regions."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from advcam.errors import DatasetError, PictureError, SettingError
from advcam.evaluate.pxap import PxAP
from advcam.evaluate.score_maps import score_map
from advcam.evaluate.thresholds import BOX_THRESHOLDS

_spec = importlib.util.spec_from_file_location("literal_protocols", Path(__file__).with_name("literal.py"))
literal = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(literal)

SIZE = (224, 224)
COARSE = tuple(np.arange(0, 1, 0.01).tolist())


def pictures(count, seed=0):
    """(scores, two instance masks, ignored region or None) of smooth and of noisy maps, masks of any size."""
    generator = np.random.default_rng(seed)
    made = []
    for index in range(count):
        cells = (7, 28, 224)[index % 3]
        size = tuple(generator.integers(40, 300, 2))
        instances = [generator.random(size) > 0.8, generator.random(size) > 0.9]
        ignored = None if index % 2 else generator.random(size) > 0.7
        made.append((score_map(generator.random((cells, cells))), instances, ignored))
    return made


def pooled(chosen, thresholds=COARSE):
    made = PxAP(thresholds)
    for scores, instances, ignored in chosen:
        made.add(scores, instances[0] | instances[1], ignored)
    return made


@pytest.mark.parametrize(("count", "thresholds"), [(30, COARSE), (2, BOX_THRESHOLDS)])
def test_against_the_literal(count, thresholds):
    chosen = pictures(count, seed=count)
    assert pooled(chosen, thresholds).value == pytest.approx(literal.pxap(chosen, thresholds), abs=1e-9)


def half(left, right):
    """A map with one value on the left and one on the right half."""
    scores = np.full(SIZE, float(right))
    scores[:, :112] = left
    return scores


def top(rows):
    mask = np.zeros(SIZE, dtype=bool)
    mask[:rows] = True
    return mask


def test_perfect_map():
    made = PxAP()
    made.add(half(1, 0), half(1, 0) > 0)
    assert made.value == 1


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_constant_map_scores_the_share_of_the_foreground(value):
    made = PxAP()
    made.add(np.full(SIZE, value), top(56))
    assert made.value == 56 / 224


def test_two_steps_by_hand():
    # Truth: the upper half. Left half 0.8, right half 0.2. At 0.8: half the claimed pixels are true, recall 1 / 2.
    # At 0.2: everything claimed, precision 1 / 2, recall 1. So 1/2 * 1/2 + 1/2 * 1/2.
    made = PxAP()
    made.add(half(0.8, 0.2), top(112))
    assert made.value == pytest.approx(1 / 2, abs=1e-12)
    # Truth: the left half and the upper half: at 0.8 precision 1, recall 2 / 3; at 0.2 precision 3 / 4.
    made = PxAP()
    made.add(half(0.8, 0.2), top(112) | (half(1, 0) > 0))
    assert made.value == pytest.approx(1 * 2 / 3 + 3 / 4 * 1 / 3, abs=1e-12)


def test_ignored_pixels_are_left_out_unless_they_are_foreground():
    # Truth: the upper half; the lower half is ignored, and some of the upper half too, in vain.
    made = PxAP()
    made.add(half(0.8, 0.2), top(112), ignore=~top(50))
    assert made.value == 1


def test_masks_are_reduced_to_the_nearest_pixel():
    made = PxAP()
    made.add(half(1, 0), np.kron(np.array([[1, 0]]), np.ones((60, 40))), np.zeros((60, 80)))
    assert made.value == 1


def test_masks_of_grey_values_count_above_one_half():
    made = PxAP()
    made.add(half(1, 0), np.where(half(1, 0) > 0, 255, 0).astype(np.uint8))
    assert made.value == 1


def test_curve_runs_from_the_highest_threshold_down():
    made = PxAP([0.0, 0.5])
    made.add(half(0.8, 0.2), top(112))
    precision, recall = made.curve()
    # Bins [2, 3) and [1, 2) are empty, then [0.5, 1) and [0, 0.5).
    assert np.isnan(precision).tolist() == [True, True, False, False]
    assert precision[2:].tolist() == [0.5, 0.5]
    assert recall.tolist() == [0, 0, 0.5, 1]


def test_order_and_merge():
    chosen = pictures(6)
    together = pooled(chosen).value
    assert pooled(chosen[::-1]).value == together
    assert (pooled(chosen[:2]) + pooled(chosen[2:])).value == together


def test_errors():
    with pytest.raises(DatasetError, match=r"^no true pixel is foreground; PxAP needs masks with objects in them$"):
        _ = pooled([(np.zeros(SIZE), [np.zeros(SIZE, bool)] * 2, None)]).value
    with pytest.raises(DatasetError, match=r"masks \(H, W\) of one size; got \(5, 5\) and \(5, 6\)"):
        PxAP().add(np.zeros(SIZE), np.zeros((5, 5)), np.zeros((5, 6)))
    with pytest.raises(DatasetError, match=r"got \(2, 5, 5\) and None"):
        PxAP().add(np.zeros(SIZE), np.zeros((2, 5, 5)))
    with pytest.raises(PictureError, match="make them with score_map"):
        PxAP().add(np.full(SIZE, np.nan), top(3))
    with pytest.raises(SettingError, match=r"begin with 0 and end below 1, .*; got 0.5 to 1$"):
        PxAP([0.5, 1])
    with pytest.raises(SettingError, match=r"got 0.2 to 0.3$"):
        PxAP([0.2, 0.3])
    with pytest.raises(SettingError, match="over different thresholds cannot be merged"):
        PxAP() + PxAP(COARSE)
