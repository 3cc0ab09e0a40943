"""What a search leaves behind: recipe.yaml, tune.json with every trial, and its figures in words."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from advcam.pipeline.config import MethodSettings, OutputSettings
from advcam.pipeline.recipe import Provenance, Recipe, write_recipe
from advcam.pipeline.tuning.choice import MOST_GIVEN, Choice, CrossValidation
from advcam.pipeline.tuning.search import Trial
from advcam.store.files import write_text
from advcam.types import DEFAULT_THRESHOLD

RULE = (
    f"one standard error rule: the cheapest steps and scales within one standard error of the best mIoU, and at most "
    f"{100 * MOST_GIVEN:g} points below it"
)
CAUTION = (
    "the search was guided by all labelled pictures, so the held-out figures are slightly optimistic; those on the "
    "pictures that were chosen on (resubstitution) are more so"
)


@dataclass(frozen=True)
class TuneResult:
    """A finished search; scores are shares between 0 and 1.

    Args:
        folder: Of the search.
        validation: Scores on held-out pictures.
        tuned: The choice on all pictures, with its score there (resubstitution).
        defaults: The defaults with the best threshold there.
        cam: The plain class activation map at the default scales, likewise.
        fixed: mIoU of the defaults at the default threshold; nothing was chosen for it.
        trials: All of them, the defaults first.
        labelled: Ids of the pictures, in random order.
        folds: Indices of the pictures of each fold.
        notes: What was left out, in words.
        budget: Passes that were allowed.
        max_side: Of the working picture.
        seed: Of the search.
        data: Name of the root folder of the data set.
        split: That was drawn from; empty where a list named the pictures.
        model: Name of the classifier.
        classifier: Fingerprint of its weights.
        command: What was typed.
        seconds: That this session took.
    """

    folder: Path
    validation: CrossValidation
    tuned: Choice
    defaults: Choice
    cam: Choice
    fixed: float
    trials: tuple[Trial, ...]
    labelled: tuple[str, ...]
    folds: tuple[tuple[int, ...], ...]
    notes: tuple[str, ...]
    budget: float
    max_side: int
    seed: int
    data: str
    split: str
    model: str
    classifier: str
    command: str
    seconds: float

    @property
    def recommended(self) -> Literal["tuned", "defaults"]:
        """The tuned settings if they gain on held-out pictures, else the defaults with the validated threshold."""
        return "tuned" if self.validation.gain.value > 0 else "defaults"

    @property
    def choice(self) -> Choice:
        """What is recommended."""
        return self.tuned if self.recommended == "tuned" else self.defaults

    @property
    def spent(self) -> float:
        """Passes of all trials."""
        return sum(trial.passes for trial in self.trials)

    @property
    def figures(self) -> dict[str, float]:
        """Scores and costs by name, as recipe and tune.json have them."""
        validation = self.validation
        return {
            "held_out_tuned": validation.tuned,
            "held_out_defaults": validation.defaults,
            "held_out_cam": validation.cam,
            "held_out_gain": validation.gain.value,
            "held_out_gain_low": validation.gain.low,
            "held_out_gain_high": validation.gain.high,
            "resubstitution_tuned": self.tuned.miou,
            "resubstitution_defaults": self.defaults.miou,
            "resubstitution_cam": self.cam.miou,
            "defaults_at_fixed_threshold": self.fixed,
            "passes_tuned": self.tuned.extent.passes,
            "passes_defaults": self.defaults.extent.passes,
        }

    @property
    def recipe(self) -> Recipe:
        """The recommended settings, each written out, and where they come from."""
        chosen = Provenance(
            supervision=f"validated on {len(self.labelled)} labelled pictures",
            recommended=self.recommended,
            command=self.command,
            data=self.data,
            split=self.split,
            labelled=self.labelled,
            model=self.model,
            classifier=self.classifier,
            seed=self.seed,
            folds=len(self.folds),
            trials=len(self.trials),
            passes=self.spent,
            figures={name: round(value, 4) for name, value in self.figures.items()},
        )
        outputs = OutputSettings(threshold=self.choice.threshold)
        return Recipe(method=self.settings(self.choice), outputs=outputs, chosen=chosen)

    def settings(self, choice: Choice) -> MethodSettings:
        """A choice as settings, every value written out, so that a recipe outlives a change of the defaults."""
        climb: dict[str, Any] = {"method": "advcam", "effort": "paper", "iterations": choice.extent.iterations}
        climb["small_iterations"] = choice.extent.iterations
        climb |= self.trials[choice.trial].constants
        values = climb if choice.extent.iterations else {"method": "cam"}
        return MethodSettings(**values, scales=choice.extent.scales, max_side=self.max_side)

    def content(self) -> dict[str, Any]:
        """Everything, as tune.json has it."""
        folds = [
            {"pictures": [self.labelled[index] for index in fold], "chosen_on_the_others": self._described(choice)}
            for fold, choice in zip(self.folds, self.validation.choices, strict=True)
        ]
        return {
            "recommended": self.recommended,
            "figures": self.figures,
            "rule": RULE,
            "caution": CAUTION,
            "tuned": self._described(self.tuned),
            "defaults": self._described(self.defaults),
            "cam": self._described(self.cam),
            "confidence": self.validation.gain.confidence,
            "labelled": list(self.labelled),
            "notes": list(self.notes),
            "budget": self.budget,
            "spent": self.spent,
            "folds": folds,
            "trials": [asdict(trial) for trial in self.trials],
        }

    def _described(self, choice: Choice) -> dict[str, Any]:
        return {
            "trial": choice.trial,
            "method": {"method": self.settings(choice).method, **self.settings(choice).chosen()},
            "threshold": choice.threshold,
            "miou_where_chosen": choice.miou,
            "passes": choice.extent.passes,
        }


def write_outputs(result: TuneResult) -> None:
    """Write recipe.yaml and tune.json.

    Raises:
        RunError: A file cannot be written.
    """
    write_text(result.folder / "tune.json", json.dumps(result.content(), indent=2, ensure_ascii=False) + "\n")
    write_recipe(result.folder / "recipe.yaml", result.recipe)


def words(result: TuneResult) -> list[str]:
    """The figures for people, a line each; mIoU in per cent."""
    return [
        _effort(result),
        *_table(result),
        f"the defaults at their own threshold {DEFAULT_THRESHOLD:g}, nothing chosen: {100 * result.fixed:.1f}",
        _gain(result),
        CAUTION,
        f"tuned: {_setting(result, result.tuned)}",
        f"defaults: {_setting(result, result.defaults)}",
        RULE,
        _advice(result),
    ]


def _effort(result: TuneResult) -> str:
    pruned = sum(trial.state == "pruned" for trial in result.trials)
    effort = f"{len(result.trials)} trials on {len(result.labelled)} labelled pictures, {pruned} given up early"
    return f"{effort}; {result.spent:,.0f} of {result.budget:,.0f} passes"


def _table(result: TuneResult) -> list[str]:
    validation = result.validation
    rows = [
        ("plain CAM", validation.cam, result.cam.miou),
        ("defaults", validation.defaults, result.defaults.miou),
        ("tuned", validation.tuned, result.tuned.miou),
    ]
    head = f"{'mIoU in %':12}{'held out':>10}{'where it was chosen':>24}   ({len(result.folds)} folds)"
    return [head, *(f"{name:12}{100 * held_out:10.1f}{100 * seen:24.1f}" for name, held_out, seen in rows)]


def _gain(result: TuneResult) -> str:
    gain = result.validation.gain
    span = f"{100 * gain.confidence:g} % interval over pictures {100 * gain.low:+.1f} to {100 * gain.high:+.1f}"
    chance = f": {len(result.labelled)} pictures do not tell it from chance" if gain.low <= 0 else ""
    return f"gain of tuning on held-out pictures {100 * gain.value:+.1f} points, {span}{chance}"


def _advice(result: TuneResult) -> str:
    if result.recommended == "tuned":
        return "recommended: the tuned settings, in recipe.yaml"
    return (
        "recommended: the defaults, with the threshold chosen on the labelled pictures, in recipe.yaml: on held-out "
        "pictures tuning gained nothing"
    )


def _setting(result: TuneResult, choice: Choice) -> str:
    method = result.settings(choice).chosen()
    method.pop("max_side")
    scales = ", ".join(f"{scale:g}" for scale in method.pop("scales"))
    constants = [f"{name.replace('_', ' ')} {value}" for name, value in method.items()] or ["plain CAM, no climb"]
    cost = choice.extent.passes / result.defaults.extent.passes
    return (
        f"{', '.join(constants)}; scales {scales}; threshold {choice.threshold:g}; {choice.extent.passes:,.0f} passes "
        f"a map" + ("" if choice.extent == result.defaults.extent else f", {cost:.2f} times the defaults")
    )
