"""Pictures and labels to maps, masks, boxes and a report: the main job, resumable at every picture."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Protocol

import numpy as np

import advcam
from advcam.attribution.method import Cost, Method
from advcam.attribution.registry import create_method
from advcam.classifiers.catalogue import load_classifier
from advcam.classifiers.classifier import Classifier
from advcam.datasets.pictures import read_picture
from advcam.errors import ModelError, PictureError, counted, one_line
from advcam.pipeline.config import LocalizeSettings
from advcam.pipeline.outputs import Outputs
from advcam.pipeline.targets import Work, find_work
from advcam.report import ReportSummary
from advcam.store.classes import ClassNumbers
from advcam.store.files import write_text
from advcam.store.maps import MapStore, StoredMaps
from advcam.store.run import RunDirectory, output_names
from advcam.types import Attribution, FloatArray, Sample

#: Seconds of work that a kill can cost at most, besides the picture at hand.
FLUSH_SECONDS = 60.0
_BEFOREHAND = "set beforehand; no mask of these pictures was looked at"


@dataclass(frozen=True)
class Plan:
    """What a run is about to do: said before it starts."""

    pictures: int
    already_done: int
    cost: Cost
    method: str
    model: str


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
            summary = job.run(work.samples)
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

    def run(self, samples: Sequence[Sample]) -> Summary:
        """Work through the pictures; an interrupt ends the work, not the run."""
        started = time.monotonic()
        done = self._already_done(samples)
        in_report = {sample.id for sample in _evenly(samples, self.settings.outputs.report_pictures)}
        summary = Summary(str(self.settings.out), len(samples), already_done=len(done))
        self.progress.announce(self._plan(samples, done))
        try:
            for sample in samples:
                try:
                    if sample.id in done:
                        self._restore(sample)
                    else:
                        self._compute(sample, sample.id in in_report)
                        summary.computed += 1
                    self.finished.append(sample)
                    self.progress.picture_done(sample.id)
                except (PictureError, ModelError) as error:
                    summary.skipped.append((sample.id, one_line(error)))
                    self.progress.picture_skipped(sample.id, one_line(error))
        except KeyboardInterrupt:
            summary.interrupted = True
            self._keep_stored(samples)
        summary.seconds = round(time.monotonic() - started, 1)
        return summary

    def _keep_stored(self, samples: Sequence[Sample]) -> None:
        """After an interrupt, finished is what the store holds: the picture at hand, and those not yet come to, too."""
        done = self._already_done(samples)
        self.finished = [sample for sample in samples if sample.id in done]
        for sample in self.finished:
            self._restore(sample)

    def finish(self, samples: Sequence[Sample], summary: Summary, command: str) -> None:
        """Boxes, report and summary of what is finished."""
        self.store.flush()
        self.outputs.write_boxes(self.store, self.finished)
        shown = _evenly(self.finished, self.settings.outputs.report_pictures)
        self.outputs.write_report(self.store, shown, self._report_summary(summary, command))
        write_text(self.outputs.run.summary_file, json.dumps(asdict(summary), indent=2, ensure_ascii=False) + "\n")

    def _already_done(self, samples: Sequence[Sample]) -> set[str]:
        index = self.store.index()
        done = set()
        for sample in samples:
            key, wanted = index.get(sample.id), self.work.targets[sample.id]
            if key and key.file_bytes == _file_bytes(sample) and (wanted is None or tuple(wanted) == key.class_ids):
                done.add(sample.id)
        return done

    def _plan(self, samples: Sequence[Sample], done: set[str]) -> Plan:
        counts = [self.work.count(sample) for sample in samples if sample.id not in done]
        return Plan(len(samples), len(done), self.method.cost(counts), self.method.title, self.classifier.name)

    def _compute(self, sample: Sample, in_report: bool) -> None:
        picture = read_picture(sample.path)
        classes = self.work.classes(sample, picture)
        (attribution,) = self.method([picture], [classes], record="maps" if in_report else "none")
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
        threshold = self.settings.outputs.threshold
        climb = getattr(self.method, "settings", None)
        of_dataset = self.settings.data is not None and self.settings.labels != "predicted"
        described = self.classifier.describe()
        facts = [
            ("Classifier", f"{described.pop('network')} ({', '.join(f'{k}: {v}' for k, v in described.items())})"),
            ("Method", self.method.title + (f" ({self.settings.method.variant or 'paper'})" if climb else "")),
            ("Scales", _scales_in_words(self.method)),
            ("Threshold", f"{threshold:g}, {self.settings.supervision or _BEFOREHAND}"),
            ("Labels", f"of the split {self.settings.split}" if of_dataset else self.settings.labels),
            ("Pictures", f"{len(self.finished)} finished, {len(summary.skipped)} skipped"),
            ("Time", f"{summary.seconds:g} s for {counted(summary.computed, 'picture')} computed in the last session"),
            ("advcam", advcam.__version__),
        ]
        if climb:
            words = (
                f"{climb.iterations} steps of {climb.step_size:g} ({climb.step_norm}), penalty {climb.penalty:g} above "
                f"{climb.mask_threshold:g}, other classes: {climb.other_classes}"
            )
            facts.insert(2, ("Climb", words))
        if command:
            facts.append(("Command", command))
        notes = ["The run was interrupted; the same command goes on where it stopped."] if summary.interrupted else []
        return ReportSummary(
            "Where the classifier looks",
            self.method.title,
            facts,
            len(self.finished),
            summary.skipped,
            threshold,
            [*summary.warnings, *notes],
        )


def _not_unseen(settings: LocalizeSettings, samples: Sequence[Sample]) -> list[str]:
    """A warning where pictures of the run chose the settings of its recipe."""
    count = len({sample.id for sample in samples} & set(settings.labelled))
    if not count:
        return []
    whose = counted(count, "picture")
    return [f"the masks of {whose} of this run chose the settings of the recipe: no score on them counts as unseen"]


def _scales_in_words(method: Method) -> str:
    words = ", ".join(f"{scale:g}" for scale in method.scales) + (" with flips" if method.flip else "")
    return words if len(method.scales) == 1 else f"{words} ({method.fusion})"


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


def _evenly(samples: Sequence[Sample], count: int) -> list[Sample]:
    """At most `count` samples, spread evenly."""
    if len(samples) <= count:
        return list(samples)
    return [samples[i * len(samples) // count] for i in range(count)]


def _file_bytes(sample: Sample) -> int:
    try:
        return sample.path.stat().st_size
    except OSError:
        return -1
