"""What one climb says of every shorter one: scores for each number of steps, choice of scales and mask threshold.

The maps of a climb are added up raw over the steps, joined over scales and divided by their maximum at the end, and
scales do not know of each other. So the recorded maps of one climb of the most steps at all scales hold, to the last
term, the result of every climb of fewer steps at some of the scales; T = 0 is the plain class activation map.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from advcam.attribution.fusion import Fusion, fuse_scales, resize
from advcam.errors import RunError
from advcam.evaluate.pixels import ratio
from advcam.evaluate.segmentation import SeedSweep
from advcam.store.files import replacing
from advcam.types import Attribution, FloatArray, Mask

#: Mask thresholds that are tried. A few pictures do not tell finer ones apart.
THRESHOLDS: tuple[float, ...] = tuple(step / 50 for step in range(1, 50))

Terms = NDArray[np.float64]
Sums = NDArray[np.floating[Any]]


@dataclass(frozen=True, order=True)
class Extent:
    """How far a climb goes: its steps T (0 is the plain class activation map) and its scales."""

    iterations: int
    scales: tuple[float, ...]

    @property
    def passes(self) -> float:
        """Network passes of one view at scale 1 for one (picture, class) and its flip, as `Method.cost` counts."""
        return 2 * (2 * self.iterations + 1) * sum(scale**2 for scale in self.scales)


def extents_within(longest: Extent, fewest_steps: int = 0) -> tuple[Extent, ...]:
    """Every extent that a climb of the longest one holds."""
    choices = [subset for size in range(1, len(longest.scales) + 1) for subset in combinations(longest.scales, size)]
    return tuple(Extent(t, scales) for scales in choices for t in range(fewest_steps, longest.iterations + 1))


def fused_maps(attribution: Attribution, extents: Sequence[Extent], fusion: Fusion) -> Iterator[FloatArray]:
    """The maps (C, h, w) that a climb of each extent would have given, from the recorded maps of a longer one."""
    grid = (attribution.maps.shape[1], attribution.maps.shape[2])
    recorded = {
        scale: np.stack([t.maps for t in attribution.trajectories if t.scale == scale])
        for scale in {t.scale for t in attribution.trajectories}
    }
    sums = {scale: resize(torch.from_numpy(maps).cumsum(dim=1), grid) for scale, maps in recorded.items()}
    for extent in extents:
        chosen = [sums[scale][:, extent.iterations] for scale in extent.scales]
        total = fuse_scales(chosen, [extent.iterations + 1] * len(chosen), fusion).numpy()
        peak = total.max(axis=(1, 2), keepdims=True)
        yield np.divide(total, peak, out=total, where=peak > 0)


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Intersection and union of each picture and class, for every extent and threshold.

    Only the classes that a picture's mask or labels hold have an entry; of all others both are 0.

    Args:
        extents: G of them.
        pictures: Picture of each entry, (E,), counted from 0.
        classes: Its class, (E,): 0 background, class number + 1.
        right: Pixels that are the class and are predicted as it, (E, G, H) over the H of `THRESHOLDS`.
        union: Pixels that are the class or are predicted as it, (E, G, H).
    """

    extents: tuple[Extent, ...]
    pictures: NDArray[np.int32]
    classes: NDArray[np.int32]
    right: NDArray[np.int32]
    union: NDArray[np.int32]

    @classmethod
    def of_picture(
        cls,
        number: int,
        attribution: Attribution,
        class_ids: Sequence[int],
        targets: Sequence[int],
        truth: Mask,
        extents: Sequence[Extent],
        fusion: Fusion,
    ) -> "ScoreTable":
        """The entries of one picture.

        Args:
            number: Of the picture.
            attribution: With recorded maps.
            class_ids: Classes of its labels in the data set, counted from 0.
            targets: The class of the attribution that stands for each of them.
            truth: (H, W): 0 background, class of the data set + 1, 255 ignored.
            extents: What to score.
            fusion: How scales are joined.
        """
        labels = [class_id + 1 for class_id in class_ids]
        classes = sorted({0, *labels, *np.unique(truth).tolist()} - {255})
        # A picture has few classes: numbered among themselves they make small confusion matrices.
        local = np.full(256, 255, dtype=np.int32)
        local[classes] = np.arange(len(classes))
        seeds = [classes.index(label) - 1 for label in labels]
        rows = [attribution.class_ids.index(target) for target in targets]
        right, union = np.zeros((2, len(classes), len(extents), len(THRESHOLDS)), dtype=np.int32)
        for column, maps in enumerate(fused_maps(attribution, extents, fusion)):
            sweep = SeedSweep(len(classes), THRESHOLDS)
            full_size = replace(attribution, maps=maps).upsample().clip(0, 1)
            sweep.add(local[truth], full_size[rows], seeds)
            right[:, column], union[:, column] = _terms(sweep)
        entries = np.full(len(classes), number, dtype=np.int32)
        return cls(tuple(extents), entries, np.array(classes, dtype=np.int32), right, union)

    @classmethod
    def joined(cls, parts: Sequence["ScoreTable"]) -> "ScoreTable":
        """The entries of several pictures with the same extents."""
        names = ("pictures", "classes", "right", "union")
        arrays = (np.concatenate([getattr(part, name) for part in parts]) for name in names)
        return cls(parts[0].extents, *arrays)

    def miou(self, pictures: Sequence[int] | NDArray[np.integer[Any]]) -> Terms:
        """MIoU over some pictures, pixels pooled, for every extent and threshold, (G, H).

        The mean is over the classes that truth or prediction holds, the background included.
        """
        kept = np.isin(self.pictures, pictures)
        classes, place = np.unique(self.classes[kept], return_inverse=True)
        member = np.zeros((len(classes), kept.sum()))
        member[place, np.arange(len(place))] = 1
        right, union = (np.tensordot(member, pixels[kept], 1) for pixels in (self.right, self.union))
        present = (union > 0).sum(axis=0)
        return np.asarray(np.nansum(ratio(right, union), axis=0) / np.maximum(present, 1))

    def terms(self, extent: Extent, threshold: float, pictures: Sequence[int], num_classes: int) -> tuple[Terms, Terms]:
        """Intersection and union of some pictures, both (P, C), for one extent and threshold."""
        column, row = self.extents.index(extent), THRESHOLDS.index(threshold)
        place = {picture: index for index, picture in enumerate(pictures)}
        right, union = np.zeros((2, len(place), num_classes))
        for entry, (picture, class_id) in enumerate(zip(self.pictures.tolist(), self.classes.tolist(), strict=True)):
            if picture in place:
                right[place[picture], class_id] = self.right[entry, column, row]
                union[place[picture], class_id] = self.union[entry, column, row]
        return right, union

    def write(self, path: Path) -> None:
        """Write the entries; the extents are the caller's to know.

        Raises:
            RunError: The file cannot be written.
        """
        with replacing(path) as file:
            np.savez_compressed(file, pictures=self.pictures, classes=self.classes, right=self.right, union=self.union)

    @classmethod
    def read(cls, path: Path, extents: tuple[Extent, ...]) -> "ScoreTable":
        """Read what `write` wrote.

        Raises:
            RunError: The file is missing or damaged, or of other extents.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                table = cls(extents, *(arrays[name] for name in ("pictures", "classes", "right", "union")))
        except Exception as error:  # zipfile, zlib and numpy raise what they like
            raise RunError(f"{path} cannot be read; delete the folder of the search and start it anew") from error
        if table.right.shape != (len(table.pictures), len(extents), len(THRESHOLDS)):
            raise RunError(f"{path} is of another search; delete the folder of the search and start it anew")
        return table


def mean_iou(right: Sums, union: Sums) -> Terms:
    """Mean over the classes whose union is not 0, (.., C) to (..)."""
    shares = ratio(right, union)
    return np.asarray(np.nansum(shares, axis=-1) / np.maximum((~np.isnan(shares)).sum(axis=-1), 1))


def _terms(sweep: SeedSweep) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Intersection and union of each class at every threshold, both (C, H)."""
    counts = np.stack([sweep.confusion(index).counts for index in range(len(THRESHOLDS))], axis=-1)
    right = np.einsum("cch->ch", counts)
    return right, counts.sum(axis=0) + counts.sum(axis=1) - right
