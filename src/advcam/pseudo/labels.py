"""Label masks from scores per class: thresholds, a band that stays undecided, and what to do with fragments.

A class c with threshold t_c bids s_c - t_c for a pixel, and the highest bid w wins it. With the band of width b around
the thresholds the pixel becomes

    class w      where  s_w > t_w + b / 2
    background   where  s_w <= t_w - b / 2
    255, ignore  between

With one threshold for all classes and no band these are the seeds of IRN and AdvCAM, `Attribution.label_mask`. With a
band they are the two masks of IRN's and PSA's affinity labels (a confident foreground and a confident background, 255
between) in one. The winner does not depend on the band, so a wider one only adds undecided pixels.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from advcam.errors import SettingError
from advcam.pseudo.confidence import class_confidence
from advcam.types import DEFAULT_THRESHOLD, IGNORE, Attribution, FloatArray, Mask, check_threshold


@dataclass(frozen=True)
class PseudoSettings:
    """How scores become labels.

    Args:
        threshold: Score above which a pixel is a class, in [0, 1].
        class_thresholds: Thresholds by class name, in place of `threshold` for these classes.
        background_power: A background score (1 - max_c s_c) ** power that competes with the classes, in place of
            `threshold` (Ahn, Kwak, CVPR 2018: PSA, there alpha); the greater the power, the more foreground. It is a
            constant threshold in other words, see `power_threshold`. None: `threshold` counts.
        band: Width of the undecided band around each threshold, in [0, 1]: half of it below, half above. IRN's
            affinity labels (background below 0.05, class above 0.30) are threshold 0.175 with band 0.25.
        min_area: Share of the picture, in [0, 1), that a connected part of a class needs; a smaller one is ignored
            (255), for it is as likely a part of an object as a mistake. The largest part of a class (all of them, if
            several are) stays always, for the picture is known to show the class. Parts are connected by sides and
            corners.
    """

    threshold: float = DEFAULT_THRESHOLD
    class_thresholds: Mapping[str, float] = field(default_factory=dict)
    background_power: float | None = None
    band: float = 0.0
    min_area: float = 0.0

    def __post_init__(self) -> None:
        check_threshold(self.threshold)
        if self.background_power is not None and self.class_thresholds:
            raise SettingError("background_power stands in place of thresholds; leave it or class_thresholds out")
        if not 0 <= self.band <= 1:
            raise SettingError(f"band is the width between two thresholds, 0 to 1; got {self.band}")
        if not 0 <= self.min_area < 1:
            raise SettingError(f"min_area is a share of the picture, from 0 to below 1; got {self.min_area}")
        for name, threshold in [("", self.background), *self.class_thresholds.items()]:
            self._check_band(name, threshold)

    @property
    def background(self) -> float:
        """Threshold of a class that has none of its own."""
        return self.threshold if self.background_power is None else power_threshold(self.background_power)

    def thresholds(self, class_names: Iterable[str]) -> FloatArray:
        """Threshold of each class, (C,)."""
        found = [self.class_thresholds.get(name, self.background) for name in class_names]
        return np.array(found, dtype=np.float32)

    def check_names(self, class_names: Iterable[str]) -> None:
        """Raise `SettingError` if a threshold is for no class of the data set; the nearest name is suggested.

        A picture shows a few classes only, so `pseudo_label` cannot know; call this once, before the first picture.
        """
        known = list(class_names)
        for name in self.class_thresholds:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                advice = f"did you mean {near[0]!r}? " if near else ""
                raise SettingError(
                    f"class_thresholds names {name!r}, which is no class; {advice}"
                    f"the classes are {', '.join(known[:20])}{', ..' if len(known) > 20 else ''}"
                )

    def _check_band(self, name: str, threshold: float) -> None:
        whose = f" of {name!r}" if name else ""
        low, high = threshold - self.band / 2, threshold + self.band / 2
        if not 0 <= threshold <= 1:
            raise SettingError(f"the threshold{whose} lies between 0 and 1; got {threshold}")
        if not -1e-9 <= low <= high <= 1 + 1e-9:
            raise SettingError(
                f"the band {self.band:g} around the threshold {threshold:g}{whose} reaches from {low:g} to {high:g}, "
                f"but scores lie between 0 and 1; take a band of at most {2 * min(threshold, 1 - threshold):g}"
            )


@dataclass(frozen=True, eq=False)
class PseudoLabel:
    """What a picture's scores say, to learn from.

    Args:
        mask: (H, W), int32: 0 background, class_id + 1, 255 ignore.
        confidence: Of each of the C classes of the attribution, in its order, (C,), in [0, 1]; see
            `advcam.pseudo.confidence`.
        vanished: Classes of the picture's label that no pixel was given to; worth a warning.
    """

    mask: Mask
    confidence: NDArray[np.float64]
    vanished: tuple[int, ...]


def pseudo_label(attribution: Attribution, settings: PseudoSettings | None = None) -> PseudoLabel:
    """A label mask from the scores of a picture's classes; no other class can appear in it.

    Args:
        attribution: Maps in [0, 1]: AdvCAM's or CAM's, marginals of a CRF, or scores of a random walk. A map of
            zeros claims nothing.
        settings: None takes the defaults.

    Raises:
        SettingError: A class has the number 254, whose value in a mask, 255, means ignore.
    """
    settings = settings or PseudoSettings()
    if IGNORE - 1 in attribution.class_ids:
        raise SettingError(
            f"class {IGNORE - 1} would be {IGNORE} in a mask, which means ignore; number the classes of the data set "
            f"from 0 and leave {IGNORE - 1} out"
        )
    maps = attribution.upsample()
    mask = _decide(maps, attribution.class_ids, settings.thresholds(attribution.class_names), settings.band)
    if settings.min_area:
        mask = _without_fragments(mask, attribution.class_ids, settings.min_area * mask.size)
    vanished = tuple(class_id for class_id in attribution.class_ids if not (mask == class_id + 1).any())
    return PseudoLabel(mask, class_confidence(maps, mask, attribution.class_ids), vanished)


def power_threshold(power: float) -> float:
    """The constant threshold that a background score (1 - max_c s_c) ** power amounts to.

    The background wins a pixel where its score is at least the greatest class score s: where (1 - s) ** power >= s.
    The left side falls with s and the right side rises, so that is s <= t with the one t that solves
    t = (1 - t) ** power: 0.28 for power 4, 0.09 for 24, 0.08 for 32.

    Args:
        power: PSA's alpha, above 0.

    Raises:
        SettingError: The power is not positive and finite.
    """
    if not 0 < power < np.inf:
        raise SettingError(f"background_power is positive and finite; got {power}")
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if (1 - middle) ** power > middle else (low, middle)
    return low


def _decide(maps: FloatArray, class_ids: tuple[int, ...], thresholds: FloatArray, band: float) -> Mask:
    """The mask (H, W) before any fragment is removed."""
    if not class_ids:
        return np.zeros(maps.shape[1:], dtype=np.int32)
    # float64 holds differences of float32 exactly, so that equal thresholds keep the order of the scores.
    winner = (maps - thresholds.astype(np.float64)[:, None, None]).argmax(axis=0)
    score = np.take_along_axis(maps, winner[None], axis=0)[0]
    low = (thresholds - band / 2).clip(0, 1).astype(np.float32)
    high = (thresholds + band / 2).clip(0, 1).astype(np.float32)
    numbers = np.array(class_ids, dtype=np.int32) + 1
    undecided = np.where(score > low[winner], IGNORE, 0)
    return np.where(score > high[winner], numbers[winner], undecided).astype(np.int32)


def _without_fragments(mask: Mask, class_ids: tuple[int, ...], least: float) -> Mask:
    """The mask with parts below `least` pixels ignored, but for the largest of each class."""
    cleaned = mask.copy()
    for class_id in class_ids:
        count, parts, facts, _ = cv2.connectedComponentsWithStats((mask == class_id + 1).astype(np.uint8))
        if count > 1:
            area = facts[:, cv2.CC_STAT_AREA]
            small = area < min(least, area[1:].max())
            small[0] = False  # all that is not the class
            cleaned[small[parts]] = IGNORE
    return cleaned
