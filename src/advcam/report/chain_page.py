"""The report of a chain or of predictions: what it found in all pictures, and how some of them went through it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from advcam.report.figures import (
    box_overlay,
    class_colour,
    data_uri,
    heat_gradient,
    heat_overlay,
    mask_overlay,
    shrink,
    strip_steps,
)
from advcam.report.sections import Sections
from advcam.report.template import render_report
from advcam.store.places import Place
from advcam.types import IGNORE, Attribution, Box, FloatArray

#: Width of a picture, of a map and of a frame of a climb, pixels; of a picture at most so many classes are shown.
_WIDTH, _MAP, _FILM, _MOST_CLASSES = 260, 200, 120, 3


@dataclass(frozen=True, eq=False)
class ChainPicture:
    """A picture on its way.

    Args:
        sample_id: Shown as its name.
        picture: At any size.
        labels: Of the picture.
        maps: Scores of each stage that left some, by its name.
        mask: Pseudo-label (H, W); None where there is none yet.
        truth: True mask (H, W); None where there is none.
        names: Class names by the numbers of the masks.
        confidence: Lowest of its classes; None where there is no pseudo-label.
        boxes: Of the pseudo-label.
        true_boxes: Where boxes are the truth; the boxes are drawn only there.
        predicted: Mask (H, W) of the segmentation network; None where it was not shown the picture.
        corrected: Mask (H, W) that a person drew; None where nobody did.
        group: Heading that it stands under, together with its neighbours of the same group.
        score_words: Score of the picture, such as "mIoU 46.7 %"; "" where it has none.
        status: What a person said of the mask.
        step_scores: Class score after each step of the climb of the maps "climbed", (C, S); None if it is not known.
        climbed: The name among `maps` of those whose steps are shown.
    """

    sample_id: str
    picture: Image.Image
    labels: Sequence[str]
    maps: Mapping[str, Attribution]
    mask: NDArray[np.int32] | None
    truth: NDArray[np.int32] | None
    names: Mapping[int, str]
    confidence: float | None
    boxes: Sequence[Box] = ()
    true_boxes: Sequence[Box] = ()
    predicted: NDArray[np.int32] | None = None
    corrected: NDArray[np.int32] | None = None
    group: str = ""
    score_words: str = ""
    status: str = ""
    step_scores: FloatArray | None = None
    climbed: str = ""


@dataclass(frozen=True)
class ChainHead:
    """What stands above everything else.

    Args:
        title: Headline.
        facts: Name and value.
        intro: Paragraphs for somebody who knows nothing of all this.
        tiles: The most important numbers, and what each is.
        without_pictures: What is said where no picture is shown.
    """

    title: str
    facts: Sequence[tuple[str, str]] = ()
    intro: Sequence[str] = ()
    tiles: Sequence[tuple[str, str]] = ()
    without_pictures: str = "No picture has maps yet."
    has_maps: bool = True


@dataclass(frozen=True)
class _Frame:
    """One image of a row with its caption."""

    caption: str
    uri: str


@dataclass(frozen=True)
class _ClassMaps:
    """The maps of a class by stage, and its climb, thinned out, with the class score after each step."""

    name: str
    frames: Sequence[_Frame]
    film: Sequence[_Frame]
    scores: Sequence[float]


@dataclass(frozen=True)
class _Row:
    """One picture as the template shows it."""

    sample_id: str
    words: str
    frames: Sequence[_Frame]
    chips: Sequence[tuple[str, str]]
    undecided: bool
    group: str
    maps: Sequence[_ClassMaps]


def write_chain_page(path: Place, head: ChainHead, sections: Sections, pictures: Iterable[ChainPicture]) -> None:
    """Write the page.

    Args:
        path: Of the file; it appears only when it is complete.
        head: What stands above everything else.
        sections: What is said of the whole run.
        pictures: Shown; they are taken and written one by one.

    Raises:
        RunError: The file cannot be written.
    """
    rows = (_row(picture) for picture in pictures)
    render_report(path, "chain_page.html.j2", sections, head=head, rows=rows, heat_gradient=heat_gradient())


def _row(shown: ChainPicture) -> _Row:
    small = shrink(shown.picture, _WIDTH)
    frames = [_Frame("picture", data_uri(small, quality=82))]
    numbers: set[int] = set()
    for caption, mask in (
        ("mask", shown.mask),
        ("corrected", shown.corrected),
        ("segmentation network", shown.predicted),
        ("truth", shown.truth),
    ):
        if mask is not None:
            frames.append(_Frame(caption, data_uri(painted(small, mask), quality=82)))
            numbers |= {int(number) for number in np.unique(mask)} - {0, IGNORE}
    if shown.true_boxes:
        size = (shown.picture.height, shown.picture.width)
        overlay = box_overlay(small, size, shown.boxes, shown.true_boxes)
        frames.append(_Frame("boxes, the truth in white", data_uri(overlay, quality=82)))
    chips = [(shown.names.get(number, f"class {number}"), class_colour(number)) for number in sorted(numbers)]
    masks = (shown.mask, shown.corrected, shown.truth)
    sure = "" if shown.confidence is None else f"confidence {shown.confidence:.2f}"
    words = (", ".join(shown.labels), shown.score_words, sure, shown.status)
    return _Row(
        shown.sample_id,
        "; ".join(word for word in words if word),
        frames,
        chips,
        any(mask is not None and bool((mask == IGNORE).any()) for mask in masks),
        shown.group,
        [_class_maps(shown, name) for name in _classes(shown)],
    )


def _classes(shown: ChainPicture) -> list[str]:
    """The first classes that have maps."""
    names = dict.fromkeys(name for attribution in shown.maps.values() for name in attribution.class_names)
    return list(names)[:_MOST_CLASSES]


def _class_maps(shown: ChainPicture, name: str) -> _ClassMaps:
    small, frames = shrink(shown.picture, _MAP), []
    for stage, attribution in shown.maps.items():
        if name in attribution.class_names:
            one = attribution.maps[attribution.class_names.index(name)]
            frames.append(_Frame(stage, data_uri(heat_overlay(small, one))))
    return _ClassMaps(name, frames, *_film(shown, name))


def _film(shown: ChainPicture, name: str) -> tuple[list[_Frame], list[float]]:
    """Frames and scores of a climb; empty where its steps are not there."""
    attribution = shown.maps.get(shown.climbed)
    if attribution is None or attribution.steps is None or name not in attribution.class_names:
        return [], []
    place = attribution.class_names.index(name)
    small, steps = shrink(shown.picture, _FILM), attribution.steps[place]
    if not steps.any():
        return [], []
    frames = [_Frame(f"t = {t}", data_uri(heat_overlay(small, steps[t]), quality=72)) for t in strip_steps(len(steps))]
    scores = [] if shown.step_scores is None else [float(score) for score in shown.step_scores[place]]
    return frames, scores if np.isfinite(scores).all() else []


def painted(small: Image.Image, mask: NDArray[np.int32]) -> Image.Image:
    """The mask over the picture; white is what is left undecided."""
    overlay = np.array(mask_overlay(small, np.where(mask == IGNORE, 0, mask).astype(np.int32)))
    undecided = Image.fromarray((mask == IGNORE).astype(np.uint8)).resize(small.size, Image.Resampling.NEAREST)
    overlay[np.asarray(undecided, dtype=bool)] = 255
    return Image.fromarray(overlay)
