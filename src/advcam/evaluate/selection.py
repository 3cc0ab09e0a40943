"""Which threshold turns maps into masks, and how much supervision its choice has used.

The field tunes the threshold on the masks it is scored on. So every threshold carries one of four words:

    oracle      best on the evaluated pictures: comparable with published seeds, an upper bound for everything else
    validated   best on some labelled pictures, none of them evaluated
    fixed       given before any picture was seen
    label-free  found by a rule that sees maps and pictures, and no mask
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.segmentation import felzenszwalb

from advcam.errors import PictureError, SettingError, counted
from advcam.evaluate.thresholds import SEED_THRESHOLDS, check_thresholds
from advcam.types import check_threshold

Supervision = Literal["oracle", "validated", "fixed", "label-free"]
Curve = NDArray[np.floating[Any]]

#: The label-free rule looks at pictures of this longer side, in pixels.
WORKING_SIDE = 192
#: Its superpixels: scale, blur and smallest size of Felzenszwalb and Huttenlocher, IJCV 2004.
SUPERPIXELS = {"scale": 400.0, "sigma": 0.8, "min_size": 20}
_SAME = 1e-12
#: Agreements are added up in whole multiples of this: sums of integers are the same in any order and in any parts. It
#: is below `_SAME`, and two million pictures fit into 64 bits.
_QUANTUM = 2.0**-42


@dataclass(frozen=True)
class ThresholdChoice:
    """A threshold and how it was chosen.

    Args:
        threshold: Of maps, 0 to 1: a pixel belongs to the object where its map is above it.
        supervision: What the choice has seen.
        detail: The same in words, for a reader of the score.

    Raises:
        SettingError: The threshold is outside [0, 1].
    """

    threshold: float
    supervision: Supervision
    detail: str

    def __post_init__(self) -> None:
        check_threshold(self.threshold)

    def describe(self) -> str:
        """One line that belongs beside every score at this threshold."""
        return f"threshold {self.threshold:.4g}, {self.supervision}: {self.detail}"


def choose_oracle(curve: Sequence[float] | Curve, thresholds: Sequence[float]) -> ThresholdChoice:
    """The best threshold on the evaluated pictures themselves.

    Args:
        curve: Score at each threshold on the evaluated pictures, (T,), higher is better; NaN is never chosen.
        thresholds: (T,), ascending, in [0, 1].

    Raises:
        SettingError: Another number of scores than thresholds, thresholds out of order, or no score at all.
    """
    best = _best(curve, thresholds)
    return ThresholdChoice(best, "oracle", f"best of {len(thresholds)} thresholds on the evaluated pictures themselves")


def choose_validated(
    curve_on_labelled: Sequence[float] | Curve, thresholds: Sequence[float], count: int
) -> ThresholdChoice:
    """The best threshold on labelled pictures that are disjoint from the evaluated ones.

    Args:
        curve_on_labelled: Score at each threshold on the labelled pictures, (T,), higher is better.
        thresholds: (T,), ascending, in [0, 1].
        count: How many pictures with masks these were, at least 1.

    Raises:
        SettingError: As `choose_oracle`, or no labelled picture.
    """
    if count < 1:
        raise SettingError(f"a validated threshold needs at least one labelled picture; got {count}")
    best = _best(curve_on_labelled, thresholds)
    pictures = f"{count} labelled picture{'s, none of them' if count > 1 else ', not'} evaluated"
    return ThresholdChoice(best, "validated", f"best of {len(thresholds)} thresholds on {pictures}")


def choose_fixed(threshold: float) -> ThresholdChoice:
    """A threshold that was there before any picture of the data set was seen.

    Raises:
        SettingError: The threshold is outside [0, 1].
    """
    return ThresholdChoice(threshold, "fixed", "given before any picture was seen")


class LabelFree:
    """The label-free rule: masks should be made of whole superpixels.

    At a good threshold the outline of a mask runs where the picture's own segments end. So at each threshold the mask
    is compared with its rounding to superpixels (`superpixel_agreement`); the agreement is averaged over all pictures,
    and the threshold where the mean is highest is chosen, one for all pictures.

    A threshold for each picture by itself was worse on four of the six sets below, by up to 4.5 points, so there is
    none. The choice from few pictures is noisy: random twenty lost one point on average where all lost 0.3.

    How it was found: rule, working side and superpixel scale were decided WITH masks, on samples of Oxford-IIIT Pet and
    VOC train. They were then frozen and tested on VOC val, which took no part. Points of mIoU over the classes lost
    against the oracle threshold, VOC without pictures of persons, ImageNet classifier EfficientNet-Lite0, by
    `python benchmarks/label_free.py ROOT --split SPLIT --method METHOD --scales 0.5 1 --limit PICTURES`:

        decided on     method  pictures  this rule  Otsu  colour votes  fixed 0.4  fixed 0.25
        Pet test       CAM           40        0.1   3.2           0.0        4.8         0.1
        Pet test       AdvCAM        40        0.3   0.1           0.6        1.7        16.2
        VOC train      CAM          180        0.2   0.0           1.5        0.0         3.1
        VOC train      AdvCAM        48        0.1   2.7           0.5        8.2        15.4
        tested on
        VOC val        CAM           95        0.6   0.0           4.1        0.0         4.7
        VOC val        AdvCAM        36        0.4   1.4           0.5        6.1        13.7

    In mIoU of foreground and background alone it loses more on VOC val: 2.7 (CAM) and 3.1 (AdvCAM). One network and a
    few dozen pictures: they say that no fixed number and no other rule of the benchmark stayed within a point of the
    oracle on all six.

    Args:
        thresholds: T candidates, ascending, in [0, 1].

    Raises:
        SettingError: The thresholds are out of order or out of range.
    """

    def __init__(self, thresholds: Sequence[float] = SEED_THRESHOLDS) -> None:
        self.thresholds = check_thresholds(thresholds)
        self._sum = np.zeros(len(self.thresholds), dtype=np.int64)
        self._pictures = 0

    def __len__(self) -> int:
        return self._pictures

    def add(self, maps: NDArray[np.floating[Any]], picture: Image.Image | NDArray[np.uint8]) -> None:
        """Take in one picture; nothing of it is kept but one number for each threshold.

        Args:
            maps: (K, h, w) in [0, 1], the maps of its classes at any size.
            picture: PIL image, or uint8 RGB (H, W, 3).

        Raises:
            PictureError: As `superpixel_agreement`.
        """
        agreement = superpixel_agreement(maps, picture, self.thresholds)
        self._sum += np.rint(agreement / _QUANTUM).astype(np.int64)
        self._pictures += 1

    def __add__(self, other: "LabelFree") -> "LabelFree":
        """The rule that has seen the pictures of both; in whatever parts they were seen, the mean is the same.

        Raises:
            SettingError: The thresholds differ.
        """
        if not np.array_equal(self.thresholds, other.thresholds):
            raise SettingError("rules over different thresholds cannot be merged; make both with the same list")
        merged = LabelFree(self.thresholds.tolist())
        merged._sum, merged._pictures = self._sum + other._sum, self._pictures + other._pictures
        return merged

    @property
    def curve(self) -> Curve:
        """Mean agreement at each threshold over the pictures so far, (T,), at most 1; NaN before the first."""
        if not self._pictures:
            return np.full(len(self.thresholds), np.nan)
        return self._sum * (_QUANTUM / self._pictures)

    def choose(self) -> ThresholdChoice:
        """The threshold where the mean agreement is highest.

        Raises:
            SettingError: No picture was added, or no mask agreed with anything (maps of zeros, pictures of one colour).
        """
        if not (self._pictures and self.curve.max() > _SAME):
            raise SettingError(
                f"no threshold can be told from {self._pictures} pictures whose masks follow no superpixels; "
                "add pictures with maps, or give a fixed threshold"
            )
        pictures = counted(self._pictures, "picture")
        detail = f"best agreement of masks with superpixels on {pictures}, no mask seen"
        return ThresholdChoice(_best(self.curve, self.thresholds), "label-free", detail)


def superpixel_agreement(
    maps: NDArray[np.floating[Any]], picture: Image.Image | NDArray[np.uint8], thresholds: Sequence[float] | Curve
) -> Curve:
    """How well masks at each threshold are made of whole superpixels of the picture.

    The mask is where any of the maps is above the threshold. Rounded to superpixels, it takes every superpixel of which
    more than half is in the mask. The agreement of mask and rounding is Cohen's kappa: the share of pixels where they
    are equal, corrected for what masks of these sizes share by chance; else tiny and full masks would win. It is 1
    for a mask of whole superpixels and 0 for an empty or full one.

    Args:
        maps: (K, h, w) in [0, 1] at any size; they are resized to the working size (bilinear).
        picture: PIL image, or uint8 RGB (H, W, 3); it is resized to a longer side of `WORKING_SIDE`.
        thresholds: (T,), ascending, in [0, 1].

    Returns:
        (T,), at most 1.

    Raises:
        PictureError: A picture or maps of another type or shape, or maps that are not in [0, 1].
    """
    rgb, foreground = _working_copies(maps, picture)
    segments = felzenszwalb(rgb, **SUPERPIXELS)
    candidates = np.asarray(thresholds, dtype=foreground.dtype)
    # A histogram over (superpixel, thresholds below the value) holds every mask at once.
    shape = (int(segments.max()) + 1, len(candidates) + 1)
    below = np.searchsorted(candidates, foreground, side="left")
    histogram = np.bincount((segments * shape[1] + below).ravel(), minlength=shape[0] * shape[1]).reshape(shape)
    inside = histogram[:, ::-1].cumsum(axis=1)[:, -2::-1]
    size = histogram.sum(axis=1, keepdims=True)
    rounded = 2 * inside > size
    share, rounded_share = inside.sum(axis=0) / size.sum(), (size * rounded).sum(axis=0) / size.sum()
    equal = np.where(rounded, inside, size - inside).sum(axis=0) / size.sum()
    chance = share * rounded_share + (1 - share) * (1 - rounded_share)
    return np.where(chance < 1, (equal - chance) / np.where(chance < 1, 1 - chance, 1), 0.0)


def _working_copies(
    maps: NDArray[np.floating[Any]], picture: Image.Image | NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Picture (h, w, 3) and highest map (h, w) at the working size."""
    rgb = np.asarray(picture.convert("RGB") if isinstance(picture, Image.Image) else picture)
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
        raise PictureError(f"a picture is a PIL image or uint8 RGB (H, W, 3); got {rgb.dtype} {rgb.shape}")
    if maps.ndim != 3 or not np.issubdtype(maps.dtype, np.floating) or 0 in maps.shape[1:]:
        raise PictureError(f"maps are floats (K, h, w); got {maps.dtype} {maps.shape}")
    if maps.size and not (maps.min() >= 0 and maps.max() <= 1):
        raise PictureError(
            f"maps hold values between 0 and 1; got {maps.min():g} to {maps.max():g}; divide each by its maximum"
        )
    factor = WORKING_SIDE / max(rgb.shape[:2])
    height, width = (max(1, round(side * factor)) for side in rgb.shape[:2])
    foreground = np.zeros((height, width), dtype=np.float32)
    for one in maps.astype(np.float32):
        foreground = np.maximum(foreground, cv2.resize(one, (width, height), interpolation=cv2.INTER_LINEAR))
    return cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8), foreground


def _best(curve: Sequence[float] | Curve, thresholds: Sequence[float] | Curve) -> float:
    """The threshold in the middle of the longest run of highest scores (the lower one of two middles).

    At the end of a plateau the next step is a fall; the middle is farthest from both, so it is the safest for other
    pictures, and it does not depend on the direction of the sweep.
    """
    candidates, scores = check_thresholds(list(thresholds)), np.asarray(curve, dtype=np.float64)
    if scores.shape != candidates.shape:
        raise SettingError(f"one score for each of {len(candidates)} thresholds; got shape {scores.shape}")
    if np.isnan(scores).all():
        raise SettingError("no threshold has a score; evaluate pictures whose truth is not ignored everywhere")
    highest = np.concatenate([[False], scores >= np.nanmax(scores) - _SAME, [False]])
    starts, ends = np.flatnonzero(~highest[:-1] & highest[1:]), np.flatnonzero(highest[:-1] & ~highest[1:])
    longest = int((ends - starts).argmax())
    return float(candidates[(starts[longest] + ends[longest] - 1) // 2])
