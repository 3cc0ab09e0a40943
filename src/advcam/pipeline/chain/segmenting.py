"""The stages of the segmentation network, from label masks to masks of other pictures.

"segment" trains it, "predict" shows it the test pictures, "evaluate-segment" scores what it made of them, and "export"
writes it as ONNX.

segmenter/  predictions/masks/  predictions/classes.json  metrics-test/  onnx/model.onnx
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from accelerate.state import PartialState  # type: ignore[import-untyped]
from PIL import Image

from advcam.datasets.dataset import Dataset
from advcam.datasets.pictures import read_picture
from advcam.errors import PictureError, SettingError, counted, one_line
from advcam.pipeline.chain.carding import EPOCH, LEARNT_FROM, TRUE_MASKS, write_model_card
from advcam.pipeline.chain.labelling import NAME as PSEUDO
from advcam.pipeline.chain.lesson import CONFIDENCE, TRUE, Lesson, lesson
from advcam.pipeline.chain.localizing import mean_area
from advcam.pipeline.chain.pictures import Pictures, has_masks, test_pictures, test_split
from advcam.pipeline.chain.scoring import Scored, score_all
from advcam.pipeline.chain.settings import ChainSettings, SegmentSettings
from advcam.pipeline.chain.stage import PASS_PIXELS, Cost, Outcome, Stage, Watcher, digest, picture_digest, read_record
from advcam.pipeline.chain.training import LoopWatch
from advcam.pipeline.label_masks import TrueMasks, WrittenMasks, classes_in, with_truth
from advcam.pipeline.targets import evenly, samples_of
from advcam.segment.export import check_installed, export_onnx
from advcam.segment.inference import Prediction, predict
from advcam.segment.segmenter import Masked, Segmenter, TrainedSegmenter, load_segmenter, train_segmenter
from advcam.store.classes import ClassNumbers
from advcam.store.masks import write_mask
from advcam.store.run import JSON, output_names
from advcam.types import IGNORE, Sample

SEGMENT, PREDICT, EXPORT = "segment", "predict", "export"
EVALUATE = f"evaluate-{SEGMENT}"
#: The network as ONNX, and how many pictures it is compared with PyTorch on.
ONNX, COMPARED = "model.onnx", 10
#: Folder of the scores of the test pictures.
TEST_METRICS = "metrics-test"
#: Passes of a network for a picture in training: there, and back to the inputs and to the weights.
_PASSES_OF_A_STEP = 3


def segmenting_stages(
    settings: ChainSettings,
    chosen: SegmentSettings,
    pictures: Pictures,
    out: Path,
    names: Sequence[str] | None,
    after: tuple[str, ...],
) -> Iterator[Stage]:
    """The stages of the segmentation network.

    Args:
        settings: The recipe.
        chosen: Of the network.
        pictures: Of the chain.
        out: The run directory.
        names: Classes of the masks; None: those that the run's own masks name.
        after: Names of the stages that make the masks.
    """
    dataset, test = pictures.dataset, test_pictures(pictures.dataset, pictures.data, pictures.masks)
    masks = settings.label_masks if settings.label_masks is not None else out / PSEUDO
    limited = test is pictures.masks

    def learn(watcher: Watcher) -> Outcome:
        classes = names if names is not None else classes_in(out / PSEUDO)
        _check_classes(chosen, classes, dataset)
        taught = lesson(chosen, dataset, pictures.masks, masks, classes)
        return segment(chosen, taught, classes, dataset, out / "segmenter", settings.device, watcher)

    def show(watcher: Watcher) -> Outcome:
        segmenter = load_segmenter(out / "segmenter", settings.device)
        outcome = predict_all(segmenter, test, chosen, limited, out / "predictions", watcher)
        card(None)
        return outcome

    def card(evaluation: Mapping[str, Any] | None) -> None:
        record = read_record(out / "stages" / f"{SEGMENT}.json")
        write_model_card(out / "segmenter", settings, chosen, pictures, record, evaluation)

    def learn_cost() -> Cost:
        count, rounds = len(pictures.masks), 1 + chosen.self_training
        looks = rounds * _PASSES_OF_A_STEP * _views(chosen) * chosen.epochs * count
        return Cost(count, looks * chosen.crop**2 / PASS_PIXELS)

    _check_truth(settings, chosen, pictures)
    decides = _decides(chosen, names, settings.label_masks)
    seen: dict[str, JSON] = {
        "inference": chosen.inference.model_dump(mode="json"),
        "test": picture_digest(dataset, (test,)),
    }
    yield Stage(SEGMENT, out / "segmenter", decides, after, learn, learn_cost, trains=True)
    passes = len(chosen.inference.scales) * (1 + chosen.inference.flip) * len(test) * mean_area(test) / PASS_PIXELS
    yield Stage(PREDICT, out / "predictions", seen, (SEGMENT,), show, lambda: Cost(len(test), passes))
    if has_masks(dataset, test):

        def score(watcher: Watcher) -> Outcome:
            scored = Scored(SEGMENT, out / "predictions" / "masks", split=test_split(dataset, pictures.data))
            outcome = score_all(settings, [scored], None, out / TEST_METRICS, watcher)
            card(json.loads((out / TEST_METRICS / SEGMENT / "evaluation.json").read_text(encoding="utf-8")))
            return outcome

        scoring = {"settings": settings.evaluate.model_dump(mode="json")}
        yield Stage(EVALUATE, out / TEST_METRICS, scoring, (PREDICT,), score, lambda: Cost(len(test)))
    if chosen.onnx:
        check_installed()

        def export(watcher: Watcher) -> Outcome:
            return write_onnx(load_segmenter(out / "segmenter"), evenly(test, COMPARED), out / "onnx" / ONNX, watcher)

        yield Stage(EXPORT, out / "onnx", {}, (SEGMENT,), export, lambda: Cost(min(COMPARED, len(test))))


def write_onnx(segmenter: Segmenter, samples: Sequence[Sample], path: Path, watcher: Watcher) -> Outcome:
    """Write a network as ONNX, compared with PyTorch on some pictures."""
    watcher.start("export", len(samples))

    def pictures() -> Iterator[Image.Image]:
        for sample in samples:
            with suppress(PictureError):  # named when it was predicted
                yield read_picture(sample.path).convert("RGB")
            watcher.step()

    written = export_onnx(segmenter.network, segmenter.class_names, path, pictures=pictures())
    compared = written.given or written.drawn
    same = f"{100 * compared.equal_labels:.3f} % on {counted(compared.pictures, 'picture')}"
    size = "any" if written.fixed_size is None else "{1} x {0} only".format(*written.fixed_size)
    facts = [("opset", f"{written.opset}"), ("size of pictures", size), ("labels as of PyTorch", same)]
    notes = [written.why_fixed] if written.why_fixed else []
    return Outcome([*facts, ("largest difference", f"{compared.largest_difference:.1e}")], notes)


def segment(
    settings: SegmentSettings,
    taught: Lesson,
    names: Sequence[str],
    dataset: Dataset,
    folder: Path,
    device: str,
    watcher: Watcher,
) -> Outcome:
    """Train the network, after the rounds of self-training if there are any; each goes on where it stopped."""
    masked, val = taught.masked, None
    if settings.validation is not None:
        held_out = with_truth(dataset, samples_of(dataset, settings.validation, dataset.root))
        if not held_out:
            raise SettingError(f"segment.validation is {settings.validation}, which has no true masks; leave it away")
        val = Masked(held_out, TrueMasks(dataset))

    def trained(where: Path, what: str) -> TrainedSegmenter:
        return train_segmenter(
            masked,
            names,
            settings.training,
            where,
            weak=taught.weak,
            val=val,
            progress=LoopWatch(watcher, what),
            device=device,
        )

    unreadable: dict[str, str] = {}
    for number in range(1, settings.self_training + 1):
        where = folder / f"round-{number}"
        unreadable |= trained(where, f"segment, round {number}: ").unreadable
        masked = relabelled(where, device, masked, settings, watcher)
    result = trained(folder, "segment: ")
    unreadable |= result.unreadable
    return Outcome(_facts(result, settings, taught), result.warnings, tuple(unreadable.items()))


def relabelled(round_: Path, device: str, masked: Masked, settings: SegmentSettings, watcher: Watcher) -> Masked:
    """What the network of a round says of the pictures that it learnt, each limited to the classes of its image labels.

    Pixels that it is less sure of than `self_confidence` stay undecided. Of several processes one looks.
    """
    names = output_names([sample.id for sample in masked.samples])
    files = {id_: round_ / "masks" / f"{name}.png" for id_, name in names.items()}
    if PartialState().is_main_process:
        todo = [sample for sample in masked.samples if not files[sample.id].exists()]
        watcher.start("segment: labels anew", len(todo))
        for sample, found in _predictions(load_segmenter(round_, device), todo, settings, limited=True):
            if not isinstance(found, str):  # training named what it could not read
                write_mask(files[sample.id], np.where(found.confidence < settings.self_confidence, IGNORE, found.mask))
            watcher.step()
    PartialState().wait_for_everyone()
    there = [sample for sample in masked.samples if files[sample.id].exists()]
    return replace(masked, samples=there, mask_of=WrittenMasks(files, np.arange(IGNORE + 1, dtype=np.int32)))


def predict_all(
    segmenter: Segmenter,
    samples: Sequence[Sample],
    settings: SegmentSettings,
    limited: bool,
    folder: Path,
    watcher: Watcher,
) -> Outcome:
    """Masks of pictures, each written when it is done.

    Args:
        segmenter: The network.
        samples: The pictures.
        settings: How they are looked at.
        limited: Each picture shows the classes of its image labels alone.
        folder: Of `masks/` and `classes.json`.
        watcher: Hears of each picture.
    """
    ClassNumbers(folder / "classes.json", segmenter.class_names).extend(range(len(segmenter.class_names)))
    files = {id_: folder / "masks" / f"{name}.png" for id_, name in output_names([s.id for s in samples]).items()}
    todo = [sample for sample in samples if not files[sample.id].exists()]
    skipped: list[tuple[str, str]] = []
    watcher.start("predict", len(todo))
    for sample, found in _predictions(segmenter, todo, settings, limited):
        if isinstance(found, str):
            skipped.append((sample.id, found))
        else:
            write_mask(files[sample.id], found.mask)
        watcher.step()
    how = "classes of each picture's image labels" if limited else "all classes"
    return Outcome([("masks", f"{len(samples) - len(skipped)}"), ("possible", how)], (), skipped)


def _predictions(
    segmenter: Segmenter, samples: Sequence[Sample], settings: SegmentSettings, limited: bool
) -> Iterator[tuple[Sample, Prediction | str]]:
    """Each picture's prediction, or why it has none. A label that the network has no class for allows nothing."""
    number = {name: place + 1 for place, name in enumerate(segmenter.class_names)}
    for sample in samples:
        known = None if sample.labels is None else [number[label] for label in sample.labels if label in number]
        try:
            picture = np.asarray(read_picture(sample.path).convert("RGB"))
        except PictureError as error:
            yield sample, one_line(error)
        else:
            yield sample, predict(segmenter.network, picture, settings.inference, known if limited else None)


