"""The report of `advcam localize`, from what lies in the run."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from advcam.attribution.registry import method_title
from advcam.datasets.pictures import read_picture
from advcam.errors import PictureError, RunError, counted
from advcam.pipeline.album.runs import LOCALIZE, LocalizeAlbum
from advcam.pipeline.evaluation.stored import EVALUATION, read_evaluation
from advcam.pipeline.reporting.choosing import chosen
from advcam.pipeline.reporting.localizing import TITLE, localize_sections
from advcam.pipeline.reporting.making import cost_of, version_of
from advcam.pipeline.reporting.pictures import reviews_in_words
from advcam.pipeline.reporting.scores import (
    Scored,
    class_section,
    confusion_section,
    curve_section,
    merged_notes,
    score_tables,
)
from advcam.pipeline.reporting.summary import read_summary
from advcam.pipeline.targets import evenly
from advcam.report.page import ReportPicture, ReportSummary, write_report
from advcam.store.maps import MapStore
from advcam.store.places import Place
from advcam.types import Sample


def write_localize_report(album: LocalizeAlbum, out: Place, count: int) -> list[str]:
    """Write the report of a localization anew.

    Args:
        album: The run.
        out: Of the file.
        count: Most pictures that are shown.

    Returns:
        What of the run is missing or damaged, one line each.

    Raises:
        RunError: It cannot be written, or the maps are damaged.
    """
    settings, summary = album.settings, read_summary(album.folder)
    index = MapStore(album.stores[LOCALIZE]).index()
    finished = [sample for sample in album.samples if sample.id in index]
    title = method_title(settings.method.method)
    scored, broken = stored_scores(album)
    missing = [*broken, *summary.missing, *_missing(album, finished, summary.skipped)]
    sections = replace(
        localize_sections(settings, album.samples),
        notes=[*missing, *summary.notes, *merged_notes([scored])],
        scores=score_tables(scored),
        curves=curve_section(scored),
        classes=[one for stage in scored.results for one in class_section(scored, stage)],
        confusions=[one for stage in scored.results for one in confusion_section(scored, stage)],
        cost=cost_of(album.folder),
    )
    facts = [*(summary.facts or _facts(album, title)), *reviews_in_words(album)]
    told = ReportSummary(TITLE, title, facts, len(finished), summary.skipped, settings.outputs.threshold, ())
    write_report(out, told, _pictures(album, finished, count, scored), sections)
    return missing


def _missing(album: LocalizeAlbum, finished: Sequence[Sample], skipped: Sequence[tuple[str, str]]) -> list[str]:
    """What is gone of the run, or was not made yet."""
    parts = {"maps": "The maps are gone", "masks": "The masks are gone", "boxes.json": "The boxes are gone"}
    gone = [
        f"{words}: advcam verify {album.folder} makes them again."
        for name, words in parts.items()
        if not (album.folder / name).exists()
    ]
    to_come = len(album.samples) - len({sample.id for sample in finished} | {id_ for id_, _ in skipped})
    if to_come and album.map_stages:
        gone.append(f"{counted(to_come, 'picture')} of {len(album.samples):,} have no maps; they are to come.")
    return gone


def _facts(album: LocalizeAlbum, method: str) -> list[tuple[str, str]]:
    """How a run was made that does not say it in its summary."""
    settings = album.settings
    of_dataset = settings.data is not None and settings.labels != "predicted"
    return [
        ("Classifier", settings.model.model),
        ("Method", method),
        ("Threshold", f"{settings.outputs.threshold:g}"),
        ("Labels", f"of the split {settings.split}" if of_dataset else settings.labels),
        ("advcam", version_of(album.folder)),
    ]


def stored_scores(album: LocalizeAlbum) -> tuple[Scored, list[str]]:
    """Evaluations that lie in the run (`advcam evaluate RUN --out RUN/evaluation`), and what is wrong with others."""
    found, broken = {}, []
    for path in sorted({*album.folder.glob(EVALUATION), *album.folder.glob(f"*/{EVALUATION}")}):
        try:
            result = read_evaluation(path)
        except RunError as error:
            broken.append(str(error))
            continue
        found[LOCALIZE if path.parent == album.folder else path.parent.name] = result
    splits = {result.split for result in found.values()}
    return Scored(", ".join(sorted(splits)), found), broken


def _pictures(album: LocalizeAlbum, finished: Sequence[Sample], count: int, scored: Scored) -> Iterator[ReportPicture]:
    """The worst and the best first where they were scored."""
    scores: Mapping[str, float] = next((one.picture_scores for one in scored.results.values()), {})
    groups = chosen(finished, count, scores, {}, "among all pictures") if scores else [("", evenly(finished, count))]
    for heading, members in groups:
        for sample in members:
            with suppress(PictureError):  # broken since its maps were made
                yield _picture(album, sample, heading)


def _picture(album: LocalizeAlbum, sample: Sample, group: str) -> ReportPicture:
    row, settings = album.maps(LOCALIZE, sample.id), album.settings.outputs
    if row is None:
        raise PictureError(f"{sample.id} has no maps any more")
    mask = album.final_mask(sample.id)
    mask = np.zeros(row.attribution.image_size, np.int32) if mask is None else mask
    return ReportPicture(
        sample.id,
        read_picture(sample.path),
        row.attribution,
        mask,
        {number: name for number, name in album.classes.items() if (mask == number).any()},
        row.step_scores,
        row.attribution.boxes(settings.threshold, settings.boxes),
        group,
    )
