"""Pictures and labels to maps, masks, boxes and a report: the main job, resumable at every picture.

In two passes over the shards of the list: the maps with what is made of each as it comes, then what is missing and the
boxes. Which process works on a shard is the engine's business.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

import advcam
from advcam.attribution.method import Cost, Method
from advcam.attribution.registry import create_method
from advcam.classifiers.catalogue import load_classifier
from advcam.classifiers.classifier import Classifier
from advcam.errors import RunError, counted
from advcam.pipeline.config import LocalizeSettings, keep_settings
from advcam.pipeline.estimate import estimate
from advcam.pipeline.facts import facts_of
from advcam.pipeline.leading import leading_device
from advcam.pipeline.operations.recording import RecordingEngine
from advcam.pipeline.operations.telemetry import Telemetry
from advcam.pipeline.outputs import Outputs
from advcam.pipeline.reporting.localizing import TITLE, localize_sections
from advcam.pipeline.shard_maps import Given, LocalizeTask, file_bytes
from advcam.pipeline.shard_outputs import OutputsTask
from advcam.pipeline.shards import Engine, LocalEngine, Shard, Unheard, in_order, kept, shards_done, shards_left
from advcam.pipeline.targets import Work, evenly, find_work
from advcam.report import ReportSummary
from advcam.store.entries import PictureEntries
from advcam.store.files import remove_leftovers, write_text
from advcam.store.index import ShardIndex
from advcam.store.maps import MapStore
from advcam.store.run import RunDirectory, output_names
from advcam.store.session import session
from advcam.types import Sample

#: Pictures that the estimate works on, at the start of a run of so many and where nothing else is asked for.
_TRIED, _WORTH_TRYING, _TRIED_IF_ASKED = 2, 12, 4


@dataclass(frozen=True)
class Plan:
    """What a run is about to do: said before it starts.

    Args:
        pictures: Of the run.
        already_done: Of them, by an earlier session.
        cost: Of the others.
        method: Its title.
        model: Name of the classifier.
        precision: What the network computes in.
        seconds: For the others, estimated from a few of them; None where there are too few to be worth it.
    """

    pictures: int
    already_done: int
    cost: Cost
    method: str
    model: str
    precision: str
    seconds: float | None = None


@dataclass
class Summary:
    """What a run did; `summary.json`."""

    out: str
    pictures: int
    computed: int = 0
    already_done: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False
    facts: list[tuple[str, str]] = field(default_factory=list)


class Progress(Protocol):
    """Who watches a run."""

    def announce(self, plan: Plan) -> None:
        """The run is about to start."""

    def begins(self, id_: str) -> None:
        """Work on a picture begins."""

    def picture_done(self, name: str) -> None:
        """One more picture is finished."""

    def picture_skipped(self, name: str, reason: str) -> None:
        """A picture cannot be used."""


def plan(settings: LocalizeSettings) -> Plan:
    """What `localize` would do, and how long it would take; writes nothing.

    Raises:
        AdvcamError: As `localize`.
    """
    classifier, method, work = _prepared(settings, None)
    left = list(work.samples)
    if (settings.out / "config.json").exists():
        with RunDirectory.open(settings.out, settings.sections(classifier.fingerprint(), method.precision)) as run:
            done = _done(MapStore(run.maps_folder).index(), work, _sizes(work))
            left = [sample for sample, is_done in zip(left, done, strict=True) if not is_done]
    return _plan(settings, work, method, left, _TRIED_IF_ASKED)


def pictures_of_run(settings: LocalizeSettings, engine: Engine | None = None) -> Sequence[Sample]:
    """The pictures of a run, once it is known that `localize` would go on with it; nothing of it is changed.

    Raises:
        AdvcamError: As `localize`.
    """
    classifier, method, work = _prepared(settings, engine)
    with RunDirectory.open(settings.out, settings.sections(classifier.fingerprint(), method.precision)):
        return work.samples


def localize(
    settings: LocalizeSettings, progress: Progress, command: str = "", engine: Engine | None = None
) -> Summary:
    """Run, or continue, a localization.

    Args:
        settings: Everything that was chosen.
        progress: Hears of the plan and of each picture.
        command: What the user typed, for the report.
        engine: Brings the work to processes; None: this process does it.

    Returns:
        What was done. After an interrupt (Ctrl-C) everything finished so far is valid and `interrupted` is set.

    Raises:
        AdvcamError: No pictures, unknown labels, a classifier or settings that do not fit, an unusable run directory.
    """
    classifier, method, work = _prepared(settings, engine)
    with (
        RunDirectory.open(settings.out, settings.sections(classifier.fingerprint(), method.precision)) as run,
        session(run.folder) as died,
        Telemetry(run.folder) as telemetry,
    ):
        if died:
            remove_leftovers(run.folder, everywhere=True)
        keep_settings(run.folder, settings)
        engine = engine or LocalEngine(careful=died)
        job = _Job(settings, classifier, method, work, run, progress, engine, telemetry)
        summary = job.run()
        try:
            job.finish(summary, command)
        except RunError as error:
            raise job.failed or error from error  # what happened first
        run.record_outputs()
    return summary


def _prepared(settings: LocalizeSettings, engine: Engine | None) -> tuple[Classifier, Method, Work]:
    """What a run needs."""
    device = leading_device(settings.model.device, settings.method.precision, engine)
    classifier = load_classifier(
        settings.model.model, device=device, **settings.model.model_dump(exclude={"model", "device"})
    )
    method = create_method(settings.method.method, classifier, **settings.method.chosen())
    return classifier, method, find_work(settings, classifier)


class _Job:
    """One run, with everything it needs at hand."""

    def __init__(
        self,
        settings: LocalizeSettings,
        classifier: Classifier,
        method: Method,
        work: Work,
        run: RunDirectory,
        progress: Progress,
        engine: Engine,
        telemetry: Telemetry,
    ) -> None:
        self.settings, self.classifier, self.method, self.work = settings, classifier, method, work
        self.directory, self.progress, self.engine, self.telemetry = run, progress, engine, telemetry
        self.sizes = _sizes(work)
        self.names = output_names([sample.id for sample in work.samples])
        self.store = MapStore(run.maps_folder)
        self.outputs = Outputs(run.folder, settings.outputs, classifier.class_names)
        self.outputs.numbers.extend(sorted(work.class_ids))
        self.failed: RunError | None = None

    def run(self) -> Summary:
        """Work through the pictures; an interrupt ends the work, not the run."""
        started = time.monotonic()
        self.store.clean()
        index, samples = self.store.index(), self.work.samples
        done = _done(index, self.work, self.sizes)
        left = [sample for sample, is_done in zip(samples, done, strict=True) if not is_done]
        tried = _TRIED if len(left) >= _WORTH_TRYING and not self.engine.remote else 0
        self.progress.announce(_plan(self.settings, self.work, self.method, left, tried))
        summary = Summary(str(self.settings.out), len(samples), already_done=len(samples) - len(left))
        self.telemetry.started(
            "localize",
            summary.pictures,
            summary.already_done,
            version=advcam.__version__,
            model=self.classifier.name,
            method=self.method.title,
            precision=self.method.precision,
            device=self.settings.model.device,
            engine=type(self.engine).__name__,
        )
        engine = RecordingEngine(self.engine, self.telemetry)
        # What "auto" precision means is said once, for machines of all kinds.
        pinned = self.settings.method.model_copy(update={"precision": self.method.precision})
        task = LocalizeTask(self.settings.model_copy(update={"method": pinned}), self.work.chooser, self.method)
        try:
            todo = shards_left(samples, self.settings.shard_pictures, done, index, self._given())
            for result in kept(engine.map(task, todo, self.progress)):
                summary.computed += len(result.done)
                summary.skipped += result.skipped
        except RunError as error:  # what was kept gets its outputs first
            self.failed = error
        except KeyboardInterrupt:
            summary.interrupted = True
            self.telemetry.interrupted()
        summary.seconds = round(time.monotonic() - started, 1)
        summary.skipped += self.work.unlabelled
        summary.warnings = [*self.work.warnings, *_not_unseen(self.settings, samples)]
        return summary

    def finish(self, summary: Summary, command: str) -> None:
        """What is missing of the outputs, boxes, report and summary of what is finished.

        Raises:
            RunError: Shards could not be kept; everything else is.
        """
        self.store.clean()
        self.store.write_index()
        if summary.interrupted and self.engine.remote:  # a cluster is told to end within a minute, not to begin anew
            self._write_summary(summary)
            return
        if not self.work.decided:  # which classes there are, the maps know
            self.outputs.numbers.extend(sorted(self.store.class_ids()))
        done = _done(self.store.index(), self.work, self.sizes)
        self._make_outputs(done, summary)
        finished = [sample for sample, is_done in zip(self.work.samples, done, strict=True) if is_done]
        shown = evenly(finished, self.settings.outputs.report_pictures)
        told = self._report_summary(summary, len(finished), command)
        summary.facts = list(told.facts)
        sections = localize_sections(self.settings, self.work.samples)
        self.outputs.write_report(self.store, shown, told, sections)
        self._write_summary(summary)
        if self.failed is not None:
            raise self.failed

    def _write_summary(self, summary: Summary) -> None:
        write_text(self.directory.summary_file, json.dumps(asdict(summary), indent=2, ensure_ascii=False) + "\n")

    def _given(self) -> Callable[[Sample], Given]:
        """What a process is told about a picture."""
        in_report = {sample.id for sample in evenly(self.work.samples, self.settings.outputs.report_pictures)}
        return lambda one: Given(self.work.known(one), one.id in in_report, self.names[one.id])

    def _make_outputs(self, done: NDArray[np.bool_], summary: Summary) -> None:
        """Masks and overlays that are missing, and boxes.json."""
        settings, folder = self.settings.outputs, self.directory.folder
        task = OutputsTask(folder, settings, self.classifier.class_names, self.directory.outputs_changed)

        def finished() -> Iterator[Shard]:
            samples, index = self.work.samples, self.store.index()
            names = self.names
            return shards_done(samples, self.settings.shard_pictures, done, index, lambda one: names[one.id])

        with PictureEntries(self.directory.boxes_file, {"threshold": settings.threshold}) as boxes:
            for result in kept(in_order(self.engine.map(task, finished(), Unheard()), finished())):
                for id_, entry in result.answer.items():
                    boxes.add(id_, entry)
                summary.skipped += result.skipped

    def _report_summary(self, summary: Summary, finished: int, command: str) -> ReportSummary:
        took = f"{summary.seconds:g} s for {counted(summary.computed, 'picture')} computed in the last session"
        facts = [
            *facts_of(self.settings, self.classifier, self.method),
            ("Pictures", f"{finished} finished, {len(summary.skipped)} skipped"),
            *([("Time", took)] if summary.computed else []),
            ("advcam", advcam.__version__),
            *([("Command", command)] if command else []),
        ]
        notes = ["The run was interrupted; the same command goes on where it stopped."] if summary.interrupted else []
        return ReportSummary(
            TITLE,
            self.method.title,
            facts,
            finished,
            summary.skipped,
            self.settings.outputs.threshold,
            [*summary.warnings, *notes],
        )


def _sizes(work: Work) -> NDArray[np.int64]:
    """Bytes of the file of each picture."""
    return np.fromiter(map(file_bytes, work.samples), np.int64, len(work.samples))


def _done(index: ShardIndex, work: Work, sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Of which pictures the stored maps are those of the file as it is, for the classes that are asked for."""
    wanted = map(work.known, work.samples)
    holds = (
        index.holds(sample.id, int(size), classes, any_classes=classes is None)
        for sample, size, classes in zip(work.samples, sizes, wanted, strict=True)
    )
    return np.fromiter(holds, np.bool_, len(work.samples))


def _plan(settings: LocalizeSettings, work: Work, method: Method, left: Sequence[Sample], tried: int) -> Plan:
    cost = method.cost([work.count(sample) for sample in left])
    seconds = estimate(work, left, method, settings.outputs, tried) if tried and left else None
    already_done = len(work.samples) - len(left)
    return Plan(len(work.samples), already_done, cost, method.title, work.classifier.name, method.precision, seconds)


def _not_unseen(settings: LocalizeSettings, samples: Sequence[Sample]) -> list[str]:
    """A warning where pictures of the run chose the settings of its recipe."""
    count = len({sample.id for sample in samples} & set(settings.labelled))
    if not count:
        return []
    whose = counted(count, "picture")
    return [f"the masks of {whose} of this run chose the settings of the recipe: no score on them counts as unseen"]
