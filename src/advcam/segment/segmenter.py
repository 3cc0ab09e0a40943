"""A segmentation network from pictures with label masks: train it and keep it in a folder.

segmenter/  best.safetensors  last.safetensors  classes.txt  segmenter.json
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from accelerate.state import PartialState  # type: ignore[import-untyped]
from accelerate.utils import gather_object  # type: ignore[import-untyped]
from torch import nn

from advcam.classifiers.catalogue import checked_device
from advcam.datasets.pictures import read_picture
from advcam.errors import PictureError, SettingError, counted, one_line
from advcam.evaluate.segmentation import ConfusionMatrix
from advcam.segment.inference import InferenceSettings, label_mask
from advcam.segment.network import SegmentationNetwork, create_network
from advcam.segment.objective import SegmentationObjective
from advcam.segment.pictures import MaskedPictures, MaskOf, PairedPictures, Survey, survey_masks
from advcam.segment.semi.cct import CCTObjective
from advcam.segment.semi.splits import check_apart
from advcam.segment.semi.unimatch import UniMatchObjective
from advcam.segment.settings import SegmenterSettings
from advcam.segment.trained import CLASSES_FILE, FACTS_FILE, FORMAT_VERSION
from advcam.store.files import write_text
from advcam.store.run import JSON
from advcam.training.checkpoint import finite
from advcam.training.loop import Progress, TrainingResult, train
from advcam.training.schedule import Group, create_optimizer
from advcam.training.sharing import turns
from advcam.types import Sample

#: The metric that chooses the best epoch, where there are masks to choose by.
MIOU = "miou"


@dataclass(frozen=True)
class Masked:
    """Pictures with label masks.

    Args:
        samples: The pictures.
        mask_of: The mask of each: 0 background, class number + 1, 255 undecided.
        weights: Of the loss of pictures, by id; 1 where there is none.
    """

    samples: Sequence[Sample]
    mask_of: MaskOf
    weights: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainedSegmenter:
    """A segmentation network on disk and how it came about.

    Args:
        folder: Holds it; see `load_segmenter`.
        class_names: Of its outputs, without the background.
        pixels: Of each class in the masks, the background first, (C,).
        training: How the training ended.
        unreadable: What is wrong with pictures that could not be read, by id; others took their place, or chose the
            epoch without them.
        warnings: One line each.
    """

    folder: Path
    class_names: tuple[str, ...]
    pixels: tuple[int, ...]
    training: TrainingResult
    unreadable: Mapping[str, str]
    warnings: tuple[str, ...]


def train_segmenter(
    masked: Masked,
    class_names: Sequence[str],
    settings: SegmenterSettings,
    folder: Path,
    *,
    weak: Masked | None = None,
    val: Masked | None = None,
    progress: Callable[[Progress], None] | None = None,
    device: str | torch.device = "cpu",
) -> TrainedSegmenter:
    """Train a segmentation network, or go on with the training that the folder holds.

    Args:
        masked: Pictures with masks: true ones, or pseudo-labels. In semi-supervised training the strong ones.
        class_names: The K classes: a mask holds 0, 1 .. K and 255.
        settings: Of network and training.
        folder: Where the network is kept; created.
        weak: The other pictures of semi-supervised training; 255 everywhere where there is no pseudo-label.
        val: By whose true masks the best epoch is chosen, which is supervision; None keeps the last one.
        progress: Told every few steps and after each epoch.
        device: "cpu", "cuda", "cuda:1" ..

    Raises:
        PictureError: A mask does not fit its picture or these classes, or nothing is left to learn from.
        SettingError: Settings that do not go together, or too few pictures for the batch.
        ModelError: The network or device is not there; the training diverged.
        WeightsError: The pretrained weights do not fit.
        RunError: The folder holds another training, or cannot be written to.
    """
    _check_semi(masked, weak, settings)
    survey = _survey(masked, len(class_names) + 1)
    _check_something(masked, survey)
    masked = _decided(masked, survey)
    others = [group for group in (weak, val) if group is not None]
    surveys = [survey, *(_survey(group, len(class_names) + 1) for group in others)]
    network = create_network(settings.network, len(class_names) + 1, settings.seed)
    pictures = _pictures(masked, weak, class_names, network, settings)
    _check_batch(network, len(pictures), settings)
    objective = _objective(network, settings).to(checked_device(device))
    result = train(
        objective,
        create_optimizer(settings.optimizer, _groups(objective, settings)),
        settings.schedule_of(),
        pictures,
        settings,
        folder,
        validate=_validation(objective, val),
        better=MIOU,
        facts={"class_names": list(class_names), "samples": _digest(surveys, [masked, *others])},
        progress=progress,
    )
    trained = TrainedSegmenter(
        folder,
        tuple(class_names),
        tuple(int(count) for count in survey.pixels),
        result,
        _gathered(surveys, pictures.unreadable()),
        tuple(_warnings(surveys[: 1 if weak is None else 2], class_names, len(pictures.undecided()))),
    )
    if PartialState().is_main_process:
        _write(trained, settings)
    PartialState().wait_for_everyone()
    return trained


def validation_miou(
    network: SegmentationNetwork, val: Masked, inference: InferenceSettings | None = None
) -> dict[str, float]:
    """mIoU on whole pictures against true masks. Pictures that cannot be read are left out.

    The processes of a launch share the pictures, and all of them get the mIoU of one process.

    Args:
        network: In any mode; left in evaluation mode.
        val: The pictures.
        inference: How they are looked at; None: at one scale, unflipped.

    Raises:
        PictureError: Not one picture can be read.
    """
    matrix = ConfusionMatrix(network.num_classes)
    looks = inference or InferenceSettings(flip=False)
    broken: list[str] = []
    for turn in turns(len(val.samples)):
        sample = val.samples[turn]
        try:
            picture = read_picture(sample.path).convert("RGB")
        except PictureError as error:
            broken.append(one_line(error))
        else:
            matrix.add(val.mask_of(sample), label_mask(network, np.asarray(picture), looks))
    found = gather_object([(matrix.counts, broken)])
    matrix.counts = sum(counts for counts, _ in found)
    unread = [reason for _, reasons in found for reason in reasons]
    if len(unread) == len(val.samples):
        raise PictureError(f"no picture to choose the epoch by can be read; the first: {unread[0]}")
    return {MIOU: matrix.scores().miou}


def _check_semi(masked: Masked, weak: Masked | None, settings: SegmenterSettings) -> None:
    if (settings.semi is None) != (weak is None):
        raise SettingError("semi-supervised training needs both: weak pictures, and the method in semi")
    if weak is not None:
        check_apart(masked.samples, weak.samples)
        if masked.weights or weak.weights:
            raise SettingError("semi-supervised training takes no weights of pictures; leave them out")


def _survey(masked: Masked, num_classes: int) -> Survey:
    """Every mask looked at once, before hours of training with a wrong one."""
    survey = survey_masks(masked.samples, masked.mask_of, num_classes)
    if survey.problems:  # one line for each kind
        raise PictureError("; ".join(survey.problems))
    return survey


def _check_something(masked: Masked, survey: Survey) -> None:
    if not masked.samples:
        raise SettingError("no pictures to train with; name pictures and their masks")
    if len(survey.unreadable) == len(masked.samples):
        raise PictureError(f"not one of the pictures can be read; the first: {next(iter(survey.unreadable.values()))}")
    if not survey.pixels.sum():
        raise PictureError(
            f"all {counted(len(masked.samples), 'mask')} are undecided (255) everywhere; make pseudo-labels with a "
            "smaller band"
        )


def _decided(masked: Masked, survey: Survey) -> Masked:
    """The pictures whose masks say something."""
    left_out = set(survey.undecided)
    return replace(masked, samples=[sample for sample in masked.samples if sample.id not in left_out])


def _pictures(
    masked: Masked,
    weak: Masked | None,
    class_names: Sequence[str],
    network: SegmentationNetwork,
    settings: SegmenterSettings,
) -> MaskedPictures | PairedPictures:
    if weak is None:
        return MaskedPictures(
            masked.samples,
            masked.mask_of,
            num_classes=network.num_classes,
            crop=settings.crop,
            scales=settings.scales,
            normalise=network.normalisation,
            seed=settings.seed,
            weights=masked.weights or None,
        )
    return PairedPictures(
        masked.samples,
        masked.mask_of,
        weak.samples,
        weak.mask_of,
        class_names=class_names,
        crop=settings.crop,
        scales=settings.scales,
        normalise=network.normalisation,
        seed=settings.seed,
    )


def _check_batch(network: SegmentationNetwork, count: int, settings: SegmenterSettings) -> None:
    """A batch normalisation that learns needs two pictures in every pass of every process."""
    head = [module for name, module in network.named_modules() if not name.startswith("encoder")]
    if not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in head):
        return
    processes = PartialState().num_processes
    last = settings.batch_size if settings.drop_last else count % settings.batch_size or settings.batch_size
    smallest = max(1, last // (settings.accumulate * processes))
    if smallest < 2:
        launch = f", accumulate {settings.accumulate} and {processes} processes"
        given = launch if processes > 1 else f" and accumulate {settings.accumulate}"
        fewer = "fewer processes, " if processes > 1 else ""
        raise SettingError(
            f"{settings.network.head} has batch normalisations and needs 2 pictures in every pass; with "
            f"{counted(count, 'picture')}, batch_size {settings.batch_size}{given} one has {smallest}; set "
            f"drop_last=true, {fewer}or another batch_size, or take the head deeplabv2"
        )


def _objective(network: SegmentationNetwork, settings: SegmenterSettings) -> SegmentationObjective:
    if settings.semi is None:
        return SegmentationObjective(network, settings.objective)
    if settings.semi.method == "cct":
        with torch.random.fork_rng(devices=()):  # its decoders start at random
            torch.manual_seed(settings.seed)
            return CCTObjective(network, settings.objective, settings.semi.cct)
    return UniMatchObjective(network, settings.objective, settings.semi.unimatch)


def _groups(objective: SegmentationObjective, settings: SegmenterSettings) -> list[Group]:
    """Of the network, and of what the objective learns beside it."""
    groups = objective.network.parameter_groups(settings.lr, settings.head_multiplier, settings.weight_decay)
    if isinstance(objective, CCTObjective):
        fast, decay = settings.head_multiplier, settings.weight_decay
        parameters = list(objective.auxiliary_parameters())
        groups.append({"params": parameters, "lr": fast * settings.lr, "multiplier": fast, "weight_decay": decay})
    return groups


def _validation(objective: SegmentationObjective, val: Masked | None) -> Callable[[], dict[str, float]] | None:
    return None if val is None else lambda: validation_miou(objective.kept, val)


def _digest(surveys: Sequence[Survey], groups: Sequence[Masked]) -> str:
    """Equal where two trainings have the same pictures and weights, and as many pixels of each class."""
    content = [
        [(sample.id, sample.labels, group.weights.get(sample.id)) for sample in group.samples] for group in groups
    ]
    text = json.dumps([*(survey.pixels.tolist() for survey in surveys), content], ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _warnings(surveys: Sequence[Survey], class_names: Sequence[str], undecided: int) -> list[str]:
    """On what is learnt: the first survey is of the pictures with masks, another of the weak ones."""
    words = []
    pixels = np.sum([survey.pixels for survey in surveys], axis=0)[1:].tolist()
    absent = [name for name, count in zip(class_names, pixels, strict=True) if not count]
    if absent:
        more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
        verb = "is" if len(absent) == 1 else "are"
        words.append(
            f"{', '.join(absent[:5])}{more} {verb} in no mask: the network cannot learn what it is never shown"
        )
    if left_out := surveys[0].undecided:
        words.append(f"{counted(len(left_out), 'mask')} left out: undecided (255) everywhere")
    if undecided:
        words.append(f"{counted(undecided, 'picture')} gave a crop without a decided pixel; others took their place")
    return words


def _gathered(surveys: Sequence[Survey], own: Mapping[str, str]) -> dict[str, str]:
    """What the surveys, and then all processes, could not read, by id."""
    found: dict[str, str] = {}
    for survey in surveys:
        found |= survey.unreadable
    for reasons in gather_object([dict(own)]):
        found |= reasons
    return found


def _write(trained: TrainedSegmenter, settings: SegmenterSettings) -> None:
    """The two files beside the weights."""
    training = trained.training
    write_text(trained.folder / CLASSES_FILE, "".join(f"{name}\n" for name in trained.class_names))
    facts: dict[str, JSON] = {
        "advcam_segmenter": FORMAT_VERSION,
        "class_names": list(trained.class_names),
        "pixels": list(trained.pixels),
        "best_epoch": training.best_epoch,
        "epochs": training.epoch,
        "steps": training.step,
        "history": [{name: finite(value) for name, value in epoch.items()} for epoch in training.history],
        "unreadable": dict(trained.unreadable),
        "warnings": list(trained.warnings),
        "settings": settings.model_dump(mode="json"),
    }
    write_text(trained.folder / FACTS_FILE, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
