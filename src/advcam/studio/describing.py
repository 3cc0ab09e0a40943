"""A run and its pictures in the words of the HTTP interface."""

from contextlib import suppress

import numpy as np

from advcam.attribution.advcam import AdvCAM
from advcam.attribution.gradients import CAM
from advcam.errors import AdvcamError, printable
from advcam.export.catalogue import SCORE_MAPS, describe_formats
from advcam.pipeline.album import Album
from advcam.pipeline.chain.localizing import BASELINE
from advcam.pipeline.chain.localizing import NAME as LOCALIZE
from advcam.store.corrections import Review
from advcam.store.maps import StoredMaps
from advcam.studio.answers import (
    BoxAnswer,
    ClassOfPicture,
    ClassOfRun,
    Counts,
    FormatOfExport,
    IndexState,
    Live,
    MapClass,
    PictureAnswer,
    PictureList,
    PictureRow,
    RunAnswer,
    StageOfPicture,
)
from advcam.studio.listing import Wanted
from advcam.studio.measuring import class_ious, picture_problem
from advcam.studio.pictures import class_colours, seen_size
from advcam.studio.run_method import climb_steps, climb_words, kept_localization, title_of
from advcam.studio.studio import Studio
from advcam.types import Box, Mask


def describe_run(studio: Studio) -> RunAnswer:
    """The run."""
    album, listing, counts = studio.album, studio.listing, studio.listing.counts()
    return RunAnswer(
        title=printable(album.title),
        kind=album.kind,
        folder=printable(str(album.folder)),
        facts=[(name, printable(value)) for name, value in album.facts],
        classes=[ClassOfRun(number=k, name=name, colour=colour_of(k)) for k, name in album.classes.items()],
        map_stages=list(album.map_stages),
        stage_titles={stage: _stage_title(album, stage) for stage in album.map_stages},
        mask_sets=list(album.mask_sets),
        threshold=album.threshold,
        thresholds={stage: album.threshold_of(stage) for stage in album.map_stages},
        background_power=album.background_power,
        band=album.band,
        counts=Counts(pictures=listing.total, **{str(status): count for status, count in counts.items()}),
        has_truth=listing.has_truth,
        formats=_formats(album),
        live=_live(studio),
        index=IndexState(ready=listing.done == listing.total, done=listing.done, total=listing.total),
        writing=studio.shelf.is_being_written,
    )


def _formats(album: Album) -> list[FormatOfExport]:
    """Those of masks, and that of maps where the run has any."""
    return [
        FormatOfExport(name=name, title=title, summary=summary)
        for name, title, summary in describe_formats()
        if name != SCORE_MAPS or album.map_stages
    ]


def _live(studio: Studio) -> Live:
    problem, method = studio.live.problem(), studio.method
    climbed = method is not None and method.method == AdvCAM.name
    return Live(
        available=not problem,
        model=studio.live.name,
        reason=problem,
        steps=climb_steps(method),
        run_steps=climb_steps(method) if climbed else None,
        settings=climb_words(method),
    )


def _stage_title(album: Album, stage: str) -> str:
    """Name of a stage for people; stages that refine maps are called by their method."""
    if stage == BASELINE:
        return CAM.title
    if stage == LOCALIZE:
        kept = kept_localization(album)
        return title_of(None if kept is None else kept.method)
    name = stage.removeprefix("refine-")
    return name.capitalize() if name == "affinity" else name.upper()


def describe_list(studio: Studio, wanted: Wanted, offset: int, limit: int) -> PictureList:
    """A page of the pictures that are wanted."""
    places, reviews = studio.listing.places(wanted), studio.album.corrections.reviews()
    shown = places[offset : offset + limit].tolist()
    rows = [_row(studio, place, reviews.get(studio.id_of(place), Review())) for place in shown]
    return PictureList(total=len(places), pictures=rows)


