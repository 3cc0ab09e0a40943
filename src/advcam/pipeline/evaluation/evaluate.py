"""Evaluate anybody's maps, masks or boxes against a data set, by the protocol that fits them.

Results are written as evaluation.json; figures and the table for people are made from it.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from advcam.datasets.dataset import Dataset
from advcam.datasets.labels import label_samples
from advcam.errors import DatasetError, SettingError
from advcam.evaluate.selection import ThresholdChoice
from advcam.pipeline.evaluation.boxes import BoxEvaluation
from advcam.pipeline.evaluation.faithfulness import evaluate_faithfulness
from advcam.pipeline.evaluation.labelled import validated_threshold
from advcam.pipeline.evaluation.masks import SeedEvaluation, evaluate_masks
from advcam.pipeline.evaluation.pixels import evaluate_pxap
from advcam.pipeline.evaluation.predictions import Kind, Predictions, RunMaps
from advcam.pipeline.evaluation.result import (
    EvaluateSettings,
    Evaluation,
    Pair,
    Task,
    Watcher,
    labelled_part,
    naming,
    note_without,
    pair_up,
)
from advcam.pipeline.evaluation.scoring import Scoring, open_inputs
from advcam.pipeline.shards import Engine, LocalEngine
from advcam.store.files import write_text

#: Pictures that are looked at to find out what the truth is.
_LOOKED_AT = 50
_TAKES: dict[Task, tuple[Kind, ...]] = {
    "segmentation": ("maps", "masks"),
    "localization": ("maps", "masks", "boxes"),
    "pxap": ("maps", "masks"),
    "faithfulness": ("maps",),
}


def evaluate(settings: EvaluateSettings, watcher: Watcher, engine: Engine | None = None) -> Evaluation:
    """Score predictions.

    Args:
        settings: What against what.
        watcher: Hears of each picture.
        engine: Brings the pictures to processes; None: this process scores them.

    Raises:
        AdvcamError: The data set or the predictions cannot be used, do not fit together, or the protocol does not fit.
    """
    inputs = open_inputs(settings)
    dataset, predictions = inputs.dataset, inputs.predictions
    pairs, notes = pair_up(dataset, predictions, settings)
    task = settings.protocol or _fitting_task(dataset, predictions, pairs)
    _check_fit(task, predictions, settings)
    labelled_part(len(pairs), settings)
    engine, validated = engine or LocalEngine(), []
    if settings.labelled_split is not None:
        choice, more = validated_threshold(dataset, settings, task, watcher, engine)
        validated, notes = [choice], [*notes, *more]
    result = Evaluation(
        task=task,
        headline="",
        dataset=dataset.title,
        layout=dataset.layout,
        split=settings.split,
        predictions=f"{settings.predictions} ({predictions.kind})",
        notes=notes,
    )
    if settings.top_classes is not None:
        pairs = _ranked(pairs, dataset, settings.top_classes)
    _run(task, Scoring(inputs, pairs, watcher, engine), validated, result)
    absent = _absent_classes(dataset, pairs)
    if absent:
        what = "classes of the data set are in no picture here, and in no mean unless they are predicted"
        result.notes += note_without(what, absent)
    return result


def write_evaluation(result: Evaluation, folder: Path) -> Path:
    """Write evaluation.json; numbers that are not defined are null.

    Raises:
        RunError: The folder cannot be written.
    """
    path = folder / "evaluation.json"
    write_text(path, as_json(result) + "\n")
    return path


def as_json(result: Evaluation) -> str:
    """The result as JSON on one line."""
    return json.dumps(_defined(asdict(result)), ensure_ascii=False)


def _run(task: Task, scoring: Scoring, validated: Sequence[ThresholdChoice], result: Evaluation) -> None:
    if task == "segmentation" and scoring.inputs.predictions.kind == "maps":
        SeedEvaluation(scoring, validated).run(result)
    elif task == "segmentation":
        evaluate_masks(scoring, result)
    elif task == "localization":
        BoxEvaluation(scoring, validated).run(result)
    elif task == "pxap":
        evaluate_pxap(scoring, result)
    else:
        evaluate_faithfulness(scoring, result)


def _check_fit(task: Task, predictions: Predictions, settings: EvaluateSettings) -> None:
    """Raise `SettingError` where predictions or options have no place in a protocol: nothing is ignored silently."""
    if predictions.kind not in _TAKES[task]:
        raise SettingError(
            f"{predictions.where} holds {predictions.kind}, but the protocol {task} takes {' or '.join(_TAKES[task])}"
        )
    without_threshold = task in ("pxap", "faithfulness") or predictions.kind != "maps"
    labelled = "labelled" if settings.labelled else "labelled-split" if settings.labelled_split is not None else ""
    if labelled and without_threshold:
        raise SettingError(
            f"labelled pictures choose a threshold, and {task} of {predictions.kind} has none; leave --{labelled} away"
        )
    if settings.labelled and settings.labelled_split is not None:
        raise SettingError("labelled pictures are some of the split or a split of their own; leave --labelled away")
    if settings.labelled_predictions is not None and settings.labelled_split is None:
        raise SettingError("labelled predictions are those of another split; name it with --labelled-split")
    if "threshold" in settings.model_fields_set and without_threshold:
        raise SettingError(f"{task} of {predictions.kind} has no threshold to be fixed; leave --threshold away")
    if settings.top_classes and task != "localization":
        raise SettingError(f"predicted classes are for Top-k Loc, not for {task}; leave --top-classes away")
    if settings.model and task not in ("localization", "faithfulness"):
        raise SettingError(f"the protocol {task} asks no classifier; leave --model away")
    if settings.groups and not (isinstance(predictions, RunMaps) or settings.model):
        raise SettingError("groups are for a run of advcam or for --model; leave --groups away")


def _fitting_task(dataset: Dataset, predictions: Predictions, pairs: Sequence[Pair]) -> Task:
    """Masks are scored as masks where there are true ones; boxes, and maps without true masks, as boxes.

    Raises:
        SettingError: There is neither a true mask nor a true box.
    """
    first = [pair.sample.id for pair in pairs[:_LOOKED_AT]]
    if predictions.kind != "boxes" and any(dataset.mask(id_) is not None for id_ in first):
        return "segmentation"
    if any(dataset.boxes(id_) for id_ in first):
        return "localization"
    raise SettingError(
        f"the pictures of {dataset.root} have neither masks nor boxes; where nothing is annotated, maps can be "
        "compared with --protocol faithfulness"
    )


def _ranked(pairs: Sequence[Pair], dataset: Dataset, table: Path) -> list[Pair]:
    """The pairs with the predicted classes of a table.

    Raises:
        DatasetError: A picture has no row, or a class is none of the data set.
    """
    labelled = label_samples([pair.sample for pair in pairs], table)
    if labelled.unlabelled:
        raise DatasetError(f"{table} has no row for {labelled.unlabelled[0].id}; list every picture")
    with naming(str(table)):
        ranks = {s.id: tuple(dataset.class_id(label) for label in s.labels or ()) for s in labelled.samples}
    return [replace(pair, ranked=ranks[pair.sample.id]) for pair in pairs]


def _absent_classes(dataset: Dataset, pairs: Sequence[Pair]) -> list[str]:
    present = {label for pair in pairs for label in pair.sample.labels or ()}
    return [name for name in dataset.class_names if name not in present]


def _defined(value: Any) -> Any:  # noqa: ANN401, nested JSON
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _defined(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_defined(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
