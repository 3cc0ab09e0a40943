"""Boundary IoU: regions against a literal distance, hand-made masks, ignored pixels that neither help nor hurt."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from advcam.errors import DatasetError, SettingError
from advcam.evaluate.boundary import BoundaryIoU, boundary_region

_spec = importlib.util.spec_from_file_location("literal_protocols", Path(__file__).with_name("literal.py"))
literal = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(literal)


def measured(*pictures, classes=2, ratio=0.02):
    made = BoundaryIoU(classes, ratio)
    for truth, prediction in pictures:
        made.add(truth, prediction)
    return made


def square(size, y0, y1, x0, x1):
    mask = np.zeros((size, size), dtype=np.int64)
    mask[y0:y1, x0:x1] = 1
    return mask


@settings(max_examples=40, deadline=None, derandomize=True)
@given(mask=arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9)), ratio=st.floats(0.01, 0.4))
def test_region_against_the_literal(mask, ratio):
    steps = max(1, round(ratio * (mask.shape[0] ** 2 + mask.shape[1] ** 2) ** 0.5))
    assert (boundary_region(mask, ratio) == literal.boundary(mask, steps)).all()


def test_width_is_two_per_cent_of_the_diagonal():
    # 0.02 * sqrt(150^2 + 200^2) = 0.02 * 250 = 5 pixels: a square of 40 keeps a core of 30.
    mask = np.zeros((150, 200), dtype=bool)
    mask[50:90, 50:90] = True
    assert boundary_region(mask).sum() == 40 * 40 - 30 * 30


def test_mask_cut_by_the_frame_has_boundary_there():
    # 0.02 * sqrt(2) * 200 = 5.66, rounded to 6 pixels.
    assert boundary_region(np.ones((200, 200), dtype=bool)).sum() == 200 * 200 - 188 * 188
    # 0.02 * sqrt(2) * 30 = 0.85, so one pixel: the rim of the whole picture.
    assert boundary_region(np.ones((30, 30), dtype=bool)).sum() == 30 * 30 - 28 * 28


def test_shifted_square_by_hand():
    # Rims one pixel wide of two squares of 10 (36 pixels each), one of them shifted by 2 columns: rows 0 and 9 share
    # 8 pixels each, the columns of one lie inside the other. 16 shared of 36 + 36 - 16 = 56.
    shifted = measured((square(30, 5, 15, 5, 15), square(30, 5, 15, 7, 17)))
    assert shifted.iou[1] == 16 / 56


def test_equal_masks_are_one_and_disjoint_masks_zero():
    truth = square(40, 5, 15, 5, 15)
    assert measured((truth, truth)).iou.tolist() == [1, 1]
    assert measured((truth, square(40, 25, 35, 25, 35))).iou[1] == 0


def test_boundary_iou_sees_what_iou_does_not():
    truth, prediction = square(200, 20, 180, 20, 180), square(200, 23, 177, 23, 177)
    plain = (truth & prediction).sum() / (truth | prediction).sum()
    assert plain > 0.9 > measured((truth, prediction)).iou[1] + 0.2


def test_sums_over_the_pictures():
    pair, same = (square(30, 5, 15, 5, 15), square(30, 5, 15, 7, 17)), (square(30, 5, 15, 5, 15),) * 2
    assert measured(pair, same).iou[1] == (16 + 36) / (56 + 36)
    merged = measured(pair) + measured(same)
    assert merged.iou.tolist() == measured(same, pair).iou.tolist() == measured(pair, same).iou.tolist()


def test_absent_class_is_left_out_of_the_mean():
    truth = square(30, 5, 15, 5, 15)
    made = measured((truth, truth), classes=5)
    assert np.isnan(made.iou[2:]).all()
    assert made.miou == 1


@pytest.mark.parametrize("inner", [10, 12, 14])
def test_contour_anywhere_inside_the_ignored_band_is_perfect(inner):
    # The band is 4 pixels wide, the boundary 0.02 * sqrt(2) * 200 = 6.
    truth = square(200, 14, 186, 14, 186)
    truth[10:14, 10:190] = truth[186:190, 10:190] = truth[10:190, 10:14] = truth[10:190, 186:190] = 255
    made = measured((truth, square(200, inner, 200 - inner, inner, 200 - inner)))
    assert made.iou.tolist() == [1, 1]


def test_contour_outside_the_ignored_band_is_not():
    truth = square(100, 14, 86, 14, 86)
    truth[10:14, 10:90] = 255
    assert measured((truth, square(100, 5, 86, 14, 86))).iou[1] < 1


def test_ignored_pixels_are_not_counted():
    truth = square(30, 5, 15, 5, 15)
    truth[:, 20:] = 255
    prediction = truth.copy()
    prediction[20:25, 22:27] = 1
    assert measured((truth, np.where(truth == 255, 1, truth))).iou[0] == 1
    assert measured((truth, prediction)).iou.tolist() == [1, 1]


def test_undecided_prediction_is_background():
    truth = square(30, 5, 15, 5, 15)
    assert measured((truth, np.where(truth == 0, 255, truth))).iou.tolist() == [1, 1]


def test_everything_ignored_is_nan():
    made = measured((np.full((9, 9), 255), np.zeros((9, 9), int)))
    assert np.isnan(made.iou).all()
    assert np.isnan(made.miou)


def test_errors():
    with pytest.raises(SettingError, match=r"2 to 255 classes .* and a dilation ratio between 0 and 1; got 2 and 0$"):
        BoundaryIoU(2, 0)
    with pytest.raises(SettingError, match=r"got 1 and 0.02$"):
        BoundaryIoU(1)
    with pytest.raises(SettingError, match="different classes or widths cannot be merged"):
        BoundaryIoU(2) + BoundaryIoU(2, 0.01)
    with pytest.raises(DatasetError, match="the true mask holds the number 2;"):
        measured((np.full((3, 3), 2), np.zeros((3, 3), int)))
    with pytest.raises(SettingError, match="the prediction holds the number 9;"):
        measured((np.zeros((3, 3), int), np.full((3, 3), 9)))
