"""Pictures to label masks by a trained segmentation network, resumable at every picture."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from advcam.attribution.precision import resolve
from advcam.classifiers.names import ClassIndex
from advcam.datasets.labels import label_samples
from advcam.datasets.pictures import find_pictures, read_picture
from advcam.errors import AdvcamError, LabelError, ModelError, PictureError, SettingError, one_line
from advcam.pipeline.config import Out, Settings, validated
from advcam.pipeline.flow import WriteBehind, read_ahead
from advcam.pipeline.predicting.outputs import PredictionOutputs
from advcam.segment.inference import InferenceSettings, predict
from advcam.segment.trained import Segmenter, load_segmenter
from advcam.store.files import write_text
from advcam.store.run import JSON, RunDirectory
from advcam.types import BoxContours, Sample

#: Pictures that are read ahead, and results that wait to be written: they may be large.
_AHEAD, _BEHIND = 2, 2


class PredictSettings(Settings):
    """A prediction run.

    Args:
        inputs: Files, folders and patterns.
        segmenter: Folder of a trained segmentation network, or of the run that trained it.
        out: Folder of the run, or its URL.
        labels: A CSV of image labels, or "folders": each pixel gets one of the classes of its picture, or background.
        inference: How a picture is looked at.
        boxes: The largest part of each class, or all.
        overlays: Whether pictures with their masks over them are written.
        device: Where the network works.
    """

    inputs: tuple[str, ...]
    segmenter: Path
    out: Out
    labels: str | None = None
    inference: InferenceSettings = InferenceSettings()
    boxes: BoxContours = "largest"
    overlays: bool = True
    device: str = "cpu"

    def sections(self, segmenter: Segmenter) -> dict[str, dict[str, JSON]]:
        """The two sections of the run's config.json: what decides the masks, and what is made of them."""
        weight = next(segmenter.network.parameters())
        precision = str(resolve(self.inference.precision, weight)).removeprefix("torch.")
        deciding = {**self.inference.model_dump(mode="json"), "precision": precision, "segmenter": _digest(segmenter)}
        return {"maps": deciding, "outputs": {"boxes": self.boxes, "overlays": self.overlays}}


@dataclass
class PredictSummary:
    """What a run did; `summary.json`.

    Args:
        out: Its folder.
        pictures: All of them.
        computed: In this session.
        already_done: In earlier ones.
        skipped: Id and reason of those that could not be used.
        warnings: One line each.
        classes: How many pictures show each class, by name.
        seconds: Of this session.
        interrupted: By Ctrl-C; the same command goes on.
    """

    out: str
    pictures: int
    computed: int = 0
    already_done: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    classes: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    interrupted: bool = False


class Watcher(Protocol):
    """Who watches a run."""

    def start(self, words: str, total: int) -> None:
        """So many pictures are to come."""

    def step(self) -> None:
        """One of them."""

    def skipped(self, name: str, reason: str) -> None:
        """A picture cannot be used."""


def predict_settings(**values: object) -> PredictSettings:
    """Validated settings.

    Raises:
        SettingError: A value of the wrong type or out of range; one line for the first of them.
    """
    return validated(PredictSettings, values)


def predict_pictures(settings: PredictSettings, watcher: Watcher) -> PredictSummary:
    """Run, or continue, a prediction.

    Args:
        settings: Everything that was chosen.
        watcher: Hears of each picture.

    Returns:
        What was done. After an interrupt (Ctrl-C) everything finished so far is valid and `interrupted` is set.

    Raises:
        AdvcamError: No pictures, unknown labels, no trained network, an unusable run directory.
    """
    segmenter = load_segmenter(settings.segmenter, settings.device)
    work = _find_work(settings, segmenter)
    ids = [sample.id for sample in work.samples]
    with (
        RunDirectory.open(settings.out, settings.sections(segmenter)) as run,
        PredictionOutputs(run, ids, segmenter.class_names, settings.overlays) as outputs,
    ):
        summary = _Job(settings, segmenter, work, outputs, watcher).run()
        write_text(run.summary_file, json.dumps(asdict(summary), indent=2, ensure_ascii=False) + "\n")
        run.record_outputs()
    return summary


@dataclass(frozen=True)
class _Work:
    """The pictures of a run, and the class numbers that each may show; None: all."""

    samples: Sequence[Sample]
    allowed: Mapping[str, tuple[int, ...] | None]
    unlabelled: Sequence[tuple[str, str]] = ()
    warnings: Sequence[str] = ()

    def inputs(self) -> list[tuple[str, str]]:
        """Id and inputs of each picture."""
        return [(sample.id, self.inputs_of(sample)) for sample in self.samples]

    def inputs_of(self, sample: Sample) -> str:
        """Equal where the file of a picture and its labels are the same."""
        try:
            size = sample.path.stat().st_size
        except OSError:
            size = -1
        return json.dumps([size, self.allowed[sample.id]])


