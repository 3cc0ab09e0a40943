"""Settings for your data from a labelled handful: choose on 10 to 50 pictures with masks, say what it gains and costs.

Step size, penalty, tau and other classes are searched; every number of steps, choice of scales and mask threshold
comes free with each climb (tune_scores.py). The gain over the defaults is cross-validated. Where it is not positive,
the recipe is the defaults. The same call goes on with a search that was killed, or whose budget was raised.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from pydantic import Field, ValidationError, model_validator

from advcam.classifiers.classifier import Classifier
from advcam.datasets.dataset import Dataset
from advcam.errors import SettingError
from advcam.evaluate.segmentation import ConfusionMatrix
from advcam.pipeline.class_match import ClassMatch, Groups
from advcam.pipeline.config import ModelSettings, Settings
from advcam.pipeline.tuning.choice import Chooser, cross_validate
from advcam.pipeline.tuning.handful import Handful, draw_handful, folds_of, named_handful, read_ids
from advcam.pipeline.tuning.outputs import TuneResult, write_outputs
from advcam.pipeline.tuning.scores import THRESHOLDS, extents_within
from advcam.pipeline.tuning.search import Search, SearchPlan, SearchProgress
from advcam.store.run import JSON, RunDirectory
from advcam.types import DEFAULT_THRESHOLD

#: Every subset of the scales is scored: 4 scales are 15 subsets.
MOST_SCALES = 4


class TuneSettings(Settings):
    """A search.

    Args:
        data: Root folder of the data set.
        out: Folder of the search.
        split: To draw from; the pictures that are chosen on are no test pictures any more.
        layout: Of the data set, None finds it.
        groups: JSON of the classifier's outputs for each class, where it was trained on other classes.
        labelled: Pictures that are drawn.
        ids: Text file with the pictures, an id a line, instead of split and labelled.
        model: The classifier.
        budget: Network passes of one view at scale 1 that the climbs may take in all; the one pass a picture by which
            groups find their output does not count.
        max_trials: Settings that are tried at most.
        max_iterations: Most steps T.
        scales: Of which every subset is tried; None takes the defaults, 0.5, 1 and 2.
        max_side: Longer side of the working picture, None for the method's own.
        folds: Of the cross-validation.
        seed: Of the draw and the search.
    """

    data: Path
    out: Path
    split: str | None = None
    layout: str | None = None
    groups: Path | None = None
    labelled: int = Field(default=20, ge=2)
    ids: Path | None = None
    model: ModelSettings = ModelSettings()
    budget: float = Field(default=100_000, gt=0)
    max_trials: int = Field(default=40, ge=1)
    max_iterations: int = Field(default=12, ge=1)
    scales: tuple[float, ...] | None = None
    max_side: int | None = None
    folds: int = Field(default=5, ge=2)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.scales is not None and not 1 <= len(self.scales) <= MOST_SCALES:
            raise ValueError(f"1 to {MOST_SCALES} scales are searched, all their subsets are tried")
        if (self.split is None) == (self.ids is None):
            raise ValueError("which pictures? name --split to draw from it, or --ids, a text file with an id a line")
        return self


def tune_settings(**values: object) -> TuneSettings:
    """Validated settings.

    Raises:
        SettingError: A value of the wrong type or out of range; one line for the first of them.
    """
    try:
        return TuneSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = next((str(key) for key in first["loc"] if key != "model"), "")
        got = f"; got {first['input']!r}" if where else ""
        raise SettingError(f"{where.replace('_', '-') + ': ' if where else ''}{first['msg']}{got}") from error


@dataclass(frozen=True)
class TunePlan:
    """What a search is about to do.

    Args:
        pictures: Labelled pictures.
        notes: Pictures that were left out, in words.
        trials_done: Trials that an earlier session finished.
        trial_passes: Of a trial that is not given up.
        spent: Passes of the trials done.
        budget: Passes in all.
        max_trials: At most.
        model: Name of the classifier.
    """

    pictures: int
    notes: tuple[str, ...]
    trials_done: int
    trial_passes: float
    spent: float
    budget: float
    max_trials: int
    model: str


class TuneProgress(SearchProgress, Protocol):
    """Who watches."""

    def announce(self, plan: TunePlan) -> None:
        """The search is about to start."""


def tune(settings: TuneSettings, progress: TuneProgress, command: str = "") -> TuneResult:
    """Choose settings on labelled pictures, or go on choosing, and write recipe.yaml and tune.json to `settings.out`.

    Args:
        settings: Everything about the search.
        progress: Hears of the plan, of each picture and each trial.
        command: What the user typed, for the recipe.

    Returns:
        The recipe and its figures. An interrupt is raised on; the same call goes on later, and only the trial at hand
        is done again (its passes are not counted twice).

    Raises:
        AdvcamError: Data, classifier, groups or settings that do not fit, too few labelled pictures for the folds, a
            budget too small for the defaults, or an unusable folder.
    """
    from advcam.classifiers.catalogue import load_classifier
    from advcam.datasets.catalogue import open_dataset
    from advcam.pipeline.class_match import read_groups

    dataset = open_dataset(settings.data, settings.layout)
    groups = None if settings.groups is None else read_groups(settings.groups)
    classifier = load_classifier(settings.model.model, **settings.model.model_dump(exclude={"model"}))
    return tune_dataset(dataset, classifier, groups, settings, progress, command)


def tune_dataset(
    dataset: Dataset,
    classifier: Classifier,
    groups: Groups | None,
    settings: TuneSettings,
    progress: TuneProgress,
    command: str = "",
) -> TuneResult:
    """As `tune`, of a data set and a classifier that are at hand; `data`, `layout`, `groups` and `model` are not read.

    Args:
        dataset: With masks.
        classifier: To explain.
        groups: See `ClassMatch`.
        settings: As `tune`.
        progress: As `tune`.
        command: As `tune`.

    Raises:
        AdvcamError: As `tune`.
    """
    started = time.monotonic()
    num_classes = len(ConfusionMatrix(len(dataset.class_names) + 1).counts)  # its check, before any work
    handful = _handful(dataset, ClassMatch(classifier, dataset.class_names, groups), settings)
    folds = folds_of(handful.pictures, settings.folds)
    plan = SearchPlan.of(classifier, settings.max_iterations, settings.scales, settings.max_side, settings.seed)
    plan.check_budget(settings.budget, handful.pictures)
    with RunDirectory.open(settings.out, _sections(dataset, classifier, handful, plan, settings)) as folder:
        search = Search(dataset, handful.pictures, classifier, plan, settings.out, progress)
        progress.announce(_plan(search, handful, settings, classifier.name))
        search.run(settings.budget, settings.max_trials)
        complete = [trial.number for trial in search.trials if trial.state == "complete"]
        chooser = Chooser(search.table, complete, extents_within(plan.within), num_classes)
        everything = range(len(handful.pictures))
        (tuned,) = chooser.best([everything])
        (defaults,) = chooser.of_extent(plan.defaults, [everything])
        (cam,) = chooser.of_extent(plan.plain, [everything])
        result = TuneResult(
            folder=settings.out,
            validation=cross_validate(chooser, folds, plan.defaults, plan.plain, settings.seed),
            tuned=tuned,
            defaults=defaults,
            cam=cam,
            fixed=chooser.at_threshold(plan.defaults, DEFAULT_THRESHOLD, everything),
            trials=tuple(search.trials),
            labelled=tuple(picture.id for picture in handful.pictures),
            folds=tuple(tuple(fold) for fold in folds),
            notes=tuple(handful.notes),
            budget=settings.budget,
            max_side=plan.max_side,
            seed=settings.seed,
            data=dataset.root.name,
            split=settings.split or "",
            model=classifier.name,
            classifier=classifier.fingerprint(),
            command=command,
            seconds=round(time.monotonic() - started, 1),
        )
        write_outputs(result)
        folder.record_outputs()
    return result


def _handful(dataset: Dataset, match: ClassMatch, settings: TuneSettings) -> Handful:
    if settings.ids is not None:
        return named_handful(dataset, read_ids(settings.ids), match, settings.seed)
    assert settings.split is not None  # noqa: S101, for the type checker: one of the two is set
    return draw_handful(dataset, settings.split, match, settings.labelled, settings.seed)


def _sections(
    dataset: Dataset, classifier: Classifier, handful: Handful, plan: SearchPlan, settings: TuneSettings
) -> dict[str, dict[str, JSON]]:
    """The folder's config.json: what decides a trial, and what only decides how many there are."""
    trials: dict[str, JSON] = {
        "layout": dataset.layout,
        "classes": list(dataset.class_names),
        "pictures": [{"id": one.id, "targets": list(one.targets)} for one in handful.pictures],
        "classifier": classifier.fingerprint(),
        "precision": classifier.precision("auto"),
        "max_iterations": plan.within.iterations,
        "scales": list(plan.within.scales),
        "max_side": plan.max_side,
        "seed": plan.seed,
        "thresholds": list(THRESHOLDS),
    }
    rest = settings.model_dump(mode="json", include={"budget", "max_trials", "folds"})
    return {"maps": trials, "outputs": rest}


def _plan(search: Search, handful: Handful, settings: TuneSettings, model: str) -> TunePlan:
    return TunePlan(
        pictures=len(handful.pictures),
        notes=tuple(handful.notes),
        trials_done=len(search.trials),
        trial_passes=search.plan.cost(1, search.pictures),
        spent=search.spent,
        budget=settings.budget,
        max_trials=settings.max_trials,
        model=model,
    )
