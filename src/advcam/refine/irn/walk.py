"""The random walk of IRN: class maps spread until a boundary stops them.

Ahn, Cho, Kwak, CVPR 2019. With the boundary B on a grid of stride 4 and a_ij = 1 - max_{k in path(i, j)} B_k:

    T  = A^{o beta} S^{-1},    S_jj = sum_i a_ij^beta,    a_ii = 1
    v* = v T^n,                v = CAM^power (1 - B),     n = 256

The published code builds T as a dense hw x hw matrix, on a padded grid, and squares it 8 times: gigabytes. But a column
of T has 69 entries or fewer (radius 5). Here v is multiplied again and again and no matrix exists: A is symmetric, and
34 pairs of shifted views of the map, with one weight for each pair of positions, are all of it.

T is similar to a symmetric matrix with eigenvalues in [-1, 1], on which x^n = sum_k c_k C_k(x) with the Chebyshev
polynomials C_{k+1} = 2 x C_k - C_{k-1} and c_k = 2^{1-n} binomial(n, (n - k) / 2) for even n - k; c_0 is half of that.
The c_k sum to 1. For n = 256 those from k = 104 on sum to less than 1e-10, so 102 products give what 256 give. The sums
are float64, since 256 steps in float32 lose up to 1e-3 where weights are small beside 1.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from advcam.errors import ModelError, SettingError
from advcam.refine.irn.pairs import affinities, pair_views
from advcam.refine.irn.paths import Offset

#: Pixels of the picture to a cell of the grid.
GRID_STRIDE = 4
#: Sum of the Chebyshev coefficients that are left out.
_TAIL = 1e-10
#: PyTorch divides CPU operations on this many values or more among threads, which here wait longer than they work.
_SERIAL = 2**15 - 1

#: A view of the next map, the weights of the pairs, a view of the map: next += weights * map.
_Shift = tuple[Tensor, Tensor, Tensor]


def start_maps(maps: Tensor, boundary: Tensor, power: float = 1.5) -> Tensor:
    """Where the walk starts: v = CAM^power (1 - B).

    Args:
        maps: Class activation maps, not negative, (C, h, w).
        boundary: B in [0, 1], (h, w).
        power: Above 1 it favours the peaks. AdvCAM takes 1.5, IRN 1.
    """
    return maps**power * (1 - boundary)


@torch.no_grad()
def random_walk(start: Tensor, boundary: Tensor, radius: int = 5, beta: float = 10.0, steps: int = 256) -> Tensor:
    """v T^steps for every class: each step puts the affinity-weighted mean of its neighbourhood at each position.

    Args:
        start: v, (C, h, w); see `start_maps`.
        boundary: B in [0, 1], (h, w).
        radius: Neighbours are nearer than it, in cells, at least 2.
        beta: Exponent of the affinities, positive.
        steps: n.

    Returns:
        (C, h, w), in the type of `start`; the lowest and highest value of a class never move apart.

    Raises:
        SettingError: The shapes do not fit, or a setting is out of its range.
    """
    _check(start, boundary, beta, steps)
    # Not on Apple's GPUs, which have no float64.
    dtype = torch.float32 if start.device.type == "mps" else torch.float64
    weights = {offset: a[0] ** beta for offset, a in affinities(boundary[None].to(dtype), radius)}
    half_sum = _weight_sum(boundary, weights, dtype) / 2
    coefficients = _chebyshev_coefficients(steps)
    together = _SERIAL // boundary.numel() if start.device.type == "cpu" else len(start)
    parts = start.to(dtype).split(max(together, 1))  # type: ignore[no-untyped-call]
    return torch.cat([_chebyshev_sum(part, weights, half_sum, coefficients) for part in parts]).to(start.dtype)


def refine_maps(
    maps: Tensor,
    edge_logits: Tensor,
    image_size: tuple[int, int],
    *,
    power: float = 1.5,
    radius: int = 5,
    beta: float = 10.0,
    steps: int = 256,
) -> Tensor:
    """Class maps after the walk, at the size of the picture.

    The picture may have any size. The published code pads it to 512 x 512 and so cuts what is longer.

    Args:
        maps: Class activation maps, each with maximum 1, (C, h', w'); brought to the grid of the edges (bilinear).
        edge_logits: B before the sigmoid, flips averaged, (h, w) or (1, h, w): a quarter of the picture, rounded up.
        image_size: (H, W) of the picture.
        power: Of the maps before the walk.
        radius: Of the walk, in cells.
        beta: Exponent of the affinities.
        steps: Of the walk.

    Returns:
        (C, H, W), in [0, 1]: divided by the maximum over ALL classes, so classes compete and one alone reaches 1. Maps
        of zeros stay zero.

    Raises:
        SettingError: The shapes do not fit, or a setting is out of its range.
        ModelError: The edge logits hold NaN or infinity.
    """
    boundary = boundary_of(edge_logits, image_size)
    starts = start_maps(to_grid(maps, boundary), boundary, power)
    walked = enlarge(random_walk(starts, boundary, radius, beta, steps), image_size)
    highest = walked.max() if walked.numel() else walked.new_ones(())
    return (walked / highest.clamp(min=torch.finfo(walked.dtype).tiny)).clamp(min=0)


def boundary_of(edge_logits: Tensor, image_size: tuple[int, int]) -> Tensor:
    """B = sigmoid of the edge logits, (h, w), at least float32.

    Raises:
        SettingError: The logits are not those of a picture of this size.
        ModelError: They hold NaN or infinity.
    """
    expected = tuple(-(-side // GRID_STRIDE) for side in image_size)
    if edge_logits.shape not in (expected, (1, *expected)):
        raise SettingError(
            f"a picture of {image_size[0]} x {image_size[1]} pixels has edge logits of shape {(1, *expected)}, a "
            f"quarter rounded up; got {tuple(edge_logits.shape)}; give the size of the picture that the network saw"
        )
    if not edge_logits.isfinite().all():
        raise ModelError("the edge logits hold NaN or infinity: the training of IRN diverged; lower its learning rate")
    return edge_logits.reshape(expected).to(torch.promote_types(edge_logits.dtype, torch.float32)).sigmoid()


def to_grid(maps: Tensor, boundary: Tensor) -> Tensor:
    """Maps (C, h', w') on the grid of B, in its type and on its device, bilinear.

    Raises:
        SettingError: The maps are no (C, h', w').
    """
    if maps.ndim != 3:
        raise SettingError(f"class maps are (C, h, w); got shape {tuple(maps.shape)}")
    maps = maps.to(boundary)
    if not len(maps) or maps.shape[1:] == boundary.shape:
        return maps.new_zeros((0, *boundary.shape)) if not len(maps) else maps
    return functional.interpolate(maps[None], size=boundary.shape, mode="bilinear", align_corners=False)[0]


def enlarge(maps: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Maps of the grid (C, h, w) in pixels (C, H, W): 4 times as large, bilinear, and cropped to the picture."""
    if not len(maps):
        return maps.new_zeros((0, *image_size))
    large = functional.interpolate(maps[None], scale_factor=GRID_STRIDE, mode="bilinear", align_corners=False)[0]
    return large[:, : image_size[0], : image_size[1]]


