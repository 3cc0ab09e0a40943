"""Where the masks of runs disagree, picture by picture."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np

from advcam.datasets.pictures import read_picture
from advcam.errors import PictureError, counted
from advcam.pipeline.album.album import Album
from advcam.pipeline.album.classes import ClassTable
from advcam.pipeline.targets import evenly
from advcam.report.compare_page import ComparedPicture
from advcam.types import IGNORE, Mask, Sample

#: Common pictures whose masks are looked at.
LOOKED_AT = 200


class MaskDifferences:
    """The final masks of runs on the pictures that they share by id; classes are compared by their names.

    Args:
        albums: Of the runs, the first is compared with each of the others.
        names: Of the runs.
    """

    def __init__(self, albums: Sequence[Album], names: Sequence[str]) -> None:
        self.albums, self.names = albums, names
        known = dict.fromkeys(name for album in albums for name in album.classes.values())
        self.table = ClassTable.of(tuple(known))
        ids = [{sample.id for sample in album.samples} for album in albums]
        self.common = [sample for sample in albums[0].samples if all(sample.id in others for others in ids[1:])]
        self.looked_at = evenly(self.common, LOOKED_AT)
        self.shares = self._shares()

    def in_words(self) -> list[str]:
        """How many pictures are shared, and how much each run disagrees with the first."""
        if not self.common:
            return ["The runs share no picture, so their masks are not compared."]
        sizes = ", ".join(f"{name} {len(a.samples):,}" for name, a in zip(self.names, self.albums, strict=True))
        words = [f"The runs share {counted(len(self.common), 'picture')} by name ({sizes})."]
        if len(self.looked_at) < len(self.common):
            words.append(f"{len(self.looked_at):,} of them, evenly spread, were compared.")
        for place, name in enumerate(self.names[1:]):
            found = [row[place] for row in self.shares.values()]
            known = [share for share in found if share is not None]
            if known:
                share = f"{100 * float(np.mean(known)):.1f} % of the pixels"
                words.append(
                    f"{name} and {self.names[0]} give another class to {share}, in the mean of "
                    f"{counted(len(known), 'picture')}; pixels that one leaves undecided do not count."
                )
        return words

    def shown(self, count: int) -> Iterator[ComparedPicture]:
        """At most so many pictures, those of the largest differences first; those without any are left out."""
        largest = {id_: max((share or 0.0 for share in row), default=0.0) for id_, row in self.shares.items()}
        order = sorted((sample for sample in self.looked_at if largest[sample.id] > 0), key=lambda s: -largest[s.id])
        for sample in order[:count]:
            with suppress(PictureError):  # broken since
                yield self._picture(sample)

    def _picture(self, sample: Sample) -> ComparedPicture:
        truth = next((mask for album in self.albums if (mask := self._truth(album, sample.id)) is not None), None)
        parts = [
            f"{name} differs in {100 * share:.0f} %"
            for name, share in zip(self.names[1:], self.shares[sample.id], strict=True)
            if share is not None
        ]
        masks = [self._mask(album, sample.id) for album in self.albums]
        return ComparedPicture(sample.id, read_picture(sample.path), masks, truth, self.table.names, ", ".join(parts))

    def _shares(self) -> dict[str, list[float | None]]:
        """Share of the pixels that each other run gives another class than the first; None where one has no mask."""
        found = {}
        for sample in self.looked_at:
            first, *others = (self._mask(album, sample.id) for album in self.albums)
            found[sample.id] = [disagreement(first, other) for other in others]
        return found

    def _mask(self, album: Album, id_: str) -> Mask | None:
        with suppress(PictureError):  # a damaged mask is none
            mask = album.final_mask(id_)
            return None if mask is None else self.table.renumbered(mask, album.table)
        return None

    def _truth(self, album: Album, id_: str) -> Mask | None:
        mask = album.truth(id_)
        return None if mask is None else self.table.renumbered(mask, album.table)


def disagreement(one: Mask | None, other: Mask | None) -> float | None:
    """Share of the pixels (0 to 1) to which two masks (H, W) give different classes, of those that both decide.

    None where one of them is missing, or has another size.
    """
    if one is None or other is None or one.shape != other.shape:
        return None
    decided = (one != IGNORE) & (other != IGNORE)
    return float((one != other)[decided].mean()) if decided.any() else 0.0
