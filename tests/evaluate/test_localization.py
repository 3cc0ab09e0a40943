"""Boxes and their accuracies: against the literal protocol, against connected components, and by hand."""

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import label

from advcam.errors import DatasetError, PictureError, SettingError
from advcam.evaluate.bootstrap import bootstrap_mean
from advcam.evaluate.localization import MaxBoxAcc, box_iou, boxes_from_map, scaled_corners
from advcam.evaluate.score_maps import score_map
from advcam.evaluate.thresholds import BOX_THRESHOLDS
from advcam.types import Box

_spec = importlib.util.spec_from_file_location("literal_protocols", Path(__file__).with_name("literal.py"))
literal = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(literal)

COARSE = tuple(np.arange(0, 1, 0.02).tolist())
SIZE = (224, 224)


def blocks(*areas):
    """A score map of 224 x 224: rectangles (y0, y1, x0, x1, value) on zero, later ones over earlier ones."""
    scores = np.zeros(SIZE)
    for y0, y1, x0, x1, value in areas:
        scores[y0:y1, x0:x1] = value
    return scores


def random_map(generator, kind):
    """smooth: 3 to 28 positions; steps: few values, so ties and plateaus; noise: single pixels; dim: maximum 0.4."""
    cells = int(generator.integers(3, 29))
    if kind == "steps":
        return score_map(np.kron(generator.integers(0, 4, (8, 8)), np.ones((28, 28))))
    if kind == "noise":
        return score_map(generator.random(SIZE))
    smooth = score_map(generator.random((cells, cells)))
    return 0.4 * smooth if kind == "dim" else smooth


