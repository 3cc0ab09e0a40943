"""Joining the maps of one (picture, class) over scales, and over the steps of a climb.

Steps are added up (the paper's A). Over scales there are two rules, for a map A_s that adds up n_s maps at scale s:

    sum         sum_s A_s                                        IRN and the authors' code (D13)
    geometric   exp( mean_s log(1 + A_s / n_s) ) - 1             this package's; neither paper nor code has it

In a sum one scale can decide; in a geometric mean a position counts by what all scales say of it. Which is better
depends on the data (docs/defaults.md has both sides), so the sum stays the default. The one under the logarithm is one
unit of the class score (a logit), the unit of a class activation map before it is normalised; maps far below it add up
as in the sum.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from advcam.attribution.response import ScaleMaps
from advcam.types import FloatArray, Trajectory

Fusion = Literal["sum", "geometric"]


@dataclass(frozen=True)
class Triple:
    """Row n of a batch: one (picture, class, scale)."""

    result: ScaleMaps
    row: int
    scale: float

    def trajectory(self, class_id: int, denormalise: Callable[[Tensor], Tensor]) -> Trajectory | None:
        """Its recorded steps, or None."""
        if self.result.maps is None:
            return None
        inputs = self.result.inputs
        return Trajectory(
            class_id,
            self.scale,
            _array(self.result.maps[:, self.row]),
            _array(self.result.scores[:, self.row]),
            None if inputs is None else _array(denormalise(inputs[:, self.row])),
        )


class FusedMap:
    """The map of one (picture, class) joined over scales, on one grid.

    Args:
        class_id: The class.
        grid: (h, w) of the fused map.
        fusion: How scales are joined.
        weight: Of every map in a sum.
    """

    def __init__(self, class_id: int, grid: tuple[int, int], fusion: Fusion, weight: float = 1.0) -> None:
        self.class_id = class_id
        self.grid = grid
        self.fusion = fusion
        self.weight = weight
        self.sums: list[Tensor] = []
        self.counts: list[int] = []
        self.trajectories: list[Trajectory] = []
        self.score = float("nan")
        self._score_scale = float("inf")

    def add(self, triple: Triple, denormalise: Callable[[Tensor], Tensor]) -> None:
        """Take in the map of one scale, resized bilinearly (align_corners false, as published)."""
        self.sums.append(resize(triple.result.total[triple.row], self.grid))
        self.counts.append(triple.result.count)
        trajectory = triple.trajectory(self.class_id, denormalise)
        if trajectory is not None:
            self.trajectories.append(trajectory)
        # The score of the Attribution is the one at the scale nearest to 1.
        if abs(triple.scale - 1) < abs(self._score_scale - 1):
            self._score_scale = triple.scale
            self.score = float(triple.result.scores[0, triple.row, self.class_id])

    def normalised(self, epsilon: float) -> FloatArray:
        """The fused map divided by its maximum, (h, w); all zero stays all zero."""
        return self._joined(self.sums, self.counts, epsilon)

    def steps(self, epsilon: float) -> FloatArray | None:
        """The fused map after each step, (S, h, w), None unless recorded; a shorter climb waits at its last step."""
        if not self.trajectories:
            return None
        summed = [resize(torch.from_numpy(t.maps).cumsum(dim=0), self.grid) for t in self.trajectories]
        steps = []
        for step in range(max(map(len, summed))):
            last = [min(step, len(scale) - 1) for scale in summed]
            sums = [scale[index] for scale, index in zip(summed, last, strict=True)]
            steps.append(self._joined(sums, [index + 1 for index in last], epsilon))
        return np.stack(steps)

    def _joined(self, sums: Sequence[Tensor], counts: Sequence[int], epsilon: float) -> FloatArray:
        return _divide_by_maximum(self.weight * fuse_scales(sums, counts, self.fusion), epsilon)


def fuse_scales(sums: Sequence[Tensor], counts: Sequence[int], fusion: Fusion) -> Tensor:
    """The maps of several scales as one, not normalised.

    Args:
        sums: For each scale the sum of its maps, rectified, all of one shape (..., h, w).
        counts: For each scale how many maps that adds up (T + 1 of a climb).
        fusion: "sum" or "geometric", see above.
    """
    if fusion == "sum":
        return torch.stack(list(sums)).sum(dim=0)
    means = [total / count for total, count in zip(sums, counts, strict=True)]
    return torch.stack(means).log1p().mean(dim=0).expm1()


def resize(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Maps (..., h, w) on another grid, float32 or better, on the CPU."""
    maps = maps.detach().cpu()
    leading = maps.shape[:-2]
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    resized = functional.interpolate(flat, size=grid, mode="bilinear", align_corners=False)
    return resized.reshape(*leading, *grid)


def _divide_by_maximum(total: Tensor, epsilon: float) -> FloatArray:
    peak = total.max() + epsilon
    return _array(total / peak if peak > 0 else total)


def _array(tensor: Tensor) -> FloatArray:
    array: FloatArray = tensor.detach().cpu().numpy().astype(np.float32)
    return array
