"""What a report says of a whole run: data, scores, curves, classes, confusions, time, settings, how to repeat it.

Each is a section of the page (`sections.html.j2`); what a run has no data for is absent. Scores are shares, 0 to 1.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

Item = TypeVar("Item")

#: Of more classes than this, the first and the last half of so many are shown.
MOST_CLASSES = 40
#: Up to so many classes, the background counted, a confusion matrix is shown whole.
MOST_CELLS = 25
#: Confusions that are listed.
_WORST = 10

#: What chose a threshold, for people who have not read about it.
SUPERVISION = {
    "oracle": "the threshold is the best one on the scored pictures themselves: an upper bound that nobody reaches "
    "without their masks",
    "validated": "the threshold is the best one on other pictures whose truth is known",
    "fixed": "the threshold was set before any picture was seen",
    "label-free": "the threshold was chosen by agreement with the colours of the pictures, no truth seen",
    "masks": "finished masks, scored as they are; what chose their threshold stands among the stages",
}


@dataclass(frozen=True)
class DataSection:
    """The pictures.

    Args:
        facts: Name and value: how many, their sizes, labels a picture.
        classes: How many pictures show each class, by its name, in any order.
        skipped: Name and reason of those that could not be used.
        skipped_total: How many these are, where not all are named.
    """

    facts: Sequence[tuple[str, str]] = ()
    classes: Sequence[tuple[str, int]] = ()
    skipped: Sequence[tuple[str, str]] = ()
    skipped_total: int = 0

    @property
    def most(self) -> int:
        """What the bars are relative to."""
        return max((count for _, count in self.classes), default=0) or 1

    @property
    def shown(self) -> Sequence[tuple[str, int]]:
        """The classes, the most frequent first; of many the most frequent and the rarest."""
        return ends(sorted(self.classes, key=lambda one: -one[1]))


@dataclass(frozen=True)
class ScoreRow:
    """A score of a stage.

    Args:
        name: Of the stage.
        scores: By supervision of the threshold ("oracle", "fixed" ..), shares between 0 and 1.
        intervals: Ends of the 95 % bootstrap interval of some of them.
        floor: It is the score of a map that has not seen the pictures.
    """

    name: str
    scores: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    floor: bool = False


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


@dataclass(frozen=True)
class Choice:
    """A threshold that was chosen.

    Args:
        line: Name of the curve.
        supervision: What chose it.
        detail: In more words.
        threshold: 0 to 1.
        score: There.
    """

    line: str
    supervision: str
    detail: str
    threshold: float
    score: float


@dataclass(frozen=True)
class CurveSection:
    """A score over the thresholds.

    Args:
        title: What was scored.
        score: Name of the score.
        lines: Thresholds and scores of each stage, by its name; NaN is a gap.
        choices: Thresholds that were chosen.
    """

    title: str
    score: str
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    choices: Sequence[Choice]


@dataclass(frozen=True)
class ClassRow:
    """Scores of a class; NaN where one is not defined.

    Args:
        name: Of the class.
        iou, precision, recall: Shares.
        before: IoU of what the climb started from; None where that was not scored.
    """

    name: str
    iou: float
    precision: float
    recall: float
    before: float | None = None


@dataclass(frozen=True)
class ClassSection:
    """IoU of the classes of some masks.

    Args:
        title: Whose masks, and on which pictures.
        rows: In any order.
        before: What `ClassRow.before` is the IoU of.
    """

    title: str
    rows: Sequence[ClassRow]
    before: str = ""

    @property
    def shown(self) -> Sequence[ClassRow]:
        """The best first; of many the best and the worst."""
        return ends(sorted(self.rows, key=lambda row: -row.iou))

    @property
    def mean(self) -> float:
        """Mean IoU of all classes."""
        return sum(row.iou for row in self.rows) / len(self.rows)


@dataclass(frozen=True)
class Confusion:
    """Pixels of a class that were taken for another.

    Args:
        true, claimed: Names of the classes.
        share: Of the pixels of the true class.
        pixels: How many.
    """

    true: str
    claimed: str
    share: float
    pixels: int


@dataclass(frozen=True)
class ConfusionSection:
    """Which class was taken for which.

    Args:
        title: Whose masks, and on which pictures.
        names: Of the C classes.
        pixels: [true class][claimed class], (C, C).
    """

    title: str
    names: Sequence[str]
    pixels: Sequence[Sequence[int]]

    @property
    def whole(self) -> bool:
        """Whether the matrix is small enough to be shown."""
        return len(self.names) <= MOST_CELLS

    @property
    def shares(self) -> list[list[float]]:
        """The matrix, each row divided by its sum; NaN where the truth does not hold the class."""
        sums = [sum(row) for row in self.pixels]
        return [[p / total if total else math.nan for p in row] for row, total in zip(self.pixels, sums, strict=True)]

    @property
    def worst(self) -> list[Confusion]:
        """The confusions of the largest shares, the largest first."""
        found = [
            Confusion(self.names[t], self.names[p], share, self.pixels[t][p])
            for t, row in enumerate(self.shares)
            for p, share in enumerate(row)
            if t != p and share > 0
        ]
        return sorted(found, key=lambda one: (-one.share, -one.pixels, one.true, one.claimed))[:_WORST]


@dataclass(frozen=True)
class StageRow:
    """A stage that is done.

    Args:
        name: Of the stage.
        seconds: That it took.
        facts: Name and value.
        notes: Warnings, one line each.
        skipped: How many pictures could not be used.
        unfinished: It was begun, and is not done.
    """

    name: str
    seconds: float
    facts: Sequence[tuple[str, str]]
    notes: Sequence[str]
    skipped: int
    unfinished: bool = False


@dataclass(frozen=True)
class Difference:
    """A setting that differs from its default.

    Args:
        name: Dotted.
        value, default: As JSON.
    """

    name: str
    value: str
    default: str


@dataclass(frozen=True)
class Repeat:
    """How to make the run again.

    Args:
        command: One line for a shell.
        note: What to mind.
        files: Name and text of what the command reads, where it stands in the run.
    """

    command: str
    note: str = ""
    files: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Sections:
    """All that a report says beside its pictures; what is empty is absent from the page.

    Args:
        notes: What a reader must know: warnings, what is missing.
        data: The pictures.
        scores: A table for each score, the most important first.
        curves: Scores over thresholds.
        classes: Scores of classes.
        confusions: Which class was taken for which.
        stages: What was done, in order.
        cost: Name and value: time a picture, memory, device.
        settings: Those that differ from the defaults.
        repeat: How to make it again.
    """

    notes: Sequence[str] = ()
    data: DataSection | None = None
    scores: Sequence[ScoreTable] = ()
    curves: Sequence[CurveSection] = ()
    classes: Sequence[ClassSection] = ()
    confusions: Sequence[ConfusionSection] = ()
    stages: Sequence[StageRow] = ()
    cost: Sequence[tuple[str, str]] = ()
    settings: Sequence[Difference] = ()
    repeat: Repeat | None = None

    @property
    def supervision(self) -> Mapping[str, str]:
        """What the words of the score tables mean, those that occur."""
        kinds = {kind for table in self.scores for kind in table.kinds}
        return {kind: words for kind, words in SUPERVISION.items() if kind in kinds}

    @property
    def floors(self) -> bool:
        """Whether scores of floors stand among the others."""
        return any(row.floor for table in self.scores for row in table.rows)

    @property
    def seconds(self) -> float:
        """Of all stages."""
        return sum(stage.seconds for stage in self.stages)


def ends(rows: Sequence[Item]) -> Sequence[Item]:
    """All rows, or the first and the last half of `MOST_CLASSES`."""
    half = MOST_CLASSES // 2
    return rows if len(rows) <= MOST_CLASSES else [*rows[:half], *rows[-half:]]