def pictures(count, seed=0, kinds=("smooth", "steps", "smooth", "dim")):
    """(scores, one to three true boxes of class 7, image size)."""
    generator = np.random.default_rng(seed)
    made = []
    for index in range(count):
        height, width = (int(side) for side in generator.integers(50, 600, 2))
        truth = []
        for _ in range(1 + index % 3):
            x, y = (int(generator.integers(0, side // 2)) for side in (width, height))
            x1, y1 = int(generator.integers(x + 1, width + 1)), int(generator.integers(y + 1, height + 1))
            truth.append(Box(7, x, y, x1, y1, 1.0))
        made.append((random_map(generator, kinds[index % len(kinds)]), truth, (height, width)))
    return made


def judged(chosen, thresholds=COARSE):
    accuracy = MaxBoxAcc(thresholds)
    for scores, truth, size in chosen:
        accuracy.add(scores, truth, size)
    return accuracy


# Against the literal protocol


@pytest.mark.parametrize(
    ("count", "kinds", "thresholds"),
    [
        (30, ("smooth", "steps", "smooth", "dim"), COARSE[::2]),
        (1, ("noise",), tuple(np.arange(0, 1, 0.2).tolist())),
        (1, ("dim",), BOX_THRESHOLDS),
    ],
)
def test_against_the_literal(count, kinds, thresholds):
    chosen = pictures(count, seed=count, kinds=kinds)
    accuracy = judged(chosen, thresholds)
    curve = [literal.box_acc(chosen, tau, 0.5, multi=False) for tau in thresholds]
    curves = [[literal.box_acc(chosen, tau, delta, multi=True) for tau in thresholds] for delta in (0.3, 0.5, 0.7)]
    assert accuracy.curve == pytest.approx(np.array(curve), abs=1e-9)
    assert accuracy.curves_v2 == pytest.approx(np.array(curves), abs=1e-9)
    assert accuracy.max_box_acc == pytest.approx(max(curve), abs=1e-9)
    assert accuracy.max_box_acc_v2 == pytest.approx(np.mean([max(row) for row in curves]), abs=1e-9)


@pytest.mark.parametrize("kind", ["smooth", "steps", "noise", "dim"])
def test_boxes_are_those_of_the_literal(kind):
    scores = random_map(np.random.default_rng(5), kind)
    for threshold in (0.0, 0.2, 0.5, 0.777, 0.999, 1.0):
        boxes = boxes_from_map(scores, threshold)
        assert tuple(boxes[0]) == literal.largest_box(scores, threshold)
        assert sorted(map(tuple, boxes)) == sorted(literal.all_boxes(scores, threshold))


def test_thresholds_are_the_published_list():
    assert list(BOX_THRESHOLDS) == list(np.arange(0, 1, 0.001))
    assert len(BOX_THRESHOLDS) == 1000


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1000), cells=st.integers(2, 30), level=st.floats(0, 1))
def test_contours_are_components_and_holes(seed, cells, level):
    """A second opinion without OpenCV's contours, whose code changed between its versions 4.9, 4.10 and 5.

    Outer contours go round the 8-connected components of what is above. Holes are the 4-connected components of what is
    not, unless they reach the frame; their contours run over the pixels around them, one further out on each side. The
    area of an outer contour, holes filled, counts squares of four pixel centres whole and of three half.
    """
    scores = score_map(np.random.default_rng(seed).random((cells, cells)))
    m8 = (255 * scores).astype(np.uint8)
    above = np.pad(m8 > int(level * 255), 1)
    components, gaps = label(above, connectivity=2), label(~above, connectivity=1)
    expected, areas = [], []
    for number in range(1, components.max() + 1):
        component = components == number
        expected.append(_bounds(component, 0))
        outside = label(~component, connectivity=1) == 1
        corners = sum(
            (~outside)[y : y + component.shape[0] - 1, x : x + component.shape[1] - 1].astype(int)
            for y in (0, 1)
            for x in (0, 1)
        )
        areas.append((corners == 4).sum() + (corners == 3).sum() / 2)
    expected += [_bounds(gaps == number, 1) for number in range(1, gaps.max() + 1) if number != gaps[0, 0]]
    boxes = [tuple(box) for box in boxes_from_map(scores, level)]
    assert sorted(boxes) == sorted(expected or [(0, 0, 0, 0)])
    if areas and areas.count(max(areas)) == 1:
        assert boxes[0] == expected[int(np.argmax(areas))]


def _bounds(region, margin):
    """x0, y0, x1, y1 of a region of the map padded by 1: x1 one beyond the last pixel, cut at 223."""
    rows, columns = np.flatnonzero(region.any(axis=1)) - 1, np.flatnonzero(region.any(axis=0)) - 1
    x0, y0, x1, y1 = columns[0] - margin, rows[0] - margin, columns[-1] + 1 + margin, rows[-1] + 1 + margin
    return x0, y0, min(x1, 223), min(y1, 223)


# Boxes by hand


def test_box_of_a_block_ends_one_beyond():
    assert boxes_from_map(blocks((10, 20, 30, 60, 1.0)), 0.5).tolist() == [[30, 10, 60, 20]]


def test_box_at_the_border_is_cut():
    assert boxes_from_map(blocks((200, 224, 0, 224, 1.0)), 0.5).tolist() == [[0, 200, 223, 223]]
    assert boxes_from_map(np.ones(SIZE), 0.5).tolist() == [[0, 0, 223, 223]]


def test_hole_is_a_contour_around_the_pixels_beside_it():
    boxes = boxes_from_map(blocks((10, 60, 10, 60, 1.0), (20, 30, 20, 40, 0.0)), 0.5)
    assert boxes.tolist() == [[10, 10, 60, 60], [19, 19, 41, 31]]


def test_pixels_that_touch_at_a_corner_are_one_contour():
    assert boxes_from_map(blocks((10, 20, 10, 20, 1.0), (20, 30, 20, 30, 1.0)), 0.5).tolist() == [[10, 10, 30, 30]]


def test_largest_contour_comes_first():
    boxes = boxes_from_map(blocks((5, 10, 5, 10, 1.0), (50, 100, 50, 100, 1.0), (150, 160, 9, 30, 1.0)), 0.5)
    assert boxes[0].tolist() == [50, 50, 100, 100]
    assert sorted(boxes.tolist()) == [[5, 5, 10, 10], [9, 150, 30, 160], [50, 50, 100, 100]]


def test_of_equal_contours_the_first_listed_wins():
    scores = blocks((10, 20, 10, 20, 1.0), (100, 110, 100, 110, 1.0))
    listed = [literal.box_of(contour) for contour in literal.contours_at(scores, 0.5)]
    assert tuple(boxes_from_map(scores, 0.5)[0]) == listed[0]


def test_pixels_at_the_threshold_are_out():
    # 0.4 is 102 of 255. floor(0.4 * 255) = 102: out at 0.4. floor(0.399 * 255) = 101: in.
    scores = blocks((10, 60, 10, 60, 0.4), (20, 30, 20, 30, 1.0))
    assert boxes_from_map(scores, 0.4).tolist() == [[20, 20, 30, 30]]
    assert boxes_from_map(scores, 0.399).tolist() == [[10, 10, 60, 60]]


def test_threshold_is_a_share_of_the_maximum():
    # The maximum 0.5 is 127 of 255, floor(0.5 * 127) = 63; 0.25 is 63: out; 0.26 is 66: in.
    assert boxes_from_map(blocks((10, 60, 10, 60, 0.25), (20, 30, 20, 30, 0.5)), 0.5).tolist() == [[20, 20, 30, 30]]
    assert boxes_from_map(blocks((10, 60, 10, 60, 0.26), (20, 30, 20, 30, 0.5)), 0.5).tolist() == [[10, 10, 60, 60]]


@pytest.mark.parametrize("raw", [np.zeros((7, 7)), np.full((7, 9), 3.0), np.array([[0, np.nan], [1, 2]])])
def test_flat_and_undefined_maps_have_the_box_of_nothing(raw):
    scores = score_map(raw)
    assert not scores.any()
    assert boxes_from_map(scores, 0).tolist() == [[0, 0, 0, 0]]


def test_score_map_is_bicubic_and_fills_the_range():
    raw = np.random.default_rng(0).random((9, 14)).astype(np.float32) - 3
    resized = cv2.resize(raw.astype(np.float64), SIZE, interpolation=cv2.INTER_CUBIC)
    scores = score_map(raw)
    assert scores.dtype == np.float64
    assert (scores.min(), scores.max()) == (0, 1)
    assert (scores == literal.score_map(raw)).all()
    assert np.corrcoef(scores.ravel(), resized.ravel())[0, 1] == pytest.approx(1, abs=1e-12)


def test_score_map_of_a_score_map_is_itself():
    scores = score_map(np.random.default_rng(0).random((7, 7)))
    assert (score_map(scores) == scores).all()


def test_iou_by_hand():
    # 10 x 10 each, 5 x 5 shared: 25 / 175. One pixel each: side 1, equal.
    a = np.array([[0, 0, 9, 9], [3, 3, 3, 3]])
    b = np.array([[5, 5, 14, 14], [3, 3, 3, 3], [20, 0, 29, 9]])
    assert box_iou(a, b).tolist() == [[25 / 175, 1 / 100, 0], [0, 1, 0]]


def test_true_boxes_are_scaled_and_cut():
    # A picture of 448 x 112: x halves, y doubles. The last pixels are 200 and 59; 151 / 2 = 75.5 is cut to 75.
    boxes = [Box(0, 100, 10, 201, 60, 1.0), Box(0, 0, 0, 448, 112, 1.0), Box(0, 151, 0, 152, 1, 1.0)]
    assert scaled_corners(boxes, (112, 448)).tolist() == [[50, 20, 100, 118], [0, 0, 223, 222], [75, 0, 75, 0]]


@pytest.mark.parametrize("size", [(333, 500), (97, 61), (224, 224)])
def test_true_boxes_are_those_of_the_literal(size):
    boxes = [box for _, truth, _ in pictures(12) for box in truth if box.x0 < size[1] and box.y0 < size[0]]
    assert [tuple(row) for row in scaled_corners(boxes, size)] == [literal.scaled(box, size) for box in boxes]


# Accuracies by hand


def test_perfect_box():
    accuracy = judged([(blocks((10, 60, 10, 60, 1.0)), [Box(0, 10, 10, 60, 60, 1.0)], SIZE)])
    assert accuracy.curve.tolist() == [1.0] * len(COARSE)
    assert (accuracy.max_box_acc, accuracy.max_box_acc_v2, accuracy.best_threshold) == (1, 1, 0)


def test_every_delta_has_its_own_threshold():
    # A plateau of 60 x 60 around a peak of 40 x 40. True boxes: plateau in one picture, peak in the other. The IoU of
    # plateau and peak is about (41 / 61)^2 = 0.45: at 0.3 both pictures are right at every threshold, at 0.5 and 0.7
    # one of them, whatever the threshold.
    scores = blocks((100, 160, 100, 160, 0.5), (110, 150, 110, 150, 1.0))
    truths = ([Box(0, 100, 100, 160, 160, 1.0)], [Box(0, 110, 110, 150, 150, 1.0)])
    accuracy = judged([(scores, truth, SIZE) for truth in truths])
    assert accuracy.max_box_acc_v2 == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert accuracy.max_box_acc == 1 / 2
    assert accuracy.successes(0.2).tolist() == [True, False]
    assert accuracy.successes(0.8).tolist() == [False, True]


def test_any_contour_counts_in_v2_and_the_largest_in_v1():
    scores = blocks((10, 30, 10, 30, 1.0), (100, 200, 100, 200, 1.0))
    accuracy = judged([(scores, [Box(0, 10, 10, 30, 30, 1.0)], SIZE)])
    assert (accuracy.max_box_acc, accuracy.max_box_acc_v2) == (0, 1)


def test_best_of_several_true_boxes_counts():
    truth = [Box(0, 150, 150, 200, 200, 1.0), Box(0, 10, 10, 60, 60, 1.0)]
    assert judged([(blocks((10, 60, 10, 60, 1.0)), truth, SIZE)]).max_box_acc == 1


@pytest.mark.parametrize(("width", "right"), [(15, [1, 0, 0]), (25, [1, 1, 0]), (35, [1, 1, 1])])
def test_iou_of_exactly_delta_is_right(width, right):
    # Sides with + 1: the box has `width` x 20 pixels, the true box 50 x 20: IoU 0.3, 0.5, 0.7.
    accuracy = judged([(blocks((10, 29, 10, 9 + width, 1.0)), [Box(0, 10, 10, 60, 30, 1.0)], SIZE)])
    assert accuracy.curves_v2.max(axis=1).tolist() == right
    assert accuracy.max_box_acc == right[1]


def test_flat_map_is_a_miss():
    assert judged([(np.zeros(SIZE), [Box(0, 10, 10, 60, 60, 1.0)], SIZE)]).max_box_acc_v2 == 0


def test_oracle_is_at_least_every_other_threshold():
    accuracy = judged(pictures(12))
    assert accuracy.gt_known() == accuracy.max_box_acc == accuracy.gt_known(accuracy.best_threshold)
    assert all(accuracy.gt_known(threshold) <= accuracy.max_box_acc for threshold in COARSE)
    assert (accuracy.curves_v2[1] >= accuracy.curve).all()


def test_order_of_the_pictures_is_irrelevant():
    chosen = pictures(9)
    assert (judged(chosen).curve == judged(chosen[::-1]).curve).all()
    assert (judged(chosen).curves_v2 == judged(chosen[::-1]).curves_v2).all()


def test_merged_accuracies_are_one():
    chosen = pictures(9)
    merged, together = judged(chosen[:4]) + judged(chosen[4:]), judged(chosen)
    assert len(merged) == 9
    assert (merged.curves_v2 == together.curves_v2).all()
    assert (merged.successes(0.5) == together.successes(0.5)).all()


def test_a_subset_is_a_fresh_accuracy():
    chosen = pictures(9)
    subset, fresh = judged(chosen).subset([8, 1, 4]), judged([chosen[i] for i in (8, 1, 4)])
    assert (subset.curves_v2 == fresh.curves_v2).all()
    assert (subset.successes(0.3) == fresh.successes(0.3)).all()
    with pytest.raises(SettingError, match=r"go from 0 to 8; got 9$"):
        judged(chosen).subset([9])


# Top-k


def test_top_loc_takes_the_right_box_and_the_right_class():
    right, wrong = [Box(3, 10, 10, 60, 60, 1.0)], [Box(3, 100, 100, 200, 200, 1.0)]
    accuracy = MaxBoxAcc(COARSE)
    for truth, ranked in ((right, [3, 1]), (right, [1, 3]), (right, [1, 2]), (wrong, [3, 1])):
        accuracy.add(blocks((10, 60, 10, 60, 1.0)), truth, SIZE, ranked)
    assert accuracy.gt_known(0.5) == 3 / 4
    assert accuracy.top_loc(1, 0.5) == 1 / 4
    assert accuracy.top_loc(2, 0.5) == 2 / 4
    assert accuracy.subset([0, 1]).top_loc(1) == 1 / 2


@pytest.mark.parametrize(("k", "shortest"), [(3, 2), (0, 2)])
def test_top_loc_without_enough_classes(k, shortest):
    accuracy = MaxBoxAcc(COARSE)
    accuracy.add(blocks((1, 9, 1, 9, 1.0)), [Box(0, 1, 1, 9, 9, 1.0)], SIZE, ranked=[0, 1])
    with pytest.raises(SettingError, match=f"Top-{k} Loc takes at least {k} ranked classes .* has {shortest}; pass"):
        accuracy.top_loc(k)


# Boxes in place of maps


def test_predicted_boxes_are_judged_without_threshold():
    truth = [Box(3, 40, 40, 140, 140, 1.0)]
    near, far, other = Box(3, 42, 40, 140, 140, 0.2), Box(3, 0, 0, 20, 20, 0.9), Box(1, 40, 40, 140, 140, 1.0)
    accuracy = MaxBoxAcc(COARSE)
    accuracy.add_boxes([near, far, other], truth, (448, 448), ranked=[3])
    accuracy.add_boxes([near], truth, (448, 448), ranked=[1])
    accuracy.add_boxes([other], truth, (448, 448), ranked=[3])
    accuracy.add_boxes([], truth, (448, 448), ranked=[3])
    # The box with the highest score, then any box: the first picture is right in V2 only.
    assert accuracy.curve.tolist() == [1 / 4] * len(COARSE)
    assert accuracy.max_box_acc_v2 == 2 / 4
    assert accuracy.successes().tolist() == [False, True, False, False]
    assert accuracy.top_loc(1) == 0


def test_true_boxes_as_predictions_are_right():
    accuracy = MaxBoxAcc(COARSE)
    for _, truth, size in pictures(12):
        accuracy.add_boxes(truth, truth, size)
    assert (accuracy.max_box_acc, accuracy.max_box_acc_v2) == (1, 1)


# Intervals


def test_interval_of_v2_against_a_loop():
    accuracy = judged(pictures(8))
    generator = np.random.default_rng(3)
    single = [accuracy.subset([i]).curves_v2 for i in range(8)]
    scores = []
    for _ in range(30):
        curves = np.mean([single[i] for i in generator.integers(8, size=8)], axis=0)
        scores.append(curves.max(axis=1).mean())
    interval = accuracy.bootstrap(resamples=30, seed=3)
    assert interval.value == pytest.approx(accuracy.max_box_acc_v2, abs=1e-6)
    assert (interval.low, interval.high) == pytest.approx(tuple(np.percentile(scores, [2.5, 97.5])), abs=1e-6)


def test_interval_at_a_fixed_threshold():
    accuracy = judged(pictures(12))
    assert bootstrap_mean(accuracy.successes(0.4)).value == pytest.approx(accuracy.gt_known(0.4), abs=1e-12)


# Errors


@pytest.mark.parametrize(
    ("scores", "text"),
    [
        (
            np.zeros((224, 225)),
            r"^score maps are float arrays of 224 x 224; got shape \(224, 225\) of float64; make them",
        ),
        (np.zeros(SIZE, int), r"got shape \(224, 224\) of int64; make them with score_map$"),
        (np.full(SIZE, np.nan), r"^score maps hold values between 0 and 1; got nan to nan; make them with score_map$"),
        (np.full(SIZE, 1.5), "got 1.5 to 1.5;"),
        (np.full(SIZE, -0.5), "got -0.5 to -0.5;"),
    ],
)
def test_maps_that_are_no_score_maps(scores, text):
    accuracy = MaxBoxAcc(COARSE)
    with pytest.raises(PictureError, match=text):
        accuracy.add(scores, [Box(0, 1, 1, 9, 9, 1.0)], SIZE)
    with pytest.raises(PictureError, match=text):
        boxes_from_map(scores, 0.5)
    assert len(accuracy) == 0


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (np.zeros((1, 7, 7)), r"^a score map is an \(h, w\) array; got shape \(1, 7, 7\); pass the map of one class$"),
        (np.zeros((0, 7)), r"got shape \(0, 7\)"),
        (np.array([[0, np.inf]]), "^a score map holds infinite values;"),
    ],
)
def test_raw_maps_that_cannot_be_scored(raw, text):
    with pytest.raises(PictureError, match=text):
        score_map(raw)


