"""Pictures of a run, with their final masks, in the format of another tool."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import numpy as np

import advcam
from advcam.errors import AdvcamError, DatasetError, PictureError, SettingError, one_line
from advcam.evaluate.score_maps import score_map
from advcam.export.annotated import AnnotatedPicture
from advcam.export.catalogue import SCORE_MAPS, find_format
from advcam.export.format import Format
from advcam.export.score_maps import write_score_map
from advcam.pipeline.album import Album
from advcam.pipeline.album.skipped import skipped_by_run
from advcam.pipeline.export_folder import new_export, write_marker
from advcam.pipeline.flow import read_ahead
from advcam.store.corrections import Review
from advcam.store.reading import inside
from advcam.types import IGNORE, FloatArray, Sample

#: Which pictures: all that were not rejected, or those that somebody accepted or corrected.
Only = Literal["all", "accepted"]
_AHEAD = 16  # pictures that are read ahead
Made = TypeVar("Made")


class Watcher(Protocol):
    """Who watches an export."""

    def start(self, words: str, total: int) -> None:
        """Work on so many pictures begins."""

    def step(self) -> None:
        """One more picture is done with."""


@dataclass
class ExportSummary:
    """What an export holds; `advcam-export.json`.

    Args:
        run: Folder of the run.
        format: Name of the format.
        classes: Name of each class by its number in the masks.
        only: Which pictures were asked for.
        pictures: That it holds.
        corrected: Of them, those whose mask was corrected.
        rejected: Pictures that were left out since somebody rejected them.
        unreviewed: Left out since nobody accepted them, where only those were asked for.
        unmade: Left out since the run itself had skipped them, and why.
        skipped: Pictures that could not be exported, and why.
        seconds: That it took.
        version: Of advcam.
    """

    run: str
    format: str
    classes: dict[int, str]
    only: Only
    pictures: int = 0
    corrected: int = 0
    rejected: int = 0
    unreviewed: int = 0
    unmade: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0
    version: str = advcam.__version__


def export_run(album: Album, format_name: str, out: Path, only: Only, watcher: Watcher) -> ExportSummary:
    """Write the pictures of a run, corrected masks in the place of its own, into a new folder.

    Args:
        album: The run; pictures without a mask are skipped, as are those whose mask is damaged.
        format_name: See `advcam.export.catalogue.FORMATS`; "score-maps" for the last maps.
        out: A new or empty folder, or an export that nobody changed, which is replaced.
        only: Which pictures.
        watcher: Hears of each picture.

    Raises:
        SettingError: There is no such format, it cannot hold the classes, or nothing is left to export.
        RunError: The folder holds something else, or cannot be written. It is then as it was.
    """
    summary = ExportSummary(str(album.folder), format_name, dict(album.classes), only)
    started, opened = time.monotonic(), _outlet(album, format_name)
    chosen = _chosen(album, summary)
    with new_export(out) as folder:
        with opened(folder) as outlet:
            watcher.start(f"export as {format_name}", len(chosen))
            for sample, reading in read_ahead(chosen, outlet.read, outlet.ahead):
                _note(summary, sample.id, _refused(reading.result, outlet.write))
                watcher.step()
            _check_any(album, summary)
        summary.corrected = len(_corrected(album, chosen) - {id_ for id_, _ in summary.skipped})
        summary.seconds = round(time.monotonic() - started, 1)
        write_marker(folder, asdict(summary))
    return summary


@dataclass(frozen=True)
class _Outlet:
    """What is read of a picture, and where that is written."""

    read: Callable[[Sample], Any]
    write: Callable[[Any], None]
    ahead: int


def _outlet(album: Album, format_name: str) -> Callable[[Path], AbstractContextManager[_Outlet]]:
    """What writes a format into a folder, once it is known that it can."""
    if format_name == SCORE_MAPS:
        if not album.map_stages:
            raise SettingError(f"{album.folder} has no maps; name a run of advcam localize or advcam run")
        return partial(_score_maps, album)
    format_ = find_format(format_name)
    format_.check(album.classes)
    return partial(_masks, album, format_)


@contextmanager
def _masks(album: Album, format_: Format, folder: Path) -> Iterator[_Outlet]:
    with format_.writer(folder, album.classes) as writer:
        yield _Outlet(partial(_annotated, album), writer.add, _AHEAD)


@contextmanager
def _score_maps(album: Album, folder: Path) -> Iterator[_Outlet]:
    yield _Outlet(partial(_scores, album), lambda made: write_score_map(folder, *made), 1)  # one reader of the store


def _chosen(album: Album, summary: ExportSummary) -> list[Sample]:
    """The pictures that nobody left out; the others are counted."""
    reviews, chosen, unusable = album.corrections.reviews(), list[Sample](), skipped_by_run(album)
    for sample in album.samples:
        status = reviews.get(sample.id, Review()).status
        if status == "rejected":
            summary.rejected += 1
        elif status == "open" and summary.only == "accepted":
            summary.unreviewed += 1
        elif sample.id in unusable and not _is_made(album, summary.format, sample.id):
            summary.unmade.append((sample.id, unusable[sample.id]))
        else:
            chosen.append(sample)
    return chosen


def _is_made(album: Album, format_name: str, id_: str) -> bool:
    """Whether there is something of a picture to export; what is damaged is there."""
    with suppress(AdvcamError):
        found = album.maps(album.map_stages[-1], id_) if format_name == SCORE_MAPS else album.final_mask(id_)
        return found is not None
    return True


def _corrected(album: Album, samples: Sequence[Sample]) -> set[str]:
    """Those of the pictures whose mask was corrected."""
    return album.corrections.masks().keys() & {sample.id for sample in samples}


def _annotated(album: Album, sample: Sample) -> AnnotatedPicture:
    """A picture with its mask.

    Raises:
        AdvcamError: It has none yet, or a damaged one, or one of other classes.
    """
    picture = album.annotated(sample.id)
    if picture is None:
        raise PictureError("the run has no mask of it")
    _check_name(picture)
    used = set(np.flatnonzero(np.bincount(picture.mask.ravel())).tolist()) - {0, IGNORE}
    used |= {one.class_id + 1 for one in picture.objects} | set(picture.labels)
    unknown = sorted(used - album.classes.keys())
    if unknown:
        raise PictureError(f"its mask holds the number {unknown[0]}, which is no class of the run")
    return picture


def _scores(album: Album, sample: Sample) -> tuple[str, FloatArray]:
    """Id and map of a picture of one class.

    Raises:
        AdvcamError: It has no map, or several.
    """
    row = album.maps(album.map_stages[-1], sample.id)
    if row is None:
        raise PictureError("the run has no map of it")
    maps = row.attribution.maps
    if len(maps) != 1:
        raise PictureError(f"it has maps of {len(maps)} classes; the evaluator knows pictures of one class")
    return sample.id, score_map(maps[0]).astype(np.float32)


def _check_name(picture: AnnotatedPicture) -> None:
    """Raise `AdvcamError` for a name that leads out of a folder, or that is not UTF-8, which no list can hold."""
    try:
        for name in (picture.id, picture.name):
            name.encode()
            inside(Path(), name)
    except UnicodeEncodeError as error:
        raise PictureError("its name is no text in UTF-8; rename it and run again") from error


def _refused(read: Callable[[], Made], write: Callable[[Made], None]) -> str | None:
    """Write what was read of a picture; else why it could not be read, or why the format does not take it."""
    try:
        made = read()
    except AdvcamError as error:
        return one_line(error)
    try:
        write(made)
    except (SettingError, PictureError, DatasetError) as error:
        return one_line(error)
    return None


def _note(summary: ExportSummary, id_: str, refused: str | None) -> None:
    if refused is None:
        summary.pictures += 1
    else:
        summary.skipped.append((id_, refused))


def _check_any(album: Album, summary: ExportSummary) -> None:
    """Raise `SettingError` where no picture was written."""
    if summary.pictures:
        return
    reasons = [f"{summary.rejected} are rejected"] if summary.rejected else []
    reasons += [f"{summary.unreviewed} are neither accepted nor corrected"] if summary.unreviewed else []
    reasons += [f"{id_}: {reason}" for id_, reason in (*summary.skipped, *summary.unmade)[:1]]
    raise SettingError(f"{album.folder} has nothing to export: {'; '.join(reasons) or 'it has no pictures'}")
