"""Instances: displacements followed literally, two objects of one class, fragments, empty maps, refusals."""

import numpy as np
import pytest
import torch
from irn_literal import follow as literal_follow

from advcam.errors import SettingError
from advcam.refine.irn.instances import centre_groups, follow, instance_masks


def towards(centres, height, width):
    """Displacements of each position to the nearest of some centres."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack([rows, columns]).float()
    moves = torch.stack([torch.tensor(centre).view(2, 1, 1) - places for centre in centres])
    nearest = moves.norm(dim=1).argmin(dim=0)
    return moves.gather(0, nearest.expand(1, 2, -1, -1))[0]


TWO = towards([(8.0, 6.0), (8.0, 23.0)], 16, 30)
FLAT = torch.full((1, 16, 30), -9.0)


def two_discs():
    rows, columns = np.mgrid[:16, :30]
    discs = [np.hypot(rows - 8, columns - x) < 5 for x in (6, 23)]
    return torch.from_numpy((discs[0] * 1.0 + discs[1] * 0.8).astype(np.float32))[None]


def test_following_is_literal():
    displacement = np.random.default_rng(0).standard_normal((2, 6, 5))
    found = follow(torch.from_numpy(displacement), steps=40)
    np.testing.assert_allclose(found, literal_follow(displacement, steps=40), atol=1e-9)


def test_following_a_single_row_and_leaving_the_grid():
    displacement = torch.zeros(2, 1, 4)
    displacement[0], displacement[1] = 3.0, 1.0
    assert follow(displacement, steps=10).tolist() == [[[0.0] * 4], [[3.0] * 4]]


def test_positions_are_grouped_by_the_centre_they_point_to():
    groups = centre_groups(TWO)
    assert groups.shape == (16, 30)
    assert np.unique(groups).tolist() == [0, 1]
    assert (groups[:, :14] == groups[8, 6]).all()
    assert (groups[:, 16:] == groups[8, 23]).all()
    assert groups[8, 6] != groups[8, 23]


def test_displacements_without_a_centre_are_one_group():
    assert (centre_groups(torch.full((2, 5, 7), 9.0)) == 0).all()


def test_two_objects_of_one_class_are_two_masks():
    found = instance_masks(two_discs(), [11], FLAT + 12 * wall(), TWO, (64, 120))
    assert [part.class_id for part in found] == [11, 11]
    assert [part.mask.shape for part in found] == [(64, 120)] * 2
    assert found[0].score == 1
    assert 0.25 < found[1].score < 1
    left, right = found[0].mask, found[1].mask
    assert not (left & right).any()
    assert left[32, 24]
    assert right[32, 92]
    assert not left[:, 60:].any()
    assert not right[:, :56].any()


def wall():
    """Boundary around each object, as edge logits."""
    rows, columns = np.mgrid[:16, :30]
    ring = [abs(np.hypot(rows - 8, columns - x) - 6) < 0.9 for x in (6, 23)]
    return torch.from_numpy((ring[0] | ring[1]).astype(np.float32))[None]


def test_without_displacements_that_tell_them_apart_connected_objects_are_one():
    maps, one = torch.ones(1, 16, 30), towards([(8.0, 15.0)], 16, 30)
    assert len(instance_masks(maps, [0], FLAT, one, (64, 120))) == 1
    assert len(instance_masks(maps, [0], FLAT + 12 * (torch.arange(30) == 15), TWO, (64, 120))) == 2


def test_classes_compete_for_the_pixels():
    maps = two_discs()
    both = torch.cat([maps * (torch.arange(30) < 15), maps * (torch.arange(30) >= 15)])
    found = instance_masks(both, [3, 8], FLAT + 12 * wall(), TWO, (64, 120))
    assert [part.class_id for part in found] == [3, 8]
    assert found[0].mask[32, 24]
    assert found[1].mask[32, 92]


def test_disconnected_parts_are_objects_and_small_ones_score_zero():
    """One group, no walking: a large block, and one cell, of which 4 x larger maps keep 0.77: under 77 pixels."""
    maps = torch.zeros(1, 16, 30)
    maps[0, 2:12, 2:12], maps[0, 8, 25] = 0.9, 1.0
    found = instance_masks(maps, [5], FLAT, towards([(8.0, 15.0)], 16, 30), (64, 120), steps=0)
    assert [part.score for part in found] == [1, 0]
    assert found[1].mask.sum() < 0.01 * 64 * 120
    assert found[1].mask[34, 102]


def test_many_groups_walk_in_batches():
    """24 blocks with a centre each, more than walk at once."""
    centres = [(2.0 + 6 * y, 3.0 + 6 * x) for y in range(4) for x in range(6)]
    field = towards(centres, 24, 36)
    rows, columns = torch.meshgrid(torch.arange(24), torch.arange(36), indexing="ij")
    walls = ((rows % 6 == 5) | (columns % 6 == 0)).float()
    found = instance_masks(1 - walls[None], [2], -9 + 18 * walls, field, (96, 144))
    assert len([part for part in found if part.score]) == 24


@pytest.mark.parametrize("size", [(61, 117), (64, 120)])
def test_masks_have_the_size_of_the_picture(size):
    found = instance_masks(two_discs(), [0], FLAT, TWO, size)
    assert found
    assert all(part.mask.shape == size and part.mask.dtype == bool for part in found)


def test_empty_maps_and_no_classes_give_no_object():
    assert instance_masks(torch.zeros(1, 16, 30), [0], FLAT, TWO, (64, 120)) == []
    assert instance_masks(torch.zeros(0, 16, 30), [], FLAT, TWO, (64, 120)) == []


def test_a_background_above_everything_leaves_nothing():
    assert instance_masks(two_discs(), [0], FLAT, TWO, (64, 120), background=1.0) == []


@pytest.mark.parametrize(
    ("class_ids", "displacement", "background", "message"),
    [
        ([0, 1], TWO, 0.25, "got 1 maps for 2 classes"),
        ([0], TWO[:, :5], 0.25, r"displacements \(2, 16, 30\); got .* displacements \(2, 5, 30\)"),
        ([0], TWO, 1.25, "between 0 and 1; got 1.25"),
    ],
)
def test_refusals(class_ids, displacement, background, message):
    with pytest.raises(SettingError, match=message):
        instance_masks(two_discs(), class_ids, FLAT, displacement, (64, 120), background=background)
