"""Local affinity: against loops over pixels in float64, closed forms, and what must hold for any scores."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch.nn import functional

from advcam.errors import SettingError
from advcam.refine.local_affinity import AffinitySettings, affinity_weights, local_affinity

QUICK = settings(derandomize=True, deadline=None, max_examples=25)
SMALL = AffinitySettings(iterations=3, dilations=(1, 3), reduction=1)
STEPS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]


def drawn(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).random(shape))


def neighbours(y, x, height, width, dilations):
    """Places of the neighbours of a pixel, those outside moved to the nearest pixel of the border."""
    for dilation, (dy, dx) in product(dilations, STEPS):
        yield min(max(y + dilation * dy, 0), height - 1), min(max(x + dilation * dx, 0), width - 1)


def literal_weights(picture, y, x, chosen):
    """Weights of the neighbours of one pixel, from the equation."""
    _, height, width = picture.shape
    places = list(neighbours(y, x, height, width, chosen.dilations))
    exponents = []
    for place in places:
        terms = []
        for channel in picture:
            values = [channel[other] for other in places]
            mean = sum(values) / len(values)
            deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
            terms.append((abs(channel[y, x] - channel[place]) / (chosen.bandwidth * (deviation + 1e-8))) ** 2)
        exponents.append(-sum(terms) / len(terms))
    powers = [math.exp(exponent - max(exponents)) for exponent in exponents]
    return [power / sum(powers) for power in powers]


def literal(picture, scores, chosen):
    """Scores (C, H, W) averaged pixel by pixel, in float64."""
    _, height, width = picture.shape
    grid = list(product(range(height), range(width)))
    weights = {place: literal_weights(picture, *place, chosen) for place in grid}
    for _ in range(chosen.iterations):
        averaged = np.zeros_like(scores)
        for place in grid:
            for weight, other in zip(weights[place], neighbours(*place, height, width, chosen.dilations), strict=True):
                averaged[:, *place] += weight * scores[:, *other]
        scores = averaged
    return scores


class TestAgainstTheEquation:
    @pytest.mark.parametrize("dilations", [(1,), (1, 3), (2, 9)])
    def test_loops_over_pixels(self, dilations):
        chosen = AffinitySettings(iterations=3, dilations=dilations, reduction=1)
        pictures, scores = drawn(0, 2, 3, 6, 7), drawn(1, 2, 2, 6, 7)
        found = local_affinity(pictures, scores, chosen)
        expected = [literal(p, s, chosen) for p, s in zip(pictures.numpy(), scores.numpy(), strict=True)]
        np.testing.assert_allclose(found, expected, atol=1e-12)
        np.testing.assert_allclose(local_affinity(pictures.float(), scores.float(), chosen), expected, atol=1e-6)

    @pytest.mark.parametrize("bandwidth", [0.1, 0.3, 2.0])
    def test_weights(self, bandwidth):
        chosen = AffinitySettings(dilations=(1, 2), bandwidth=bandwidth)
        pictures = drawn(2, 1, 3, 4, 5)
        weights = affinity_weights(pictures, chosen)
        assert weights.shape == (1, 16, 4, 5)
        for y, x in product(range(4), range(5)):
            expected = literal_weights(pictures[0].numpy(), y, x, chosen)
            np.testing.assert_allclose(weights[0, :, y, x], expected, atol=1e-12)

    def test_reduced_work(self):
        chosen = AffinitySettings(iterations=2, dilations=(1, 2), reduction=2)
        pictures, scores = drawn(3, 1, 3, 9, 12), drawn(4, 1, 2, 9, 12)

        def resize(values, size):
            return functional.interpolate(values, size=size, mode="bilinear", antialias=True)

        reduced = literal(resize(pictures, (4, 6))[0].numpy(), resize(scores, (4, 6))[0].numpy(), chosen)
        expected = resize(torch.from_numpy(reduced)[None], (9, 12))
        np.testing.assert_allclose(local_affinity(pictures, scores, chosen), expected, atol=1e-12)


class TestClosedForms:
    def test_in_a_flat_picture_all_neighbours_weigh_the_same(self):
        weights = affinity_weights(torch.full((1, 3, 5, 5), 0.4), SMALL)
        torch.testing.assert_close(weights, torch.full((1, 16, 5, 5), 1 / 16))

    def test_a_pixel_averages_its_eight_neighbours(self):
        scores = torch.zeros(1, 1, 5, 5)
        scores[..., 2, 2] = 1
        chosen = AffinitySettings(iterations=1, dilations=(1,), reduction=1)
        found = local_affinity(torch.ones(1, 3, 5, 5), scores, chosen)[0, 0]
        expected = torch.zeros(5, 5)
        expected[1:4, 1:4] = 1 / 8
        expected[2, 2] = 0  # the pixel itself is no neighbour of its own
        torch.testing.assert_close(found, expected)

    def test_scores_stop_at_an_edge_of_colour(self):
        picture = torch.zeros(1, 3, 16, 16)
        picture[..., 8:] = 1
        scores = torch.zeros(1, 1, 16, 16)
        scores[..., 4:6] = 1
        found = local_affinity(picture, scores, AffinitySettings(iterations=40, dilations=(1, 2), reduction=1))[0, 0]
        assert found[:, :8].min() > 0.1
        assert found[:, 8:].max() < 0.01

    def test_no_iteration_leaves_the_scores(self):
        scores = torch.rand(1, 2, 5, 6, generator=torch.Generator().manual_seed(0))
        found = local_affinity(torch.ones(1, 3, 5, 6), scores, AffinitySettings(iterations=0))
        assert torch.equal(found, scores)
        assert found.data_ptr() != scores.data_ptr()


class TestProperties:
    @QUICK
    @given(
        arrays.arrays(np.float32, (1, 3, 7, 9), elements=st.floats(0, 1, width=32)),
        arrays.arrays(np.float32, (1, 2, 7, 9), elements=st.floats(0, 1, width=32)),
        st.integers(1, 4),
    )
    def test_values_stay_between_the_least_and_the_greatest(self, picture, scores, reduction):
        chosen = AffinitySettings(iterations=5, dilations=(1, 4), reduction=reduction)
        found = local_affinity(torch.from_numpy(picture), torch.from_numpy(scores), chosen).numpy()
        assert found.shape == scores.shape
        for before, after in zip(scores[0], found[0], strict=True):
            assert before.min() <= after.min()
            assert after.max() <= before.max()

    @QUICK
    @given(arrays.arrays(np.float32, (1, 3, 6, 5), elements=st.floats(0, 255, width=32)), st.floats(0, 1, width=32))
    def test_weights_sum_to_1_and_a_constant_stays(self, picture, constant):
        weights = affinity_weights(torch.from_numpy(picture), SMALL)
        assert (weights >= 0).all()
        torch.testing.assert_close(weights.sum(dim=1), torch.ones(1, 6, 5))
        scores = torch.full((1, 1, 6, 5), constant)
        assert torch.equal(local_affinity(torch.from_numpy(picture), scores), scores)

    def test_range_of_the_picture_does_not_matter(self):
        whole = torch.randint(0, 256, (1, 3, 20, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        scores = drawn(5, 1, 2, 20, 24).float()
        found = local_affinity(whole, scores)
        assert torch.equal(local_affinity(whole.float(), scores), found)
        torch.testing.assert_close(local_affinity(whole / 255, scores), found, atol=1e-5, rtol=0)

    def test_batched_is_one_by_one(self):
        pictures, scores = drawn(6, 3, 3, 21, 17), drawn(7, 3, 2, 21, 17)
        found = local_affinity(pictures, scores)
        for index in range(3):
            one = slice(index, index + 1)
            torch.testing.assert_close(found[one], local_affinity(pictures[one], scores[one]), atol=1e-13, rtol=0)
        torch.testing.assert_close(found[:, :1], local_affinity(pictures, scores[:, :1]), atol=1e-13, rtol=0)

    @pytest.mark.parametrize("reduction", [1, 2])
    def test_mirrored_pictures_give_mirrored_scores(self, reduction):
        pictures, scores = drawn(8, 1, 3, 10, 12), drawn(9, 1, 1, 10, 12)
        chosen = AffinitySettings(dilations=(1, 2), reduction=reduction)
        found = local_affinity(pictures, scores, chosen)
        torch.testing.assert_close(local_affinity(pictures.flip(3), scores.flip(3), chosen).flip(3), found)

    @pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 30), (3, 2)])
    def test_pictures_smaller_than_the_dilations(self, height, width):
        found = local_affinity(drawn(0, 1, 3, height, width), drawn(1, 1, 1, height, width))
        assert found.shape == (1, 1, height, width)
        assert torch.isfinite(found).all()

    @pytest.mark.parametrize(("number", "classes"), [(0, 2), (2, 0)])
    def test_nothing_to_average(self, number, classes):
        found = local_affinity(torch.ones(number, 3, 4, 4), torch.ones(number, classes, 4, 4))
        assert found.shape == (number, classes, 4, 4)

    def test_arguments_are_not_changed(self):
        pictures, scores = drawn(0, 1, 3, 8, 8), drawn(1, 1, 1, 8, 8)
        kept = pictures.clone(), scores.clone()
        local_affinity(pictures, scores, SMALL)
        assert torch.equal(pictures, kept[0])
        assert torch.equal(scores, kept[1])

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
    def test_gpu_is_cpu(self):
        pictures, scores = drawn(0, 2, 3, 40, 50), drawn(1, 2, 3, 40, 50)
        found = local_affinity(pictures.cuda(), scores.cuda())
        torch.testing.assert_close(found.cpu(), local_affinity(pictures, scores))


class TestErrors:
    @pytest.mark.parametrize(
        ("change", "text"),
        [
            ({"iterations": -1}, "iterations is at least 0; got -1"),
            ({"dilations": ()}, "dilations are distances of 1 pixel or more, at least one of them; got ()"),
            ({"dilations": (1, 0)}, "dilations are distances of 1 pixel or more, at least one of them; got (1, 0)"),
            ({"bandwidth": 0.0}, "bandwidth is positive and finite; got 0.0"),
            ({"bandwidth": math.nan}, "bandwidth is positive and finite; got nan"),
            ({"reduction": 0}, "reduction is at least 1, the size of the picture; got 0"),
        ],
    )
    def test_settings(self, change, text):
        with pytest.raises(SettingError) as caught:
            AffinitySettings(**change)
        assert str(caught.value) == text

    @pytest.mark.parametrize(
        ("pictures", "scores", "text"),
        [
            (
                torch.ones(3, 4, 4),
                torch.ones(1, 2, 4, 4),
                "pictures are (N, 3, H, W) and scores (N, C, H, W); got (3, 4, 4) and (1, 2, 4, 4)",
            ),
            (
                torch.ones(1, 1, 4, 4),
                torch.ones(1, 2, 4, 4),
                "pictures are (N, 3, H, W) and scores (N, C, H, W); got (1, 1, 4, 4) and (1, 2, 4, 4)",
            ),
            (
                torch.ones(1, 3, 8, 8),
                torch.ones(1, 2, 4, 4),
                (
                    "pictures and scores are as many and of one size; got pictures (1, 3, 8, 8) and scores "
                    "(1, 2, 4, 4); resize the scores to the pictures"
                ),
            ),
            (
                torch.ones(1, 3, 4, 4),
                torch.ones(1, 2, 4, 4, dtype=torch.float16),
                "scores are float32 or float64, for squares of colours overflow others; got torch.float16",
            ),
            (
                torch.ones(1, 3, 4, 4),
                torch.ones(1, 2, 4, 4, device="meta"),
                "pictures are on cpu and scores on meta; move one of them",
            ),
        ],
    )
    def test_tensors_that_do_not_fit(self, pictures, scores, text):
        with pytest.raises(SettingError) as caught:
            local_affinity(pictures, scores)
        assert str(caught.value) == text
