"""A climb step by step: the score of the class and of its strongest rival, and the maps of all classes after each step.

What the maps are worth as seeds (mIoU, precision, recall) is measured by `advcam.evaluate`; `pipeline.analyses` joins
the two.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from advcam.errors import SettingError
from advcam.types import Attribution, FloatArray, Trajectory

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ScoreCurve:
    """Scores over the S steps of a climb, before softmax or sigmoid, mean over the flips.

    Args:
        own: Of the class that is climbed, (S,).
        rival: Highest score of any other class at that step, (S,); NaN for a classifier of one class.
    """

    own: Numbers
    rival: Numbers


def nearest_to_one(attribution: Attribution, class_id: int) -> Trajectory:
    """The climb of a class at the scale nearest to 1, the first of two as near.

    Raises:
        SettingError: No climb of this class was recorded.
    """
    found = [trajectory for trajectory in attribution.trajectories if trajectory.class_id == class_id]
    if not found:
        raise SettingError(f'no climb of class {class_id} was recorded; attribute with record="maps" or "all"')
    return min(found, key=lambda trajectory: abs(trajectory.scale - 1))


def score_curve(trajectory: Trajectory) -> ScoreCurve:
    """Scores of the class that is climbed and of its strongest rival at each step."""
    scores = trajectory.scores.astype(np.float64)
    others = np.delete(scores, trajectory.class_id, axis=1)
    rival = others.max(axis=1) if others.shape[1] else np.full(len(scores), np.nan)
    return ScoreCurve(scores[:, trajectory.class_id], rival)


def step_maps(attribution: Attribution) -> Iterator[FloatArray]:
    """Maps of all classes after each step, at the size of the picture, each (C, H, W) with values in [0, 1].

    The first are the plain class activation maps, the last equal `Attribution.upsample()`. One step is held in memory
    at a time.

    Raises:
        SettingError: The steps were not recorded.
    """
    if attribution.steps is None:
        raise SettingError('the steps of this attribution were not recorded; attribute with record="maps" or "all"')
    height, width = attribution.image_size
    for maps in attribution.steps.swapaxes(0, 1):
        resized = [cv2.resize(one, (width, height), interpolation=cv2.INTER_LINEAR) for one in maps]
        yield np.stack(resized).astype(np.float32).clip(0, 1)  # a resize may overshoot 1 by its rounding
