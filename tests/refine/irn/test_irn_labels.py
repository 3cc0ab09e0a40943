"""Training masks: the rule of two thresholds by hand, the CRF against pydensecrf, the grid, refusals."""

import dataclasses

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from advcam.errors import PictureError, SettingError
from advcam.refine.dense_crf import IRN_LABELS
from advcam.refine.irn.labels import confident_labels, grid_labels
from advcam.types import Attribution

NO_CRF = dataclasses.replace(IRN_LABELS, iterations=0)


def attribution(maps, class_ids):
    maps = np.asarray(maps, dtype=np.float32)
    return Attribution(
        tuple(class_ids), tuple(map(str, class_ids)), maps, maps.shape[1:], np.zeros(len(maps), dtype=np.float32)
    )


def scene():
    """A photograph, 32 x 48, and two maps: a broad one in the middle, a narrow one in a corner."""
    picture = np.array(Image.fromarray(skimage.data.chelsea()).resize((48, 32), Image.Resampling.BOX))
    rows, columns = np.mgrid[:32, :48] / np.array([32, 48]).reshape(2, 1, 1)
    middle = np.exp(-(np.hypot(rows - 0.5, columns - 0.45) ** 2) / 0.09)
    corner = np.exp(-(np.hypot(rows - 0.9, columns - 0.95) ** 2) / 0.0625)
    return picture, np.stack([middle / middle.max(), corner / corner.max()])


def test_the_rule_by_hand():
    """Values of two classes; 0.15 and 0.35 themselves are background: the background wins ties."""
    maps = [[[0.0, 0.15, 0.16, 0.35, 0.36, 0.9, 0.2]], [[0.1, 0.1, 0.0, 0.3, 0.2, 1.0, 0.3]]]
    found = confident_labels(attribution(maps, [4, 9]), np.zeros((1, 7, 3), dtype=np.uint8), crf=NO_CRF)
    assert found.dtype == np.int32
    assert found.tolist() == [[0, 0, 255, 255, 5, 10, 255]]


def test_thresholds_are_those_given():
    maps = [[[0.05, 0.2, 0.5, 0.9]]]
    picture = np.zeros((1, 4, 3), dtype=np.uint8)
    found = confident_labels(attribution(maps, [0]), picture, conf_fg=0.6, conf_bg=0.3, crf=NO_CRF)
    assert found.tolist() == [[0, 0, 255, 1]]


def test_against_pydensecrf():
    densecrf = pytest.importorskip("pydensecrf.densecrf")
    unary_from_labels = pytest.importorskip("pydensecrf.utils").unary_from_labels
    picture, maps = scene()

    def smooth(background):
        labels = np.concatenate([np.full((1, 32, 48), background), maps]).argmax(axis=0)
        model = densecrf.DenseCRF2D(48, 32, 3)
        model.setUnaryEnergy(unary_from_labels(labels, 3, gt_prob=0.7, zero_unsure=False))
        model.addPairwiseGaussian(sxy=3, compat=3)
        model.addPairwiseBilateral(sxy=50, srgb=5, rgbim=np.ascontiguousarray(picture), compat=10)
        return np.array(model.inference(10)).reshape(3, 32, 48).argmax(axis=0)

    keys = np.array([0, 3, 8])
    foreground, background = keys[smooth(0.35)], keys[smooth(0.15)]
    expected = foreground.copy()
    expected[foreground == 0] = 255
    expected[foreground + background == 0] = 0
    found = confident_labels(attribution(maps, [2, 7]), picture)
    assert set(np.unique(expected)) == {0, 3, 8, 255}
    assert (found == expected).mean() > 0.995


def test_no_class_is_background_everywhere():
    empty = Attribution((), (), np.zeros((0, 3, 4), dtype=np.float32), (12, 15), np.zeros(0, dtype=np.float32))
    found = confident_labels(empty, np.zeros((12, 15, 3), dtype=np.uint8))
    assert found.shape == (12, 15)
    assert (found == 0).all()


def test_an_empty_map_is_background():
    found = confident_labels(attribution(np.zeros((1, 9, 9)), [3]), np.zeros((9, 9, 3), dtype=np.uint8))
    assert (found == 0).all()


@pytest.mark.parametrize(
    ("class_ids", "picture", "settings", "error", "message"),
    [
        ([1], np.zeros((4, 5, 3), np.uint8), {"conf_fg": 1.5}, SettingError, "between 0 and 1; got 1.5"),
        (
            [1],
            np.zeros((4, 5, 3), np.uint8),
            {"conf_fg": 0.1, "conf_bg": 0.2},
            SettingError,
            "at most conf_fg.*0.2 and",
        ),
        ([254], np.zeros((4, 5, 3), np.uint8), {}, SettingError, "class 254 would be 255 in a mask"),
        ([1], np.zeros((5, 4, 3), np.uint8), {}, PictureError, r"RGB bytes of shape \(4, 5, 3\); got \(5, 4, 3\)"),
        ([1], np.zeros((4, 5, 3), np.float32), {}, PictureError, "of float32"),
    ],
)
def test_refusals(class_ids, picture, settings, error, message):
    with pytest.raises(error, match=message):
        confident_labels(attribution(np.ones((1, 4, 5)), class_ids), picture, **settings)


def test_grid_labels_take_the_middle_of_each_cell():
    labels = torch.arange(64).view(1, 8, 8)
    assert grid_labels(labels).tolist() == [[[18, 22], [50, 54]]]


@pytest.mark.parametrize(("side", "last"), [(9, 255), (10, 255), (11, 7), (12, 7)])
def test_cells_whose_middle_is_outside_are_unknown(side, last):
    found = grid_labels(torch.full((1, side, 4), 7, dtype=torch.uint8))
    assert found.shape == (1, 3, 1)
    assert found[0, :, 0].tolist() == [7, 7, last]


def test_grid_labels_fit_the_published_reduction():
    """Nearest, as PIL reduces a 512 crop by 4."""
    labels = np.random.default_rng(0).integers(0, 21, (32, 48), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(labels).resize((12, 8), Image.Resampling.NEAREST))
    assert np.array_equal(grid_labels(torch.from_numpy(labels)[None])[0], expected)
