"""The search over step size, penalty, mask threshold tau and other classes: one climb of each picture a trial.

The next trial depends on the finished ones, their order and the seed alone: each time they are told to a fresh, seeded
sampler. So a search that was killed goes on as if it had not been, and a larger budget only adds trials.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from advcam import untrusted
from advcam.attribution.advcam import AdvCAM
from advcam.attribution.method import Classifier, Method
from advcam.datasets.dataset import Dataset
from advcam.errors import RunError, SettingError, one_line
from advcam.pipeline.tuning.handful import LabelledPicture
from advcam.pipeline.tuning.scores import Extent, ScoreTable, extents_within

Constants = dict[str, float | int | str]

#: What is searched; the ranges are those over which docs/defaults.md saw an effect, and a little more.
SPACE: dict[str, BaseDistribution] = {
    "step_size": FloatDistribution(0.01, 0.2, log=True),
    "penalty": FloatDistribution(0, 4, step=0.25),
    "mask_threshold": FloatDistribution(0.1, 0.9, step=0.05),
    "other_classes": CategoricalDistribution(("none", "logsumexp", 1, 5)),
}
#: Trials drawn at random before the sampler learns from them, and finished trials before one can be given up.
RANDOM_TRIALS, UNPRUNED_TRIALS = 8, 4


@dataclass(frozen=True)
class Trial:
    """One setting of the climb on the labelled pictures.

    Args:
        number: 0 are the defaults.
        constants: Of the climb.
        state: "complete", or "pruned" where it was given up after some of the pictures.
        value: Highest mIoU over the searched extents and thresholds on the pictures it saw.
        rungs: That value after so many pictures, where trials are compared.
        passes: Network passes spent, of one view at scale 1.
    """

    number: int
    constants: Constants
    state: Literal["complete", "pruned"]
    value: float
    rungs: dict[int, float]
    passes: float

    def frozen(self) -> optuna.trial.FrozenTrial:
        """As the sampler and the pruner take it."""
        state = TrialState.COMPLETE if self.state == "complete" else TrialState.PRUNED
        return optuna.trial.create_trial(
            state=state,
            value=self.value,
            params=dict(self.constants),
            distributions=SPACE,
            intermediate_values=dict(self.rungs),
        )


class SearchProgress(Protocol):
    """Who watches a search."""

    def picture_done(self, trial: int, passes: float) -> None:
        """A trial has climbed one more picture, at this cost."""

    def trial_done(self, trial: Trial, best: float) -> None:
        """A trial is finished or given up; the best value so far."""


@dataclass(frozen=True)
class SearchPlan:
    """What decides the trials, apart from the pictures and the weights.

    Args:
        within: Most steps and all scales that are tried.
        defaults: Steps and scales of the defaults, which the gain is measured against.
        constants: The defaults of what is searched.
        max_side: Of the working picture.
        seed: Of the sampler.
    """

    within: Extent
    defaults: Extent
    constants: Constants
    max_side: int
    seed: int

    @classmethod
    def of(
        cls, classifier: Classifier, iterations: int, scales: Sequence[float] | None, max_side: int | None, seed: int
    ) -> "SearchPlan":
        """The plan for a classifier: the effort "paper", and the range around it; None leaves a value to the method.

        Raises:
            SettingError: A value outside its range.
        """
        defaults = AdvCAM(classifier, effort="paper", max_side=max_side)
        chosen = AdvCAM(classifier, effort="paper", iterations=iterations, scales=scales)
        constants = {name: getattr(defaults.settings, name) for name in SPACE}
        return cls(
            within=Extent(iterations, tuple(sorted(chosen.scales))),
            defaults=Extent(defaults.settings.iterations, tuple(sorted(defaults.scales))),
            constants=constants,
            max_side=defaults.max_side,
            seed=seed,
        )

    @property
    def plain(self) -> Extent:
        """The plain class activation map at the default scales: step 0 of the first trial."""
        return Extent(0, self.defaults.scales)

    def longest(self, number: int) -> Extent:
        """What a trial climbs: the first one as far as the defaults go, at least."""
        if number:
            return self.within
        scales = tuple(sorted({*self.within.scales, *self.defaults.scales}))
        return Extent(max(self.within.iterations, self.defaults.iterations), scales)

    def extents(self, number: int) -> tuple[Extent, ...]:
        """What a trial is scored at: all it holds; the plain maps, equal in all trials, in the first one alone."""
        extents = extents_within(self.within, fewest_steps=0 if number == 0 else 1)
        known = (self.plain, self.defaults) if number == 0 else ()
        return tuple(dict.fromkeys([*extents, *known]))

    def cost(self, number: int, pictures: Sequence[LabelledPicture]) -> float:
        """Passes of a trial on some pictures."""
        return self.longest(number).passes * sum(len(picture.outputs) for picture in pictures)

    def check_budget(self, budget: float, pictures: Sequence[LabelledPicture]) -> None:
        """Raise `SettingError` unless the budget holds the first trial, the defaults."""
        if budget < self.cost(0, pictures):
            raise SettingError(
                f"the budget of {budget:,.0f} passes does not hold the defaults on {len(pictures)} pictures, "
                f"{self.cost(0, pictures):,.0f} passes; raise --budget, or choose fewer --labelled, scales or "
                "iterations"
            )


class Search:
    """Trials on labelled pictures, kept in `folder` as they are finished.

    Args:
        dataset: Of the pictures.
        pictures: In random order: trials are compared on the first few.
        classifier: To explain.
        plan: See there.
        folder: For `trials.jsonl` and `scores/`.
        progress: Hears of each picture.

    Raises:
        RunError: The trials in the folder are damaged.
    """

    def __init__(
        self,
        dataset: Dataset,
        pictures: Sequence[LabelledPicture],
        classifier: Classifier,
        plan: SearchPlan,
        folder: Path,
        progress: SearchProgress,
    ) -> None:
        self.dataset, self.pictures, self.classifier = dataset, pictures, classifier
        self.plan, self.progress = plan, progress
        self.log = TrialLog(folder / "trials.jsonl")
        self.scores = folder / "scores"
        self.trials = self.log.read()

    @property
    def spent(self) -> float:
        """Passes of all trials in the log."""
        return sum(trial.passes for trial in self.trials)

    def table(self, number: int) -> ScoreTable:
        """Scores of a finished trial, from the disk."""
        return ScoreTable.read(self._table_path(number), self.plan.extents(number))

    def run(self, budget: float, max_trials: int) -> None:
        """Run trials as long as a whole one fits into the budget; it is never exceeded.

        Raises:
            AdvcamError: A picture cannot be read any more, or the classifier answers NaN.
        """
        while len(self.trials) < max_trials:
            if self.spent + self.plan.cost(len(self.trials), self.pictures) > budget:
                break
            trial, table = self._run_trial(len(self.trials))
            if table is not None:
                table.write(self._table_path(trial.number))
            self.log.append(trial)
            self.trials.append(trial)
            self.progress.trial_done(trial, max(one.value for one in self.trials))

    def method(self, number: int, constants: Mapping[str, Any]) -> Method:
        """The climb of a trial."""
        longest = self.plan.longest(number)
        return AdvCAM(
            self.classifier,
            effort="paper",
            iterations=longest.iterations,
            small_iterations=longest.iterations,
            scales=longest.scales,
            max_side=self.plan.max_side,
            **constants,
        )

    def _run_trial(self, number: int) -> tuple[Trial, ScoreTable | None]:
        """A trial, and its scores unless it was given up."""
        suggestion = self._suggest(number)
        constants = {name: _rounded(value) for name, value in suggestion.params.items()}
        method, extents = self.method(number, constants), self.plan.extents(number)
        parts: list[ScoreTable] = []
        rungs: dict[int, float] = {}
        state: Literal["complete", "pruned"] = "complete"
        passes = 0.0
        for count, picture in enumerate(self.pictures, 1):
            parts.append(self._climb(method, picture, count - 1, extents))
            passes += self.plan.cost(number, [picture])
            self.progress.picture_done(number, self.plan.cost(number, [picture]))
            if count in _rung_counts(len(self.pictures)):
                rungs[count] = self._value(ScoreTable.joined(parts))
                suggestion.report(rungs[count], count)
                if suggestion.should_prune():
                    state = "pruned"
                    break
        table = ScoreTable.joined(parts)
        trial = Trial(number, constants, state, self._value(table), rungs, passes)
        return trial, table if state == "complete" else None

    def _value(self, table: ScoreTable) -> float:
        """Highest mIoU over what every trial is scored at: what the first has beyond it would favour its constants."""
        columns = [table.extents.index(extent) for extent in self.plan.extents(1)]
        return float(table.miou(np.unique(table.pictures))[columns].max())

    def _suggest(self, number: int) -> optuna.Trial:
        """The next trial: the defaults first, then what the sampler makes of all trials so far."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        entropy = int(np.random.SeedSequence((self.plan.seed, number)).generate_state(1)[0])
        study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=entropy, n_startup_trials=RANDOM_TRIALS),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED_TRIALS),
        )
        for trial in self.trials:
            study.add_trial(trial.frozen())
        if number == 0:
            study.enqueue_trial(dict(self.plan.constants))
        return study.ask(fixed_distributions=SPACE)

    def _climb(self, method: Method, picture: LabelledPicture, number: int, extents: tuple[Extent, ...]) -> ScoreTable:
        """Climb one picture and score it; the maps are let go."""
        image, truth = picture.read(self.dataset)
        (attribution,) = method([image], [picture.outputs], record="maps")
        return ScoreTable.of_picture(
            number, attribution, picture.class_ids, picture.targets, truth, extents, method.fusion
        )

    def _table_path(self, number: int) -> Path:
        return self.scores / f"{number:04d}.npz"


