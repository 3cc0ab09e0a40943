"""How well a classifier answers: average precision of each class, and top-k accuracy."""

import numpy as np
from numpy.typing import NDArray

from advcam.errors import SettingError
from advcam.evaluate.pixels import Integers, Shares, ratio


def average_precision(scores: NDArray[np.floating], labels: NDArray[np.bool_]) -> Shares:
    """Average precision of each class: the mean precision at its positive pictures, ranked by score.

    AP = sum_n (R_n - R_{n-1}) P_n over the thresholds n, equal scores being one threshold. This is the area under the
    curve itself. The PASCAL VOC devkit first makes the curve monotone (and took it at 11 points up to 2009), which
    gives somewhat higher values.

    Args:
        scores: (N, K), any finite scale.
        labels: (N, K), True where a picture shows a class.

    Returns:
        (K,), 0 to 1; NaN for a class that no picture shows.

    Raises:
        SettingError: Other shapes, or NaN among the scores.
    """
    if scores.ndim != 2 or labels.shape != scores.shape or not np.isfinite(scores).all():
        raise SettingError(
            f"average precision takes finite scores (N, K) and labels (N, K); got {scores.shape} and {labels.shape}"
            f"{'' if np.isfinite(scores).all() else ', and NaN or infinity'}"
        )
    columns = [_class_precision(scores[:, k], labels[:, k].astype(bool)) for k in range(scores.shape[1])]
    return np.array(columns, dtype=np.float64)


def top_k_accuracy(scores: NDArray[np.floating], classes: Integers, k: int = 1) -> float:
    """Share of the pictures whose class is among the k highest scores; NaN without a picture.

    Of equal scores the class itself comes last: a network that says the same of all classes is never right.

    Args:
        scores: (N, K).
        classes: The true class of each picture, (N,), counted from 0.
        k: 1 or more.

    Raises:
        SettingError: Other shapes, a class that the scores do not have, or k below 1.
    """
    if scores.ndim != 2 or classes.shape != scores.shape[:1] or k < 1:
        raise SettingError(
            f"top-k accuracy takes scores (N, K), one class a picture and k from 1 on; got {scores.shape}, "
            f"{classes.shape} and k = {k}"
        )
    if len(classes) and not (classes.min() >= 0 and classes.max() < scores.shape[1]):
        raise SettingError(f"classes are 0 to {scores.shape[1] - 1}; got {classes.min()} to {classes.max()}")
    own = scores[np.arange(len(classes)), classes]
    not_below = (scores >= own[:, None]).sum(axis=1)  # itself counted
    hits = (not_below <= k) & np.isfinite(own)
    return float(ratio(hits.sum(), len(classes)))


def _class_precision(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    if not positive.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], positive[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # where each run of equal scores ends
    found = hits.cumsum()[last]
    precision = found / (last + 1)
    gained = np.diff(found, prepend=0)
    return float((gained * precision).sum() / positive.sum())