def describe_picture(studio: Studio, place: int) -> PictureAnswer:
    """One picture with all that is known of it.

    Raises:
        AdvcamError: It is gone, or something of it is damaged.
    """
    album, id_ = studio.album, studio.id_of(place)
    row = _row(studio, place, album.corrections.review(id_))
    width, height = seen_size(album.sample(id_).path)
    mask, truth = _readable(album, id_)
    return PictureAnswer(
        **row.model_dump(),
        width=width,
        height=height,
        stages=_stages(album, id_),
        mask_sets=[set_ for set_ in album.mask_sets if _has_mask(album, set_, id_)],
        has_truth=truth is not None,
        boxes=[_box(box) for box in album.boxes(id_)] if mask is not None else [],
        true_boxes=[_box(box) for box in album.true_boxes(id_)],
        per_class=_per_class(album, id_, mask, truth, row.labels),
        previous=place - 1 if place else None,
        next=place + 1 if place + 1 < studio.listing.total else None,
    )


def colour_of(number: int) -> str:
    """Colour of a class as #rrggbb."""
    red, green, blue = class_colours(np.array([number], np.int32))[0].tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"


def _row(studio: Studio, place: int, review: Review) -> PictureRow:
    known, id_ = studio.listing.row(place), studio.id_of(place)
    return PictureRow(
        n=place,
        id=id_,
        labels=list(_labels(studio.album, id_) if known is None else known.labels),
        confidence=None if known is None else known.confidence,
        vanished=[] if known is None else list(known.vanished),
        disagreement=None if known is None else known.disagreement,
        iou=None if known is None else known.iou,
        doubt=None if known is None else known.doubt,
        problem=picture_problem(studio.album, id_) if known is None else known.problem,
        status=review.status,
        revision=review.revision,
    )


def _labels(album: Album, id_: str) -> tuple[int, ...]:
    with suppress(AdvcamError):
        return album.labels(id_)
    return ()


def _has_mask(album: Album, set_: str, id_: str) -> bool:
    masks = album.sets[set_]
    return (masks.folder / f"{masks.names[id_]}.png").is_file()


def _readable(album: Album, id_: str) -> tuple[Mask | None, Mask | None]:
    """Final mask and truth; a damaged one is as good as none here, whoever asks for it hears why."""
    mask = truth = None
    with suppress(AdvcamError):
        mask = album.final_mask(id_)
    with suppress(AdvcamError):
        truth = album.truth(id_)
    return mask, truth


def _stages(album: Album, id_: str) -> dict[str, StageOfPicture]:
    found: dict[str, StageOfPicture] = {}
    for stage in album.map_stages:
        with suppress(AdvcamError):
            row = album.maps(stage, id_)
            if row is not None:
                found[stage] = _stage(album, row)
    return found


def _stage(album: Album, row: StoredMaps) -> StageOfPicture:
    attribution = row.attribution
    classes = zip(attribution.class_ids, attribution.class_names, attribution.scores.tolist(), strict=True)
    return StageOfPicture(
        classes=[
            MapClass(number=album.number_of(class_id), class_id=class_id, name=name, score=score)
            for class_id, name, score in classes
        ],
        steps=0 if attribution.steps is None else attribution.steps.shape[1],
    )


def _per_class(
    album: Album, id_: str, mask: Mask | None, truth: Mask | None, labels: list[int]
) -> list[ClassOfPicture]:
    pixels = np.zeros(1, np.int64) if mask is None else np.bincount(mask.ravel())
    ious = {} if mask is None or truth is None else class_ious(mask, truth)
    sure, shown = album.confidence(id_), [k for k in np.flatnonzero(pixels).tolist() if k in album.classes]
    numbers = dict.fromkeys([*labels, *shown, *ious])
    counts = {k: int(pixels[k]) if k < len(pixels) else 0 for k in numbers}
    return [
        ClassOfPicture(
            number=k,
            name=album.classes.get(k, f"class {k}"),
            confidence=sure.get(k),
            pixels=counts[k],
            share=counts[k] / max(1, int(pixels.sum())),
            iou=ious.get(k),
        )
        for k in numbers
    ]


def _box(box: Box) -> BoxAnswer:
    return BoxAnswer(number=box.class_id + 1, x0=box.x0, y0=box.y0, x1=box.x1, y1=box.y1)
