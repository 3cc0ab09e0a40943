"""Scores over pictures drawn anew: percentile bootstrap intervals, and the check of a subset of pictures.

A resample draws as many pictures as there are, with replacement; the interval lies between two percentiles of the
scores of the resamples (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13). Every score here is
a function of sums over pictures, so a resample is a row of weights (how often each picture was drawn) times the sums.
An interval says how much the choice of pictures matters. It says nothing of other training runs.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from advcam.errors import DatasetError, SettingError

RESAMPLES = 1000
CONFIDENCE = 0.95
#: Weights held at a time: 4 million are 32 MB.
_WEIGHTS = 4_000_000

Sums = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Interval:
    """A score with its bootstrap interval, in the unit of the score.

    Args:
        value: Of all the pictures, each once.
        low: Lower end.
        high: Upper end.
        confidence: Share of the resamples that lie between the ends, 0 to 1.
    """

    value: float
    low: float
    high: float
    confidence: float = CONFIDENCE


def bootstrap(
    terms: Sums,
    statistic: Callable[[Sums], Sums],
    *,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Interval:
    """Percentile interval of a score that is a function of sums over pictures.

    Args:
        terms: What each picture adds to the sums, (P, M); floats that hold the sums exactly.
        statistic: From the sums of R resamples, (R, M), to their R scores.
        resamples: How many.
        confidence: Between 0 and 1; 0.95 cuts 2.5 % off at either end.
        seed: Of the draws. They also depend on the order of the pictures.

    Returns:
        The interval. Resamples whose score is undefined (NaN) are left out of the percentiles.

    Raises:
        DatasetError: There is no picture.
        SettingError: A setting is out of its range.
    """
    if resamples < 1 or not 0 < confidence < 1:
        raise SettingError(
            "a bootstrap takes at least one resample and a confidence between 0 and 1; "
            f"got {resamples} and {confidence:g}"
        )
    if not len(terms):
        raise DatasetError("no picture to draw from; add pictures before asking for an interval")
    draws = _draws(len(terms), resamples, seed)
    scores = np.concatenate([statistic(weights.astype(terms.dtype) @ terms) for weights in draws])
    defined = scores[~np.isnan(scores)]
    value = float(statistic(terms.sum(axis=0, keepdims=True))[0])
    if not defined.size:
        return Interval(value, np.nan, np.nan, confidence)
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high), confidence)


def bootstrap_mean(
    values: ArrayLike, *, resamples: int = RESAMPLES, confidence: float = CONFIDENCE, seed: int = 0
) -> Interval:
    """Interval of the mean of one value a picture: an accuracy, a score of each picture.

    Args:
        values: (P,), numbers or booleans.
        resamples: As `bootstrap`.
        confidence: As `bootstrap`.
        seed: As `bootstrap`.

    Raises:
        DatasetError: There is no picture.
        SettingError: A value is NaN, or a setting is out of its range.
    """
    column = np.asarray(values, dtype=np.float64).reshape(-1, 1)
    undefined = int(np.isnan(column).sum())
    if undefined:
        raise SettingError(f"{undefined} of {len(column)} pictures have no value (NaN); leave them out and say so")
    return bootstrap(
        column, lambda sums: sums[:, 0] / len(column), resamples=resamples, confidence=confidence, seed=seed
    )


def bootstrap_ratio(
    numerators: ArrayLike,
    denominators: ArrayLike,
    *,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Interval:
    """Interval of a mean over classes of ratios of sums over pictures, such as mIoU.

    A class whose denominator is 0 is left out of the mean, in each resample anew.

    Args:
        numerators: Of each picture and class, (P, C), or (P,) for a single ratio; for mIoU the intersections.
        denominators: The same shape; for mIoU the unions.
        resamples: As `bootstrap`.
        confidence: As `bootstrap`.
        seed: As `bootstrap`.

    Raises:
        DatasetError: There is no picture.
        SettingError: The shapes differ, or a setting is out of its range.
    """
    above, below = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    if above.shape != below.shape or above.ndim not in (1, 2):
        raise SettingError(
            f"numerators and denominators are two (P, C) arrays of one shape; got {above.shape} and {below.shape}"
        )
    above, below = above.reshape(len(above), -1), below.reshape(len(below), -1)
    classes = above.shape[1]

    def mean_ratio(sums: Sums) -> Sums:
        present = sums[:, classes:] > 0
        ratios = np.divide(sums[:, :classes], sums[:, classes:], out=np.zeros(present.shape), where=present)
        count = present.sum(axis=1)
        return np.asarray(np.divide(ratios.sum(axis=1), count, out=np.full(len(sums), np.nan), where=count > 0))

    terms = np.concatenate([above, below], axis=1)
    return bootstrap(terms, mean_ratio, resamples=resamples, confidence=confidence, seed=seed)


def check_subset(indices: Sequence[int] | NDArray[np.integer], count: int) -> NDArray[np.int64]:
    """The indices of a subset of `count` pictures as an array, in the order given.

    Raises:
        SettingError: An index is no picture, or stands there twice.
    """
    chosen = np.asarray(indices)
    if not chosen.size:
        return np.zeros(0, dtype=np.int64)
    if chosen.ndim != 1 or not np.issubdtype(chosen.dtype, np.integer):
        raise SettingError(f"a subset is a list of picture indices; got shape {chosen.shape} of {chosen.dtype}")
    outside = chosen[(chosen < 0) | (chosen >= count)]
    if outside.size:
        raise SettingError(f"picture indices go from 0 to {count - 1}; got {outside[0]}")
    if len(np.unique(chosen)) != len(chosen):
        raise SettingError("a subset names each picture once; remove the repeated indices")
    return chosen.astype(np.int64)


def _draws(pictures: int, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """How often each resample drew each picture, in blocks of (R, P)."""
    generator = np.random.default_rng(seed)
    block = max(1, _WEIGHTS // pictures)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = generator.integers(pictures, size=(rows, pictures)) + np.arange(rows)[:, None] * pictures
        yield np.bincount(drawn.ravel(), minlength=rows * pictures).reshape(rows, pictures)
