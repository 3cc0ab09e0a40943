"""Pictures and labels to maps, masks, boxes and a report: the main job, resumable at every picture."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, replace
from typing import Protocol

import numpy as np
from PIL import Image

import advcam
from advcam.attribution.method import Cost, Method
from advcam.attribution.registry import create_method
from advcam.attribution.response import Record
from advcam.classifiers.catalogue import load_classifier
from advcam.classifiers.classifier import Classifier
from advcam.datasets.pictures import read_picture
from advcam.errors import AdvcamError, ModelError, PictureError, counted, one_line
from advcam.pipeline.config import LocalizeSettings
from advcam.pipeline.estimate import estimate
from advcam.pipeline.facts import facts_of
from advcam.pipeline.flow import WriteBehind, read_ahead
from advcam.pipeline.outputs import Outputs
from advcam.pipeline.targets import Work, evenly, find_work
from advcam.report import ReportSummary
from advcam.store.classes import ClassNumbers
from advcam.store.files import write_text
from advcam.store.maps import MapStore, StoredMaps
from advcam.store.run import RunDirectory, output_names
from advcam.types import Attribution, FloatArray, Sample

#: Seconds of work that a kill can cost at most, besides the pictures at hand.
FLUSH_SECONDS = 60.0
#: Pictures handed over together: on a CPU they gain nothing by it, on a GPU those of one size fill a batch.
_GROUP_OF_A_CPU, _GROUP = 1, 64
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


class Progress(Protocol):
    """Who watches a run."""

    def announce(self, plan: Plan) -> None:
        """The run is about to start."""

    def picture_done(self, name: str) -> None:
        """One more picture is finished."""

    def picture_skipped(self, name: str, reason: str) -> None:
        """A picture cannot be used."""


def plan(settings: LocalizeSettings) -> Plan:
    """What `localize` would do, and how long it would take; writes nothing.

    Raises:
        AdvcamError: As `localize`.
    """
    classifier = load_classifier(settings.model.model, **settings.model.model_dump(exclude={"model"}))
    method = create_method(settings.method.method, classifier, **settings.method.chosen())
    work = find_work(settings, classifier)
    done: set[str] = set()
    if (settings.out / "config.json").exists():
        with RunDirectory.open(settings.out, settings.sections(classifier.fingerprint(), method.precision)) as run:
            done = _already_done(MapStore(run.maps_folder), work)
    return _plan(settings, work, method, done, _TRIED_IF_ASKED)


def localize(settings: LocalizeSettings, progress: Progress, command: str = "") -> Summary:
    """Run, or continue, a localization.

    Args:
        settings: Everything that was chosen.
        progress: Hears of the plan and of each picture.
        command: What the user typed, for the report.

    Returns:
        What was done. After an interrupt (Ctrl-C) everything finished so far is valid and `interrupted` is set.

    Raises:
        AdvcamError: No pictures, unknown labels, a classifier or settings that do not fit, an unusable run directory.
    """
    classifier = load_classifier(settings.model.model, **settings.model.model_dump(exclude={"model"}))
    method = create_method(settings.method.method, classifier, **settings.method.chosen())
    work = find_work(settings, classifier)
    with RunDirectory.open(settings.out, settings.sections(classifier.fingerprint(), method.precision)) as run:
        names = output_names([sample.id for sample in work.samples])
        numbers = ClassNumbers(run.folder / "classes.json", classifier.class_names)
        numbers.extend(sorted({c for ids in work.targets.values() for c in ids or ()}))
        with MapStore(run.maps_folder) as store:
            outputs = Outputs(run, settings.outputs, numbers, names)
            job = _Job(settings, classifier, method, work, store, outputs, progress)
            done = _already_done(store, work)
            left = len(work.samples) - len(done)
            progress.announce(_plan(settings, work, method, done, _TRIED if left >= _WORTH_TRYING else 0))
            summary = job.run(work.samples, done)
            summary.skipped += work.unlabelled
            summary.warnings = [*work.warnings, *_not_unseen(settings, work.samples)]
            job.finish(work.samples, summary, command)
        run.record_outputs()
    return summary


class _Job:
    """One run, with everything it needs at hand."""

    def __init__(
        self,
        settings: LocalizeSettings,
        classifier: Classifier,
        method: Method,
        work: Work,
        store: MapStore,
        outputs: Outputs,
        progress: Progress,
    ) -> None:
        self.settings, self.classifier, self.method = settings, classifier, method
        self.work, self.store, self.outputs, self.progress = work, store, outputs, progress
        self.finished: list[Sample] = []
        self.flushed = time.monotonic()

    def run(self, samples: Sequence[Sample], done: set[str]) -> Summary:
        """Work through the pictures; an interrupt ends the work, not the run."""
        started = time.monotonic()
        in_report = {sample.id for sample in evenly(samples, self.settings.outputs.report_pictures)}
        summary = Summary(str(self.settings.out), len(samples), already_done=len(done))
        try:
            self._restore_all([sample for sample in samples if sample.id in done], summary)
            with WriteBehind() as self.writer:
                for group in self._groups(samples, done):
                    self._compute(group, in_report, summary)
        except KeyboardInterrupt:
            summary.interrupted = True
            self._keep_stored(samples)
        summary.seconds = round(time.monotonic() - started, 1)
        return summary

    def _groups(self, samples: Sequence[Sample], done: set[str]) -> Iterator[list["_Read"]]:
        """What is to be computed, read ahead, in groups as the device likes them."""
        size = _GROUP_OF_A_CPU if self.classifier.device.type == "cpu" else _GROUP
        group: list[_Read] = []
        todo = (sample for sample in samples if sample.id not in done)
        for sample, future in read_ahead(todo, lambda one: read_picture(one.path), 2 * size):
            group.append(_Read(sample, future))
            if len(group) == size:
                yield group
                group = []
        if group:
            yield group

    def _restore_all(self, samples: Sequence[Sample], summary: Summary) -> None:
        for sample in samples:
            try:
                self._restore(sample)
                self._finished(sample)
            except (PictureError, ModelError) as error:
                self._skip(sample, error, summary)

    def _skip(self, sample: Sample, error: AdvcamError, summary: Summary) -> None:
        summary.skipped.append((sample.id, one_line(error)))
        self.progress.picture_skipped(sample.id, one_line(error))

    def _keep_stored(self, samples: Sequence[Sample]) -> None:
        """After an interrupt, finished is what the store holds: the picture at hand, and those not yet come to, too."""
        done = _already_done(self.store, self.work)
        self.finished = [sample for sample in samples if sample.id in done]
        for sample in self.finished:
            self._restore(sample)

    def finish(self, samples: Sequence[Sample], summary: Summary, command: str) -> None:
        """Boxes, report and summary of what is finished."""
        finished = {sample.id for sample in self.finished}
        self.finished = [sample for sample in samples if sample.id in finished]
        self.store.flush()
        self.outputs.write_boxes(self.store, self.finished)
        shown = evenly(self.finished, self.settings.outputs.report_pictures)
        self.outputs.write_report(self.store, shown, self._report_summary(summary, command))
        write_text(self.outputs.run.summary_file, json.dumps(asdict(summary), indent=2, ensure_ascii=False) + "\n")

    def _compute(self, group: Sequence["_Read"], in_report: set[str], summary: Summary) -> None:
        """Explain the pictures of a group together; where one of them fails, each alone."""
        for record, part in _by(group, lambda one: one.sample.id in in_report):
            try:
                results = self._explain(part, "maps" if record else "none")
            except (PictureError, ModelError) as error:
                if len(part) > 1:
                    for one in part:
                        self._compute([one], in_report, summary)
                    continue
                self._skip(part[0].sample, error, summary)
                continue
            for one, attribution in zip(part, results, strict=True):
                self.writer.submit(self._write, one.sample, one.picture.result(), attribution)
                summary.computed += 1
                self._finished(one.sample)

    def _explain(self, part: Sequence["_Read"], record: Record) -> list[Attribution]:
        pictures = [one.picture.result() for one in part]
        classes = [self.work.classes(one.sample, picture) for one, picture in zip(part, pictures, strict=True)]
        return self.method(pictures, classes, record=record)

    def _finished(self, sample: Sample) -> None:
        self.finished.append(sample)
        self.progress.picture_done(sample.id)

    def _write(self, sample: Sample, picture: Image.Image, attribution: Attribution) -> None:
        # As the store will give it back, so that a resumed run is equal to an uninterrupted one.
        attribution = replace(attribution, maps=attribution.maps.astype(np.float16).astype(np.float32))
        self.store.append(StoredMaps(sample.id, _file_bytes(sample), attribution, _step_scores(attribution)))
        self.outputs.write_picture(sample, picture, attribution)
        if time.monotonic() - self.flushed > FLUSH_SECONDS:
            self.store.flush()
            self.flushed = time.monotonic()

    def _restore(self, sample: Sample) -> None:
        if self.outputs.run.outputs_changed or not self.outputs.present(sample.id):
            self.outputs.write_picture(sample, read_picture(sample.path), self.store.get(sample.id).attribution)

    def _report_summary(self, summary: Summary, command: str) -> ReportSummary:
        computed = counted(summary.computed, "picture")
        facts = [
            *facts_of(self.settings, self.classifier, self.method),
            ("Pictures", f"{len(self.finished)} finished, {len(summary.skipped)} skipped"),
            ("Time", f"{summary.seconds:g} s for {computed} computed in the last session"),
            ("advcam", advcam.__version__),
            *([("Command", command)] if command else []),
        ]
        notes = ["The run was interrupted; the same command goes on where it stopped."] if summary.interrupted else []
        return ReportSummary(
            "Where the classifier looks",
            self.method.title,
            facts,
            len(self.finished),
            summary.skipped,
            self.settings.outputs.threshold,
            [*summary.warnings, *notes],
        )


def _already_done(store: MapStore, work: Work) -> set[str]:
    """Pictures whose stored maps are those of the file as it is, for the classes that are asked for."""
    index = store.index()
    done = set()
    for sample in work.samples:
        key, wanted = index.get(sample.id), work.targets[sample.id]
        if key and key.file_bytes == _file_bytes(sample) and (wanted is None or tuple(wanted) == key.class_ids):
            done.add(sample.id)
    return done


def _plan(settings: LocalizeSettings, work: Work, method: Method, done: set[str], tried: int) -> Plan:
    left = [sample for sample in work.samples if sample.id not in done]
    cost = method.cost([work.count(sample) for sample in left])
    seconds = estimate(work, left, method, settings.outputs, tried) if tried and left else None
    model = work.classifier.name
    return Plan(len(work.samples), len(done), cost, method.title, model, method.precision, seconds)


@dataclass(frozen=True)
class _Read:
    """A picture that is being read."""

    sample: Sample
    picture: Future[Image.Image]


def _by(group: Sequence[_Read], question: Callable[[_Read], bool]) -> list[tuple[bool, list[_Read]]]:
    """The group in two parts by the answer, without empty ones."""
    parts = [(answer, [one for one in group if question(one) is answer]) for answer in (True, False)]
    return [part for part in parts if part[1]]


def _not_unseen(settings: LocalizeSettings, samples: Sequence[Sample]) -> list[str]:
    """A warning where pictures of the run chose the settings of its recipe."""
    count = len({sample.id for sample in samples} & set(settings.labelled))
    if not count:
        return []
    whose = counted(count, "picture")
    return [f"the masks of {whose} of this run chose the settings of the recipe: no score on them counts as unseen"]


def _step_scores(attribution: Attribution) -> FloatArray | None:
    """Score of each class after each step at the scale nearest to 1, (C, S); a shorter climb waits at its end."""
    if not attribution.trajectories or attribution.steps is None:
        return None
    length, rows = attribution.steps.shape[1], []
    for class_id in attribution.class_ids:
        own = [t for t in attribution.trajectories if t.class_id == class_id]
        nearest = min(own, key=lambda t: abs(t.scale - 1))
        scores = nearest.scores[:, class_id]
        rows.append(np.pad(scores, (0, length - len(scores)), mode="edge"))
    return np.stack(rows).astype(np.float32)


def _file_bytes(sample: Sample) -> int:
    try:
        return sample.path.stat().st_size
    except OSError:
        return -1
