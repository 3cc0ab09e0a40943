"""Label masks from scores: closed forms, the literal rules pixel by pixel, and what must hold for any scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from advcam.errors import SettingError
from advcam.pseudo.labels import PseudoSettings, power_threshold, pseudo_label
from advcam.types import IGNORE, Attribution

NAMES = ("cat", "dog", "potted plant")
QUICK = settings(derandomize=True, deadline=None, max_examples=40)
#: Multiples of 1 / 64: thresholds and scores meet exactly, so that ties are common.
DYADIC = st.integers(0, 64).map(lambda number: number / 64)
MAPS = arrays.arrays(np.float32, (3, 4, 5), elements=DYADIC)


def attribution(maps, class_ids=(4, 0, 9), image_size=None):
    stacked = np.array(maps, dtype=np.float32)
    ids, names = class_ids[: len(stacked)], NAMES[: len(stacked)]
    size = image_size or stacked.shape[1:]
    return Attribution(ids, names, stacked, size, np.zeros(len(stacked), dtype=np.float32))


def row(*maps, **more):
    """The mask of maps one pixel high, as a list."""
    return pseudo_label(attribution([[values] for values in maps]), PseudoSettings(**more)).mask[0].tolist()


def literal(found, thresholds, band):
    """The rules of the module, pixel by pixel."""
    maps = found.upsample().astype(np.float64)
    mask = np.zeros(found.image_size, dtype=np.int32)
    for place in np.ndindex(*found.image_size):
        bids = [scores[place] - threshold for scores, threshold in zip(maps, thresholds, strict=True)]
        best = bids.index(max(bids))
        if maps[best][place] > thresholds[best] + band / 2:
            mask[place] = found.class_ids[best] + 1
        elif maps[best][place] > thresholds[best] - band / 2:
            mask[place] = IGNORE
    return mask


class TestThresholds:
    @QUICK
    @given(MAPS, DYADIC)
    def test_one_threshold_without_a_band_is_the_label_mask(self, maps, threshold):
        found = attribution(maps)
        label = pseudo_label(found, PseudoSettings(threshold))
        assert label.mask.dtype == np.int32
        np.testing.assert_array_equal(label.mask, found.label_mask(threshold))

    @QUICK
    @given(
        arrays.arrays(np.float32, (3, 4, 5), elements=st.floats(0, 1, width=32)),
        st.floats(0, 1),
        st.integers(1, 12),
        st.integers(1, 12),
    )
    def test_of_any_number_and_size_too(self, maps, threshold, height, width):
        found = attribution(maps, image_size=(height, width))
        label = pseudo_label(found, PseudoSettings(threshold))
        assert label.mask.shape == (height, width)
        np.testing.assert_array_equal(label.mask, found.label_mask(threshold))

    def test_scores_that_float32_cannot_tell_apart_from_the_threshold(self):
        below, above = np.nextafter(np.float32(0.3), np.float32([0, 1]))
        assert row([below, 0.3, above], threshold=0.3) == [0, 0, 5]

    def test_neighbouring_scores_of_two_classes(self):
        # In float32 both differences round to 0.75, and the first class would win.
        assert row([0.75], [0.75 + 2**-24], threshold=2**-25) == [1]

    def test_each_class_has_its_own(self):
        scores = [0.2, 0.4, 0.6, 0.8]
        assert row(scores, class_thresholds={"cat": 0.5}) == [0, 0, 5, 5]
        assert row([0.0] * 4, scores, class_thresholds={"cat": 0.5}) == [0, 1, 1, 1]

    def test_the_winner_is_the_highest_above_its_own_threshold(self):
        # The cat bids 0.7 - 0.5, the dog 0.6 - 0.25.
        assert row([0.7], [0.6], threshold=0.25, class_thresholds={"cat": 0.5}) == [1]
        assert row([0.7], [0.4], threshold=0.25, class_thresholds={"cat": 0.5}) == [5]

    @QUICK
    @given(MAPS, st.tuples(*[st.integers(16, 48).map(lambda number: number / 64)] * 3), st.integers(0, 16))
    def test_the_rules_pixel_by_pixel(self, maps, thresholds, width):
        band = 2 * width / 64
        found = attribution(maps, image_size=(7, 6))
        label = pseudo_label(
            found, PseudoSettings(class_thresholds=dict(zip(NAMES, thresholds, strict=True)), band=band)
        )
        np.testing.assert_array_equal(label.mask, literal(found, thresholds, band))

    def test_names_of_other_pictures_do_no_harm(self):
        assert row([0.4], class_thresholds={"sofa": 0.9}) == [5]

    @QUICK
    @given(MAPS, DYADIC, DYADIC, st.permutations(range(3)))
    def test_the_order_of_the_classes_decides_nothing_but_ties(self, maps, threshold, own, order):
        maps = maps * np.float32([1, 1 / 2, 1 / 4])[:, None, None] + np.float32([0, 1 / 512, 1 / 1024])[:, None, None]
        found = attribution(maps)
        permuted = Attribution(
            tuple(found.class_ids[i] for i in order),
            tuple(NAMES[i] for i in order),
            maps[list(order)],
            found.image_size,
            found.scores,
        )
        chosen = PseudoSettings(threshold, {"dog": own})
        label, again = pseudo_label(found, chosen), pseudo_label(permuted, chosen)
        np.testing.assert_array_equal(again.mask, label.mask)
        np.testing.assert_array_equal(again.confidence, label.confidence[list(order)])
        assert set(again.vanished) == set(label.vanished)


class TestBand:
    def test_three_zones_and_their_ends(self):
        assert row([0.25, 0.3125, 0.5, 0.75, 0.8125], threshold=0.5, band=0.5) == [0, 255, 255, 255, 5]

    def test_the_affinity_labels_of_irn_are_two_masks_in_one(self):
        found = attribution(np.random.default_rng(0).random((3, 20, 20), dtype=np.float32) ** 4)
        surely, possibly = found.label_mask(0.30), found.label_mask(0.05)
        expected = np.where(surely > 0, surely, np.where(possibly == 0, 0, IGNORE))
        label = pseudo_label(found, PseudoSettings(0.175, band=0.25))
        np.testing.assert_array_equal(label.mask, expected)
        assert {0, 1, 5, 10, IGNORE} <= set(label.mask.flat)

    @QUICK
    @given(MAPS, DYADIC, DYADIC, DYADIC)
    def test_a_wider_band_only_adds_undecided_pixels(self, maps, threshold, one, other):
        most = 2 * min(threshold, 1 - threshold)
        narrow, wide = sorted((one * most, other * most))
        before = pseudo_label(attribution(maps), PseudoSettings(threshold, band=narrow)).mask
        after = pseudo_label(attribution(maps), PseudoSettings(threshold, band=wide)).mask
        assert (after[before != after] == IGNORE).all()

    @QUICK
    @given(MAPS, st.tuples(DYADIC, DYADIC, DYADIC), DYADIC)
    def test_higher_thresholds_turn_no_background_into_a_class(self, maps, thresholds, rise):
        def mask(values, band):
            chosen = PseudoSettings(values[0], dict(zip(NAMES, values, strict=True)), band=band)
            return pseudo_label(attribution(maps), chosen).mask

        lower = [value / 2 for value in thresholds]
        higher = [value + rise / 2 for value in lower]
        band = min(2 * min(v, 1 - v) for v in [*lower, *higher])
        before, after = mask(lower, band), mask(higher, band)
        assert (after[before == 0] == 0).all()
        assert np.isin(after[before == IGNORE], [0, IGNORE]).all()

    @pytest.mark.parametrize("threshold", [0.1, 0.3, 0.35, 0.45])
    def test_an_empty_map_is_background_even_where_the_band_reaches_down_to_0(self, threshold):
        assert row([0.0, 0.01], threshold=threshold, band=2 * threshold) == [0, 255]

    @pytest.mark.parametrize("threshold", [0.55, 0.7, 0.9])
    def test_a_band_up_to_1_leaves_no_class(self, threshold):
        assert row([1.0, 0.0], threshold=threshold, band=2 * (1 - threshold)) == [255, 0]


class TestBackgroundPower:
    @pytest.mark.parametrize("power", [0.5, 1, 4, 16, 32])
    def test_the_threshold_solves_its_equation(self, power):
        threshold = power_threshold(power)
        assert (1 - threshold) ** power == pytest.approx(threshold, abs=1e-12)

    def test_closed_forms(self):
        assert power_threshold(1) == pytest.approx(1 / 2)
        assert power_threshold(2) == pytest.approx((3 - 5**0.5) / 2)

    @pytest.mark.parametrize("power", [1, 4, 24])
    def test_the_background_of_psa_competes_in_the_argmax(self, power):
        found = attribution(np.random.default_rng(1).random((3, 20, 20), dtype=np.float32) ** 3)
        background = (1 - found.maps.max(axis=0, keepdims=True)) ** power
        winner = np.concatenate([background, found.maps]).argmax(axis=0)
        label = pseudo_label(found, PseudoSettings(background_power=power))
        np.testing.assert_array_equal(label.mask, np.array([0, 5, 1, 10])[winner])
        assert (label.mask == 0).any()

    @pytest.mark.parametrize("power", [0, -1, float("inf"), float("nan")])
    def test_out_of_range(self, power):
        with pytest.raises(SettingError) as caught:
            PseudoSettings(background_power=power)
        assert str(caught.value) == f"background_power is positive and finite; got {power}"

    def test_not_beside_thresholds_of_classes(self):
        with pytest.raises(SettingError) as caught:
            PseudoSettings(background_power=4, class_thresholds={"cat": 0.3})
        assert str(caught.value) == ("background_power stands in place of thresholds; leave it or class_thresholds out")


class TestFragments:
    def test_small_parts_are_ignored_and_the_rest_stays(self):
        scores = np.zeros((10, 10))
        scores[1:5, 1:5] = scores[7:9, 7:9] = scores[0, 9] = 1
        label = pseudo_label(attribution([scores]), PseudoSettings(min_area=0.04))
        expected = np.where(scores > 0, 5, 0)
        expected[0, 9] = IGNORE  # 1 pixel of 100; the other two have 16 and 4
        np.testing.assert_array_equal(label.mask, expected)

    def test_the_largest_part_of_a_class_stays_however_small(self):
        cat, dog = np.zeros((2, 10, 10))
        cat[2, 2:4] = cat[7, 7] = 1
        dog[4:] = 0.9
        label = pseudo_label(attribution([cat, dog]), PseudoSettings(min_area=0.5))
        assert label.vanished == ()
        assert (label.mask == 5).sum() == 2
        assert label.mask[7, 7] == IGNORE

    def test_parts_that_are_equally_large_stay_or_go_together(self):
        scores = np.eye(10)[::4].repeat(2, axis=0)[:, ::2]  # three parts of two pixels
        assert (pseudo_label(attribution([scores]), PseudoSettings(min_area=0.5)).mask == 5).sum() == scores.sum()

    def test_parts_touch_by_corners(self):
        label = pseudo_label(attribution([np.eye(6)]), PseudoSettings(min_area=0.1))
        np.testing.assert_array_equal(label.mask, np.eye(6) * 5)

    @QUICK
    @given(arrays.arrays(np.float32, (2, 8, 9), elements=st.sampled_from([0.0, 0.5, 1.0])), st.integers(0, 71))
    def test_parts_by_another_library(self, maps, pixels):
        found = attribution(maps)
        whole = pseudo_label(found).mask
        label = pseudo_label(found, PseudoSettings(min_area=pixels / 72))
        expected = whole.copy()
        for class_id in found.class_ids:
            parts, count = ndimage.label(whole == class_id + 1, np.ones((3, 3)))
            sizes = {number: int((parts == number).sum()) for number in range(1, count + 1)}
            for number, size in sizes.items():
                if size < pixels - 1e-9 and size < max(sizes.values()):
                    expected[parts == number] = IGNORE
        np.testing.assert_array_equal(label.mask, expected)
        assert label.vanished == pseudo_label(found).vanished


class TestLabel:
    @QUICK
    @given(MAPS, DYADIC, DYADIC, st.integers(0, 9).map(lambda tenths: tenths / 10), st.booleans())
    def test_only_the_classes_of_the_picture_appear(self, maps, threshold, width, area, empty):
        maps[1] *= not empty
        chosen = PseudoSettings(threshold, band=width * 2 * min(threshold, 1 - threshold), min_area=area)
        label = pseudo_label(attribution(maps, image_size=(9, 11)), chosen)
        assert label.mask.shape == (9, 11)
        assert set(label.mask.flat) <= {0, 1, 5, 10, IGNORE}
        absent = tuple(number for number in (4, 0, 9) if number + 1 not in label.mask)
        assert label.vanished == absent
        assert label.confidence.shape == (3,)
        for class_id, confidence in zip((4, 0, 9), label.confidence, strict=True):
            assert 0 <= confidence <= 1
            assert (confidence == 0) == (class_id in absent)

    def test_an_empty_map_has_vanished(self):
        label = pseudo_label(attribution(np.zeros((1, 3, 4))), PseudoSettings(0.0))
        assert label.mask.tolist() == [[0] * 4] * 3
        assert label.vanished == (4,)
        assert label.confidence.tolist() == [0.0]

    def test_a_class_that_another_covers_has_vanished(self):
        label = pseudo_label(attribution([np.full((3, 3), 0.5), np.full((3, 3), 0.9)]))
        assert label.vanished == (4,)
        assert label.confidence.tolist() == [0.0, 1.0]

    def test_no_classes(self):
        nothing = Attribution((), (), np.zeros((0, 2, 2), np.float32), (3, 4), np.zeros(0, np.float32))
        label = pseudo_label(nothing, PseudoSettings(min_area=0.1, band=0.2))
        assert label.mask.tolist() == [[0] * 4] * 3
        assert label.mask.dtype == np.int32
        assert (label.confidence.shape, label.vanished) == ((0,), ())

    def test_the_number_that_means_ignore(self):
        with pytest.raises(SettingError) as caught:
            pseudo_label(attribution(np.ones((1, 2, 2)), class_ids=(254,)))
        assert str(caught.value) == (
            "class 254 would be 255 in a mask, which means ignore; number the classes of the data set from 0 and leave "
            "254 out"
        )
        assert pseudo_label(attribution(np.ones((1, 2, 2)), class_ids=(253,))).mask.max() == 254


class TestSettings:
    @pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
    def test_threshold_out_of_range(self, threshold):
        with pytest.raises(SettingError, match="a threshold on maps lies between 0 and 1; got"):
            PseudoSettings(threshold)
        with pytest.raises(SettingError) as caught:
            PseudoSettings(class_thresholds={"dog": threshold})
        assert str(caught.value) == f"the threshold of 'dog' lies between 0 and 1; got {threshold}"

    @pytest.mark.parametrize("band", [-0.1, 1.5, float("nan")])
    def test_crossed_thresholds(self, band):
        with pytest.raises(SettingError) as caught:
            PseudoSettings(0.5, band=band)
        assert str(caught.value) == f"band is the width between two thresholds, 0 to 1; got {band}"

    def test_a_band_that_leaves_the_range(self):
        with pytest.raises(SettingError) as caught:
            PseudoSettings(0.1, band=0.3)
        assert str(caught.value) == (
            "the band 0.3 around the threshold 0.1 reaches from -0.05 to 0.25, but scores lie between 0 and 1; take a "
            "band of at most 0.2"
        )
        with pytest.raises(SettingError, match=r"around the threshold 0.9 of 'dog' reaches from 0.75 to 1.05"):
            PseudoSettings(0.5, {"dog": 0.9}, band=0.3)

    @pytest.mark.parametrize("area", [-0.1, 1.0, float("nan")])
    def test_area_out_of_range(self, area):
        with pytest.raises(SettingError) as caught:
            PseudoSettings(min_area=area)
        assert str(caught.value) == f"min_area is a share of the picture, from 0 to below 1; got {area}"

    def test_names_of_the_data_set(self):
        chosen = PseudoSettings(class_thresholds={"dog": 0.4, "potted plant": 0.2})
        chosen.check_names(NAMES)
        with pytest.raises(SettingError) as caught:
            chosen.check_names(["cat", "dog", "pottedplant"])
        assert str(caught.value) == (
            "class_thresholds names 'potted plant', which is no class; did you mean 'pottedplant'? the classes are "
            "cat, dog, pottedplant"
        )
        with pytest.raises(SettingError, match=r"which is no class; the classes are 0, 1, .*, 19, \.\.$"):
            chosen.check_names([str(number) for number in range(30)])
