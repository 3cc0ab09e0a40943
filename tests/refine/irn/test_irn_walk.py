"""The random walk: against a dense matrix power in float64, its conservation laws, walls, any size of picture."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from irn_literal import transition_matrix, walk

from advcam.errors import ModelError, SettingError
from advcam.refine.irn.walk import enlarge, random_walk, refine_maps, start_maps


def field(height, width, kind, seed=0):
    """Boundaries of many kinds: even, steep, a few sharp lines, nothing."""
    rng = np.random.default_rng(seed)
    if kind == "even":
        return rng.random((height, width))
    if kind == "steep":
        return 1 / (1 + np.exp(-6 * rng.standard_normal((height, width))))
    if kind == "lines":
        boundary = np.full((height, width), 0.02)
        boundary[height // 2], boundary[:, width // 3] = 0.95, 1.0
        return boundary
    return np.zeros((height, width))


@pytest.mark.parametrize("radius", range(2, 7))
@pytest.mark.parametrize("kind", ["even", "steep", "lines", "zero"])
def test_the_walk_is_the_dense_matrix_power(radius, kind):
    boundary = field(9, 8, kind)
    start = np.random.default_rng(1).random((3, 9, 8)) * (1 - boundary)
    expected = walk(start, boundary, radius)
    exact = random_walk(torch.from_numpy(start), torch.from_numpy(boundary), radius)
    assert exact.dtype == torch.float64
    np.testing.assert_allclose(exact, expected, rtol=0, atol=1e-9)
    single = random_walk(torch.from_numpy(start).float(), torch.from_numpy(boundary).float(), radius)
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 7, 64, 255, 1000])
@pytest.mark.parametrize("beta", [0.5, 1.0, 4.0])
def test_any_number_of_steps_and_any_beta(steps, beta):
    boundary = field(6, 7, "even", seed=2)
    start = np.random.default_rng(3).random((2, 6, 7))
    found = random_walk(torch.from_numpy(start), torch.from_numpy(boundary), 4, beta, steps)
    np.testing.assert_allclose(found, walk(start, boundary, 4, beta, steps), rtol=0, atol=1e-9)


@pytest.mark.parametrize("radius", [2, 3, 5])
def test_columns_of_the_transition_matrix_sum_to_one(radius):
    """The walk of unit vectors for one step is T itself, row by row."""
    boundary = field(5, 6, "even", seed=4)
    found = random_walk(torch.eye(30, dtype=torch.float64).view(30, 5, 6), torch.from_numpy(boundary), radius, steps=1)
    matrix = found.view(30, 30)
    np.testing.assert_allclose(matrix, transition_matrix(boundary, radius, 10.0), atol=1e-15)
    np.testing.assert_allclose(matrix.sum(dim=0), 1, atol=1e-14)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(2, 6), st.integers(0, 2**16))
def test_values_stay_between_the_lowest_and_the_highest(height, width, radius, seed):
    rng = np.random.default_rng(seed)
    boundary, start = torch.from_numpy(rng.random((height, width))), torch.from_numpy(rng.random((2, height, width)))
    found = random_walk(start, boundary, radius)
    for before, after in zip(start, found, strict=True):
        assert before.min() - 1e-9 <= after.min()
        assert after.max() <= before.max() + 1e-9


@pytest.mark.parametrize("kind", ["zero", "even", "lines"])
def test_a_constant_map_stays_constant(kind):
    """With B = 0 and with any B: a step is a weighted mean."""
    found = random_walk(torch.full((1, 20, 14), 0.7), torch.from_numpy(field(20, 14, kind)).float())
    assert (found - 0.7).abs().max() < 1e-6


@pytest.mark.parametrize("radius", range(2, 7))
@pytest.mark.parametrize("diagonal", [False, True])
def test_nothing_leaks_through_a_wall(radius, diagonal):
    side = 12
    boundary = torch.eye(side) if diagonal else torch.zeros(side, side)
    boundary[:, 6] = 1 if not diagonal else boundary[:, 6]
    start = torch.zeros(1, side, side)
    start[0, 10, 1] = 1
    found = random_walk(start, boundary, radius)[0]
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    inside = columns < rows if diagonal else columns < 6
    assert (found[~inside] == 0).all()
    assert (found[inside] > 1e-5).all()


def test_classes_walk_independently_and_the_inputs_stay():
    boundary, start = torch.rand(9, 11), torch.rand(4, 9, 11)
    kept = boundary.clone(), start.clone()
    together = random_walk(start, boundary)
    for index in range(4):
        assert torch.equal(together[index], random_walk(start[index : index + 1], boundary)[0])
    assert torch.equal(boundary, kept[0])
    assert torch.equal(start, kept[1])
    assert random_walk(start[:0], boundary).shape == (0, 9, 11)


def test_views_walk_as_their_copies():
    start, boundary = torch.rand(2, 7, 9).transpose(1, 2), torch.rand(7, 9).T
    assert torch.equal(random_walk(start, boundary), random_walk(start.contiguous(), boundary.contiguous()))


def test_start_maps_by_hand():
    found = start_maps(torch.tensor([[[0.25, 1.0]]]), torch.tensor([[0.0, 0.5]]), power=1.5)
    torch.testing.assert_close(found, torch.tensor([[[0.125, 0.5]]]))


@pytest.mark.parametrize("size", [(24, 20), (25, 18), (3, 5), (61, 4)])
def test_refined_maps_are_the_steps_of_the_published_program(size):
    """Power, walk, 4 times larger, crop, division by the maximum over all classes."""
    grid = tuple(-(-side // 4) for side in size)
    rng = np.random.default_rng(5)
    logits, maps = rng.standard_normal((1, *grid)), rng.random((2, *grid))
    boundary = 1 / (1 + np.exp(-logits[0]))
    walked = walk(maps**1.5 * (1 - boundary), boundary)
    large = torch.nn.functional.interpolate(
        torch.from_numpy(walked)[None], scale_factor=4, mode="bilinear", align_corners=False
    )[0, :, : size[0], : size[1]]
    found = refine_maps(torch.from_numpy(maps), torch.from_numpy(logits), size)
    assert found.shape == (2, *size)
    assert found.max() == 1
    assert found.amax(dim=(1, 2)).min() < 1
    torch.testing.assert_close(found, large / large.max(), rtol=0, atol=1e-8)


def test_maps_of_another_size_are_brought_to_the_grid():
    logits = torch.randn(10, 8)
    maps = torch.rand(1, 5, 4)
    resized = torch.nn.functional.interpolate(maps[None], size=(10, 8), mode="bilinear")[0]
    assert torch.equal(refine_maps(maps, logits, (40, 32)), refine_maps(resized, logits, (40, 32)))


def test_a_picture_longer_than_512_keeps_its_right_and_lower_parts():
    maps = torch.zeros(1, 3, 150)
    maps[0, :, 140:] = 1
    found = refine_maps(maps, torch.full((3, 150), -9.0), (12, 600))
    assert found.shape == (1, 12, 600)
    assert found[0, :, 570:].min() > 0.7


def test_empty_maps_stay_empty_and_no_class_is_no_map():
    assert (refine_maps(torch.zeros(2, 4, 4), torch.zeros(4, 4), (16, 16)) == 0).all()
    assert refine_maps(torch.zeros(0, 4, 4), torch.zeros(4, 4), (15, 13)).shape == (0, 15, 13)
    assert enlarge(torch.zeros(0, 4, 4), (15, 13)).shape == (0, 15, 13)


def test_half_precision_logits_are_fine():
    found = refine_maps(torch.rand(1, 4, 4), torch.randn(1, 4, 4).bfloat16(), (16, 16))
    assert found.dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"boundary": torch.zeros(4, 5)}, r"maps \(C, h, w\) and a boundary \(h, w\); got \(1, 4, 4\) and \(4, 5\)"),
        ({"start": torch.zeros(4, 4)}, r"got \(4, 4\) and \(4, 4\)"),
        ({"radius": 1}, "radius of pairs is a whole number of cells, 2 or more; got 1"),
        ({"beta": 0.0}, "beta, the exponent of affinities, is positive and finite; got 0.0"),
        ({"beta": float("nan")}, "got nan"),
        ({"steps": -1}, "0 steps or more; got -1"),
    ],
)
def test_settings_of_the_walk_are_checked(arguments, message):
    with pytest.raises(SettingError, match=message):
        random_walk(**({"start": torch.zeros(1, 4, 4), "boundary": torch.zeros(4, 4)} | arguments))


def test_logits_of_another_picture_are_refused():
    with pytest.raises(SettingError, match=r"a picture of 33 x 16 pixels has edge logits of shape \(1, 9, 4\)"):
        refine_maps(torch.zeros(1, 4, 4), torch.zeros(1, 8, 4), (33, 16))
    with pytest.raises(SettingError, match=r"class maps are \(C, h, w\)"):
        refine_maps(torch.zeros(4, 4), torch.zeros(1, 4, 4), (16, 16))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_of_a_diverged_network_are_refused(value):
    with pytest.raises(ModelError, match="edge logits hold NaN or infinity: the training of IRN diverged"):
        refine_maps(torch.zeros(1, 4, 4), torch.full((1, 4, 4), value), (16, 16))


def test_more_classes_than_one_part_holds_walk_the_same():
    """On a CPU classes walk in parts, which thread pools leave alone; one part here is 3 classes."""
    start, boundary = torch.rand(7, 100, 100), torch.rand(100, 100)
    together = random_walk(start, boundary, radius=2, steps=4)
    for index in range(7):
        assert torch.equal(together[index], random_walk(start[index : index + 1], boundary, radius=2, steps=4)[0])
