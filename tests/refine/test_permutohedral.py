"""The permutohedral lattice: against one written with dictionaries, and what must hold for any filter."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from advcam.errors import SettingError
from advcam.refine import permutohedral
from advcam.refine.permutohedral import LatticeFilter, SparseRows, joined, permutohedral_lattice

QUICK = settings(derandomize=True, deadline=None, max_examples=25)


def drawn(dimensions, positions, spread=3.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return spread * torch.randn(dimensions, positions, dtype=torch.float64, generator=generator)


def filtered(features, values):
    return LatticeFilter(permutohedral_lattice(features), values.shape[1])(values)


def embedded(feature):
    """The position on the plane of coordinate sum 0, by the orthonormal basis of Adams et al., section 3.1."""
    d = len(feature)
    basis = np.zeros((d + 1, d))
    for i in range(d):
        basis[: i + 1, i] = 1
        basis[i + 1, i] = -(i + 1)
        basis[:, i] /= np.sqrt((i + 1) * (i + 2))
    return np.sqrt(2 / 3) * (d + 1) * basis @ feature


def simplex(place):
    """Corners of the simplex around a place, as tuples, and barycentric coordinates from a system of equations."""
    sides = len(place)
    nearest = np.rint(place / sides) * sides
    # Conway and Sloane: while the sum is not 0, the coordinate that was rounded the farthest moves to the other side.
    while round(nearest.sum()):
        sign = np.sign(nearest.sum())
        nearest[np.argmax(sign * (nearest - place))] -= sign * sides
    order = np.argsort(place - nearest)
    corners = [nearest.copy()]
    for colour in range(1, sides):
        corner = corners[-1] + 1
        corner[order[colour - 1]] -= sides
        corners.append(corner)
    system = np.vstack([np.array(corners).T, np.ones(sides)])
    weights = np.linalg.lstsq(system, np.append(place, 1), rcond=None)[0]
    return [tuple(int(c) for c in corner) for corner in corners], weights


def literal_filter(features, values):
    """Splat, blur and slice with one dictionary, one point after the other."""
    d = len(features)
    simplices = [simplex(embedded(feature)) for feature in features.T.numpy()]
    points = {}
    for (corners, weights), value in zip(simplices, values.numpy(), strict=True):
        for corner, weight in zip(corners, weights, strict=True):
            points[corner] = points.get(corner, 0) + weight * value
    for direction in range(d + 1):
        step = np.ones(d + 1, dtype=int)
        step[direction] = -d
        points = {
            point: value
            + 0.5 * (points.get(tuple(np.array(point) + step), 0) + points.get(tuple(np.array(point) - step), 0))
            for point, value in points.items()
        }
    rows = [sum(w * points[corner] for corner, w in zip(*pair, strict=True)) for pair in simplices]
    return torch.from_numpy(np.array(rows)) / (1 + 2.0**-d)


@pytest.mark.parametrize(("dimensions", "spread"), [(1, 3.0), (2, 0.2), (2, 5.0), (3, 1.0), (5, 0.5), (5, 4.0)])
def test_equals_the_lattice_of_dictionaries(dimensions, spread):
    features, values = drawn(dimensions, 60, spread), drawn(60, 3, seed=1)
    torch.testing.assert_close(filtered(features, values), literal_filter(features, values), atol=1e-9, rtol=1e-9)


def test_approximates_the_gaussian():
    # On a dense grid all lattice points exist; the filter is then within some percent of the Gaussian's own sum.
    axis = torch.arange(0, 8, 0.2, dtype=torch.float64)
    features = torch.cartesian_prod(axis, axis).t()
    values = (features - 4).square().sum(0, keepdim=True).mul(-0.3).exp().t()
    kernel = (-torch.cdist(features.t(), features.t()).square() / 2).exp()
    expected = (kernel @ values) / (kernel @ torch.ones_like(values))
    got = filtered(features, values) / filtered(features, torch.ones_like(values))
    inside = ((features - 4).abs() < 2).all(0)
    assert (got - expected)[inside].abs().max() < 0.02
    assert expected[inside].max() - expected[inside].min() > 0.2


def test_two_positions_between_three_points_by_hand():
    # d = 1: points lie sqrt(3) / 2 standard deviations apart, and are blurred twice by (1/2, 1, 1/2).
    features = torch.tensor([[0.5, 1.5]], dtype=torch.float64) * np.sqrt(3) / 2
    spread = torch.tensor([[0.5, 0.5, 0], [0, 0.5, 0.5]], dtype=torch.float64)
    blur = torch.tensor([[1, 0.5, 0], [0.5, 1, 0.5], [0, 0.5, 1]], dtype=torch.float64)
    expected = spread @ blur @ blur @ spread.t() * 2 / 3
    torch.testing.assert_close(filtered(features, torch.eye(2, dtype=torch.float64)), expected)


@QUICK
@given(
    dimensions=st.integers(1, 5), positions=st.integers(1, 40), channels=st.integers(1, 5), seed=st.integers(0, 1000)
)
def test_is_linear_and_keeps_signs(dimensions, positions, channels, seed):
    features = drawn(dimensions, positions, seed=seed)
    one, other = drawn(positions, channels, seed=seed + 1), drawn(positions, channels, seed=seed + 2)
    torch.testing.assert_close(
        filtered(features, 2 * one - other), 2 * filtered(features, one) - filtered(features, other)
    )
    assert filtered(features, one.abs()).min() > -1e-12


def test_the_order_of_positions_does_not_matter():
    features, values = drawn(3, 50), drawn(50, 2, seed=1)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(filtered(features[:, order], values[order]), filtered(features, values)[order])


def test_joined_lattices_add_their_filters():
    several, values = [drawn(d, 50, seed=d) for d in (2, 4, 1)], drawn(50, 3)
    together = joined([permutohedral_lattice(features) for features in several])
    expected = sum(filtered(features, values) for features in several)
    torch.testing.assert_close(LatticeFilter(together, 3)(values), expected)


def test_scaled_multiplies_on_both_sides():
    features, values, factors = drawn(2, 50), drawn(50, 3, seed=1), drawn(1, 50, seed=2)[0]
    scaled = LatticeFilter(permutohedral_lattice(features).scaled(factors), 3)(values)
    torch.testing.assert_close(scaled, factors[:, None] * filtered(features, factors[:, None] * values))


def test_blocks_of_rows_change_nothing(monkeypatch):
    features, values = drawn(3, 200), drawn(200, 2, seed=1)
    whole = filtered(features, values)
    monkeypatch.setattr(permutohedral, "_VALUES_AT_ONCE", 14)
    assert torch.equal(filtered(features, values), whole)


def test_rows_without_entries_are_zero():
    matrix = SparseRows(torch.tensor([1], dtype=torch.int32), torch.tensor([0, 0, 1, 1]).int(), torch.tensor([2.0]))
    assert torch.equal(matrix @ torch.tensor([[1.0], [3.0]]), torch.tensor([[0.0], [6.0], [0.0]]))


def test_positions_too_far_apart_are_refused():
    with pytest.raises(SettingError, match=r"lattice points, too many to number; use larger standard deviations$"):
        permutohedral_lattice(torch.tensor([[0.0, 1e5]]).expand(5, 2).contiguous())
