"""How much a climb amplifies what was discriminative from the start, and how much the rest.

Paper (arXiv 2204.04890): with R_D = {i : CAM(x^0)_i / max >= 0.5} and R_ND the rest, the mean of
CAM(x^t)_i / CAM(x^0)_i grows faster over R_ND than over R_D.

The ratio is undefined where CAM(x^0)_i = 0 and huge where it is nearly 0, so two numbers are given for each region:
the mean of the ratios over the positions where CAM(x^0)_i > 0 (the paper's, which a few nearly empty positions can
rule), and the ratio of the sums over ALL positions of the region (robust; what grows from zero counts in it). They
agree where the ratio does not depend on the position.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advcam.errors import SettingError
from advcam.types import FloatArray

Numbers = NDArray[np.float64]

#: Boundary of R_D on the map divided by its maximum.
DISCRIMINATIVE = 0.5


@dataclass(frozen=True, eq=False)
class Growth:
    """Growth of one region over the S maps of a climb; 1 at t = 0, NaN where the region has nothing to grow from.

    Args:
        mean: Mean of the ratios CAM(x^t)_i / CAM(x^0)_i where CAM(x^0)_i > 0, (S,).
        total: Sum of CAM(x^t) over sum of CAM(x^0), (S,).
        positions: Positions of the region.
        undefined: Those with CAM(x^0)_i = 0, which `mean` leaves out.
    """

    mean: Numbers
    total: Numbers
    positions: int
    undefined: int


@dataclass(frozen=True, eq=False)
class Amplification:
    """Growth of the discriminative region R_D and of the rest R_ND."""

    discriminative: Growth
    non_discriminative: Growth


def amplification(maps: FloatArray, boundary: float = DISCRIMINATIVE) -> Amplification:
    """Amplification of both regions over a climb.

    Args:
        maps: Maps before any normalisation, t = 0 first, 0 or more, (S, h, w): `Trajectory.maps`.
        boundary: Of R_D, on the first map divided by its maximum, in (0, 1].

    Raises:
        SettingError: Not three dimensions, no map, or a boundary outside (0, 1].
    """
    if maps.ndim != 3 or not len(maps):
        raise SettingError(f"the maps of a climb are (S, h, w) with S of 1 or more; got {maps.shape}")
    if not 0 < boundary <= 1:
        raise SettingError(f"the boundary of the discriminative region lies in (0, 1]; got {boundary}")
    values = maps.reshape(len(maps), -1).astype(np.float64)
    peak = values[0].max()
    # An empty first map has no discriminative region: 0 >= 0.5 * 0 would make all of it one.
    inside = (values[0] >= boundary * peak) & (peak > 0)
    return Amplification(_growth(values[:, inside]), _growth(values[:, ~inside]))


def _growth(values: Numbers) -> Growth:
    """Growth of a region of values (S, n)."""
    start = values[0]
    defined = start > 0
    nothing = np.full(len(values), np.nan)
    total = values.sum(axis=1) / start.sum() if defined.any() else nothing
    mean = (values[:, defined] / start[defined]).mean(axis=1) if defined.any() else nothing
    return Growth(mean, total, len(start), int((~defined).sum()))
