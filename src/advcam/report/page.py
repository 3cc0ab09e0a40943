"""Write the report of a run: what it says, and how each picture becomes a card of the page."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from advcam.errors import SettingError
from advcam.report.figures import (
    ScorePlot,
    class_colour,
    coverage,
    data_uri,
    heat_gradient,
    heat_overlay,
    mask_overlay,
    score_plot,
    shrink,
    strip_steps,
)
from advcam.report.sections import Sections
from advcam.report.template import render_report
from advcam.store.places import Place
from advcam.types import Attribution, Box, FloatArray, check_threshold

PICTURE_WIDTH = 420
FRAME_WIDTH = 320


@dataclass(frozen=True, eq=False)
class ReportPicture:
    """One picture of the report.

    Args:
        sample_id: Name of the picture, as shown.
        picture: The picture, at any size.
        attribution: Its maps. `steps` gives the climb, step 0 the plain class activation map; None for a
            method that does not climb.
        mask: (H, W): 0 background, 1.. the class numbers of the run.
        mask_names: Names of the class numbers that occur in this mask.
        step_scores: Score of each class after each step of the climb, before softmax, (C, S); None if it is
            not known.
        boxes: In pixels of `attribution.image_size`.
        group: Heading that it stands under, together with its neighbours of the same group.
    """

    sample_id: str
    picture: Image.Image
    attribution: Attribution
    mask: NDArray[np.int32]
    mask_names: Mapping[int, str]
    step_scores: NDArray[np.float32] | None
    boxes: Sequence[Box]
    group: str = ""


@dataclass(frozen=True)
class ReportSummary:
    """What the report says about the whole run.

    Args:
        title: Headline, such as "advcam localize".
        method: Name of the method, such as "AdvCAM".
        facts: Rows of the table of facts: classifier, settings, command, time, version.
        pictures_total: How many pictures the run has; the page may show fewer.
        skipped: (name, reason) of the pictures that could not be used.
        threshold: Pixels above it belong to a class, 0 to 1.
        notes: Further sentences for the reader.

    Raises:
        SettingError: The threshold is outside [0, 1].
    """

    title: str
    method: str
    facts: Sequence[tuple[str, str]]
    pictures_total: int
    skipped: Sequence[tuple[str, str]]
    threshold: float
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_threshold(self.threshold)


def write_report(
    path: Place, summary: ReportSummary, pictures: Iterable[ReportPicture], sections: Sections | None = None
) -> None:
    """Write the report to one HTML file that needs nothing else, neither network nor other files.

    The pictures are taken and written one by one, so memory does not grow with their number. The file appears
    under its name only when it is complete.

    Args:
        path: Of the file.
        summary: Of the run.
        pictures: Shown.
        sections: What else there is to say.

    Raises:
        RunError: The file cannot be written.
        SettingError: The scores of a picture do not fit its steps.
    """
    cards = (_card(picture, summary) for picture in pictures)
    found = sections or Sections()
    render_report(path, "page.html.j2", found, summary=summary, cards=cards, heat_gradient=heat_gradient())


@dataclass(frozen=True)
class _Map:
    """A map over the picture: the method that made it, the image, and its share of pixels over threshold."""

    method: str
    uri: str
    share: float


@dataclass(frozen=True)
class _Climb:
    """All frames of a climb as data URIs, those in the strip, and the score after each step (where known)."""

    frames: Sequence[str]
    strip: Sequence[int]
    scores: Sequence[float]
    plot: ScorePlot | None


@dataclass(frozen=True)
class _ClassSection:
    """One class in one picture; without maps where the classifier found nothing for it."""

    name: str
    score: float
    maps: Sequence[_Map]
    climb: _Climb | None


@dataclass(frozen=True)
class _Card:
    """One picture as the template shows it; boxes with name and colour, chips with name, colour and share."""

    sample_id: str
    width: int
    height: int
    picture: str
    mask: str
    boxes: Sequence[tuple[Box, str, str]]
    chips: Sequence[tuple[str, str, float]]
    sections: Sequence[_ClassSection]
    group: str


def _card(shown: ReportPicture, summary: ReportSummary) -> _Card:
    """Everything that the template shows of one picture."""
    attribution = shown.attribution
    _check_scores(shown)
    thumbnail = shrink(shown.picture, PICTURE_WIDTH)
    names = dict(zip(attribution.class_ids, attribution.class_names, strict=True))
    numbers = {name: number for number, name in shown.mask_names.items()}
    # The box of a class that won no pixel of the mask has no class number here, and is drawn black.
    boxes = [(box, names.get(box.class_id, f"class {box.class_id}")) for box in shown.boxes]
    return _Card(
        sample_id=shown.sample_id,
        width=attribution.image_size[1],
        height=attribution.image_size[0],
        picture=data_uri(thumbnail, quality=85),
        mask=data_uri(mask_overlay(thumbnail, shown.mask), quality=85),
        boxes=[(box, name, class_colour(numbers.get(name, 0))) for box, name in boxes],
        chips=[
            (name, class_colour(number), float((shown.mask == number).mean()))
            for number, name in sorted(shown.mask_names.items())
        ],
        sections=[_section(shown, index, summary) for index in range(len(attribution.class_ids))],
        group=shown.group,
    )


def _check_scores(shown: ReportPicture) -> None:
    """Raise `SettingError` unless there is a score for each step."""
    steps, scores = shown.attribution.steps, shown.step_scores
    if steps is not None and scores is not None and scores.shape != steps.shape[:2]:
        raise SettingError(
            f"the report takes one score for each class and step of {shown.sample_id!r}, shape "
            f"{steps.shape[:2]}; got {scores.shape}"
        )


def _section(shown: ReportPicture, index: int, summary: ReportSummary) -> _ClassSection:
    """The maps and the climb of the class at `index` of the attribution."""
    attribution = shown.attribution
    name, score = attribution.class_names[index], float(attribution.scores[index])
    if not attribution.maps[index].any():
        return _ClassSection(name, score, [], None)
    steps = attribution.maps[index, None] if attribution.steps is None else attribution.steps[index]
    small = shrink(shown.picture, FRAME_WIDTH)
    frames = [data_uri(heat_overlay(small, step), quality=72) for step in steps]

    def map_of(method: str, step: int) -> _Map:
        share = coverage(steps[step], attribution.image_size, summary.threshold)
        return _Map(method, frames[step], share)

    if attribution.steps is None:
        return _ClassSection(name, score, [map_of(summary.method, 0)], None)
    maps = [map_of("CAM", 0), map_of(summary.method, -1)]
    scores = None if shown.step_scores is None else shown.step_scores[index]
    return _ClassSection(name, score, maps, _climb(frames, scores))


def _climb(frames: Sequence[str], scores: FloatArray | None) -> _Climb:
    """The climb whose frames these are; only finite scores of two steps or more make a plot."""
    known = [] if scores is None else [float(score) for score in scores]
    plottable = len(known) > 1 and bool(np.isfinite(known).all())
    return _Climb(frames, strip_steps(len(frames)), known, score_plot(known) if plottable else None)
