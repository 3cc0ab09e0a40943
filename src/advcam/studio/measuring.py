"""What is found out of one picture, so that the doubtful ones can be looked at first."""

from contextlib import suppress
from dataclasses import dataclass

import cv2
import numpy as np

from advcam.datasets.pictures import read_picture
from advcam.errors import PictureError, one_line, printable
from advcam.pipeline.album import Album
from advcam.pseudo.confidence import class_confidence
from advcam.store.maps import StoredMaps
from advcam.studio.pictures import THUMBNAIL, seen_size
from advcam.types import IGNORE, Mask


@dataclass(frozen=True)
class Measured:
    """A picture in numbers.

    Args:
        fingerprint: Of its files.
        labels: Numbers of the classes that it is known to show.
        shown: Numbers of the classes in its mask.
        confidence: Of its least sure class, in [0, 1].
        disagreement: 1 - IoU of the foregrounds of the first and the last stage.
        iou: Mean IoU of the mask over the classes of mask and truth.
        masked: Whether it has a mask.
        problem: Why the picture itself cannot be read; empty where it can.
    """

    fingerprint: int
    labels: tuple[int, ...] = ()
    shown: tuple[int, ...] = ()
    confidence: float | None = None
    disagreement: float | None = None
    iou: float | None = None
    masked: bool = False
    problem: str = ""

    @property
    def vanished(self) -> tuple[int, ...]:
        """Classes that it is known to show, without a pixel in the mask."""
        return tuple(number for number in self.labels if number not in self.shown) if self.masked else ()

    @property
    def classes(self) -> frozenset[int]:
        """Classes that it is known to show, or whose pixels it has."""
        return frozenset((*self.labels, *self.shown))

    @property
    def doubt(self) -> float:
        """How doubtful it is, in [0, 1]; see `advcam.studio.listing`."""
        unsure = [] if self.confidence is None else [1 - self.confidence]
        known = unsure if self.disagreement is None else [*unsure, self.disagreement]
        return (bool(self.vanished) + (sum(known) / len(known) if known else 0.0)) / 2


def measure(album: Album, id_: str, fingerprint: int) -> Measured:
    """Look at a picture: at its mask, maps and truth, and whether it can be read.

    Args:
        album: Of the picture.
        id_: The picture.
        fingerprint: Of its files.

    Raises:
        AdvcamError: Something of it is damaged.
    """
    mask, truth = album.final_mask(id_), album.truth(id_)
    scored = [] if mask is None or truth is None else list(class_ious(mask, truth).values())
    return Measured(
        fingerprint,
        album.labels(id_),
        () if mask is None else numbers_in(mask),
        _least_confidence(album, id_, mask),
        album.disagreement(id_),
        float(np.mean(scored)) if scored else None,
        mask is not None,
        picture_problem(album, id_, mask is None),
    )


def picture_problem(album: Album, id_: str, decoded: bool = False) -> str:
    """Why a picture cannot be read, in words without its folder; empty where it can.

    Args:
        album: Of the picture.
        id_: The picture.
        decoded: Whether to decode it; its header alone is enough where a run has made something of it.
    """
    path = album.sample(id_).path
    if not decoded:
        with suppress(PictureError):
            seen_size(path)
            return ""
    try:
        read_picture(path, THUMBNAIL)
    except PictureError as error:
        return printable(one_line(error).replace(str(path), path.name))
    return ""


def numbers_in(mask: Mask) -> tuple[int, ...]:
    """Class numbers in a mask, ascending, without background and undecided."""
    return tuple(number for number in np.flatnonzero(np.bincount(mask.ravel())).tolist() if number not in (0, IGNORE))


def class_ious(mask: Mask, truth: Mask) -> dict[int, float]:
    """IoU of each class that a mask or the truth (H, W) shows; undecided pixels of the truth are left out.

    None of it where the two have different sizes.
    """
    if mask.shape != truth.shape:
        return {}
    counted = truth != IGNORE
    seen, true = mask[counted], truth[counted]
    found = {}
    for number in sorted({*numbers_in(seen), *numbers_in(true)}):
        ours, theirs = seen == number, true == number
        found[number] = int((ours & theirs).sum()) / int((ours | theirs).sum())
    return found


def _least_confidence(album: Album, id_: str, mask: Mask | None) -> float | None:
    """That of the run, or of the last maps by the rule that runs use, on the grid of the maps."""
    said = album.confidence(id_)
    if said:
        return min(said.values())
    row = next((row for stage in reversed(album.map_stages) if (row := album.maps(stage, id_)) is not None), None)
    if row is None or mask is None or not row.attribution.class_ids:
        return None
    return _confidence_by_maps(album, row, mask)


def _confidence_by_maps(album: Album, row: StoredMaps, mask: Mask) -> float | None:
    maps = row.attribution.maps
    small = cv2.resize(mask, maps.shape[:0:-1], interpolation=cv2.INTER_NEAREST).astype(np.int32)
    numbers = [album.number_of(class_id) for class_id in row.attribution.class_ids]
    known = [place for place, number in enumerate(numbers) if number is not None]
    if not known:
        return None
    found = class_confidence(maps[known], small, tuple(number - 1 for number in numbers if number is not None))
    return float(found.min())
