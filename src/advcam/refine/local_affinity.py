"""Local affinity: scores averaged over neighbours of similar colour, again and again; no training, no lattice.

In the style of PAMR (Araslanov, Roth, CVPR 2020) and PAR (Ru, Zhan, Yu, Du, CVPR 2022). The neighbours N(i) of a
pixel i are 8 at each dilation. With the colour I and its standard deviation sigma_i over the neighbours (each channel
by itself):

    w_ij  = softmax over j in N(i) of  - mean over channels of ( |I_i - I_j| / (bandwidth * sigma_i) )^2
    s_i  <- sum over j in N(i) of w_ij s_j,        `iterations` times

The kernel is PAR's. Deviations: PAR adds a softmax of distances with weight 0.01, which changes next to nothing and is
left out (so that weights sum to 1, as PAMR's do); and by default the work is done at half the height and width, 30
times instead of 10. Outside the picture its border is repeated, as there.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from advcam.errors import SettingError

#: Added to the standard deviation of colours (PAR): in flat regions all neighbours weigh the same.
_EPSILON = 1e-8
#: Steps to the 8 neighbours, (rows, columns).
_NEIGHBOURS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0))


@dataclass(frozen=True)
class AffinitySettings:
    """Every constant of the averaging.

    Args:
        iterations: How often the scores are averaged; 0 leaves them. PAMR and PAR: 10.
        dilations: Distances of the neighbours in pixels of the reduced picture. PAMR and PAR: these.
        bandwidth: In standard deviations of the colour. PAR: 0.3.
        reduction: Work at 1 / reduction of the picture's height and width: a greater one reaches farther in the picture
            and is cheaper, but rounds off what is thin. PAMR and PAR: 1.
    """

    iterations: int = 30
    dilations: tuple[int, ...] = (1, 2, 4, 8, 12, 24)
    bandwidth: float = 0.3
    reduction: int = 2

    def __post_init__(self) -> None:
        _require(self.iterations >= 0, "iterations is at least 0", self.iterations)
        _require(
            bool(self.dilations) and min(self.dilations) >= 1,
            "dilations are distances of 1 pixel or more, at least one of them",
            self.dilations,
        )
        _require(0 < self.bandwidth < math.inf, "bandwidth is positive and finite", self.bandwidth)
        _require(self.reduction >= 1, "reduction is at least 1, the size of the picture", self.reduction)


def local_affinity(pictures: Tensor, scores: Tensor, settings: AffinitySettings | None = None) -> Tensor:
    """Scores that follow the colours of their pictures.

    Args:
        pictures: RGB, (N, 3, H, W), floating point or uint8; in [0, 1] or [0, 255], it is the same: differences of
            colour count against their own standard deviation. Distances count in pixels, and the default fits pictures
            of about 500; shrink larger ones, or raise `reduction`.
        scores: (N, C, H, W), float32 or float64, on the device of the pictures; any range.
        settings: None takes the defaults.

    Returns:
        (N, C, H, W), each map between its own least and greatest value before. Maps with maximum 1 end below it.
        Thresholds keep about their meaning so; for maps divided by their new maximum they have to be higher.

    Raises:
        SettingError: Shapes, types or devices that do not fit.
    """
    settings = settings or AffinitySettings()
    _check(pictures, scores)
    if not settings.iterations or not scores.numel():
        return scores.clone()
    size = (scores.shape[2], scores.shape[3])
    small = tuple(max(1, round(side / settings.reduction)) for side in size)
    reduced = _resize(pictures.to(scores.dtype), small)
    weights = affinity_weights(reduced, settings)
    averaged = _resize(scores, small)
    for _ in range(settings.iterations):
        averaged = _average(averaged, weights, settings.dilations)
    # What the sums are by definition, but for rounding: a constant map stays exactly constant.
    return _resize(averaged, size).clamp(scores.amin(dim=(2, 3), keepdim=True), scores.amax(dim=(2, 3), keepdim=True))


def affinity_weights(pictures: Tensor, settings: AffinitySettings) -> Tensor:
    """Weights of the P = 8 * len(dilations) neighbours of each pixel, (N, P, H, W), positive, summing to 1 over P.

    The order is that of the dilations, and at each of them row by row: up left, up, up right, left, ...
    `settings.reduction` has no part in it.

    Args:
        pictures: RGB, (N, 3, H, W), floating point.
        settings: The constants.
    """
    count = 8 * len(settings.dilations)
    total, squares = torch.zeros_like(pictures), torch.zeros_like(pictures)
    for neighbours in _shifted(pictures, settings.dilations):
        difference = neighbours - pictures  # of small numbers, so that squares do not cancel
        total += difference
        squares.addcmul_(difference, difference)
    variance = (squares - total.square() / count).clamp_(min=0) / (count - 1)
    width = settings.bandwidth * (variance.sqrt_() + _EPSILON)
    weights = pictures.new_empty(len(pictures), count, *pictures.shape[2:])
    for index, neighbours in enumerate(_shifted(pictures, settings.dilations)):
        weights[:, index] = -((neighbours - pictures) / width).square_().mean(dim=1)
    # The softmax in place: weights are the most that is in memory here.
    weights.sub_(weights.amax(dim=1, keepdim=True)).exp_()
    return weights.div_(weights.sum(dim=1, keepdim=True))


def _average(scores: Tensor, weights: Tensor, dilations: tuple[int, ...]) -> Tensor:
    """Weighted mean of the neighbours of each pixel, (N, C, H, W)."""
    averaged = torch.zeros_like(scores)
    for index, neighbours in enumerate(_shifted(scores, dilations)):
        averaged.addcmul_(neighbours, weights[:, index, None])
    return averaged


def _shifted(values: Tensor, dilations: tuple[int, ...]) -> Iterator[Tensor]:
    """Views of (N, C, H, W) whose pixels are the neighbours of the original's, the border repeated outside."""
    height, width = values.shape[2:]
    margin = max(dilations)
    padded = functional.pad(values, (margin,) * 4, mode="replicate")
    for dilation in dilations:
        for dy, dx in _NEIGHBOURS:
            top, left = margin + dy * dilation, margin + dx * dilation
            yield padded[:, :, top : top + height, left : left + width]


def _resize(values: Tensor, size: tuple[int, ...]) -> Tensor:
    """Bilinear with antialias; unchanged where the size is the same."""
    if values.shape[2:] == size:
        return values
    return functional.interpolate(values, size=size, mode="bilinear", antialias=True)


def _check(pictures: Tensor, scores: Tensor) -> None:
    if pictures.ndim != 4 or pictures.shape[1] != 3 or scores.ndim != 4:
        raise SettingError(
            f"pictures are (N, 3, H, W) and scores (N, C, H, W); got {tuple(pictures.shape)} and {tuple(scores.shape)}"
        )
    if len(pictures) != len(scores) or pictures.shape[2:] != scores.shape[2:]:
        raise SettingError(
            "pictures and scores are as many and of one size; got pictures "
            f"{tuple(pictures.shape)} and scores {tuple(scores.shape)}; resize the scores to the pictures"
        )
    if scores.dtype not in (torch.float32, torch.float64):
        raise SettingError(f"scores are float32 or float64, for squares of colours overflow others; got {scores.dtype}")
    if pictures.device != scores.device:
        raise SettingError(f"pictures are on {pictures.device} and scores on {scores.device}; move one of them")


def _require(condition: bool, rule: str, value: object) -> None:
    if not condition:
        raise SettingError(f"{rule}; got {value}")
