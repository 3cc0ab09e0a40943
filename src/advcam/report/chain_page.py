"""The report of a chain: its stages with what they took and scored, and how pictures went through them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from advcam.report.figures import box_overlay, class_colour, data_uri, heat_overlay, mask_overlay, shrink
from advcam.report.template import render
from advcam.store.places import Place
from advcam.types import IGNORE, Attribution, Box

_WIDTH = 260


@dataclass(frozen=True)
class StageRow:
    """A stage that is done.

    Args:
        name: Of the stage.
        seconds: That it took.
        facts: Name and value.
        notes: Warnings, one line each.
        skipped: How many pictures could not be used.
    """

    name: str
    seconds: float
    facts: Sequence[tuple[str, str]]
    notes: Sequence[str]
    skipped: int


@dataclass(frozen=True)
class ScoreRow:
    """A score of a stage.

    Args:
        name: Of the stage.
        scores: By supervision of the threshold ("oracle", "fixed" ..), shares between 0 and 1.
    """

    name: str
    scores: Mapping[str, float]


@dataclass(frozen=True)
class ScoreTable:
    """One score of every stage.

    Args:
        title: Name of the score.
        rows: One for each stage that was scored.
    """

    title: str
    rows: Sequence[ScoreRow]

    @property
    def kinds(self) -> list[str]:
        """The columns: every supervision that occurs."""
        return list(dict.fromkeys(kind for row in self.rows for kind in row.scores))

    @property
    def highest(self) -> float:
        """What the bars are relative to."""
        return max((score for row in self.rows for score in row.scores.values()), default=1.0) or 1.0


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


@dataclass(frozen=True)
class _Frame:
    """One image of a row with its caption."""

    caption: str
    uri: str


@dataclass(frozen=True)
class _Row:
    """One picture as the template shows it."""

    sample_id: str
    labels: str
    confidence: float | None
    frames: Sequence[_Frame]
    chips: Sequence[tuple[str, str]]
    undecided: bool


def write_chain_page(
    path: Place,
    title: str,
    facts: Sequence[tuple[str, str]],
    stages: Sequence[StageRow],
    scores: Sequence[ScoreTable],
    pictures: Iterable[ChainPicture],
) -> None:
    """Write the page.

    Args:
        path: Of the file.
        title: Headline.
        facts: Of the whole chain.
        stages: Done so far.
        scores: A table for each score, the most important first.
        pictures: Shown.

    Raises:
        RunError: The file cannot be written.
    """
    rows = (_row(picture) for picture in pictures)
    render(
        path,
        "chain_page.html.j2",
        title=title,
        facts=facts,
        stages=stages,
        scores=scores,
        rows=rows,
    )


def _row(shown: ChainPicture) -> _Row:
    small = shrink(shown.picture, _WIDTH)
    frames = [_Frame("picture", data_uri(small, quality=82))]
    for stage, attribution in shown.maps.items():
        for name, one in zip(attribution.class_names, attribution.maps, strict=True):
            frames.append(_Frame(f"{stage}: {name}", data_uri(heat_overlay(small, one))))
    numbers: set[int] = set()
    for caption, mask in (
        ("pseudo-label", shown.mask),
        ("segmentation network", shown.predicted),
        ("truth", shown.truth),
    ):
        if mask is not None:
            frames.append(_Frame(caption, data_uri(_mask(small, mask), quality=82)))
            numbers |= {int(number) for number in np.unique(mask)} - {0, IGNORE}
    if shown.true_boxes:
        size = (shown.picture.height, shown.picture.width)
        overlay = box_overlay(small, size, shown.boxes, shown.true_boxes)
        frames.append(_Frame("boxes, the truth in white", data_uri(overlay, quality=82)))
    chips = [(shown.names.get(number, f"class {number}"), class_colour(number)) for number in sorted(numbers)]
    undecided = any(mask is not None and bool((mask == IGNORE).any()) for mask in (shown.mask, shown.truth))
    return _Row(shown.sample_id, ", ".join(shown.labels), shown.confidence, frames, chips, undecided)


def _mask(small: Image.Image, mask: NDArray[np.int32]) -> Image.Image:
    """The mask over the picture; white is what is left undecided."""
    overlay = np.array(mask_overlay(small, np.where(mask == IGNORE, 0, mask).astype(np.int32)))
    undecided = Image.fromarray((mask == IGNORE).astype(np.uint8)).resize(small.size, Image.Resampling.NEAREST)
    overlay[np.asarray(undecided, dtype=bool)] = 255
    return Image.fromarray(overlay)
