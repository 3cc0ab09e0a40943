"""The stage "evaluate": every map and mask of a chain against the truth, so far as there is any."""

from collections.abc import Sequence
from pathlib import Path

from advcam.datasets.dataset import Dataset
from advcam.errors import SettingError, counted
from advcam.pipeline.chain.settings import ChainSettings, ScoringSettings
from advcam.pipeline.chain.stage import Outcome, Watcher
from advcam.pipeline.evaluation.evaluate import evaluate, write_evaluation
from advcam.pipeline.evaluation.result import EvaluateSettings, Evaluation
from advcam.types import Sample

NAME = "evaluate"
#: Scores as the field writes them.
HEADLINES = {"miou": "mIoU", "max_box_acc_v2": "MaxBoxAccV2", "pxap": "PxAP"}
#: Supervision of a threshold, where the predictions are masks that have none.
_MASKS = "masks as they are"
#: Pictures that are looked at to find out whether there is any truth.
_LOOKED_AT = 200


def has_truth(dataset: Dataset, samples: Sequence[Sample]) -> bool:
    """Whether some of the pictures have true masks or boxes."""
    first = samples[:_LOOKED_AT]
    return any(dataset.mask(sample.id) is not None or dataset.boxes(sample.id) for sample in first)


def score_all(
    settings: ChainSettings,
    scored: Sequence[tuple[str, Path, float | None]],
    folder: Path,
    watcher: Watcher,
) -> Outcome:
    """Score stages, and write metrics/<stage>/evaluation.json of each.

    Args:
        settings: Of the chain.
        scored: Name of the stage, what it left, and its threshold (None for masks).
        folder: Of the metrics.
        watcher: Hears of each picture.
    """
    facts: list[tuple[str, str]] = []
    notes: dict[str, list[str]] = {}
    for name, predictions, threshold in scored:
        result = evaluate(_settings(settings, settings.evaluate, predictions, threshold), watcher)
        write_evaluation(result, folder / name)
        facts.append((name, in_words(result)))
        for note in result.notes:
            notes.setdefault(note, []).append(name)
    if not scored:
        raise SettingError("nothing to score: no stage before left maps or masks")
    return Outcome(facts, [f"{note} ({', '.join(names)})" for note, names in notes.items()])


def in_words(result: Evaluation) -> str:
    """The headline score of each row but the floors."""
    own, masks = [row for row in result.rows if row.name == "predictions"], of_masks(result.predictions)
    parts = []
    for row in own:
        threshold = f" at {row.threshold:.2f}" if row.threshold is not None else ""
        chosen = _MASKS if masks else f"{row.supervision}{threshold}"
        parts.append(f"{100 * row.scores[result.headline]:.1f} ({chosen})")
    return (
        f"{HEADLINES.get(result.headline, result.headline)} "
        + ", ".join(parts)
        + f" on {counted(result.pictures, 'picture')}"
    )


def of_masks(predictions: str) -> bool:
    """Whether an evaluation was one of masks, which have no threshold, whatever its protocol names."""
    return predictions.endswith("(masks)")


def _settings(
    settings: ChainSettings, scoring: ScoringSettings, predictions: Path, threshold: float | None
) -> EvaluateSettings:
    of_maps = threshold is not None
    fixed = {"threshold": threshold} if of_maps else {}
    return EvaluateSettings(
        predictions=predictions,
        data=settings.data.root,
        layout=settings.data.layout,
        split=settings.data.masks_split,
        labelled=scoring.labelled if of_maps else 0,
        missing="intersection",
        resamples=scoring.resamples,
        seed=scoring.seed,
        **fixed,  # type: ignore[arg-type]
    )
