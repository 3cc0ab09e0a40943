"""Choosing among all trials, extents and thresholds, and what the choice is worth on pictures it was not made on.

Cross-validation: for each fold the choice is made on the other folds and its masks of the fold are counted; the counts
of all folds are pooled into one mIoU. The same is done with the defaults, of which only the threshold is chosen.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcam.evaluate.bootstrap import Interval, bootstrap
from advcam.pipeline.tuning.scores import THRESHOLDS, Extent, ScoreTable, Terms, mean_iou

#: Of the one-standard-error rule: more than this share of mIoU is never given away for a lower cost. With a few
#: pictures one standard error is several points, often more than a climb gains.
MOST_GIVEN = 0.003


@dataclass(frozen=True)
class Choice:
    """A trial with an extent and a threshold.

    Args:
        trial: Number of the trial.
        extent: Steps and scales.
        threshold: Of the masks.
        miou: On the pictures that it was chosen on.
    """

    trial: int
    extent: Extent
    threshold: float
    miou: float


@dataclass(frozen=True)
class CrossValidation:
    """Scores on held-out pictures, pooled over the folds; shares between 0 and 1.

    Args:
        tuned: mIoU of what each fold chose.
        defaults: mIoU of the defaults, with a threshold chosen on the other folds.
        cam: mIoU of the plain class activation map, with a threshold chosen likewise.
        gain: `tuned` - `defaults`, with a bootstrap interval over pictures (the choices stay fixed).
        choices: Of each fold.
    """

    tuned: float
    defaults: float
    cam: float
    gain: Interval
    choices: tuple[Choice, ...]


class Chooser:
    """Choices among the finished trials, for any subset of the pictures.

    Args:
        tables: Gives the scores of a trial, from the disk: one at a time is held in memory.
        trials: Numbers of the finished trials, the defaults (0) among them.
        searched: Extents that may be chosen; the defaults may go beyond them.
        num_classes: Classes of the data set, the background counted.
    """

    def __init__(
        self,
        tables: Callable[[int], ScoreTable],
        trials: Sequence[int],
        searched: Collection[Extent],
        num_classes: int,
    ) -> None:
        self.tables, self.trials, self.num_classes = tables, trials, num_classes
        self.searched = frozenset(searched)

    def best(self, subsets: Sequence[Sequence[int]]) -> list[Choice]:
        """The choice for each subset of the pictures, by the one-standard-error rule.

        Of all choices whose mIoU is within one standard error of the best one's (jackknife over pictures), and at most
        `MOST_GIVEN` below it, the cheapest; among equally cheap ones the best, among equal ones the first.
        """
        candidates: list[list[Choice]] = [[] for _ in subsets]
        for trial in self.trials:
            table = self.tables(trial)
            for subset, found in zip(subsets, candidates, strict=True):
                found += [one for one in _best_thresholds(trial, table, subset) if one.extent in self.searched]
        return [self._cheapest(found, subset) for found, subset in zip(candidates, subsets, strict=True)]

    def of_extent(self, extent: Extent, subsets: Sequence[Sequence[int]]) -> list[Choice]:
        """For each subset the best threshold of an extent of the defaults; nothing else is chosen."""
        table = self.tables(0)
        return [_best_thresholds(0, table, subset)[table.extents.index(extent)] for subset in subsets]

    def at_threshold(self, extent: Extent, threshold: float, pictures: Sequence[int]) -> float:
        """MIoU of an extent of the defaults at a threshold that was set beforehand."""
        right, union = self.terms(Choice(0, extent, threshold, float("nan")), pictures)
        return float(mean_iou(right.sum(axis=0), union.sum(axis=0)))

    def terms(self, choice: Choice, pictures: Sequence[int]) -> tuple[Terms, Terms]:
        """Intersection and union of some pictures under a choice, both (P, C)."""
        return self.tables(choice.trial).terms(choice.extent, choice.threshold, pictures, self.num_classes)

    def _cheapest(self, candidates: list[Choice], pictures: Sequence[int]) -> Choice:
        best = max(candidates, key=lambda choice: choice.miou)
        least = best.miou - min(jackknife_error(*self.terms(best, pictures)), MOST_GIVEN)
        near = [choice for choice in candidates if choice.miou >= least]
        return min(near, key=lambda choice: (choice.extent.passes, -choice.miou, choice.trial))


def cross_validate(
    chooser: Chooser, folds: Sequence[Sequence[int]], defaults: Extent, plain: Extent, seed: int
) -> CrossValidation:
    """Choose on all folds but one, score the one, pool the counts.

    Args:
        chooser: Of the search.
        folds: Indices of the pictures of each fold.
        defaults: Extent of the defaults.
        plain: Extent of the plain class activation map.
        seed: Of the bootstrap.
    """
    everything = sorted(index for fold in folds for index in fold)
    others = [[index for index in everything if index not in fold] for fold in folds]
    choices = chooser.best(others)
    tuned = _held_out(chooser, choices, folds)
    of_defaults = _held_out(chooser, chooser.of_extent(defaults, others), folds)
    of_cam = _held_out(chooser, chooser.of_extent(plain, others), folds)
    return CrossValidation(
        tuned=_pooled(tuned),
        defaults=_pooled(of_defaults),
        cam=_pooled(of_cam),
        gain=_gain(tuned, of_defaults, seed),
        choices=tuple(choices),
    )


def jackknife_error(right: Terms, union: Terms) -> float:
    """Standard error of the mIoU over pictures: each is left out once (Efron and Tibshirani 1993, chapter 11)."""
    count = len(right)
    left = mean_iou(right.sum(axis=0) - right, union.sum(axis=0) - union)
    return float(np.sqrt((count - 1) * left.var()))


def _best_thresholds(trial: int, table: ScoreTable, pictures: Sequence[int]) -> list[Choice]:
    """For each extent of a trial its best threshold, the lowest of equals."""
    scores = table.miou(pictures)
    rows = scores.argmax(axis=1).tolist()
    return [
        Choice(trial, extent, THRESHOLDS[row], float(scores[column, row]))
        for column, (extent, row) in enumerate(zip(table.extents, rows, strict=True))
    ]


def _held_out(chooser: Chooser, choices: Sequence[Choice], folds: Sequence[Sequence[int]]) -> tuple[Terms, Terms]:
    """Intersection and union of each picture under the choice of its fold, both (P, C)."""
    parts = [chooser.terms(choice, fold) for choice, fold in zip(choices, folds, strict=True)]
    right, union = (np.concatenate(one) for one in zip(*parts, strict=True))
    return right, union


def _pooled(terms: tuple[Terms, Terms]) -> float:
    return float(mean_iou(terms[0].sum(axis=0), terms[1].sum(axis=0)))


def _gain(tuned: tuple[Terms, Terms], defaults: tuple[Terms, Terms], seed: int) -> Interval:
    """Paired: a resample draws the same pictures for both."""
    classes = tuned[0].shape[1]

    def difference(sums: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        one, two, three, four = (sums[:, start * classes : (start + 1) * classes] for start in range(4))
        return np.asarray(mean_iou(one, two) - mean_iou(three, four))

    return bootstrap(np.concatenate([*tuned, *defaults], axis=1), difference, seed=seed)