def _facts(result: TrainedSegmenter, settings: SegmentSettings, taught: Lesson) -> list[tuple[str, str]]:
    training, network = result.training, settings.network
    method = f", {settings.semi.method}" if settings.semi is not None else ""
    epoch = f"{training.best_epoch} of {training.epoch}"
    chosen = f" (by the true masks of {settings.validation})" if settings.validation else ""
    rounds = [("self-training", counted(settings.self_training, "round"))] if settings.self_training else []
    return [
        ("network", f"{network.head} on {network.model}, {len(result.class_names)} classes"),
        (LEARNT_FROM, taught.supervision + method),
        (TRUE_MASKS, f"{taught.true_masks}"),
        *rounds,
        ("steps", f"{training.step:,}"),
        ("loss", f"{training.history[-1]['training_loss'] or 0.0:.4f}"),
        (EPOCH, epoch + chosen),
    ]


def _check_truth(settings: ChainSettings, chosen: SegmentSettings, pictures: Pictures) -> None:
    """What can be known of true masks before anything is done."""
    dataset = pictures.dataset
    if chosen.validation is not None:
        dataset.check_split(chosen.validation)
    if settings.label_masks == TRUE and all(dataset.mask(sample.id) is None for sample in pictures.masks):
        raise SettingError(f"{dataset.root} has no true masks of these pictures; name a folder of masks")


