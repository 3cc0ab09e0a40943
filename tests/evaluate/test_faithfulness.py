"""Insertion, deletion, average drop: areas derived by hand, and a reference that changes one pixel at a time."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from advcam.errors import ModelError, PictureError, SettingError
from advcam.evaluate.faithfulness import (
    BLUR_SIGMA,
    BLUR_SIZE,
    DELETED,
    Confidence,
    PixelCurve,
    average_drop,
    average_increase,
    confidence,
    deletion,
    insertion,
)

WHITE = torch.ones(3, 12, 10)
REGION = torch.zeros(12, 10)
REGION[3:9, 2:7] = 1  # 30 of 120 pixels: a quarter
CURVES = (insertion, deletion)


def white_share(pictures):
    """Class 1: the share of pure white pixels inside the region; class 0: the rest to 1."""
    share = ((pictures == 1).all(dim=1) * REGION).sum(dim=(1, 2)) / REGION.sum()
    return torch.stack([1 - share, share], dim=1)


def speckled():
    """White and black pixels, so that no pixel of the blurred picture is pure white."""
    picture = (torch.arange(12)[:, None] + torch.arange(10)) % 2
    return picture.float().expand(3, 12, 10)


def nonlinear(pictures):
    """Three probabilities that depend on every pixel, with their interactions."""
    weights = torch.randn((3, *pictures.shape[1:]), generator=torch.Generator().manual_seed(1), dtype=pictures.dtype)
    scores = torch.einsum("nchw,kchw->nk", pictures, weights) + 4 * pictures.var(dim=(1, 2, 3))[:, None].sin()
    return scores.softmax(dim=1)


def random_picture(seed=0, shape=(6, 7)):
    generator = torch.Generator().manual_seed(seed)
    picture = torch.rand((3, *shape), generator=generator, dtype=torch.float64)
    # Few different values: many ties.
    return picture, (torch.rand(shape, generator=generator) * 5).round() / 5


def test_deletion_by_hand():
    # 120 steps of one pixel. The region goes first: p falls from 1 to 0 on the first quarter in a straight line.
    assert deletion(white_share, WHITE, REGION, 1, steps=120).area == pytest.approx(0.25 / 2)
    # The region goes last: p stays 1 for three quarters.
    assert deletion(white_share, WHITE, 1 - REGION, 1, steps=120).area == pytest.approx(0.75 + 0.25 / 2)
    # Class 0 sees the opposite.
    assert deletion(white_share, WHITE, REGION, 0, steps=120).area == pytest.approx(1 - 0.25 / 2)


def test_deletion_in_four_steps_of_30_pixels():
    curve = deletion(white_share, WHITE, REGION, 1, steps=4)
    assert curve.fractions.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert curve.values.tolist() == [1, 0, 0, 0, 0]
    assert curve.area == 0.125


def test_insertion_by_hand():
    # White, black, white ... row by row: after n of the region's 30 pixels ceil(n / 2) white ones are there, of 30.
    # Trapezoids of width 1 / 120: (2 (1 + .. + 15) - 15 / 2) / 30 = 7.75 of them; then 0.5 for three quarters.
    curve = insertion(white_share, speckled(), REGION, 1, steps=120)
    assert (curve.values[0], curve.values[30], curve.values[-1]) == (0, 0.5, 0.5)
    assert curve.area == pytest.approx(7.75 / 120 + 0.75 * 0.5)


def test_flat_picture_is_flat_after_the_blur():
    grey = torch.full((3, 4, 5), 0.25)
    curve = insertion(lambda pictures: pictures[:, :, 0, 0], grey, torch.zeros(4, 5), 2, steps=20)
    torch.testing.assert_close(curve.values, torch.full((21,), 0.25, dtype=torch.float64))


def test_ties_go_row_by_row():
    seen = []

    def record(pictures):
        seen.extend((pictures[:, 0] != 1).flatten(1).sum(dim=1).tolist())
        seen.append((pictures[-1, 0] != 1).flatten().nonzero().flatten().tolist())
        return torch.zeros(len(pictures), 1)

    class_map = torch.tensor([[0.5, 0.5, 1.0], [0.5, 0.5, 0.5]])
    deletion(record, torch.ones(3, 2, 3), class_map, 0, steps=6, batch_size=1)
    assert seen == [0, [], 1, [2], 2, [0, 2], 3, [0, 1, 2], 4, [0, 1, 2, 3], 5, [0, 1, 2, 3, 4], 6, [0, 1, 2, 3, 4, 5]]


def literal_curve(start, end, class_map, class_id):
    """One pixel at a time, the order found by looking for the largest value again and again."""
    height, width = class_map.shape
    picture, left = start.clone(), class_map.double().numpy().copy()
    values = [nonlinear(picture[None])[0, class_id].item()]
    for _ in range(height * width):
        best = max(((i, j) for i in range(height) for j in range(width)), key=lambda p: (left[p], -p[0], -p[1]))
        left[best] = -np.inf
        for channel in range(3):
            picture[channel, best[0], best[1]] = end[channel, best[0], best[1]]
        values.append(nonlinear(picture[None])[0, class_id].item())
    area = sum((a + b) / 2 for a, b in pairwise(values)) / (height * width)
    return values, area


def literal_blur(picture):
    """Weighted mean over the window, the nearest pixel outside of the border."""
    radius, result = BLUR_SIZE // 2, torch.zeros_like(picture)
    height, width = picture.shape[1:]
    for i in range(height):
        for j in range(width):
            total = 0.0
            for a in range(-radius, radius + 1):
                for b in range(-radius, radius + 1):
                    weight = np.exp(-(a * a + b * b) / (2 * BLUR_SIGMA**2))
                    total += weight
                    y, x = min(max(i + a, 0), height - 1), min(max(j + b, 0), width - 1)
                    result[:, i, j] += weight * picture[:, y, x]
            result[:, i, j] /= total
    return result


@pytest.mark.parametrize("class_id", [0, 2])
def test_engine_equals_the_literal_reference(class_id):
    picture, class_map = random_picture()
    blank = torch.tensor(DELETED, dtype=torch.float64).view(3, 1, 1).expand_as(picture)
    for found, (start, end) in (
        (insertion(nonlinear, picture, class_map, class_id, steps=42, batch_size=5), (literal_blur(picture), picture)),
        (deletion(nonlinear, picture, class_map, class_id, steps=42, batch_size=5), (picture, blank)),
    ):
        values, area = literal_curve(start, end, class_map, class_id)
        np.testing.assert_allclose(found.values, values, rtol=0, atol=1e-13)
        assert found.area == pytest.approx(area, abs=1e-13)


def test_blur_against_opencv():
    picture, class_map = random_picture(3, (40, 31))
    started = []
    insertion(lambda p: started.append(p[0]) or nonlinear(p), picture, class_map, 0, steps=1)
    expected = cv2.GaussianBlur(
        picture.permute(1, 2, 0).numpy(), (BLUR_SIZE, BLUR_SIZE), BLUR_SIGMA, borderType=cv2.BORDER_REPLICATE
    )
    np.testing.assert_allclose(started[0].permute(1, 2, 0), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("curve", CURVES)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), steps=st.integers(1, 42), batch_size=st.integers(1, 50))
def test_batched_equals_unbatched(curve, seed, steps, batch_size):
    picture, class_map = random_picture(seed)
    one = curve(nonlinear, picture, class_map, 1, steps=steps, batch_size=1)
    many = curve(nonlinear, picture, class_map, 1, steps=steps, batch_size=batch_size)
    torch.testing.assert_close(one.values, many.values, rtol=0, atol=1e-12)
    torch.testing.assert_close(one.fractions, many.fractions, rtol=0, atol=0)
    assert len(one.values) == steps + 1
    assert (one.fractions[0], one.fractions[-1]) == (0, 1)
    assert 0 <= one.area <= 1


@pytest.mark.parametrize("curve", CURVES)
def test_only_the_order_of_the_map_counts(curve):
    picture, class_map = random_picture(5)
    plain = curve(nonlinear, picture, class_map, 1, steps=42)
    torch.testing.assert_close(curve(nonlinear, picture, 7 * class_map**3 - 2, 1, steps=42).values, plain.values)


@pytest.mark.parametrize("seed", range(5))
def test_random_map_is_worse_than_the_truth(seed):
    noise = torch.rand(12, 10, generator=torch.Generator().manual_seed(seed))
    for picture, curve, sign in ((speckled(), insertion, 1), (WHITE, deletion, -1)):
        truth = curve(white_share, picture, REGION, 1, steps=60).area
        assert sign * (truth - curve(white_share, picture, noise, 1, steps=60).area) > 0.1


def test_area_by_hand():
    # 0.25 (1 + 0.5) / 2 + 0.75 (0.5 + 0) / 2
    curve = PixelCurve(torch.tensor([0, 0.25, 1]).double(), torch.tensor([1, 0.5, 0]).double())
    assert curve.area == 0.25 * 0.75 + 0.75 * 0.25


def mean_brightness(pictures):
    return pictures.mean(dim=(1, 2, 3))[:, None]


def test_confidence_by_hand():
    # White picture: 1. Times the region: a quarter of it stays white.
    assert confidence(mean_brightness, WHITE, REGION, 0) == Confidence(1.0, 0.25)
    assert confidence(mean_brightness, 0.5 * WHITE, torch.ones(12, 10), 0) == Confidence(0.5, 0.5)


def test_drop_and_increase_by_hand():
    # Drops: (0.8 - 0.2) / 0.8 = 75 %, none where it rises or stays, none where there was nothing.
    found = [Confidence(0.8, 0.2), Confidence(0.5, 0.9), Confidence(0.5, 0.5), Confidence(0.0, 0.0)]
    assert average_drop(found) == pytest.approx(75 / 4)
    assert average_increase(found) == 25


def test_float32_softmax_a_little_above_one():
    curve = deletion(lambda p: torch.full((len(p), 1), 1 + 1e-6), WHITE, REGION, 0, steps=3)
    assert curve.area == 1


def test_no_gradient_is_kept():
    weight = torch.tensor(0.5, requires_grad=True)
    assert not deletion(lambda p: mean_brightness(p) * weight, WHITE, REGION, 0, steps=3).values.requires_grad


@pytest.mark.parametrize("call", [*CURVES, confidence])
@pytest.mark.parametrize(
    ("picture", "class_map", "error", "message"),
    [
        (WHITE, torch.zeros(6, 5), PictureError, r"^a map has the size of its picture, \(12, 10\); got \(6, 5\)"),
        (WHITE, REGION[None], PictureError, r"size of its picture, \(12, 10\); got \(1, 12, 10\)"),
        (WHITE, REGION / 0, PictureError, "^the map holds NaN or infinity"),
        (255 * WHITE, REGION, PictureError, "RGB values between 0 and 1; got others: divide bytes by 255"),
        (WHITE / 0, REGION, PictureError, "RGB values between 0 and 1"),
        (WHITE[:1], REGION, PictureError, r"float tensor \(3, H, W\); got \(1, 12, 10\) of torch.float32"),
        (WHITE.byte(), REGION, PictureError, r"got \(3, 12, 10\) of torch.uint8"),
        (torch.ones(3, 0, 4), torch.ones(0, 4), PictureError, "size of its picture"),
    ],
)
def test_unusable_input(call, picture, class_map, error, message):
    with pytest.raises(error, match=message):
        call(white_share, picture, class_map, 1)


@pytest.mark.parametrize("call", CURVES)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_id": 2}, "^the network has classes 0 to 1; got class 2$"),
        ({"class_id": -1}, "^the network has classes 0 to 1; got class -1$"),
        ({"steps": 0}, "^steps are 1 to the number of pixels, 120; got 0$"),
        ({"steps": 121}, "^steps are 1 to the number of pixels, 120; got 121$"),
        ({"batch_size": 0}, "^batch_size is at least 1; got 0$"),
    ],
)
def test_setting_out_of_range(call, options, message):
    with pytest.raises(SettingError, match=message):
        call(white_share, WHITE, REGION, **({"class_id": 1, "steps": 4} | options))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda p: p.mean(dim=(1, 2, 3)), r"one row of probabilities for each of 2 pictures.* got shape \(2,\)"),
        (lambda _: torch.zeros(7, 2), r"got shape \(7, 2\)"),
        (lambda p: mean_brightness(p) * 9, "between 0 and 1; got 2.25 to 9: apply softmax or sigmoid to its scores"),
        (lambda p: mean_brightness(p) / 0 * 0, "between 0 and 1; got nan"),
    ],
)
def test_network_that_answers_no_probabilities(network, message):
    with pytest.raises(ModelError, match=message):
        confidence(network, WHITE, REGION, 0)


def test_map_that_is_no_weight():
    with pytest.raises(PictureError, match=r"a map between 0 and 1; got values from 0 to 2: divide the map"):
        confidence(white_share, WHITE, 2 * REGION, 1)


def test_average_of_nothing():
    for average in (average_drop, average_increase):
        with pytest.raises(SettingError, match=r"^an average needs at least one picture; got none$"):
            average([])