@pytest.mark.parametrize(
    ("truth", "text"),
    [
        ([], "the true boxes of one class, that of the map; got 0 classes; pass the boxes of the true class"),
        ([Box(0, 1, 1, 9, 9, 1.0), Box(1, 1, 1, 9, 9, 1.0)], "got 2 classes"),
        ([Box(0, 5, 1, 5, 9, 1.0)], "^the box 5, 1, 5, 9 is empty or begins outside a picture of 224 x 224; boxes are"),
        ([Box(0, -1, 1, 5, 9, 1.0)], "^the box -1, 1, 5, 9 is empty"),
        ([Box(0, 300, 1, 305, 9, 1.0)], "^the box 300, 1, 305, 9 is empty or begins outside"),
    ],
)
def test_unusable_true_boxes(truth, text):
    accuracy = MaxBoxAcc(COARSE)
    with pytest.raises(DatasetError, match=text):
        accuracy.add(blocks((1, 9, 1, 9, 1.0)), truth, SIZE)
    assert len(accuracy) == 0


def test_questions_without_an_answer():
    with pytest.raises(DatasetError, match=r"^no picture was added; add pictures before asking for an accuracy$"):
        _ = MaxBoxAcc().curve
    with pytest.raises(SettingError, match=r"^the threshold 0.0005 was not evaluated; the nearest is "):
        judged(pictures(1), BOX_THRESHOLDS).gt_known(0.0005)
    with pytest.raises(SettingError, match="over different thresholds cannot be merged"):
        MaxBoxAcc() + MaxBoxAcc(COARSE)
    with pytest.raises(SettingError, match="between 0 and 1; got 2 to 2"):
        boxes_from_map(np.zeros(SIZE), 2)
