"""A classifier from pictures with image labels: train it, keep it in a folder, load it again.

classifier/  best.safetensors  last.safetensors  classes.txt  classifier.json
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from accelerate.state import PartialState  # type: ignore[import-untyped]
from accelerate.utils import gather_object  # type: ignore[import-untyped]

from advcam import untrusted
from advcam.attribution.precision import resolve
from advcam.classifiers.catalogue import checked_device, load_classifier
from advcam.classifiers.classifier import Classifier
from advcam.errors import RunError, SettingError, one_line
from advcam.store.files import write_text
from advcam.store.run import JSON
from advcam.training.augment import RECIPES, Preparation
from advcam.training.checkpoint import finite
from advcam.training.classification import (
    ClassificationObjective,
    EvaluationPictures,
    Pictures,
    TrainingPictures,
    best_metric,
    measure,
)
from advcam.training.loop import BEST_FILE, Progress, TrainingResult, train
from advcam.training.mixture import train_mixture
from advcam.training.network import StartingPoint, choose_trained, starting_point
from advcam.training.schedule import create_optimizer, parameter_groups
from advcam.training.settings import ClassifierSettings
from advcam.training.targets import Targets, balanced_weights, class_targets, label_matrix
from advcam.types import Sample

FORMAT_VERSION = 1
CLASSES_FILE, FACTS_FILE = "classes.txt", "classifier.json"


@dataclass(frozen=True)
class TrainedClassifier:
    """A classifier on disk and how it came about.

    Args:
        folder: Holds it; see `load_trained`.
        model: Name of the network.
        output_stride: As it was set.
        multi_label: Whether its outputs are independent.
        class_names: Of its outputs.
        metrics: Of the kept epoch: `training_loss`, and of the validation `loss`, and `mean_average_precision` or
            `top_1` and `top_5`.
        training: How the training ended.
        unreadable: What is wrong with pictures that could not be read, by id; others took their place.
        warnings: One line each.
    """

    folder: Path
    model: str
    output_stride: int | None
    multi_label: bool
    class_names: tuple[str, ...]
    metrics: Mapping[str, float]
    training: TrainingResult
    unreadable: Mapping[str, str]
    warnings: tuple[str, ...]

    @property
    def weights(self) -> Path:
        """Weights of the best epoch, for `advcam.load_classifier`."""
        return self.folder / BEST_FILE

    @property
    def classes(self) -> Path:
        """Names of the classes, for `advcam.load_classifier`."""
        return self.folder / CLASSES_FILE


def train_classifier(
    samples_train: Sequence[Sample],
    samples_val: Sequence[Sample],
    class_names: Sequence[str],
    settings: ClassifierSettings,
    folder: Path,
    *,
    progress: Callable[[Progress], None] | None = None,
    device: str | torch.device = "cpu",
) -> TrainedClassifier:
    """Train a classifier, or go on with the training that the folder holds.

    Args:
        samples_train: Pictures with labels.
        samples_val: Others, by which the best epoch is chosen; without any, the last one is kept.
        class_names: The K classes, in the order of the outputs.
        settings: Of network and training.
        folder: Where the classifier is kept; created.
        progress: Told every few steps and after each epoch.
        device: "cpu", "cuda", "cuda:1" ..

    Raises:
        LabelError: Labels are missing, of no class, or leave nothing to learn; see `class_targets`.
        SettingError: Settings that do not go together.
        ModelError: The network or device is not there; the training diverged.
        WeightsError: The pretrained weights do not fit.
        PictureError: Not one picture can be read.
        RunError: The folder holds another training, or cannot be written to.
    """
    targets = class_targets(samples_train, class_names, settings.kind, allow_absent=settings.allow_absent)
    start = starting_point(settings.model, len(class_names), settings.weights, settings.output_stride, settings.seed)
    choose_trained(start, settings.trained, settings.frozen_statistics)
    objective = _objective(start, targets, settings).to(checked_device(device))
    pictures = TrainingPictures(samples_train, targets.labels, _preparation(start, settings), settings.seed)
    held_out = None
    if samples_val:
        held_out = EvaluationPictures(
            samples_val, label_matrix(samples_val, class_names), _preparation(start, settings)
        )
    better = best_metric(targets.kind)
    validate = partial(_validate, objective, held_out, settings) if held_out is not None else None
    facts: dict[str, JSON] = {"class_names": list(class_names), "samples": _digest(samples_train, samples_val)}
    if settings.trained == "mixture":
        result = train_mixture(
            start,
            objective,
            pictures,
            settings,
            folder,
            validate=validate,
            better=better,
            progress=progress,
        )
    else:
        result = train(
            objective,
            _optimizer(start, settings),
            settings.schedule_of(),
            pictures,
            settings,
            folder,
            validate=validate,
            better=better,
            facts=facts,
            progress=progress,
        )
    trained = TrainedClassifier(
        folder=folder,
        model=settings.model,
        output_stride=settings.output_stride,
        multi_label=targets.kind == "multi-label",
        class_names=tuple(class_names),
        metrics=_metrics(result),
        training=result,
        unreadable=_unreadable(pictures.pictures, held_out.pictures if held_out is not None else None),
        warnings=(*targets.warnings, *_fresh(start)),
    )
    if PartialState().is_main_process:
        _write(trained, settings)
    PartialState().wait_for_everyone()
    return trained


def load_trained(folder: Path, device: str | torch.device = "cpu") -> Classifier:
    """The classifier that a training left in a folder, with its best weights.

    Raises:
        RunError: The folder holds none, or a damaged one.
        WeightsError: Its weights are gone or damaged.
        ModelError: The network or device is not there.
    """
    path = folder / FACTS_FILE
    if not path.is_file():
        raise RunError(f"{folder} holds no trained classifier ({FACTS_FILE} is missing); finish its training first")
    try:
        facts = untrusted.read_json(path)
        if facts["advcam_classifier"] != FORMAT_VERSION:
            raise ValueError(f"it has format {facts['advcam_classifier']}, expected {FORMAT_VERSION}")
        model, stride, multi_label = str(facts["model"]), facts["output_stride"], bool(facts["multi_label"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged ({one_line(error)}); train again in another folder") from error
    return load_classifier(
        model,
        weights=folder / BEST_FILE,
        class_names=folder / CLASSES_FILE,
        output_stride=stride,
        multi_label=multi_label,
        device=device,
    )


def _objective(start: StartingPoint, targets: Targets, settings: ClassifierSettings) -> ClassificationObjective:
    if settings.label_smoothing and targets.kind == "multi-label":
        raise SettingError("label_smoothing is for single-label classifiers; leave it at 0")
    balanced = balanced_weights(targets.labels, targets.kind) if settings.class_weights == "balanced" else None
    network = start.network.to(memory_format=torch.channels_last)
    return ClassificationObjective(
        network,
        targets.kind,
        weights=balanced,
        label_smoothing=settings.label_smoothing,
        frozen_statistics=settings.frozen_statistics,
    )


def _preparation(start: StartingPoint, settings: ClassifierSettings) -> Preparation:
    return Preparation(RECIPES[settings.augmentation], settings.side, start.normalisation)


def _optimizer(start: StartingPoint, settings: ClassifierSettings) -> torch.optim.Optimizer:
    groups = parameter_groups(
        start.network,
        start.fast,
        lr=settings.lr,
        multiplier=settings.head_multiplier,
        weight_decay=settings.weight_decay,
    )
    return create_optimizer(settings.optimizer, groups)


def _validate(
    objective: ClassificationObjective, held_out: EvaluationPictures, settings: ClassifierSettings
) -> dict[str, float]:
    precision = resolve(settings.precision, next(objective.parameters()))
    return measure(
        objective, held_out, batch_size=settings.batch_size, precision=precision, workers=settings.workers or 0
    )


def _digest(*groups: Sequence[Sample]) -> str:
    """Equal where two trainings have the same pictures, by id, with the same labels."""
    content = [[(sample.id, sample.labels) for sample in samples] for samples in groups]
    return hashlib.sha256(json.dumps(content, ensure_ascii=True).encode()).hexdigest()[:16]


def _metrics(result: TrainingResult) -> dict[str, float]:
    """Of the kept epoch: the validation's, and the loss over the training pictures as `training_loss`."""
    entry = next(entry for entry in result.history if entry["epoch"] == result.best_epoch)
    return {name: value for name, value in entry.items() if name not in ("epoch", "lr")}


