"""Baselines: what they look like, and that they go through the same scores as a method."""

import numpy as np
import pytest

from advcam.errors import SettingError
from advcam.evaluate.baselines import centre_box, centre_map, full_map, random_map
from advcam.evaluate.localization import MaxBoxAcc, boxes_from_map
from advcam.evaluate.pxap import PxAP
from advcam.evaluate.score_maps import score_map
from advcam.evaluate.segmentation import SeedSweep
from advcam.types import Box

SIZES = [(224, 224), (90, 160), (333, 500), (1, 1), (1, 9)]


@pytest.mark.parametrize("size", SIZES)
def test_maps_have_the_size_and_the_range(size):
    for made in (centre_map(size), full_map(size), random_map(size, 0)):
        assert made.shape == size
        assert made.dtype == np.float32
        assert made.min() >= 0
        assert made.max() <= 1


def test_centre_map_is_a_gaussian_of_a_quarter_of_each_side():
    made = centre_map((100, 200)).astype(np.float64)
    assert (made == made[::-1]).all()
    assert (made == made[:, ::-1]).all()
    # One standard deviation from the middle, 25 rows or 50 columns, the value has fallen to exp(-1/2).
    assert np.interp(75, np.arange(100) + 0.5, made[:, 100]) / made[50, 100] == pytest.approx(np.exp(-0.5), abs=2e-3)
    assert np.interp(150, np.arange(200) + 0.5, made[50]) / made[50, 100] == pytest.approx(np.exp(-0.5), abs=2e-3)


def test_centre_map_offers_boxes_of_nearly_every_width():
    scores = score_map(centre_map((224, 224)))
    boxes = [boxes_from_map(scores, threshold / 250)[0] for threshold in range(250)]
    assert all(abs(x0 + x1 - 224) <= 1 and abs(y0 + y1 - 224) <= 1 for x0, y0, x1, y1 in boxes)
    widths = sorted({int(x1 - x0) for x0, _, x1, _ in boxes})
    assert max(np.diff([w for w in widths if w >= 20])) <= 4


def test_centre_map_finds_what_lies_in_the_middle():
    accuracy = MaxBoxAcc()
    accuracy.add(score_map(centre_map((300, 400))), [Box(0, 100, 75, 300, 225, 1.0)], (300, 400))
    assert accuracy.max_box_acc_v2 == 1


@pytest.mark.parametrize(
    ("size", "share", "expected"),
    [
        ((100, 200), 0.5, (50, 25, 150, 75)),
        ((100, 200), 1, (0, 0, 200, 100)),
        ((5, 4), 0.01, (1, 2, 3, 3)),
        ((1, 1), 0.1, (0, 0, 1, 1)),
    ],
)
def test_centre_box(size, share, expected):
    box = centre_box(size, share, 7)
    assert (box.x0, box.y0, box.x1, box.y1) == expected
    assert (box.class_id, box.score) == (7, 1)


def test_whole_picture_as_box():
    accuracy = MaxBoxAcc()
    accuracy.add_boxes([centre_box((100, 200), 1, 0)], [Box(0, 0, 0, 200, 60, 1.0)], (100, 200))
    # 60 of 100 rows: IoU 0.6 is right at 0.3 and 0.5, not at 0.7.
    assert (accuracy.max_box_acc, accuracy.max_box_acc_v2) == (1, pytest.approx(2 / 3))


def test_full_map_claims_everything():
    truth = np.zeros((40, 40), dtype=np.int64)
    truth[:10] = 2
    sweep = SeedSweep(3)
    sweep.add(truth, full_map(truth.shape)[None], [1])
    assert sweep.scores(0.5).iou[2] == 1 / 4
    made = PxAP()
    made.add(full_map((224, 224)), truth == 2)
    assert made.value == pytest.approx(1 / 4, abs=0.01)


def test_random_map_is_seeded_and_fills_the_range():
    assert (random_map((60, 80), 3) == random_map((60, 80), 3)).all()
    assert (random_map((60, 80), 3) != random_map((60, 80), 4)).any()
    assert (random_map((60, 80), 3).min(), random_map((60, 80), 3).max()) == (0, 1)


def test_random_maps_score_the_share_of_the_foreground():
    made = PxAP(np.arange(0, 1, 0.01).tolist())
    foreground = np.zeros((224, 224), dtype=bool)
    foreground[:, :112] = True
    for seed in range(40):
        made.add(score_map(random_map((224, 224), seed)), foreground)
    assert made.value == pytest.approx(0.5, abs=0.05)


def test_errors():
    with pytest.raises(SettingError, match=r"at least one pixel; got 0 x 5$"):
        centre_map((0, 5))
    for share in (0, 1.5):
        with pytest.raises(SettingError, match=f"above 0 and at most 1; got {share}$"):
            centre_box((9, 9), share, 0)
