"""Confusion matrix, its scores, and the seed sweep: against the literal, torchmetrics and label_mask."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex

from advcam.errors import DatasetError, PictureError, SettingError
from advcam.evaluate.segmentation import ConfusionMatrix, SeedSweep
from advcam.types import Attribution

_spec = importlib.util.spec_from_file_location("literal_protocols", Path(__file__).with_name("literal.py"))
literal = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(literal)

NUMBERS = ("iou", "miou", "precision", "recall", "mean_precision", "mean_recall", "foreground_precision")
NUMBERS += ("foreground_recall", "pixel_accuracy", "mean_accuracy")


def matrix(truth, prediction, classes=3):
    made = ConfusionMatrix(classes)
    made.add(np.array(truth), np.array(prediction))
    return made


def equal(first, second):
    return all(np.array_equal(getattr(first, n), getattr(second, n), equal_nan=True) for n in NUMBERS)


def scenes(count, seed=0, classes=5, size=(17, 23)):
    """Pictures (truth, maps, class ids) with ignored pixels, classes without a map, maps of absent classes, ties."""
    generator = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        truth = generator.integers(0, classes, size)
        truth[generator.random(size) < 0.1] = 255
        class_ids = generator.choice(classes - 1, generator.integers(0, 4), replace=False).tolist()
        maps = (generator.integers(0, 21, (len(class_ids), *size)) / 20).astype(np.float32)
        made.append((truth, maps, class_ids))
    return made


def swept(pictures, classes=5, **options):
    sweep = SeedSweep(classes, **options)
    for picture in pictures:
        sweep.add(*picture)
    return sweep


# Confusion matrix


def test_two_by_two_by_hand():
    scores = matrix([[0, 1], [1, 2]], [[0, 1], [2, 2]]).scores()
    # Class 0: 1 of 1. Class 1: 1 right, 2 true, 1 predicted. Class 2: 1 right, 1 true, 2 predicted.
    assert scores.iou.tolist() == [1, 1 / 2, 1 / 2]
    assert scores.miou == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert scores.precision.tolist() == [1, 1, 1 / 2]
    assert scores.recall.tolist() == [1, 1 / 2, 1]
    assert (scores.mean_precision, scores.mean_recall) == (3 / 4, 3 / 4)
    assert (scores.foreground_precision, scores.foreground_recall) == (2 / 3, 2 / 3)
    assert scores.pixel_accuracy == 3 / 4
    assert scores.mean_accuracy == pytest.approx((1 + 1 / 2 + 1) / 3)


def test_rows_are_the_truth():
    assert matrix([[0, 1], [1, 1]], [[0, 2], [2, 1]]).counts.tolist() == [[1, 0, 0], [0, 1, 2], [0, 0, 0]]


def test_ignored_truth_is_left_out_and_undecided_prediction_is_background():
    assert matrix([[255, 255], [1, 0]], [[1, 0], [255, 255]]).counts.tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]


def test_absent_class_is_left_out_of_the_mean():
    scores = matrix([[0, 1], [0, 1]], [[0, 1], [1, 1]]).scores()
    assert scores.iou[:2].tolist() == [1 / 2, 2 / 3]
    assert np.isnan(scores.iou[2])
    assert scores.miou == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_empty_prediction():
    scores = matrix([[0, 1], [1, 1]], [[0, 0], [0, 0]]).scores()
    assert scores.miou == (1 / 4 + 0) / 2
    assert scores.foreground_recall == 0
    assert np.isnan(scores.foreground_precision)
    assert np.isnan(scores.mean_precision)


def test_empty_truth():
    scores = matrix([[0, 0], [0, 0]], [[0, 1], [1, 1]]).scores()
    assert scores.miou == (1 / 4 + 0) / 2
    assert scores.foreground_precision == 0
    assert np.isnan(scores.foreground_recall)


def test_nothing_to_score_is_nan():
    scores = matrix([[255, 255]], [[0, 1]]).scores()
    assert all(np.isnan(getattr(scores, name)).all() for name in NUMBERS)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_against_the_literal(data):
    shape = data.draw(arrays.array_shapes(min_dims=2, max_dims=2, max_side=6))
    numbers = st.sampled_from([0, 1, 2, 3, 255])
    truth = data.draw(arrays.arrays(np.uint8, shape, elements=numbers))
    prediction = data.draw(arrays.arrays(np.int32, shape, elements=numbers))
    made = matrix(truth, prediction, classes=4)
    assert (made.counts == literal.confusion(truth, prediction, 4)).all()
    if made.counts.any():
        assert made.scores().miou == pytest.approx(literal.miou(made.counts), abs=1e-12)


def test_against_torchmetrics():
    generator = np.random.default_rng(0)
    made = ConfusionMatrix(6)
    theirs = MulticlassConfusionMatrix(6, ignore_index=255)
    jaccard = MulticlassJaccardIndex(6, ignore_index=255, average=None)
    for _ in range(5):
        truth, prediction = generator.integers(0, 6, (2, 40, 30))
        truth[generator.random(truth.shape) < 0.1] = 255
        made.add(truth, prediction)
        theirs.update(torch.from_numpy(prediction), torch.from_numpy(truth))
        jaccard.update(torch.from_numpy(prediction), torch.from_numpy(truth))
    assert (made.counts == theirs.compute().numpy()).all()
    assert made.scores().iou == pytest.approx(jaccard.compute().numpy(), abs=1e-6)


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int64, np.uint64])
def test_any_type_of_integers(kind):
    truth, prediction = np.array([[0, 1], [2, 2]], dtype=kind), np.array([[0, 1], [1, 2]], dtype=kind)
    assert matrix(truth, prediction).counts.tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    sweep = swept([(truth, np.array([[[0, 1], [1, 0]]]).astype(np.float32), [0])], classes=3)
    assert sweep.confusion(50).counts.tolist() == [[1, 0, 0], [0, 1, 0], [1, 1, 0]]


def test_merged_matrices_are_one():
    parts = [matrix([[0, 1]], [[1, 1]]), matrix([[2, 1]], [[2, 0]])]
    assert ((parts[0] + parts[1]).counts == matrix([[0, 1], [2, 1]], [[1, 1], [2, 0]]).counts).all()
    assert parts[0].counts.sum() == 2


@pytest.mark.parametrize(
    ("truth", "prediction", "kind", "text"),
    [
        ([[0, 3]], [[0, 0]], DatasetError, r"^the true mask holds the number 3; classes are 0 to 2, and 255"),
        ([[0, -1]], [[0, 0]], DatasetError, r"^the true mask holds the number -1;"),
        ([[0, 0]], [[7, 0]], SettingError, r"^the prediction holds the number 7; classes are 0 to 2, and 255"),
        (
            [[0, 0]],
            [[0], [0]],
            SettingError,
            r"at the size of the truth, \(1, 2\); got shape \(2, 1\) of int64; resize",
        ),
        ([[0, 0]], [[0.0, 0.0]], SettingError, r"got shape \(1, 2\) of float64"),
        (
            [0, 0],
            [0, 0],
            DatasetError,
            r"^a true mask is an \(H, W\) array of integers; got shape \(2,\) of int64; read",
        ),
        ([[0.0]], [[0]], DatasetError, r"got shape \(1, 1\) of float64"),
    ],
)
def test_masks_that_cannot_be_compared(truth, prediction, kind, text):
    with pytest.raises(kind, match=text):
        matrix(truth, prediction)


@pytest.mark.parametrize("classes", [1, 256])
def test_number_of_classes(classes):
    with pytest.raises(SettingError, match=f"is 2 to 255, as 255 in a mask means ignore; got {classes}$"):
        ConfusionMatrix(classes)


def test_different_classes_do_not_merge():
    with pytest.raises(SettingError, match="over 3 and over 4 classes cannot be merged"):
        ConfusionMatrix(3) + ConfusionMatrix(4)


# Seed sweep


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_sweep_is_label_mask_at_every_threshold(data):
    kind = data.draw(st.sampled_from([np.float32, np.float64]))
    shape = data.draw(arrays.array_shapes(min_dims=2, max_dims=2, max_side=7))
    class_ids = data.draw(st.lists(st.integers(0, 2), max_size=3, unique=True))
    values = st.integers(0, 10).map(lambda tenth: kind(tenth / 10)) | st.floats(0, 1, width=32).map(kind)
    maps = data.draw(arrays.arrays(kind, (len(class_ids), *shape), elements=values))
    truth = data.draw(arrays.arrays(np.int32, shape, elements=st.sampled_from([0, 1, 2, 3, 255])))
    thresholds = [0.0, 0.1, 0.3, 0.4, 0.7, 0.9, 1.0]
    sweep = swept([(truth, maps, class_ids)], classes=4, thresholds=thresholds)
    names = tuple(str(k) for k in class_ids)
    attribution = Attribution(tuple(class_ids), names, maps, shape, np.zeros(len(class_ids), dtype=np.float32))
    for index, threshold in enumerate(thresholds):
        mask = attribution.label_mask(threshold)
        assert (mask == literal.seeds(maps, class_ids, threshold)).all()
        assert (sweep.confusion(index).counts == literal.confusion(truth, mask, 4)).all()


def test_default_thresholds_are_hundredths():
    assert SeedSweep(3).thresholds.tolist() == [float(f"{step / 100:.2f}") for step in range(101)]


def test_curves_are_the_scores_at_each_threshold():
    sweep = swept(scenes(4))
    miou, precision, recall = sweep.miou, sweep.precision, sweep.recall
    for index, threshold in enumerate(sweep.thresholds.tolist()):
        scores = sweep.scores(threshold)
        assert miou[index] == scores.miou == pytest.approx(literal.miou(sweep.confusion(index).counts), abs=1e-12)
        assert np.array_equal(precision[index], scores.foreground_precision, equal_nan=True)
        assert recall[index] == scores.foreground_recall


def test_pictures_add_up():
    pictures = scenes(4)
    sweep = swept(pictures)
    for threshold in (0.0, 0.25, 0.5, 1.0):
        counts = [literal.confusion(t, literal.seeds(maps, ids, threshold), 5) for t, maps, ids in pictures]
        assert (sweep.confusion(round(100 * threshold)).counts == sum(counts)).all()


def test_recall_falls_and_ends_at_zero():
    recall = swept(scenes(4)).recall
    assert (np.diff(recall) <= 0).all()
    assert recall[-1] == 0


def test_oracle_is_at_least_every_other_threshold():
    sweep = swept(scenes(6))
    threshold, scores = sweep.best()
    assert isinstance(threshold, float)
    assert scores.miou == sweep.miou.max()
    assert equal(scores, sweep.scores(threshold))


def test_oracle_of_a_perfect_map_is_the_lowest_of_equals():
    truth = np.array([[0, 1], [2, 255]])
    maps = np.array([[[0.2, 1], [0, 1]], [[0.1, 0.1], [0.6, 1]]])
    threshold, scores = swept([(truth, maps, [0, 1])], classes=3).best()
    # Everything is right from 0.20 (0.2 > 0.20 is false) to 0.59.
    assert (threshold, scores.miou) == (0.2, 1.0)


def test_order_of_the_pictures_is_irrelevant():
    pictures = scenes(7)
    assert (swept(pictures).miou == swept(pictures[::-1]).miou).all()


def test_merged_sweeps_are_one():
    pictures = scenes(7)
    merged, together = swept(pictures[:3]) + swept(pictures[3:]), swept(pictures)
    assert len(merged) == len(together) == 7
    assert (merged.confusion(30).counts == together.confusion(30).counts).all()
    assert (merged.picture_scores(0.3) == together.picture_scores(0.3)).all()


def test_a_subset_is_a_fresh_sweep():
    pictures = scenes(7)
    chosen = [5, 0, 3]
    subset, fresh = swept(pictures).subset(chosen), swept([pictures[i] for i in chosen])
    assert len(subset) == 3
    assert all((subset.confusion(i).counts == fresh.confusion(i).counts).all() for i in range(101))
    assert (subset.picture_scores(0.5) == fresh.picture_scores(0.5)).all()
    assert subset.bootstrap(0.5, resamples=20) == fresh.bootstrap(0.5, resamples=20)


def test_adding_goes_on_after_a_query():
    pictures = scenes(4)
    sweep = swept(pictures[:2])
    assert sweep.best()
    for picture in pictures[2:]:
        sweep.add(*picture)
    assert (sweep.miou == swept(pictures).miou).all()


def test_score_of_one_picture_is_its_own_miou():
    pictures = scenes(5)
    alone = [swept([picture]).scores(0.35).miou for picture in pictures]
    assert swept(pictures).picture_scores(0.35) == pytest.approx(np.array(alone), abs=1e-12)


def test_ignored_picture_has_no_score_and_counts_nothing():
    pictures = scenes(2)
    nothing = (np.full((17, 23), 255), *pictures[0][1:])
    sweep = swept([nothing, *pictures])
    assert np.isnan(sweep.picture_scores(0.2)).tolist() == [True, False, False]
    assert (sweep.miou == swept(pictures).miou).all()


def test_picture_without_any_class_is_background():
    sweep = swept([(np.array([[0, 1]]), np.zeros((0, 1, 2)), [])], classes=3)
    assert all(sweep.confusion(i).counts.tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0]] for i in (0, 50, 100))


def test_zero_map_claims_nothing_even_at_threshold_zero():
    sweep = swept([(np.array([[1]]), np.zeros((1, 1, 1)), [0])], classes=2)
    assert sweep.confusion(0).counts.tolist() == [[0, 0], [1, 0]]


def test_interval_holds_the_miou():
    sweep = swept(scenes(30))
    interval = sweep.bootstrap(0.4, resamples=200)
    assert interval.value == pytest.approx(sweep.scores(0.4).miou, abs=1e-12)
    assert interval.low < interval.value < interval.high


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.nan, "got nan to nan; set negative values to 0 and divide each map by its maximum"),
        (3.5, r"values between 0 and 1; got 0 to 3.5; set negative"),
        (-0.5, r"values between 0 and 1; got -0.5 to 0; set negative"),
    ],
)
def test_maps_out_of_range(value, text):
    maps = np.zeros((1, 2, 2))
    maps[0, 1, 1] = value
    sweep = SeedSweep(3)
    with pytest.raises(PictureError, match=text):
        sweep.add(np.zeros((2, 2), int), maps, [0])
    assert len(sweep) == 0


@pytest.mark.parametrize("maps", [np.zeros((1, 2, 3)), np.zeros((2, 2, 2)), np.zeros((2, 2)), np.zeros((1, 2, 2), int)])
def test_maps_of_another_shape(maps):
    text = r"one map of floats for each of the 1 classes at the size of the truth, \(2, 2\); got .*; resize the maps"
    with pytest.raises(PictureError, match=text):
        SeedSweep(3).add(np.zeros((2, 2), int), maps, [0])


@pytest.mark.parametrize("class_id", [-1, 2])
def test_class_out_of_range(class_id):
    text = f"^class {class_id} does not fit num_classes=3: classes count from 0 to 1, and the background comes on top$"
    with pytest.raises(SettingError, match=text):
        SeedSweep(3).add(np.zeros((2, 2), int), np.zeros((1, 2, 2)), [class_id])


def test_truth_with_an_unknown_class():
    with pytest.raises(DatasetError, match="the true mask holds the number 4;"):
        SeedSweep(3).add(np.full((2, 2), 4), np.zeros((1, 2, 2)), [0])


@pytest.mark.parametrize(
    ("thresholds", "text"),
    [
        ([], r"in ascending order, each once; got \[\]"),
        ([0.2, 0.1], "in ascending order"),
        ([0.1, 0.1], "in ascending order"),
        ([0.5, 1.5], "between 0 and 1; got 0.5 to 1.5"),
        ([np.nan], "between 0 and 1; got nan"),
    ],
)
def test_unusable_thresholds(thresholds, text):
    with pytest.raises(SettingError, match=text):
        SeedSweep(3, thresholds)


def test_threshold_that_was_not_evaluated():
    with pytest.raises(SettingError, match=r"^the threshold 0.123 was not evaluated; the nearest is 0.12: take it"):
        swept(scenes(1)).scores(0.123)


def test_nothing_to_sweep():
    with pytest.raises(DatasetError, match="no pixel to score"):
        SeedSweep(3).best()


@pytest.mark.parametrize(
    ("indices", "text"),
    [([0, 2], "go from 0 to 1; got 2"), ([-1], "got -1"), ([0, 0], "each picture once"), ([0.5], "got shape")],
)
def test_unusable_subsets(indices, text):
    with pytest.raises(SettingError, match=text):
        swept(scenes(2)).subset(indices)


def test_sweeps_that_cannot_be_merged():
    with pytest.raises(SettingError, match="over 3 and over 4 classes"):
        SeedSweep(3) + SeedSweep(4)
    with pytest.raises(SettingError, match="over different thresholds"):
        SeedSweep(3) + SeedSweep(3, [0.5])
