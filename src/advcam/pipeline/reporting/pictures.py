"""Pictures of a report: which are shown, and what is drawn of each."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress

from advcam.datasets.pictures import read_picture
from advcam.errors import PictureError
from advcam.pipeline.album.album import Album
from advcam.pipeline.album.chain_run import PREDICTIONS
from advcam.pipeline.evaluation.result import Evaluation
from advcam.pipeline.reporting.choosing import chosen
from advcam.pipeline.reporting.scores import picture_words
from advcam.report.chain_page import ChainPicture
from advcam.store.maps import MapStore
from advcam.types import Sample


def shown_pictures(
    album: Album,
    samples: Sequence[Sample],
    count: int,
    result: Evaluation | None,
    sure: Mapping[str, float],
    stages: Mapping[str, str],
    sets: Collection[str],
    whose: str,
) -> Iterator[ChainPicture]:
    """The worst, the best, the most doubtful pictures and others, one after the other; broken ones are left out.

    Args:
        album: The run.
        samples: To choose from.
        count: How many at most.
        result: With the scores of the pictures; None where nothing was scored.
        sure: How sure the run is of pictures.
        stages: Whose maps are shown, with the words for each.
        sets: The masks that are shown.
        whose: For the headings.
    """
    made = _made(album, samples, stages, sets)
    there = [sample for sample in samples if sample.id in made]
    scores = {} if result is None else result.picture_scores
    for heading, members in chosen(there, count, scores, sure, whose):
        for sample in members:
            with suppress(PictureError):  # broken since: the stage that met it says so
                yield _picture(album, sample, heading, result, sure.get(sample.id), stages, sets)


def _made(album: Album, samples: Sequence[Sample], stages: Mapping[str, str], sets: Collection[str]) -> set[str]:
    """Ids of the pictures of which there are maps of the first stage, or masks."""
    with_maps = [MapStore(album.stores[stage]).index() for stage in list(stages)[:1]]
    found = {sample.id for sample in samples if any(sample.id in index for index in with_maps)}
    for masks in (album.sets[name] for name in sets if not stages):
        found |= {s.id for s in samples if (masks.folder / f"{masks.names[s.id]}.png").is_file()}
    return found


def _picture(
    album: Album,
    sample: Sample,
    group: str,
    result: Evaluation | None,
    sure: float | None,
    stages: Mapping[str, str],
    sets: Collection[str],
) -> ChainPicture:
    id_ = sample.id
    rows = {stage: row for stage in stages if (row := album.maps(stage, id_)) is not None}
    climbed = next((stage for stage, row in rows.items() if row.attribution.steps is not None), "")
    truth = album.truth(id_)
    masks = {name: album.mask(name, id_) for name in sets}
    review = album.corrections.review(id_)
    return ChainPicture(
        id_,
        read_picture(sample.path),
        sample.labels or (),
        {stages[stage]: row.attribution for stage, row in rows.items()},
        next((mask for name, mask in masks.items() if name != PREDICTIONS and mask is not None), None),
        truth,
        album.classes,
        sure,
        album.boxes(id_) if truth is None and album.true_boxes(id_) else (),
        album.true_boxes(id_) if truth is None else (),
        predicted=masks.get(PREDICTIONS),
        corrected=album.corrections.mask(id_),
        group=group,
        score_words="" if result is None else picture_words(result, id_),
        status="" if review.status == "open" else review.status,
        step_scores=rows[climbed].step_scores if climbed else None,
        climbed=stages.get(climbed, ""),
    )


def lowest(album: Album, samples: Sequence[Sample]) -> dict[str, float]:
    """The lowest confidence over the classes of each picture that has some."""
    found = {sample.id: album.confidence(sample.id) for sample in samples}
    return {id_: min(values.values()) for id_, values in found.items() if values}


def reviews_in_words(album: Album) -> list[tuple[str, str]]:
    """What people said of the masks; nothing where nobody looked at them."""
    counts = Counter(review.status for review in album.corrections.reviews().values())
    looked = [(name, counts[name]) for name in ("accepted", "corrected", "rejected") if counts[name]]
    if not looked:
        return []
    left = len(album.samples) - sum(count for _, count in looked)
    words = ", ".join(f"{count:,} {name}" for name, count in looked)
    return [("Looked at by people", f"{words}, {left:,} not yet")]
