"""L_B and L_D: against a loop over pairs, by hand on toys, gradients, and what a batch without a kind of pair gives."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from irn_literal import losses

from advcam.errors import SettingError
from advcam.refine.irn.losses import PairCounts, irn_loss, pair_counts

LABELS = [0, 0, 1, 4, 255]


def batch(count, height, width, seed):
    rng = np.random.default_rng(seed)
    labels = rng.choice(LABELS, (count, height, width))
    return rng.standard_normal((count, 1, height, width)), 3 * rng.standard_normal((count, 2, height, width)), labels


def logit(probability):
    return math.log(probability / (1 - probability))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), st.integers(2, 6), st.integers(0, 2**16))
def test_the_losses_are_those_of_a_loop_over_pairs(count, height, width, radius, seed):
    edges, displacement, labels = batch(count, height, width, seed)
    found = irn_loss(*map(torch.from_numpy, (edges, displacement, labels)), radius)
    boundary, moved = losses(edges, displacement, labels, radius)
    torch.testing.assert_close(found.boundary.item(), boundary, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found.displacement.item(), moved, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found.total.item(), boundary + moved, rtol=1e-10, atol=1e-12)


def test_radius_ten_on_a_larger_grid_in_float32():
    edges, displacement, labels = batch(1, 14, 13, seed=7)
    found = irn_loss(torch.from_numpy(edges).float(), torch.from_numpy(displacement).float(), torch.from_numpy(labels))
    boundary, moved = losses(edges, displacement, labels, radius=10)
    assert found.boundary.item() == pytest.approx(boundary, rel=1e-5)
    assert found.displacement.item() == pytest.approx(moved, rel=1e-5)


def test_two_by_two_by_hand():
    """Upper row background, lower row class 7; B = 0.5 at the lower left, 0.2 elsewhere; D is zero."""
    edges = torch.tensor([[[[logit(0.2), logit(0.2)], [logit(0.5), logit(0.2)]]]], dtype=torch.float64)
    labels = torch.tensor([[[0, 0], [8, 8]]])
    found = irn_loss(edges, torch.zeros(1, 2, 2, 2, dtype=torch.float64), labels, radius=2)
    small = 1e-5
    background, foreground = -math.log(0.8 + small), -math.log(0.5 + small)
    # The paths of both diagonals hold all four cells.
    negative = -(3 * math.log(0.5 + small) + math.log(0.2 + small)) / (4 + small)
    boundary = ((background + foreground) / (1 + small) / 2 + negative) / 2
    assert found.boundary.item() == pytest.approx(boundary, rel=1e-12)
    # One foreground pair, (0, 1) apart: |0 - 1| in x and 0 in y, over two coordinates.
    assert found.displacement.item() == pytest.approx(0.5 * 1 / (2 + small), rel=1e-12)


def test_displacements_towards_one_centre_cost_nothing():
    rows, columns = torch.meshgrid(torch.arange(3.0), torch.arange(3.0), indexing="ij")
    towards = torch.stack([1 - rows, 1 - columns])[None]
    edges = torch.full((1, 1, 3, 3), -30.0)
    found = irn_loss(edges, towards, torch.ones(1, 3, 3, dtype=torch.int64), radius=4)
    assert found.displacement.item() == 0
    assert found.boundary.item() == pytest.approx(0, abs=1e-4)
    away = irn_loss(edges, -towards, torch.ones(1, 3, 3, dtype=torch.int64), radius=4)
    assert away.displacement.item() > 0.5
    shifted = irn_loss(edges, towards + 5, torch.ones(1, 3, 3, dtype=torch.int64), radius=4)
    assert shifted.displacement.item() == pytest.approx(0, abs=1e-5)


def test_the_order_of_coordinates_is_y_then_x():
    """A foreground pair side by side: D_i - D_j = (0, 1)."""
    labels, edges = torch.ones(1, 1, 2, dtype=torch.int64), torch.zeros(1, 1, 1, 2)
    right = torch.tensor([[[[0.0, 0.0]], [[1.0, 0.0]]]])
    assert irn_loss(edges, right, labels, 2).displacement.item() == 0
    assert irn_loss(edges, right.flip(1), labels, 2).displacement.item() == pytest.approx(0.5, rel=1e-4)


def test_ignored_pixels_have_no_influence_and_no_gradient():
    edges, displacement, labels = batch(2, 6, 5, seed=1)
    inputs = [torch.from_numpy(edges).requires_grad_(), torch.from_numpy(displacement).requires_grad_()]
    unknown = torch.from_numpy(labels) == 255
    irn_loss(*inputs, torch.from_numpy(labels), 4).displacement.backward()
    assert (inputs[1].grad.movedim(1, -1)[unknown] == 0).all()
    assert (inputs[1].grad != 0).any()


@pytest.mark.parametrize("label", [0, 3, 255])
def test_kinds_of_pairs_that_do_not_occur_add_nothing(label):
    edges = torch.zeros(1, 1, 4, 4, requires_grad=True)
    found = irn_loss(edges, torch.zeros(1, 2, 4, 4), torch.full((1, 4, 4), label), radius=3)
    expected = 0 if label == 255 else -math.log(0.5 + 1e-5) / 4
    assert found.boundary.item() == pytest.approx(expected, rel=1e-5)
    found.total.backward()
    assert edges.grad.isfinite().all()


def test_sure_and_wrong_boundaries_stay_finite():
    edges = torch.full((1, 1, 4, 4), 200.0, requires_grad=True)
    found = irn_loss(edges, torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 4, dtype=torch.uint8), radius=3)
    assert found.boundary.item() == pytest.approx(-math.log(1e-5) / 4, rel=1e-4)
    found.total.backward()
    assert edges.grad.isfinite().all()


def test_gradients():
    edges, displacement, labels = batch(1, 3, 4, seed=3)
    inputs = tuple(torch.from_numpy(array).requires_grad_() for array in (edges, displacement))
    assert torch.autograd.gradcheck(lambda e, d: irn_loss(e, d, torch.from_numpy(labels), 3)[:2], inputs)


def test_a_flipped_batch_has_the_same_boundary_loss_and_its_order_does_not_matter():
    edges, displacement, labels = map(torch.from_numpy, batch(3, 6, 7, seed=5))
    expected = irn_loss(edges, displacement, labels, 5)
    mirrored = torch.stack([displacement[:, 0], -displacement[:, 1]], dim=1)
    for found in (
        irn_loss(edges.flip(-1), mirrored.flip(-1), labels.flip(-1), 5),
        irn_loss(edges.flip(0), displacement.flip(0), labels.flip(0), 5),
    ):
        torch.testing.assert_close(found, expected)


def test_half_precision_is_computed_in_float32():
    edges, displacement, labels = batch(1, 6, 6, seed=6)
    inputs = torch.from_numpy(edges).bfloat16(), torch.from_numpy(displacement).bfloat16()
    found = irn_loss(*inputs, torch.from_numpy(labels), 3)
    assert found.total.dtype == torch.float32
    torch.testing.assert_close(found, irn_loss(*(x.float() for x in inputs), torch.from_numpy(labels), 3))


@pytest.mark.parametrize(
    ("edges", "moves", "labels", "message"),
    [
        ((1, 1, 4, 4), (1, 2, 4, 4), torch.zeros(1, 4, 4), r"labels are \(N, h, w\) integers; got shape \(1, 4, 4\)"),
        ((1, 1, 4, 4), (1, 2, 4, 4), torch.zeros(4, 4).long(), r"got shape \(4, 4\) of torch.int64"),
        ((1, 1, 4, 4), (1, 2, 4, 4), torch.zeros(1, 16, 16).long(), "want edge_logits of shape .* with grid_labels"),
        ((1, 1, 4, 4), (1, 1, 4, 4), torch.zeros(1, 4, 4).long(), r"want displacement of shape \(1, 2, 4, 4\)"),
    ],
)
def test_shapes_are_checked(edges, moves, labels, message):
    with pytest.raises(SettingError, match=message):
        irn_loss(torch.zeros(edges), torch.zeros(moves), labels)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.integers(2, 6), st.integers(0, 2**16))
def test_the_mean_over_parts_is_the_loss_of_the_whole_batch(parts, radius, seed):
    """Weighted by their pictures, once the pairs of all parts are counted."""
    edges, displacement, labels = map(torch.from_numpy, batch(sum(parts), 5, 4, seed))
    counts = sum(pair_counts(part, radius) for part in labels.split(parts))
    total = torch.zeros(3, dtype=torch.float64)
    for part in zip(*(tensor.split(parts) for tensor in (edges, displacement, labels)), strict=True):
        share = len(part[0]) / len(labels)
        total += share * torch.stack(irn_loss(*part, radius, PairCounts(counts, share)))
    expected = torch.stack(irn_loss(edges, displacement, labels, radius))
    torch.testing.assert_close(total, expected, rtol=1e-12, atol=1e-14)
