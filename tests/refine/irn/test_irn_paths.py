"""Pairs and paths: counts of the published code, literal geometry, affinities against loops over pairs."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from irn_literal import affinity_matrix, between

from advcam.errors import SettingError
from advcam.refine.irn.pairs import PathMaxima, affinities, offsets_within, pair_views
from advcam.refine.irn.paths import offsets, path, runs


@pytest.mark.parametrize(("radius", "count"), [(2, 4), (3, 12), (5, 34), (10, 152)])
def test_as_many_offsets_as_the_published_code(radius, count):
    """2: right, and three below; 5: the 34 of the paper's inference."""
    assert len(offsets(radius)) == count


@pytest.mark.parametrize("radius", range(2, 8))
def test_offsets_and_their_opposites_are_the_disc(radius):
    disc = {
        (y, x) for y in range(-radius, radius + 1) for x in range(-radius, radius + 1) if 0 < math.hypot(y, x) < radius
    }
    found = offsets(radius)
    assert len(set(found)) == len(found)
    assert set(found) | {(-dy, -dx) for dy, dx in found} == disc
    assert not set(found) & {(-dy, -dx) for dy, dx in found}


@pytest.mark.parametrize("radius", [1, 0, -3])
def test_a_radius_without_pairs_is_refused(radius):
    with pytest.raises(SettingError, match=f"2 or more; got {radius}"):
        offsets(radius)


def test_paths_by_hand():
    assert path((0, 3)) == ((0, 0), (0, 1), (0, 2), (0, 3))
    assert path((2, 0)) == ((0, 0), (1, 0), (2, 0))
    # The corners beside a diagonal are at a distance of 0.71.
    assert path((1, 1)) == ((0, 0), (0, 1), (1, 0), (1, 1))
    assert path((1, -2)) == ((0, -2), (0, -1), (0, 0), (1, -2), (1, -1), (1, 0))
    assert path((2, 2)) == ((0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 1), (2, 2))


def test_paths_are_literal_and_symmetric():
    for dy, dx in offsets(10):
        cells = set(path((dy, dx)))
        assert cells == set(between((0, 0), (dy, dx)))
        assert {(0, 0), (dy, dx)} <= cells
        assert {(dy - y, dx - x) for y, x in cells} == cells


def test_runs_cover_the_path_once():
    for offset in offsets(10):
        covered = [(run.y + y, run.x + x) for run in runs(offset) for y in range(run.height) for x in range(run.width)]
        assert len(set(covered)) == len(covered)
        assert set(covered) == set(path(offset))
        assert len(runs(offset)) == min(offset[0], abs(offset[1])) + 1


def test_pair_views_are_i_and_j():
    grid = torch.arange(20).view(4, 5)
    first, second = pair_views(grid, (1, -2))
    assert first.tolist() == [[2, 3, 4], [7, 8, 9], [12, 13, 14]]
    assert second.tolist() == [[5, 6, 7], [10, 11, 12], [15, 16, 17]]
    first += 100
    assert grid[0, 2] == 102


@pytest.mark.parametrize("radius", range(2, 7))
@pytest.mark.parametrize("shape", [(6, 7), (1, 8), (8, 2), (3, 3), (1, 1)])
def test_affinities_are_those_of_the_loops(radius, shape):
    boundary = np.random.default_rng(radius).random(shape)
    expected = affinity_matrix(boundary, radius)
    found = np.eye(boundary.size)
    index = torch.arange(boundary.size).view(shape)
    for offset, a in affinities(torch.from_numpy(boundary)[None], radius):
        first, second = pair_views(index, offset)
        found[first, second] = found[second, first] = a[0]
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 6), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**16))
def test_a_batch_is_its_boundaries_one_by_one(radius, height, width, seed):
    boundary = torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    together = dict(affinities(boundary, radius))
    assert list(together) == offsets_within(radius, height, width)
    for index in range(3):
        for offset, a in affinities(boundary[index : index + 1], radius):
            assert torch.equal(together[offset][index], a[0])


def test_the_gradient_goes_to_the_highest_cell_of_the_path():
    boundary = torch.tensor([[[0.1, 0.7, 0.2, 0.4]]], requires_grad=True)
    PathMaxima(boundary, 4).along((0, 3)).sum().backward()
    assert boundary.grad.tolist() == [[[0.0, 1.0, 0.0, 0.0]]]


def test_a_single_map_is_refused():
    with pytest.raises(SettingError, match=r"boundaries are \(N, h, w\); got shape \(4, 4\)"):
        PathMaxima(torch.zeros(4, 4), 3)
