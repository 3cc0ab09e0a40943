"""Lists of thresholds: the grids of the published protocols, how they are checked, how one is looked up."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from advcam.errors import SettingError

#: Background values of a seed sweep: 0.00, 0.01, .. 1.00. The published code tries 0.15, .. 0.34 only.
SEED_THRESHOLDS: tuple[float, ...] = tuple(step / 100 for step in range(101))
#: Thresholds of boxes and PxAP: 0, 0.001, .. 0.999, made as the published code makes them.
BOX_THRESHOLDS: tuple[float, ...] = tuple(np.arange(0, 1, 0.001).tolist())
_SAME = 1e-9


def check_thresholds(thresholds: Sequence[float]) -> NDArray[np.float64]:
    """The thresholds as an array, (T,).

    Raises:
        SettingError: There is none, they do not ascend, or one lies outside [0, 1].
    """
    values = np.asarray(thresholds, dtype=np.float64)
    if values.ndim != 1 or not values.size or not (np.diff(values) > 0).all():
        raise SettingError(f"thresholds are a list in ascending order, each once; got {list(thresholds)[:6]}")
    if not (values[0] >= 0 and values[-1] <= 1):
        raise SettingError(f"thresholds lie between 0 and 1; got {values[0]:g} to {values[-1]:g}")
    return values


def threshold_index(thresholds: NDArray[np.float64], threshold: float) -> int:
    """Where a threshold stands in the list.

    Raises:
        SettingError: The list does not hold it.
    """
    nearest = int(np.abs(thresholds - threshold).argmin())
    if not abs(thresholds[nearest] - threshold) < _SAME:
        raise SettingError(
            f"the threshold {threshold:g} was not evaluated; the nearest is {thresholds[nearest]:g}: "
            "take it, or evaluate with a list that holds yours"
        )
    return nearest
