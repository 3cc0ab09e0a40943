"""Masks that were corrected in another tool, brought back into the run that they came from."""

import difflib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from advcam.datasets.pictures import read_picture
from advcam.errors import AdvcamError, DatasetError, LabelError, SettingError
from advcam.export.annotated import Classes, ImportedMask
from advcam.export.catalogue import FORMATS, find_format
from advcam.export.voc import Voc
from advcam.pipeline.album import Album
from advcam.pipeline.exporting import Watcher
from advcam.pipeline.picture_names import PictureNames
from advcam.store.corrections import Review
from advcam.types import IGNORE, Mask


@dataclass
class ImportSummary:
    """What an import brought.

    Args:
        run: Folder of the run.
        format: Name of the format.
        unchanged: Pictures whose mask is what the run has.
        corrected: Those that have a corrected mask now.
        replaced: Of them, those that had another corrected mask before.
        unknown: Names that belong to no picture of the run.
    """

    run: str
    format: str
    unchanged: int = 0
    corrected: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def import_masks(format_name: str, folder: Path, album: Album, watcher: Watcher) -> ImportSummary:
    """Keep the masks of a format that differ from those of a run as its corrected masks.

    Everything is read and checked before the first mask is kept. Classes are matched by their names, upper and lower
    case alike. A mask as the run made it says nothing against a correction that the picture has got meanwhile.

    Args:
        format_name: See `advcam.export.catalogue.FORMATS`.
        folder: Or file, as the tool gives it.
        album: The run.
        watcher: Hears of each mask, first when it is checked, then when it is kept.

    Raises:
        SettingError: There is no such format, or no masks can be read from it.
        LabelError: A mask shows a class that the run does not have.
        DatasetError: The files are broken, none belongs to the run, two belong to one picture, or a mask has another
            size than its picture.
        RunError: A mask cannot be kept, or was changed elsewhere meanwhile.
    """
    job = _Import(format_name, folder, album)
    summary = ImportSummary(str(album.folder), format_name)
    watcher.start("check", len(album.samples))
    for change in job.checked(summary):
        if change.mask is not None:
            summary.corrected.append(change.id)
            summary.replaced += [change.id] if change.review.mask is not None else []
        watcher.step()
    watcher.start("keep", len(summary.corrected))
    for change in job.changes(ImportSummary(str(album.folder), format_name)) if summary.corrected else ():
        if change.mask is not None:
            album.corrections.save_mask(change.id, album.names[change.id], change.mask, change.review.revision)
            watcher.step()
    return summary


@dataclass(frozen=True, eq=False)
class _Change:
    """A picture that the files have.

    Args:
        id: Of the picture.
        mask: In the numbers of the run; None where it is what the run has.
        review: Of the picture when that was found out.
    """

    id: str
    mask: Mask | None
    review: Review


class _Import:
    def __init__(self, format_name: str, folder: Path, album: Album) -> None:
        self.format, self.folder, self.album = find_format(format_name), folder, album
        if not self.format.readable:
            readable = ", ".join(name for name, one in FORMATS.items() if one.readable)
            raise SettingError(f"no masks can be read from the format {format_name}; they can from {readable}")
        if not folder.exists():
            raise DatasetError(f"{folder} does not exist; name the folder, or the file, that the tool has written")
        self.names = PictureNames(album.names)
        self.seen: dict[str, str] = {}  # names in the files, by the ids of the pictures

    def checked(self, summary: ImportSummary) -> Iterator[_Change]:
        """As `changes`; where no mask of the run can be read, an error names another format that fits the files."""
        try:
            yield from self.changes(summary)
        except DatasetError as error:
            other = None if self.seen else self._other_format()
            if other is None:
                raise
            raise DatasetError(f"{error}; this looks like {other}: --format {other}") from error

    def _other_format(self) -> str | None:
        """A format whose first mask can be read here and is of the run; VOC, which takes any PNG, comes last."""
        readable = [name for name, one in FORMATS.items() if one.readable and name != self.format.name]
        for name in sorted(readable, key=lambda name: name == Voc.name):
            with suppress(AdvcamError, StopIteration):
                first = next(iter(FORMATS[name].read(self.folder, self.album.classes)))
                if self.names.find(first.name) is not None:
                    return name
        return None

    def changes(self, summary: ImportSummary) -> Iterator[_Change]:
        """The pictures that the files have; those that are unknown or unchanged are counted."""
        self.seen = seen = dict[str, str]()
        for found in self.format.read(self.folder, self.album.classes):
            id_ = self.names.find(found.name)
            if id_ is None:
                summary.unknown.append(found.name)
                continue
            if id_ in seen:
                raise DatasetError(
                    f"{self.folder} has two masks of {id_}: {seen[id_]} and {found.name}; keep one of them"
                )
            seen[id_] = found.name
            change = self._change(id_, found)
            summary.unchanged += change.mask is None
            yield change
        if not seen:
            first = f", {summary.unknown[0]} for one" if summary.unknown else ""
            raise DatasetError(
                f"{self.folder} holds no mask of a picture of {self.album.folder} ({len(summary.unknown)} of "
                f"others{first}); the names there are {next(iter(self.album.names), 'none')} and the like"
            )

    def _change(self, id_: str, found: ImportedMask) -> _Change:
        album, review = self.album, self.album.corrections.review(id_)
        mask, final = self._renumbered(found), album.final_mask(id_)
        width, height = read_picture(album.sample(id_).path).size if final is None else final.shape[::-1]
        if mask.shape != (height, width):
            raise DatasetError(
                f"{self.folder}: the mask of {found.name} is {mask.shape[1]} x {mask.shape[0]}, the picture "
                f"{width} x {height} pixels; export it in the size of the picture"
            )
        known = [final, album.own_mask(id_) if review.mask is not None else None]
        if any(one is not None and np.array_equal(self._decided(mask, one), one) for one in known):
            return _Change(id_, None, review)
        return _Change(id_, self._decided(mask, final), review)

    def _decided(self, mask: Mask, known: Mask | None) -> Mask:
        """A mask as it is meant: where the format cannot say undecided, nobody has changed what is."""
        if self.format.undecided or known is None or known.shape != mask.shape:
            return mask
        return np.where((mask == 0) & (known == IGNORE), IGNORE, mask)

    def _renumbered(self, found: ImportedMask) -> Mask:
        """A mask in the numbers of the run."""
        numbers = np.flatnonzero(np.bincount(found.mask.ravel()))
        table = np.zeros(int(numbers[-1]) + 1, dtype=np.int32)
        for number in numbers.tolist():
            keeps = number in (0, IGNORE)
            table[number] = number if keeps else self._number(number, found.names, found.name)
        renumbered: Mask = table[found.mask]
        return renumbered

    def _number(self, number: int, names: Classes, picture: str) -> int:
        """Number in the run of a class of the files."""
        classes, name = self.album.classes, names[number]
        if number in classes and _folded(classes[number]) == _folded(name):
            return number
        known = {_folded(classes[own]): own for own in sorted(classes, reverse=True)}
        if _folded(name) in known:
            return known[_folded(name)]
        near = difflib.get_close_matches(_folded(name), known, n=1)
        has = ", ".join(list(classes.values())[:20])
        advice = f"; did you mean {classes[known[near[0]]]!r}?" if near else f" ({has})"
        raise LabelError(f"the mask of {picture} shows the class {name!r}, which the run does not have{advice}")


def _folded(name: str) -> str:
    return name.strip().casefold()
