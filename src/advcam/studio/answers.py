"""What the studio answers and is asked, as JSON."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from advcam.attribution.effort import Effort
from advcam.store.corrections import Status
from advcam.studio.jobs import Kind, State

#: Classes that a climb takes at once; each costs as much as the first.
_MOST_CLASSES = 8


class Answer(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(frozen=True)


class Asked(BaseModel):
    """Base of all bodies: an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Problem(Answer):
    """What went wrong, and what to do."""

    detail: str


class ClassOfRun(Answer):
    """A class by its number in masks."""

    number: int
    name: str
    colour: str = Field(description="#rrggbb", examples=["#800000"])


class Counts(Answer):
    """Pictures by their status; those that cannot be read are not open."""

    pictures: int
    open: int
    unreadable: int
    accepted: int
    rejected: int
    corrected: int


class FormatOfExport(Answer):
    """A format that masks can be handed over in."""

    name: str
    title: str
    summary: str


class Live(Answer):
    """Whether pictures can be climbed here."""

    available: bool
    model: str
    reason: str = Field(description="why not, in words; empty where they can")
    steps: int = Field(description="of a climb, where nothing else is said")
    run_steps: int | None = Field(description="that the climbs of the run took; null where it has none")
    settings: str = Field(description="that a climb takes, in words")


class IndexState(Answer):
    """How many pictures were looked at for the order by doubt."""

    ready: bool
    done: int
    total: int


class RunAnswer(Answer):
    """The run that is shown; `thresholds` are those of the maps of each stage, `threshold` is that of its masks."""

    title: str
    kind: Literal["chain", "localize", "predict", "pictures"]
    folder: str
    facts: list[tuple[str, str]]
    classes: list[ClassOfRun]
    map_stages: list[str]
    stage_titles: dict[str, str]
    mask_sets: list[str]
    threshold: float
    thresholds: dict[str, float]
    background_power: float | None
    band: float
    counts: Counts
    has_truth: bool
    formats: list[FormatOfExport]
    live: Live
    index: IndexState
    writing: bool


class PictureRow(Answer):
    """A picture in a list; what is null is not known (yet)."""

    n: int
    id: str
    labels: list[int]
    confidence: float | None
    vanished: list[int]
    disagreement: float | None
    iou: float | None
    doubt: float | None
    problem: str = Field(description="why the picture cannot be read; empty where it can")
    status: Status
    revision: int


class PictureList(Answer):
    """A page of a list."""

    total: int
    pictures: list[PictureRow]


class MapClass(Answer):
    """A class that a stage has a map of."""

    number: int | None
    class_id: int
    name: str
    score: float | None


class StageOfPicture(Answer):
    """Maps of a picture."""

    classes: list[MapClass]
    steps: int = Field(description="maps of the climb, 0 where only its end is kept")


class BoxAnswer(Answer):
    """A box in pixels, half open."""

    number: int
    x0: int
    y0: int
    x1: int
    y1: int


class ClassOfPicture(Answer):
    """A class of a picture in numbers."""

    number: int
    name: str
    confidence: float | None
    pixels: int
    share: float
    iou: float | None


class PictureAnswer(PictureRow):
    """One picture."""

    width: int
    height: int
    stages: dict[str, StageOfPicture]
    mask_sets: list[str]
    has_truth: bool
    boxes: list[BoxAnswer]
    true_boxes: list[BoxAnswer]
    per_class: list[ClassOfPicture]
    previous: int | None
    next: int | None


class ReviewAnswer(Answer):
    """What was said of a picture; `revision` goes into the next change."""

    status: Status
    revision: int


class Conflict(Problem):
    """Somebody else was faster."""

    status: Status
    revision: int


class StatusAsked(Asked):
    """A verdict on a picture."""

    status: Literal["open", "accepted", "rejected"]
    revision: int = Field(ge=0)


class PredictionAnswer(Answer):
    """A class that the classifier sees."""

    class_id: int
    name: str
    probability: float


class DropAnswer(Answer):
    """A dropped picture."""

    drop: str
    name: str
    width: int
    height: int
    predictions: list[PredictionAnswer]


class ClassifierClass(Answer):
    """A class of the classifier."""

    class_id: int
    name: str


class ClassifierClasses(Answer):
    """Classes that a search found."""

    classes: list[ClassifierClass]


class ClimbAsked(Asked):
    """A climb, of a picture of the run or of a dropped one."""

    picture: int | None = None
    drop: str | None = None
    class_ids: list[int] = Field(min_length=1, max_length=_MOST_CLASSES, description="of the classifier")
    iterations: int | None = Field(default=None, ge=1, le=50, description="T; that of the run if left away")
    effort: Effort | None = Field(default=None, description="in place of the settings of the run")


class ExportAsked(Asked):
    """An export of the masks."""

    format: str = Field(max_length=40)
    only: Literal["all", "accepted"] = "all"


class JobStarted(Answer):
    """A job that was put into the queue."""

    job: str


class JobAnswer(Answer):
    """Where a job stands."""

    job: str
    kind: Kind
    state: State
    position: int = Field(description="jobs that come before it")
    done: int
    total: int
    detail: str
