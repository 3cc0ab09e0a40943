"""The stage "evaluate": every map and mask of a chain against the truth, so far as there is any."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from advcam.errors import SettingError, counted
from advcam.pipeline.chain.settings import ChainSettings
from advcam.pipeline.chain.stage import Outcome, Watcher
from advcam.pipeline.evaluation.evaluate import evaluate, write_evaluation
from advcam.pipeline.evaluation.result import EvaluateSettings, Evaluation
from advcam.pipeline.shards import Engine

NAME = "evaluate"
#: Scores as the field writes them.
HEADLINES = {
    "miou": "mIoU",
    "max_box_acc_v2": "MaxBoxAccV2",
    "gt_known": "GT-known Loc",
    "top1_loc": "Top-1 Loc",
    "top5_loc": "Top-5 Loc",
    "pxap": "PxAP",
}
#: Supervision of a threshold, where the predictions are masks that have none.
_MASKS = "masks as they are"
#: WSOL chooses thresholds on train-fullsup.
_UNVALIDATED = (
    "no labelled split chose a threshold (data.thresholds=SPLIT): oracle is an upper bound, "
    "fixed and label-free saw no box"
)


@dataclass(frozen=True)
class Scored:
    """What a stage left, to be scored.

    Args:
        name: Of the stage.
        predictions: Folder of its maps or masks.
        threshold: Of maps, the one that was set beforehand; None for masks.
        labelled: Run with maps of the labelled split, which choose the validated threshold; None: there is none.
        split: Of the pictures; None: the one that gets masks.
    """

    name: str
    predictions: Path
    threshold: float | None = None
    labelled: Path | None = None
    split: str | None = None


def score_all(
    settings: ChainSettings,
    scored: Sequence[Scored],
    top_classes: Path | None,
    folder: Path,
    watcher: Watcher,
    engine: Engine,
) -> Outcome:
    """Score stages, and write metrics/<stage>/evaluation.json of each.

    Args:
        settings: Of the chain.
        scored: What the stages left.
        top_classes: Table of the predicted classes, for Top-1 and Top-5 Loc.
        folder: Of the metrics.
        watcher: Hears of each picture.
        engine: Brings the pictures to processes.
    """
    facts: list[tuple[str, str]] = []
    notes: dict[str, list[str]] = {}
    for one in scored:
        result = evaluate(scoring_settings(settings, one, top_classes), watcher, engine)
        write_evaluation(result, folder / one.name)
        facts.append((one.name, in_words(result)))
        unvalidated = [_UNVALIDATED] * (
            result.task == "localization" and one.threshold is not None and not one.labelled
        )
        for note in (*result.notes, *unvalidated):
            notes.setdefault(note, []).append(one.name)
    if not scored:
        raise SettingError("nothing to score: no stage before left maps or masks")
    return Outcome(facts, [f"{note} ({', '.join(names)})" for note, names in notes.items()])


def in_words(result: Evaluation) -> str:
    """The scores of each row but the floors: "mIoU 50.1 (oracle at 0.31), ..", of boxes all that there are."""
    own, masks = [row for row in result.rows if row.name == "predictions"], of_masks(result.predictions)
    names, parts = shown_scores(result.headline, own[0].scores), []
    for row in own:
        threshold = f" at {row.threshold:.2f}" if row.threshold is not None else ""
        chosen = _MASKS if masks else f"{row.supervision}{threshold}"
        parts.append(f"{' / '.join(f'{100 * row.scores[name]:.1f}' for name in names)} ({chosen})")
    titles = " / ".join(HEADLINES.get(name, name) for name in names)
    return f"{titles} {', '.join(parts)} on {counted(result.pictures, 'picture')}"


def shown_scores(headline: str, scores: Iterable[str]) -> list[str]:
    """Names of the scores that console and report show: the headline and, for boxes, all others."""
    return [headline, *(name for name in scores if headline == "max_box_acc_v2" and name != headline)]


def of_masks(predictions: str) -> bool:
    """Whether an evaluation was one of masks, which have no threshold, whatever its protocol names."""
    return predictions.endswith("(masks)")


def scoring_settings(settings: ChainSettings, scored: Scored, top_classes: Path | None = None) -> EvaluateSettings:
    """How `advcam evaluate` would be asked to score what a stage left."""
    of_maps, scoring = scored.threshold is not None, settings.evaluate
    fixed = {"threshold": scored.threshold} if of_maps else {}
    return EvaluateSettings(
        predictions=scored.predictions,
        data=settings.data.root,
        layout=settings.data.layout,
        split=scored.split or settings.data.masks_split,
        labelled=scoring.labelled if of_maps else 0,
        labelled_split=settings.data.thresholds if scored.labelled is not None else None,
        labelled_predictions=scored.labelled,
        missing="intersection",
        top_classes=top_classes,
        resamples=scoring.resamples,
        seed=scoring.seed,
        **fixed,  # type: ignore[arg-type]
    )