def _check_classes(settings: SegmentSettings, names: Sequence[str], dataset: Dataset) -> None:
    """True masks are in the numbers of the data set."""
    if (settings.strong or settings.validation) and tuple(names) != tuple(dataset.class_names):
        raise SettingError(
            "true masks (segment.strong, segment.validation) have the classes of the data set, and the classifier has "
            "others; train one (train), or leave them out"
        )


def _views(settings: SegmentSettings) -> int:
    """Pictures that a step sees for each one of its batch: a strong one, the weak one, UniMatch's two strong views."""
    return 1 if settings.semi is None else {"cct": 2, "unimatch": 4}[settings.semi.method]


def _decides(settings: SegmentSettings, names: Sequence[str] | None, masks: Path | str | None) -> dict[str, JSON]:
    """What decides the network: settings, classes, given masks and the list of the strong pictures."""
    values = {**settings.deciding(), "names": list(names or ()), "masks": _masks_digest(masks)}
    del values["onnx"]
    if not settings.self_training:  # which looks at the pictures
        del values["inference"]
    if settings.strong is not None and Path(settings.strong).is_file():
        values["strong_list"] = Path(settings.strong).read_text(encoding="utf-8", errors="replace")
    return values


def _masks_digest(masks: Path | str | None) -> str:
    """Equal where a folder holds the same files, by name, size and time; masks of the run itself have none.

    Raises:
        SettingError: There are no masks.
    """
    if masks is None or not isinstance(masks, Path):
        return str(masks or "")
    pictures = sorted(masks.rglob("*.png"))
    if not pictures:
        raise SettingError(f"{masks} holds no masks; name a folder of PNG files, the folder pseudo of a run, or true")
    beside = [folder / name for folder in (masks, masks.parent) for name in ("classes.json", CONFIDENCE)]
    files = [(os.path.relpath(path, masks), path.stat()) for path in (*pictures, *beside) if path.is_file()]
    return digest([(name, stat.st_size, stat.st_mtime_ns) for name, stat in files])