def _chebyshev_sum(
    start: Tensor, weights: dict[Offset, Tensor], half_sum: Tensor, coefficients: Sequence[float]
) -> Tensor:
    """Sum of c_k v C_k(T) for v (C, h, w), with S / 2 (h, w)."""
    even, odd = start.clone(memory_format=torch.contiguous_format), torch.zeros_like(start)
    result = coefficients[0] * start
    to_odd, to_even = _shifts(weights, even, odd), _shifts(weights, odd, even)
    for k, coefficient in enumerate(coefficients[1:], start=1):
        source, target, shifts = (even, odd, to_odd) if k % 2 else (odd, even, to_even)
        # target = 2 source T - target, in place: what is subtracted is multiplied by S / 2, as all is divided by it.
        torch.addcmul(source, half_sum, target, value=-1, out=target)
        for view, weight, shifted in shifts:
            view.addcmul_(weight, shifted)
        target.div_(half_sum if k > 1 else 2 * half_sum)
        if coefficient:
            result.add_(target, alpha=coefficient)
    return result


def _weight_sum(boundary: Tensor, weights: dict[Offset, Tensor], dtype: torch.dtype) -> Tensor:
    """S, (h, w): 1 of the position itself, and the weights of all its pairs."""
    total = torch.ones_like(boundary, dtype=dtype)
    for offset, weight in weights.items():
        for view in pair_views(total, offset):
            view.add_(weight)
    return total


def _shifts(weights: dict[Offset, Tensor], source: Tensor, target: Tensor) -> list[_Shift]:
    """What adds the neighbours of each position in `source` to `target`, both (C, h, w)."""
    shifts: list[_Shift] = []
    for offset, weight in weights.items():
        (i, j), (to_i, to_j) = pair_views(source, offset), pair_views(target, offset)
        shifts += [(to_i, weight, j), (to_j, weight, i)]
    return shifts


def _chebyshev_coefficients(steps: int) -> Sequence[float]:
    """c_0, c_1, .. of x^steps, up to where the rest sums to less than 1e-10."""
    coefficients: list[float] = []
    rest = 1.0
    for k in range(steps + 1):
        ways = 0 if (steps - k) % 2 else math.comb(steps, (steps - k) // 2)
        coefficients.append(ways / 2**steps * (2 if k else 1))
        rest -= coefficients[-1]
        if rest < _TAIL:
            break
    return coefficients


def _check(start: Tensor, boundary: Tensor, beta: float, steps: int) -> None:
    if start.ndim != 3 or start.shape[1:] != boundary.shape:
        raise SettingError(
            f"a walk takes maps (C, h, w) and a boundary (h, w); got {tuple(start.shape)} and {tuple(boundary.shape)}"
        )
    if not 0 < beta < math.inf:
        raise SettingError(f"beta, the exponent of affinities, is positive and finite; got {beta}")
    if steps < 0:
        raise SettingError(f"a walk takes 0 steps or more; got {steps}")
