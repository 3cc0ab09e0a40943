"""Masks before their pixels are counted, and ratios of the counts."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from advcam.errors import DatasetError, SettingError
from advcam.types import IGNORE, Mask

Counts = NDArray[np.int64]
Shares = NDArray[np.float64]
Integers = NDArray[np.integer[Any]]


def ratio(above: ArrayLike, below: ArrayLike) -> Shares:
    """above / below, NaN where `below` is 0."""
    above, below = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    return np.asarray(np.divide(above, below, out=np.full(below.shape, np.nan), where=below > 0))


def defined_mean(values: Shares) -> float:
    """Mean of the values that are not NaN; NaN if there is none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def check_masks(truth: Integers, prediction: Integers, num_classes: int) -> tuple[Mask, Mask]:
    """Truth and prediction as they are compared: the same size, undecided pixels of the prediction background.

    Raises:
        DatasetError: The truth holds a number that is neither a class nor 255, or is no (H, W) array of integers.
        SettingError: The prediction does, or has another shape.
    """
    truth = check_truth(truth, num_classes)
    if prediction.shape != truth.shape or not np.issubdtype(prediction.dtype, np.integer):
        raise SettingError(
            f"a prediction is a mask of integers at the size of the truth, {truth.shape}; got shape "
            f"{prediction.shape} of {prediction.dtype}; resize it (nearest) to the picture"
        )
    wrong = _first_wrong(prediction, num_classes)
    if wrong is not None:
        raise SettingError(
            f"the prediction holds the number {wrong}; classes are 0 to {num_classes - 1}, and {IGNORE} counts as "
            "background; predict the classes of the data set"
        )
    return truth, np.where(prediction == IGNORE, 0, prediction).astype(np.int32)


def check_truth(truth: Integers, num_classes: int) -> Mask:
    """The true mask, (H, W), if it holds class numbers and 255 alone.

    Raises:
        DatasetError: It does not, or is no (H, W) array of integers.
    """
    if truth.ndim != 2 or not np.issubdtype(truth.dtype, np.integer):
        raise DatasetError(
            f"a true mask is an (H, W) array of integers; got shape {truth.shape} of {truth.dtype}; read it as a "
            "palette or greyscale picture"
        )
    wrong = _first_wrong(truth, num_classes)
    if wrong is not None:
        raise DatasetError(
            f"the true mask holds the number {wrong}; classes are 0 to {num_classes - 1}, and {IGNORE} is left out; "
            "check the mask and num_classes"
        )
    return truth.astype(np.int32, copy=False)


def _first_wrong(mask: Integers, num_classes: int) -> int | None:
    wrong = mask[(mask != IGNORE) & ((mask < 0) | (mask >= num_classes))]
    return int(wrong[0]) if wrong.size else None
