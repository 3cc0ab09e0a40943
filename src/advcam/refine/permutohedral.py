"""Gaussian filter in d dimensions on the permutohedral lattice, by sorting and sparse products, on CPU and GPU.

Adams, Baek, Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice", Eurographics 2010. Values at
scattered positions are spread to the d + 1 corners of the simplex around each position (splat), every lattice point
takes half of its two neighbours along each of d + 1 directions in turn (blur), and the positions read their corners
again (slice):

    F v = S B_d .. B_0 S^T v / (1 + 2^-d)

Only points that some position touches exist; a neighbour that does not exist counts as zero. Published programs find
points through a hash table, one after the other. Here a point is one integer: all are sorted at once, equal ones fall
together, and neighbours are found by bisection. What is left are sparse matrices, built once and applied in every
iteration to all channels of a position at once.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from advcam.errors import SettingError

#: Values of a product that are made at once, 16 MB: few enough that the memory of one block serves the next. Asking the
#: system for new memory takes longer than the product.
_VALUES_AT_ONCE = 1 << 22
_LARGEST_KEY = 1 << 62


@dataclass(frozen=True)
class SparseRows:
    """A sparse matrix (R, K), row after row.

    Args:
        columns: Column of each of the E entries, (E,), int32.
        starts: Number of the first entry of each row, and E at the end, (R + 1,), int32.
        weights: The entries, (E,), float.
    """

    columns: Tensor
    starts: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __matmul__(self, values: Tensor) -> Tensor:
        return embedding_bag(self.columns, values, self.starts[:-1], mode="sum", per_sample_weights=self.weights)

    def blocks(self, rows: int) -> "list[tuple[slice, SparseRows]]":
        """The matrix cut into blocks of so many rows: which rows, and what stands there."""
        cuts = [*range(0, len(self), rows), len(self)]
        entries = self.starts[cuts].tolist()
        return [
            (slice(top, bottom), SparseRows(self.columns[i:j], self.starts[top : bottom + 1] - i, self.weights[i:j]))
            for top, bottom, i, j in zip(cuts, cuts[1:], entries, entries[1:], strict=False)
        ]


@dataclass(frozen=True)
class Lattice:
    """The matrices of F = slices @ blurs[-1] @ .. @ blurs[0] @ splat, for N positions and M lattice points.

    Args:
        splat: (M, N), barycentric weights.
        blurs: (M, M) for each direction, in the order in which they are applied.
        slices: (N, M), barycentric weights times the factor of F; equally many in each row.
    """

    splat: SparseRows
    blurs: tuple[SparseRows, ...]
    slices: SparseRows

    def scaled(self, factors: Tensor) -> "Lattice":
        """D F D, with the factors (N,) on the diagonal of D."""
        splat, slices = self.splat, self.slices
        before = splat.weights * factors.index_select(0, splat.columns)
        after = (slices.weights.view(len(factors), -1) * factors[:, None]).flatten()
        return Lattice(
            SparseRows(splat.columns, splat.starts, before),
            self.blurs,
            SparseRows(slices.columns, slices.starts, after),
        )


class LatticeFilter:
    """A lattice with the memory to apply it many times.

    Args:
        lattice: What to apply.
        channels: C, the width of all values.
    """

    def __init__(self, lattice: Lattice, channels: int) -> None:
        rows = max(1, _VALUES_AT_ONCE // channels)
        self._steps = [matrix.blocks(rows) for matrix in (lattice.splat, *lattice.blurs)]
        self._slices = lattice.slices.blocks(rows)
        self._memory = lattice.splat.weights.new_empty(2, len(lattice.splat), channels)

    def blocks(self, values: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """F times the values (N, C), some rows at once: which rows, and their values.

        The values may be overwritten as soon as the first block is there.
        """
        for step, memory in zip(self._steps, itertools.cycle(self._memory), strict=False):
            values = _product(step, values, memory)
        for rows, block in self._slices:
            yield rows, block @ values

    def __call__(self, values: Tensor) -> Tensor:
        """F times the values, (N, C)."""
        return torch.cat([block for _, block in self.blocks(values)])


def _product(blocks: Sequence[tuple[slice, SparseRows]], values: Tensor, memory: Tensor) -> Tensor:
    """A matrix times values; written to the memory where it comes in several blocks."""
    if len(blocks) == 1:
        return blocks[0][1] @ values
    for rows, block in blocks:
        memory[rows] = block @ values
    return memory


def permutohedral_lattice(features: Tensor) -> Lattice:
    """The lattice of N positions in d dimensions; the standard deviation of its Gaussian is 1 in each of them.

    Args:
        features: Positions divided by the standard deviation wanted, (d, N), float. The order of the dimensions
            matters a little, since it is that of the blurs.

    Raises:
        SettingError: The positions spread over too many standard deviations for one integer to number the lattice.
    """
    dimensions, positions = features.shape
    keys, steps, weights = _corners(_elevated(features))
    ordered, order = keys.flatten().sort()
    first = torch.ones_like(ordered, dtype=torch.bool)
    torch.ne(ordered[1:], ordered[:-1], out=first[1:])
    starts = first.nonzero().squeeze(1)
    points = ordered.index_select(0, starts)
    corners = torch.empty_like(order, dtype=torch.int32)
    corners.scatter_(0, order, first.cumsum(0, dtype=torch.int32) - 1)
    splat = SparseRows(
        (order % positions).int(), _with_end(starts.int(), len(order)), weights.flatten().index_select(0, order)
    )
    slices = _equal_rows(corners.view_as(keys).t(), weights.t() / (1 + 2.0**-dimensions))
    return Lattice(splat, tuple(_blur(points, step, weights.dtype) for step in steps), slices)


def joined(lattices: Sequence[Lattice]) -> Lattice:
    """The sum of the filters of several lattices over the same positions, as one lattice of all their points."""
    positions = len(lattices[0].slices)
    directions = max(len(lattice.blurs) for lattice in lattices)
    blurs = [(*lattice.blurs, *[_identity(lattice)] * (directions - len(lattice.blurs))) for lattice in lattices]
    before = [0, *itertools.accumulate(len(lattice.splat) for lattice in lattices[:-1])]
    columns = [
        lattice.slices.columns.view(positions, -1) + shift for lattice, shift in zip(lattices, before, strict=True)
    ]
    weights = [lattice.slices.weights.view(positions, -1) for lattice in lattices]
    return Lattice(
        _stacked([lattice.splat for lattice in lattices], [0] * len(lattices)),
        tuple(_stacked(matrices, before) for matrices in zip(*blurs, strict=True)),
        _equal_rows(torch.cat(columns, 1), torch.cat(weights, 1)),
    )


def _stacked(matrices: Sequence[SparseRows], shifts: Sequence[int]) -> SparseRows:
    """Matrices one below the other, with the columns of each moved to the right."""
    columns = [matrix.columns + shift for matrix, shift in zip(matrices, shifts, strict=True)]
    first = [0, *itertools.accumulate(len(matrix.columns) for matrix in matrices)]
    starts = [matrix.starts[:-1] + entry for matrix, entry in zip(matrices, first, strict=False)]
    weights = torch.cat([matrix.weights for matrix in matrices])
    return SparseRows(torch.cat(columns), _with_end(torch.cat(starts), first[-1]), weights)


def _equal_rows(columns: Tensor, weights: Tensor) -> SparseRows:
    """Rows of equally many entries, from their columns and weights, (R, entries)."""
    starts = torch.arange(0, columns.numel() + 1, columns.shape[1], dtype=torch.int32, device=columns.device)
    return SparseRows(columns.flatten(), starts, weights.flatten())


def _identity(lattice: Lattice) -> SparseRows:
    here = torch.arange(len(lattice.splat), dtype=torch.int32, device=lattice.splat.columns.device)
    return _equal_rows(here[:, None], torch.ones_like(here, dtype=lattice.splat.weights.dtype)[:, None])


def _with_end(starts: Tensor, end: int) -> Tensor:
    return torch.cat([starts, starts.new_full((1,), end)])


def _elevated(features: Tensor) -> Tensor:
    """Positions on the plane of d + 1 coordinates with sum 0, (d + 1, N), where the blurs have a deviation of one."""
    dimensions = len(features)
    # Rounded to the type of the features, as in pydensecrf: the last bit of a factor decides, for positions halfway
    # between points, which points exist, and a point without weight still hands on the values of its neighbours.
    deviation = torch.tensor(math.sqrt(2 / 3) * (dimensions + 1), dtype=features.dtype).item()
    elevated = features.new_empty(dimensions + 1, features.shape[1])
    total = torch.zeros_like(features[0])
    for j in range(dimensions, 0, -1):
        scaled = features[j - 1] * (1 / math.sqrt(j * (j + 1)) * deviation)
        elevated[j] = total - j * scaled
        total = total + scaled
    elevated[0] = total
    return elevated


def _corners(elevated: Tensor) -> tuple[Tensor, list[int], Tensor]:
    """The d + 1 corners of the simplex around each position, by colour.

    Colour 0 has multiples of d + 1 as coordinates. From one colour to the next all coordinates grow by 1, and one, in
    the order of rising height above colour 0, drops by d + 1.

    Returns:
        Keys of the corners (d + 1, N); by how much a key changes to the neighbour in each direction; barycentric
        weights (d + 1, N).
    """
    sides, positions = elevated.shape
    nearest = (elevated * (1 / sides)).round_()
    surplus = nearest.sum(0)
    height = elevated - nearest * sides
    rank = _ranks(height).add_(surplus)
    # Rounding leaves the plane where the sum is not 0; the coordinates rounded the farthest turn to the other side.
    turn = (rank < 0).to(rank.dtype) - (rank >= sides).to(rank.dtype)
    nearest += turn
    rank = rank.add_(turn, alpha=sides).long()
    place = rank.mul_(positions).add_(torch.arange(positions, device=rank.device))
    falling = _by_rank(height.div_(sides).sub_(turn), place)
    weights = torch.cat([1 + falling[-1:] - falling[:1], (falling[:-1] - falling[1:]).flip(0)])
    base, steps = _numbered(nearest)
    step = _by_rank(torch.tensor(steps, device=place.device)[:, None].expand_as(place), place)
    keys = torch.empty_like(step)
    keys[0] = base
    for colour in range(1, sides):
        torch.add(keys[colour - 1], step[sides - colour], out=keys[colour])
    return keys, steps, weights


def _by_rank(values: Tensor, place: Tensor) -> Tensor:
    """Values (d + 1, N) in the order of rank, given the place of each in the flat result."""
    return values.new_empty(values.numel()).scatter_(0, place.flatten(), values.flatten()).view_as(values)


def _ranks(height: Tensor) -> Tensor:
    """For each coordinate the number of higher ones, (d + 1, N); of equal ones the first counts as higher."""
    rank = torch.zeros_like(height)
    for i in range(len(height) - 1):
        higher = (height[i] < height[i + 1 :]).to(rank.dtype)
        rank[i] += higher.sum(0)
        rank[i + 1 :] += 1 - higher
    return rank


def _numbered(nearest: Tensor) -> tuple[Tensor, list[int]]:
    """Keys of the points (d + 1) * nearest, and what the step to a neighbour in each direction adds to a key.

    The first d coordinates are the digits of a number; the last follows from them. A step adds 1 to all coordinates
    and takes d + 1 from one.
    """
    sides, digits = len(nearest), nearest[:-1]
    low, high = digits.aminmax(dim=1)
    widths = [int(width + 5) * sides for width in (high - low).tolist()]
    if math.prod(widths) > _LARGEST_KEY:
        raise SettingError(
            f"the positions spread over {math.prod(widths):.1e} lattice points, too many to number; use larger "
            "standard deviations"
        )
    places = [math.prod(widths[i + 1 :]) for i in range(sides - 1)]
    key = torch.zeros_like(digits[0], dtype=torch.int64)
    for digit, place in zip(digits - low[:, None] + 2, places, strict=True):
        key.add_(digit.long(), alpha=place * sides)
    return key, [sum(places) - sides * place for place in (*places, 0)]


def _blur(points: Tensor, step: int, dtype: torch.dtype) -> SparseRows:
    """Each of M points, given by sorted keys, plus half of its two neighbours in one direction."""
    wanted = points + step
    after = torch.searchsorted(points, wanted).clamp_(max=len(points) - 1)
    found = torch.eq(points.index_select(0, after), wanted)
    lower = found.nonzero().squeeze(1)
    upper = after.index_select(0, lower)
    count = found.int().add_(1)
    count.index_add_(0, upper, torch.ones_like(upper, dtype=torch.int32))
    starts = torch.cat([count.new_zeros(1), count.cumsum(0, dtype=torch.int32)])
    columns = torch.empty(len(points) + 2 * len(lower), dtype=torch.int32, device=points.device)
    weights = torch.full_like(columns, 0.5, dtype=dtype)
    own = starts[:-1].long()
    columns.scatter_(0, own, torch.arange(len(points), dtype=torch.int32, device=points.device))
    weights.scatter_(0, own, 1.0)
    columns.scatter_(0, own.index_select(0, lower) + 1, upper.int())
    columns.scatter_(0, starts[1:].index_select(0, upper).long() - 1, lower.int())
    return SparseRows(columns, starts, weights)