def _find_work(settings: PredictSettings, segmenter: Segmenter) -> _Work:
    if not settings.inputs:
        raise SettingError("which pictures? name files, folders or patterns: advcam predict PHOTOS --segmenter RUN")
    folder = settings.out.resolve()
    # The run's own overlays and masks are no input of the next session.
    found = [s for s in find_pictures(settings.inputs) if folder not in s.path.resolve().parents]
    if not found:
        raise SettingError(f"all pictures lie in {settings.out}, the folder of the run; choose another --out")
    if settings.labels is None:
        return _Work(found, dict.fromkeys(sample.id for sample in found))
    if settings.labels == "predicted":
        raise SettingError("labels restrict the classes of a picture: give a CSV or folders, or leave --labels away")
    labelled = label_samples(found, settings.labels)
    classes = ClassIndex(segmenter.class_names)
    allowed = {sample.id: _class_numbers(sample, classes) for sample in labelled.samples}
    unlabelled = [(sample.id, f"{settings.labels} has no row for it") for sample in labelled.unlabelled]
    return _Work(labelled.samples, allowed, unlabelled, labelled.warnings)


def _class_numbers(sample: Sample, classes: ClassIndex) -> tuple[int, ...]:
    try:
        return tuple(sorted({classes.find(label) + 1 for label in sample.labels or ()}))
    except LabelError as error:
        raise LabelError(f"{sample.id}: {error}") from error


class _Job:
    """One run, with everything it needs at hand."""

    def __init__(
        self,
        settings: PredictSettings,
        segmenter: Segmenter,
        work: _Work,
        outputs: PredictionOutputs,
        watcher: Watcher,
    ) -> None:
        self.settings, self.segmenter, self.work = settings, segmenter, work
        self.outputs, self.watcher = outputs, watcher

    def run(self) -> PredictSummary:
        """Work through the pictures; an interrupt ends the work, not the run."""
        started = time.monotonic()
        summary = PredictSummary(str(self.settings.out), len(self.work.samples), warnings=list(self.work.warnings))
        summary.skipped += self.work.unlabelled
        self.watcher.start("pictures", len(self.work.samples))
        try:
            todo = [sample for sample in self.work.samples if not self._restored(sample, summary)]
            with WriteBehind(_BEHIND) as writer:
                for sample, picture in read_ahead(todo, _pixels, _AHEAD):
                    self._predict(sample, picture, writer, summary)
        except KeyboardInterrupt:
            summary.interrupted = True
        summary.classes = self.outputs.write_lists(self.work.inputs(), self.settings.boxes)
        summary.seconds = round(time.monotonic() - started, 1)
        return summary

    def _predict(
        self, sample: Sample, picture: Future[NDArray[np.uint8]], writer: WriteBehind, summary: PredictSummary
    ) -> None:
        try:
            pixels = picture.result()
            allowed = self.work.allowed[sample.id]
            found = predict(self.segmenter.network, pixels, self.settings.inference, allowed)
        except (PictureError, ModelError) as error:
            self._skip(sample, error, summary)
            return
        writer.submit(self.outputs.write, sample.id, self.work.inputs_of(sample), pixels, found)
        summary.computed += 1
        self.watcher.step()

    def _restored(self, sample: Sample, summary: PredictSummary) -> bool:
        """Whether a picture is done; an overlay that is missing alone is made of its mask."""
        if not self.outputs.done(sample.id, self.work.inputs_of(sample)):
            return False
        try:
            if self.outputs.lacks_overlay(sample.id):
                self.outputs.write_overlay(sample.id, _pixels(sample))
        except PictureError:  # a damaged mask is made again, a damaged picture is named there
            return False
        summary.already_done += 1
        self.watcher.step()
        return True

    def _skip(self, sample: Sample, error: AdvcamError, summary: PredictSummary) -> None:
        summary.skipped.append((sample.id, one_line(error)))
        self.watcher.skipped(sample.id, one_line(error))


def _pixels(sample: Sample) -> NDArray[np.uint8]:
    return np.asarray(read_picture(sample.path))


def _digest(segmenter: Segmenter) -> str:
    """Equal where two runs used the same network with the same weights for the same classes."""
    described = segmenter.settings.network.model_dump(mode="json", exclude={"weights"})
    found = hashlib.sha256(json.dumps([described, list(segmenter.class_names)]).encode())
    for name, tensor in sorted(segmenter.network.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
