"""Evaluate anybody's maps, masks or boxes against a data set, by the protocol that fits them.

Results are written as evaluation.json; figures and the table for people are made from it.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from advcam.classifiers.catalogue import load_classifier
from advcam.datasets.catalogue import open_dataset
from advcam.datasets.dataset import Dataset
from advcam.datasets.labels import label_samples
from advcam.datasets.pictures import read_picture
from advcam.errors import DatasetError, SettingError
from advcam.evaluate.selection import ThresholdChoice
from advcam.pipeline.class_match import ClassMatch, read_groups
from advcam.pipeline.evaluation.boxes import BoxEvaluation, Ranking, evaluate_pxap
from advcam.pipeline.evaluation.faithfulness import evaluate_faithfulness
from advcam.pipeline.evaluation.labelled import validated_threshold
from advcam.pipeline.evaluation.masks import SeedEvaluation, evaluate_masks
from advcam.pipeline.evaluation.predictions import Kind, Predictions, RunMaps, open_predictions
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
from advcam.store.files import write_text
from advcam.types import Sample

#: Predicted classes that Top-k Loc looks at.
_RANKS = 5
#: Pictures that are looked at to find out what the truth is.
_LOOKED_AT = 50
_TAKES: dict[Task, tuple[Kind, ...]] = {
    "segmentation": ("maps", "masks"),
    "localization": ("maps", "masks", "boxes"),
    "pxap": ("maps", "masks"),
    "faithfulness": ("maps",),
}


def evaluate(settings: EvaluateSettings, watcher: Watcher) -> Evaluation:
    """Score predictions.

    Args:
        settings: What against what.
        watcher: Hears of each picture.

    Raises:
        AdvcamError: The data set or the predictions cannot be used, do not fit together, or the protocol does not fit.
    """
    dataset = open_dataset(settings.data, settings.layout)
    dataset.check_split(settings.split)
    groups = read_groups(settings.groups) if settings.groups else None
    predictions = open_predictions(settings.predictions, dataset, groups)
    pairs, notes = pair_up(dataset, predictions, settings)
    task = settings.protocol or _fitting_task(dataset, predictions, pairs)
    _check_fit(task, predictions, settings)
    labelled_part(len(pairs), settings)
    validated: list[ThresholdChoice] = []
    if settings.labelled_split is not None:
        choice, more = validated_threshold(dataset, settings, task, watcher, groups)
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
    _run(task, dataset, predictions, settings, pairs, validated, result, watcher)
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


def _run(
    task: Task,
    dataset: Dataset,
    predictions: Predictions,
    settings: EvaluateSettings,
    pairs: Sequence[Pair],
    validated: Sequence[ThresholdChoice],
    result: Evaluation,
    watcher: Watcher,
) -> None:
    if task == "segmentation" and predictions.kind == "maps":
        SeedEvaluation(dataset, predictions, settings, validated).run(pairs, result, watcher)
    elif task == "segmentation":
        evaluate_masks(dataset, predictions, settings, pairs, result, watcher)
    elif task == "localization":
        ranking = _ranking(dataset, pairs, settings)
        BoxEvaluation(dataset, predictions, settings, ranking, validated).run(pairs, result, watcher)
    elif task == "pxap":
        evaluate_pxap(dataset, predictions, settings, pairs, result, watcher)
    else:
        evaluate_faithfulness(dataset, predictions, settings, pairs, result, watcher)


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


def _ranking(dataset: Dataset, pairs: Sequence[Pair], settings: EvaluateSettings) -> Ranking:
    """Who says what a picture shows: a table, a classifier, or nobody."""
    if settings.top_classes is not None:
        labelled = label_samples([pair.sample for pair in pairs], settings.top_classes)
        if labelled.unlabelled:
            raise DatasetError(f"{settings.top_classes} has no row for {labelled.unlabelled[0].id}; list every picture")
        with naming(str(settings.top_classes)):
            ranks = {s.id: [dataset.class_id(label) for label in s.labels or ()] for s in labelled.samples}
        return lambda sample: ranks[sample.id]
    if settings.model is None:
        return lambda sample: ()
    classifier = load_classifier(settings.model.model, **settings.model.model_dump(exclude={"model"}))
    groups = read_groups(settings.groups) if settings.groups else None
    match = ClassMatch(classifier, dataset.class_names, groups)

    def ranked(sample: Sample) -> Sequence[int]:
        return match.ranked(read_picture(sample.path), _RANKS)

    return ranked


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
