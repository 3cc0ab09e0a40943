"""Choosing thresholds: curves made by hand, and the label-free rule against its definition, mask by mask."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.segmentation import felzenszwalb
from torch import tensor
from torchmetrics.functional.classification import binary_cohen_kappa

from advcam.errors import PictureError, SettingError
from advcam.evaluate.selection import (
    SUPERPIXELS,
    WORKING_SIDE,
    LabelFree,
    ThresholdChoice,
    choose_fixed,
    choose_oracle,
    choose_validated,
    superpixel_agreement,
)
from advcam.evaluate.thresholds import SEED_THRESHOLDS

FIVE = [0.1, 0.2, 0.3, 0.4, 0.5]


@pytest.mark.parametrize(
    ("curve", "threshold"),
    [
        ([1, 2, 5, 3, 0], 0.3),
        ([0, 7, 7, 7, 0], 0.3),  # the middle of three
        ([0, 7, 7, 0, 0], 0.2),  # the lower of two middles
        ([7, 0, 7, 7, 7], 0.4),  # the longest run
        ([7, 7, 0, 7, 7], 0.1),  # the first of equal runs
        ([7, 7, 7, 7, 7], 0.3),
        ([np.nan, 1, np.nan, 3, 2], 0.4),
        ([0.1 + 0.2, 0.3, 0.3, 0, 0], 0.2),  # 0.1 + 0.2 is 0.3 but for rounding
    ],
)
def test_best_threshold_by_hand(curve, threshold):
    assert choose_oracle(curve, FIVE).threshold == threshold
    assert choose_validated(curve, FIVE, 4).threshold == threshold


@settings(deadline=None)
@given(st.lists(st.integers(0, 2), min_size=12, max_size=12))
def test_chosen_threshold_scores_best_and_lies_inside_its_plateau(curve):
    thresholds = SEED_THRESHOLDS[:12]
    chosen = thresholds.index(choose_oracle(curve, thresholds).threshold)
    assert curve[chosen] == max(curve)
    left, right = chosen, chosen
    while left and curve[left - 1] == max(curve):
        left -= 1
    while right < 11 and curve[right + 1] == max(curve):
        right += 1
    assert right - chosen - (chosen - left) in (0, 1)


def test_words_of_the_four_kinds():
    curve = np.linspace(1, 0, 101)
    assert choose_oracle(curve, SEED_THRESHOLDS).describe() == (
        "threshold 0, oracle: best of 101 thresholds on the evaluated pictures themselves"
    )
    assert choose_validated(curve, SEED_THRESHOLDS, 20).describe() == (
        "threshold 0, validated: best of 101 thresholds on 20 labelled pictures, none of them evaluated"
    )
    assert choose_validated(curve, SEED_THRESHOLDS, 1).detail == (
        "best of 101 thresholds on 1 labelled picture, not evaluated"
    )
    assert choose_fixed(0.4).describe() == "threshold 0.4, fixed: given before any picture was seen"
    rule = LabelFree()
    rule.add(*disc(0.5))
    assert rule.choose().detail == "best agreement of masks with superpixels on 1 picture, no mask seen"
    rule.add(*disc(0.5))
    assert (
        rule.choose()
        .describe()
        .endswith(", label-free: best agreement of masks with superpixels on 2 pictures, no mask seen")
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: choose_oracle([1, 2], FIVE), r"^one score for each of 5 thresholds; got shape \(2,\)$"),
        (lambda: choose_oracle([np.nan] * 5, FIVE), r"^no threshold has a score; evaluate pictures whose truth"),
        (lambda: choose_oracle([1, 2], [0.2, 0.1]), r"^thresholds are a list in ascending order"),
        (lambda: choose_oracle([], []), r"^thresholds are a list in ascending order"),
        (lambda: choose_validated([1] * 5, FIVE, 0), r"^a validated threshold needs at least one labelled picture"),
        (lambda: choose_fixed(1.5), r"^a threshold on maps lies between 0 and 1; got 1.5$"),
        (lambda: ThresholdChoice(float("nan"), "fixed", ""), r"between 0 and 1; got nan$"),
        (lambda: LabelFree([0.5, 2]), r"^thresholds lie between 0 and 1; got 0.5 to 2$"),
        (lambda: LabelFree().choose(), r"^no threshold can be told from 0 pictures whose masks follow no superpixels"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(SettingError, match=message):
        call()


def disc(radius, size=(150, 192)):
    """A red disc on grey, and a cone-shaped map that falls from 1 at its centre to 0 at distance 96."""
    y, x = np.mgrid[: size[0], : size[1]]
    distance = np.hypot(y - size[0] / 2, x - size[1] / 2) / 96
    picture = np.where(distance[..., None] < radius, [200, 40, 30], [120, 120, 120]).astype(np.uint8)
    return np.maximum(1 - distance, 0)[None].astype(np.float32), picture


@pytest.mark.parametrize("radius", [0.3, 0.5, 0.7])
def test_threshold_at_which_the_mask_is_the_object(radius):
    # The map is 1 - distance, so above 1 - radius lies the disc. Two hundredths: the blur of the superpixels.
    rule = LabelFree()
    rule.add(*disc(radius))
    assert rule.choose().threshold == pytest.approx(1 - radius, abs=0.02)
    assert rule.curve.max() > 0.95


def test_one_threshold_for_all_pictures_is_that_of_most():
    rule = LabelFree()
    for radius in (0.5, 0.5, 0.5, 0.2):
        rule.add(*disc(radius))
    assert rule.choose().threshold == pytest.approx(0.5, abs=0.02)
    assert len(rule) == 4


def noise(seed, size=(60, 96)):
    """A picture of random patches and two random maps."""
    generator = np.random.default_rng(seed)
    patches = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    picture = np.asarray(Image.fromarray(patches).resize(size[::-1], Image.Resampling.BICUBIC))
    maps = [Image.fromarray(m).resize((24, 15), Image.Resampling.BICUBIC) for m in generator.random((2, 5, 7))]
    return np.clip(np.stack([np.asarray(m) for m in maps]), 0, 1).astype(np.float32), picture


def literal_agreement(maps, picture, thresholds):
    """Mask by mask and superpixel by superpixel; kappa from the four shares."""
    height, width = picture.shape[:2]
    resized = [np.asarray(Image.fromarray(m).resize((width, height), Image.Resampling.BILINEAR)) for m in maps]
    segments, scores, pairs = felzenszwalb(picture, **SUPERPIXELS), [], []
    for threshold in thresholds:
        mask = np.any([one > np.float32(threshold) for one in resized], axis=0)
        rounded = np.zeros_like(mask)
        for segment in range(segments.max() + 1):
            here = segments == segment
            rounded[here] = mask[here].mean() > 0.5
        both, neither = (mask & rounded).mean(), (~mask & ~rounded).mean()
        chance = mask.mean() * rounded.mean() + (1 - mask.mean()) * (1 - rounded.mean())
        scores.append((both + neither - chance) / (1 - chance) if chance < 1 else 0)
        pairs.append((mask, rounded))
    return scores, pairs


@pytest.mark.parametrize("seed", range(3))
def test_agreement_equals_its_definition(seed):
    # At the working size nothing is resized but the maps; PIL and OpenCV agree on upsampling.
    maps, picture = noise(seed, (120, WORKING_SIDE))
    thresholds = np.linspace(0, 1, 21)
    scores, pairs = literal_agreement(maps, picture, thresholds)
    found = superpixel_agreement(maps, picture, thresholds)
    np.testing.assert_allclose(found, scores, rtol=0, atol=2e-3)
    assert found.max() > 0.1
    for (mask, rounded), score in zip(pairs, scores, strict=True):
        if mask.any() and not mask.all():
            assert float(binary_cohen_kappa(tensor(mask), tensor(rounded))) == pytest.approx(score, abs=1e-5)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000))
def test_agreement_is_at_most_one_and_zero_for_empty_and_full_masks(seed):
    maps, picture = noise(seed)
    found = superpixel_agreement(0.2 + 0.7 * maps, picture, [0.0, 0.3, 0.5, 0.7, 0.95])
    assert (found[0], found[-1]) == (0, 0)
    assert (found <= 1).all()


def test_pixel_at_the_threshold_is_background():
    # A left half of exactly 0.4: at 0.4 the mask is empty, just below it is the half. As Attribution.label_mask.
    picture = np.zeros((64, 192, 3), np.uint8)
    picture[:, :96] = 255
    maps = np.zeros((1, 64, 192), np.float32)
    maps[:, :, :96] = 0.4
    found = superpixel_agreement(maps, picture, [0.39, 0.4])
    assert found[0] > 0.95
    assert found[1] == 0


def test_order_of_the_pictures_does_not_count():
    curves = []
    for seeds in ([1, 2, 3], [3, 1, 2]):
        rule = LabelFree()
        for seed in seeds:
            rule.add(*noise(seed))
        curves.append(rule.curve)
    np.testing.assert_allclose(*curves, rtol=0, atol=1e-14)


def test_size_and_kind_of_the_picture_do_not_count():
    maps, picture = disc(0.5)
    large = np.repeat(np.repeat(picture, 3, axis=0), 3, axis=1)
    plain = superpixel_agreement(maps, picture, SEED_THRESHOLDS)
    np.testing.assert_array_equal(superpixel_agreement(maps, Image.fromarray(picture), SEED_THRESHOLDS), plain)
    np.testing.assert_array_equal(superpixel_agreement(maps, large, SEED_THRESHOLDS), plain)


@pytest.mark.parametrize("size", [(1, 1), (3, 1000), (1000, 2), (5, 7)])
def test_odd_sizes(size):
    found = superpixel_agreement(np.ones((1, 2, 2), np.float32), np.zeros((*size, 3), np.uint8), SEED_THRESHOLDS)
    assert np.isfinite(found).all()


def test_maps_that_say_nothing():
    rule = LabelFree()
    picture = disc(0.5)[1]
    rule.add(np.zeros((1, 20, 20), np.float32), picture)
    rule.add(np.zeros((0, 20, 20), np.float32), picture)
    assert np.isnan(LabelFree().curve).all()
    with pytest.raises(SettingError, match=r"^no threshold can be told from 2 pictures"):
        rule.choose()
    rule.add(*disc(0.5))
    assert rule.choose().threshold == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("maps", "picture", "message"),
    [
        (np.zeros((1, 4, 4)), np.zeros((9, 9), np.uint8), r"uint8 RGB \(H, W, 3\); got uint8 \(9, 9\)$"),
        (np.zeros((1, 4, 4)), np.zeros((9, 9, 3)), r"uint8 RGB \(H, W, 3\); got float64 \(9, 9, 3\)$"),
        (np.zeros((4, 4)), np.zeros((9, 9, 3), np.uint8), r"^maps are floats \(K, h, w\); got float64 \(4, 4\)$"),
        (np.zeros((1, 4, 4), int), np.zeros((9, 9, 3), np.uint8), r"^maps are floats \(K, h, w\); got int64"),
        (np.zeros((1, 0, 4)), np.zeros((9, 9, 3), np.uint8), r"^maps are floats \(K, h, w\); got float64 \(1, 0, 4\)$"),
        (np.full((1, 4, 4), 3.0), np.zeros((9, 9, 3), np.uint8), r"between 0 and 1; got 3 to 3; divide each"),
        (np.full((1, 4, 4), np.nan), np.zeros((9, 9, 3), np.uint8), r"between 0 and 1; got nan to nan"),
    ],
)
def test_unusable_input(maps, picture, message):
    with pytest.raises(PictureError, match=message):
        LabelFree().add(maps, picture)
