"""Adding up the maps of one (picture, class) over scales, and over the steps of a climb."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from advcam.attribution.response import ScaleMaps
from advcam.types import FloatArray, Trajectory


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
    """The sum over scales of one (picture, class), on one grid.

    Args:
        class_id: The class.
        grid: (h, w) of the fused map.
        weight: Of every map in the sum.
    """

    def __init__(self, class_id: int, grid: tuple[int, int], weight: float) -> None:
        self.class_id = class_id
        self.grid = grid
        self.weight = weight
        self.total = torch.zeros(grid)
        self.trajectories: list[Trajectory] = []
        self.score = float("nan")
        self._score_scale = float("inf")

    def add(self, triple: Triple, denormalise: Callable[[Tensor], Tensor]) -> None:
        """Add the map of one scale, resized bilinearly (align_corners false, as published)."""
        self.total = self.total + self.weight * resize(triple.result.total[triple.row], self.grid)
        trajectory = triple.trajectory(self.class_id, denormalise)
        if trajectory is not None:
            self.trajectories.append(trajectory)
        # The score of the Attribution is the one at the scale nearest to 1.
        if abs(triple.scale - 1) < abs(self._score_scale - 1):
            self._score_scale = triple.scale
            self.score = float(triple.result.scores[0, triple.row, self.class_id])

    def normalised(self, epsilon: float) -> FloatArray:
        """The fused map divided by its maximum, (h, w); all zero stays all zero."""
        return _divide_by_maximum(self.total, epsilon)

    def steps(self, epsilon: float) -> FloatArray | None:
        """The fused map after each step, (S, h, w), None unless recorded; a shorter climb waits at its last step."""
        if not self.trajectories:
            return None
        length = max(len(t.maps) for t in self.trajectories)
        total = torch.zeros((length, *self.grid))
        for trajectory in self.trajectories:
            summed = resize(torch.from_numpy(trajectory.maps).cumsum(dim=0), self.grid)
            waiting = summed[-1:].expand(length - len(summed), -1, -1)
            total += torch.cat([summed, waiting])
        return np.stack([_divide_by_maximum(self.weight * step, epsilon) for step in total])


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