class TrialLog:
    """Finished trials, a line of JSON each; a line that a kill cut short is dropped."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Trial]:
        """The trials in order.

        Raises:
            RunError: The file is damaged or cannot be read.
        """
        try:
            content = self.path.read_bytes() if self.path.exists() else b""
            whole = content[: content.rfind(b"\n") + 1]
            if whole != content:
                os.truncate(self.path, len(whole))
            trials = [_trial(untrusted.parse_json(line)) for line in whole.splitlines()]
        except OSError as error:
            raise RunError(f"cannot read {self.path} ({error.strerror}); choose another --out") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(f"{self.path} is damaged; delete its folder and start the search anew") from error
        if [trial.number for trial in trials] != list(range(len(trials))):
            raise RunError(f"{self.path} lacks a trial; delete its folder and start the search anew")
        return trials

    def append(self, trial: Trial) -> None:
        """Add a trial and bring it to the disk.

        Raises:
            RunError: It cannot be written; the file stays as it was.
        """
        length = self.path.stat().st_size if self.path.exists() else 0
        try:
            with self.path.open("ab") as file:
                file.write(json.dumps(asdict(trial)).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            with suppress(OSError):
                os.truncate(self.path, length)
            raise RunError(f"cannot write {self.path} ({error.strerror or one_line(error)}); make room") from error


def _trial(content: dict[str, Any]) -> Trial:
    rungs = {int(count): value for count, value in content["rungs"].items()}
    return Trial(**{**content, "rungs": rungs})


def _rounded(value: float | int | str) -> float | int | str:
    """Three digits, so that what is tried can be typed."""
    return float(f"{value:.3g}") if isinstance(value, float) else value


def _rung_counts(pictures: int) -> set[int]:
    """After a third and two thirds of the pictures trials are compared."""
    return {math.ceil(pictures / 3), math.ceil(2 * pictures / 3)} - {pictures}
