"""The page of `advcam compare`: what differs between runs, in settings, scores, masks and time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from advcam.report.chain_page import painted
from advcam.report.figures import class_colour, data_uri, shrink
from advcam.report.sections import SUPERVISION
from advcam.report.template import render
from advcam.store.places import Place
from advcam.types import IGNORE, Mask

_WIDTH = 300


@dataclass(frozen=True)
class ComparedRun:
    """One of the runs.

    Args:
        name: Short, and no other run's.
        folder: Where it lies.
        facts: By their name: kind, data, pictures ..
    """

    name: str
    folder: str
    facts: Mapping[str, str]


@dataclass(frozen=True)
class ComparedValue:
    """A score of one run; NaN where it has none.

    Args:
        score: A share, 0 to 1.
        low, high: Ends of its 95 % interval; NaN where none was computed.
        difference: To that of the first run, shares; None for the first, and where the pictures are others.
    """

    score: float
    low: float
    high: float
    difference: float | None


@dataclass(frozen=True)
class ComparedScore:
    """A score of one stage in every run.

    Args:
        stage: Its name, and which pictures.
        score: Name of the score.
        supervision: What chose the threshold.
        values: In the order of the runs.
        pictures: Whether these are the same pictures, in words.
    """

    stage: str
    score: str
    supervision: str
    values: Sequence[ComparedValue]
    pictures: str


@dataclass(frozen=True, eq=False)
class ComparedPicture:
    """A picture with the mask of each run.

    Args:
        sample_id: Shown as its name.
        picture: At any size.
        masks: Of each run (H, W), in common class numbers; None where a run has none.
        truth: (H, W); None where it is not known.
        names: Class names by the common numbers.
        words: How much the masks disagree.
    """

    sample_id: str
    picture: Image.Image
    masks: Sequence[Mask | None]
    truth: Mask | None
    names: Mapping[int, str]
    words: str


@dataclass(frozen=True)
class Comparison:
    """Everything beside the pictures.

    Args:
        runs: In the order in which they were named; the first is what the others are compared with.
        notes: What a reader must know.
        settings: Name of each setting that differs, and its value in each run.
        scores: That two runs or more have, or one.
        pairs: How the runs compare picture by picture, a sentence each.
        disagreement: How much the masks disagree, a sentence each.
        seconds: Name of each stage, and what it took in each run; None where it was not done.
    """

    runs: Sequence[ComparedRun]
    notes: Sequence[str] = ()
    settings: Sequence[tuple[str, Sequence[str]]] = ()
    scores: Sequence[ComparedScore] = ()
    pairs: Sequence[str] = ()
    disagreement: Sequence[str] = ()
    seconds: Sequence[tuple[str, Sequence[float | None]]] = ()

    @property
    def supervision(self) -> Mapping[str, str]:
        """What the words for the choice of a threshold mean, those that occur."""
        kinds = {one.supervision for one in self.scores}
        return {kind: words for kind, words in SUPERVISION.items() if kind in kinds}

    @property
    def fact_names(self) -> list[str]:
        """Names of the facts of any run."""
        return list(dict.fromkeys(name for run in self.runs for name in run.facts))

    @property
    def totals(self) -> list[float]:
        """Seconds of each run."""
        return [sum(row[place] or 0.0 for _, row in self.seconds) for place in range(len(self.runs))]

    @property
    def longest(self) -> float:
        """What the bars of time are relative to."""
        return max((one or 0.0 for _, row in self.seconds for one in row), default=0.0) or 1.0


@dataclass(frozen=True)
class _Row:
    """A picture as the template shows it."""

    sample_id: str
    words: str
    frames: Sequence[tuple[str, str | None]]
    chips: Sequence[tuple[str, str]]
    undecided: bool


def write_compare_page(path: Place, comparison: Comparison, pictures: Iterable[ComparedPicture]) -> None:
    """Write the page.

    Args:
        path: Of the file; it appears only when it is complete.
        comparison: Everything beside the pictures.
        pictures: Shown, in their order; they are taken and written one by one.

    Raises:
        RunError: The file cannot be written.
    """
    names = [run.name for run in comparison.runs]
    rows = (_row(picture, names) for picture in pictures)
    render(path, "compare_page.html.j2", compared=comparison, rows=rows, looks=())


def _row(shown: ComparedPicture, names: Sequence[str]) -> _Row:
    small = shrink(shown.picture, _WIDTH)

    def frame(mask: Mask | None) -> str | None:
        return None if mask is None else data_uri(painted(small, mask), quality=82)

    frames: list[tuple[str, str | None]] = [("picture", data_uri(small, quality=82))]
    frames += [(name, frame(mask)) for name, mask in zip(names, shown.masks, strict=True)]
    frames += [("truth", frame(shown.truth))] if shown.truth is not None else []
    there = [mask for mask in (*shown.masks, shown.truth) if mask is not None]
    numbers = {int(number) for mask in there for number in np.unique(mask)}
    chips = [
        (shown.names.get(number, f"class {number}"), class_colour(number)) for number in sorted(numbers - {0, IGNORE})
    ]
    return _Row(shown.sample_id, shown.words, frames, chips, IGNORE in numbers)
