"""Pictures to label masks by a trained segmentation network, resumable at every picture.

In two passes over the shards of the list: a look at what earlier sessions left, then the pictures that are missing.
Which process works on a shard is the engine's business.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

import advcam
from advcam.classifiers.names import ClassIndex
from advcam.datasets.labels import label_samples
from advcam.datasets.pictures import find_pictures
from advcam.errors import LabelError, RunError, SettingError
from advcam.pipeline.config import keep_settings
from advcam.pipeline.leading import leading_device
from advcam.pipeline.operations.recording import RecordingEngine
from advcam.pipeline.operations.telemetry import Telemetry
from advcam.pipeline.predicting.outputs import PredictionOutputs
from advcam.pipeline.predicting.settings import PredictSettings
from advcam.pipeline.predicting.shard_predictions import Given, LookTask, PredictTask
from advcam.pipeline.shard_maps import file_bytes
from advcam.pipeline.shard_rows import stored_rows
from advcam.pipeline.shards import Engine, LocalEngine, kept, shards_done, shards_left
from advcam.segment.trained import Segmenter, load_segmenter
from advcam.store.files import remove_leftovers, write_text
from advcam.store.predictions import StoredPrediction
from advcam.store.run import RunDirectory, output_names
from advcam.store.session import session
from advcam.types import Sample


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


def pictures_of_run(settings: PredictSettings, engine: Engine | None = None) -> Sequence[Sample]:
    """The pictures of a run, once it is known that `predict_pictures` would go on with it; nothing of it is changed.

    Raises:
        AdvcamError: As `predict_pictures`.
    """
    segmenter, work = _prepared(settings, engine)
    with RunDirectory.open(settings.out, settings.sections(segmenter)):
        return work.samples


def predict_pictures(settings: PredictSettings, watcher: Watcher, engine: Engine | None = None) -> PredictSummary:
    """Run, or continue, a prediction.

    Args:
        settings: Everything that was chosen.
        watcher: Hears of each picture.
        engine: Brings the work to processes; None: this process does it.

    Returns:
        What was done. After an interrupt (Ctrl-C) everything finished so far is valid and `interrupted` is set.

    Raises:
        AdvcamError: No pictures, unknown labels, no trained network, an unusable run directory.
    """
    segmenter, work = _prepared(settings, engine)
    with (
        RunDirectory.open(settings.out, settings.sections(segmenter)) as run,
        session(run.folder) as died,
        Telemetry(run.folder) as telemetry,
    ):
        if died:
            remove_leftovers(run.folder, everywhere=True)
        keep_settings(run.folder, settings)
        job = _Job(settings, segmenter, work, watcher, engine or LocalEngine(careful=died), telemetry)
        summary = job.run()
        job.finish(summary)
        run.record_outputs()
    return summary


@dataclass(frozen=True)
class _Work:
    """The pictures of a run.

    Args:
        samples: What is worked on.
        classes: By which labels say what a picture may show; None: every picture may show all classes.
        unlabelled: Ids of the pictures that the labels leave out, and why.
        warnings: One line each.
    """

    samples: Sequence[Sample]
    classes: ClassIndex | None = None
    unlabelled: Sequence[tuple[str, str]] = ()
    warnings: Sequence[str] = ()

    def class_ids(self, sample: Sample) -> tuple[int, ...] | None:
        """Classes that a picture may show, counted from 0; None: all.

        Raises:
            LabelError: The network has no such class.
        """
        if self.classes is None:
            return None
        try:
            return tuple(sorted({self.classes.find(label) for label in sample.labels or ()}))
        except LabelError as error:
            raise LabelError(f"{sample.id}: {error}") from error


def _prepared(settings: PredictSettings, engine: Engine | None) -> tuple[Segmenter, _Work]:
    """What a run needs."""
    device = leading_device(settings.device, settings.inference.precision, engine)
    segmenter = load_segmenter(settings.segmenter, device)
    return segmenter, _find_work(settings, segmenter)


def _find_work(settings: PredictSettings, segmenter: Segmenter) -> _Work:
    if not settings.inputs:
        raise SettingError("which pictures? name files, folders or patterns: advcam predict PHOTOS --segmenter RUN")
    folder = settings.out.resolve()
    # The run's own overlays and masks are no input of the next session.
    found = [s for s in find_pictures(settings.inputs) if folder not in s.path.resolve().parents]
    if not found:
        raise SettingError(f"all pictures lie in {settings.out}, the folder of the run; choose another --out")
    if settings.labels is None:
        return _Work(found)
    if settings.labels == "predicted":
        raise SettingError("labels restrict the classes of a picture: give a CSV or folders, or leave --labels away")
    labelled = label_samples(found, settings.labels)
    unlabelled = [(sample.id, f"{settings.labels} has no row for it") for sample in labelled.unlabelled]
    work = _Work(labelled.samples, ClassIndex(segmenter.class_names), unlabelled, labelled.warnings)
    for sample in work.samples:  # a typo is found before any work is done
        work.class_ids(sample)
    return work


class _Job:
    """One run, with everything it needs at hand."""

    def __init__(
        self,
        settings: PredictSettings,
        segmenter: Segmenter,
        work: _Work,
        watcher: Watcher,
        engine: Engine,
        telemetry: Telemetry,
    ) -> None:
        self.settings, self.segmenter, self.work = settings, segmenter, work
        self.watcher, self.engine, self.telemetry = watcher, engine, telemetry
        self.names = output_names([sample.id for sample in work.samples])
        self.sizes = np.fromiter(map(file_bytes, work.samples), np.int64, len(work.samples))
        self.outputs = PredictionOutputs(settings.out, segmenter.class_names, settings.overlays)
        # All of them now, so that no process waits for another to number a class that it has met.
        self.outputs.numbers.extend(range(len(segmenter.class_names)))
        self.lost: set[str] = set()
        self.failed: RunError | None = None

    def run(self) -> PredictSummary:
        """Work through the pictures; an interrupt ends the work, not the run."""
        started = time.monotonic()
        summary = PredictSummary(str(self.settings.out), len(self.work.samples), warnings=list(self.work.warnings))
        self.outputs.store.clean()
        self.watcher.start("pictures", len(self.work.samples))
        try:
            self._look(summary)
            self.telemetry.started(
                "predict",
                summary.pictures,
                summary.already_done,
                version=advcam.__version__,
                segmenter=str(self.settings.segmenter),
                device=self.settings.device,
                engine=type(self.engine).__name__,
            )
            self._predict(summary)
        except RunError as error:  # what was kept gets into the lists first
            self.failed = error
        except KeyboardInterrupt:
            summary.interrupted = True
            self.telemetry.interrupted()
        summary.seconds = round(time.monotonic() - started, 1)
        summary.skipped = sorted([*summary.skipped, *self.work.unlabelled])
        return summary

    def finish(self, summary: PredictSummary) -> None:
        """The lists and the summary of what is finished.

        Raises:
            RunError: Shards could not be kept; everything else is.
        """
        store = self.outputs.store
        store.clean()
        store.write_index()
        summary.classes = self.outputs.write_lists(self._rows(), self.settings.boxes)
        write_text(self.outputs.run.summary_file, json.dumps(asdict(summary), indent=2, ensure_ascii=False) + "\n")
        if self.failed is not None:
            raise self.failed

    def _look(self, summary: PredictSummary) -> None:
        """Which of the pictures that the store knows lack their mask."""

        def found(_: str) -> None:
            summary.already_done += 1

        settings, pictures = self.settings, self.settings.shard_pictures
        index = self.outputs.store.index()
        known = shards_done(self.work.samples, pictures, self._done(), index, lambda one: self.names[one.id])
        task = LookTask(settings.out, self.segmenter.class_names, settings.overlays)
        for result in kept(self.engine.map(task, known, _Told(self.watcher, found))):
            self.lost.update(result.answer)

    def _predict(self, summary: PredictSummary) -> None:
        def computed(_: str) -> None:
            summary.computed += 1

        def given(sample: Sample) -> Given:
            return Given(self.work.class_ids(sample), self.names[sample.id])

        settings, index = self.settings, self.outputs.store.index()
        todo = shards_left(self.work.samples, settings.shard_pictures, self._done(), index, given)
        task = PredictTask(settings.pinned(self.segmenter), self.segmenter)
        engine = RecordingEngine(self.engine, self.telemetry)
        for result in kept(engine.map(task, todo, _Told(self.watcher, computed))):
            summary.skipped += result.skipped
            self.lost.difference_update(result.done)

    def _done(self) -> NDArray[np.bool_]:
        """Of which pictures there is a mask of the file as it is, for the classes that are asked for."""
        index, work = self.outputs.store.index(), self.work
        holds = (
            index.holds(sample.id, int(size), work.class_ids(sample)) and sample.id not in self.lost
            for sample, size in zip(work.samples, self.sizes, strict=True)
        )
        return np.fromiter(holds, np.bool_, len(work.samples))

    def _rows(self) -> Iterator[tuple[str, StoredPrediction]]:
        """Names of the files and rows of the pictures that are done, in the order of the list."""
        store, pictures = self.outputs.store, self.settings.shard_pictures
        for shard in shards_done(self.work.samples, pictures, self._done(), store.index(), lambda _: None):
            rows = stored_rows(store, shard)
            yield from ((self.names[one.id], rows[one.id]) for one in shard.samples if one.id in rows)


class _Told:
    """Hands what is heard of the pictures of a shard on to a watcher.

    Args:
        watcher: Who watches the run.
        done: Called with the id of each finished picture.
    """

    def __init__(self, watcher: Watcher, done: Callable[[str], None]) -> None:
        self.watcher, self.done = watcher, done

    def begins(self, id_: str) -> None:
        """Nothing."""

    def picture_done(self, name: str) -> None:
        """One step."""
        self.done(name)
        self.watcher.step()

    def picture_skipped(self, name: str, reason: str) -> None:
        """Why."""
        self.watcher.skipped(name, reason)
