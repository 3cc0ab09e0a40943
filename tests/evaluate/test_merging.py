"""Whatever parts the pictures come in, every accumulator says the same of them: merged is all at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advcam.errors import SettingError
from advcam.evaluate.boundary import BoundaryIoU
from advcam.evaluate.localization import MaxBoxAcc
from advcam.evaluate.pxap import PxAP
from advcam.evaluate.score_maps import score_map
from advcam.evaluate.segmentation import ConfusionMatrix, SeedSweep
from advcam.evaluate.selection import LabelFree
from advcam.types import Box

CLASSES, PICTURES = 4, 7
GRID = (0.0, 0.2, 0.5, 0.8)


@dataclass(frozen=True)
class Case:
    """An accumulator, how it takes in picture number n, and all that it says.

    Args:
        make: An empty one, over other thresholds or classes where it is to be refused.
        add: Takes in a picture.
        says: Everything that can be asked of it.
    """

    make: Callable[[bool], Any]
    add: Callable[[Any, int], None]
    says: Callable[[Any], tuple[Any, ...]]


def masks(number: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(number)
    return random.integers(0, CLASSES, (9, 11)), random.integers(0, CLASSES, (9, 11))


def maps(number: int, count: int = 2) -> np.ndarray:
    return np.random.default_rng(number + 50).random((count, 9, 11)).astype(np.float32)


def picture(number: int) -> np.ndarray:
    patches = np.random.default_rng(number).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return np.repeat(np.repeat(patches, 5, axis=0), 5, axis=1)


def judge(accuracy: MaxBoxAcc, number: int) -> None:
    truth = [Box(number % 3, number, 1, 30 + number, 40, 1.0)]
    accuracy.add(score_map(maps(number)[0]), truth, (50, 60), ranked=(0, 1))


CASES = {
    "confusion": Case(
        lambda other: ConfusionMatrix(CLASSES + other),
        lambda matrix, n: matrix.add(*masks(n)),
        lambda matrix: (matrix.counts.tolist(), repr(matrix.scores())),
    ),
    "boundary": Case(
        lambda other: BoundaryIoU(CLASSES, 0.1 if other else 0.05),
        lambda measure, n: measure.add(*masks(n)),
        lambda measure: (repr(measure.iou.tolist()), repr(measure.miou)),
    ),
    "seeds": Case(
        lambda other: SeedSweep(CLASSES, GRID[other:]),
        lambda sweep, n: sweep.add(masks(n)[0], maps(n), (n % 2, 2)),
        lambda sweep: (
            len(sweep),
            repr(sweep.miou.tolist()),
            repr(sweep.picture_scores(0.5).tolist()),
            sweep.bootstrap(0.5, resamples=5) if len(sweep) else None,
        ),
    ),
    "boxes": Case(
        lambda other: MaxBoxAcc(GRID[other:]),
        judge,
        lambda accuracy: (
            (len(accuracy),)
            + (
                (accuracy.curves_v2.tolist(), accuracy.top_loc(1), accuracy.successes().tolist())
                if len(accuracy)
                else ()
            )
        ),
    ),
    "pixels": Case(
        lambda other: PxAP(GRID[: 4 - other]),
        lambda pooled, n: pooled.add(score_map(maps(n)[0]), masks(n)[0] > 1, masks(n)[1] == 0),
        lambda pooled: (pooled._foreground.tolist(), pooled._background.tolist()),
    ),
    "label-free": Case(
        lambda other: LabelFree(GRID[other:]),
        lambda rule, n: rule.add(maps(n), picture(n)),
        lambda rule: (len(rule), repr(rule.curve.tolist())),
    ),
}


def holding(case: Case, numbers: Sequence[int]) -> Any:
    made = case.make(False)
    for number in numbers:
        case.add(made, number)
    return made


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=4, deadline=None, derandomize=True)
@given(cuts=st.lists(st.integers(0, PICTURES), min_size=2, max_size=2).map(sorted), from_the_right=st.booleans())
def test_merged_is_all_at_once_however_it_is_grouped(name: str, cuts: list[int], from_the_right: bool):
    """To the last digit; equal cuts, and cuts at the ends, make empty parts."""
    case = CASES[name]
    a, b, c = (holding(case, range(i, j)) for i, j in zip([0, *cuts], [*cuts, PICTURES], strict=True))
    before = [case.says(one) for one in (a, b, c)]
    merged = a + (b + c) if from_the_right else (a + b) + c
    assert case.says(merged) == case.says(holding(case, range(PICTURES)))
    assert [case.says(one) for one in (a, b, c)] == before, "a sum leaves its parts as they were"


@pytest.mark.parametrize("name", CASES)
def test_a_sum_takes_in_more_pictures_and_leaves_its_parts_alone(name: str):
    case = CASES[name]
    part = holding(case, range(3))
    merged = part + case.make(False)
    case.add(merged, 3)
    assert case.says(merged) == case.says(holding(case, range(4)))
    assert case.says(part) == case.says(holding(case, range(3)))


@pytest.mark.parametrize("name", CASES)
def test_the_pictures_matter(name: str):
    """What is compared above differs between pictures, or the comparison would say nothing."""
    case = CASES[name]
    said = [repr(case.says(holding(case, [n, n + 1]))) for n in range(PICTURES - 1)]
    assert len(set(said)) > 1


@pytest.mark.parametrize("name", CASES)
def test_other_settings_are_not_merged(name: str):
    with pytest.raises(SettingError, match="cannot be merged; "):
        CASES[name].make(False) + CASES[name].make(True)


def test_agreements_are_kept_to_the_twelfth_digit():
    """Kept as integers for exact sums: the mean is that of the agreements all the same."""
    from advcam.evaluate.selection import superpixel_agreement

    rule = holding(CASES["label-free"], range(5))
    mean = np.mean([superpixel_agreement(maps(n), picture(n), GRID) for n in range(5)], axis=0)
    assert np.abs(mean).max() > 0.01
    np.testing.assert_allclose(rule.curve, mean, rtol=0, atol=2.0**-43)