def _unreadable(training: Pictures, held_out: Pictures | None) -> dict[str, str]:
    """What all processes could not read, by id."""
    own = training.unreadable() | (held_out.unreadable() if held_out is not None else {})
    found: dict[str, str] = {}
    for reasons in gather_object([own]):
        found |= reasons
    return found


def _fresh(start: StartingPoint) -> tuple[str, ...]:
    """A word on layers that start at random, besides the new head, which always does."""
    others = [name for name in start.fresh if name.rpartition(".")[0] not in start.head]
    if not others:
        return ()
    return (f"{' and '.join(others)} start at random: the pretrained weights hold none of that size",)


def _write(trained: TrainedClassifier, settings: ClassifierSettings) -> None:
    """The two files beside the weights."""
    write_text(trained.classes, "".join(f"{name}\n" for name in trained.class_names))
    facts: dict[str, JSON] = {
        "advcam_classifier": FORMAT_VERSION,
        "model": trained.model,
        "output_stride": trained.output_stride,
        "multi_label": trained.multi_label,
        "class_names": list(trained.class_names),
        "metrics": {name: finite(value) for name, value in trained.metrics.items()},
        "best_epoch": trained.training.best_epoch,
        "epochs": trained.training.epoch,
        "stopped_early": trained.training.stopped_early,
        "history": [{name: finite(value) for name, value in epoch.items()} for epoch in trained.training.history],
        "unreadable": dict(trained.unreadable),
        "warnings": list(trained.warnings),
        "settings": settings.model_dump(mode="json"),
    }
    write_text(trained.folder / FACTS_FILE, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
