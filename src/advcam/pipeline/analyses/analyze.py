"""The paper's own analyses on labelled pictures: what a climb does to scores, maps and seeds, setting by setting.

Each setting is one run of the same climb with one constant changed; T comes free from the steps of the base run. What
was measured of a picture under a setting is kept, so a killed analysis goes on where it was.
"""

import json
from collections.abc import Callable, Iterable, Sized
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from pydantic import Field, ValidationError, model_validator

from advcam.attribution.advcam import AdvCAM
from advcam.attribution.registry import create_method
from advcam.attribution.settings import ClimbSettings
from advcam.classifiers.classifier import Classifier
from advcam.errors import DatasetError, ModelError, PictureError, SettingError, one_line
from advcam.evaluate.segmentation import ConfusionMatrix
from advcam.evaluate.thresholds import SEED_THRESHOLDS
from advcam.pipeline.analyses.measure import LandscapeView, TruthSample, measure_climbs, measure_landscapes
from advcam.pipeline.analyses.outputs import write_outputs
from advcam.pipeline.analyses.records import Climbs, Landscapes, inputs_digest
from advcam.pipeline.analyses.results import Analysis, Collector, Sweep
from advcam.pipeline.config import MethodSettings, ModelSettings, Settings
from advcam.store.records import RecordFile
from advcam.store.run import JSON, RunDirectory
from advcam.types import DEFAULT_THRESHOLD

BASE, LANDSCAPE = "base", "landscape"


class SweepSettings(Settings):
    """Values of the constants that are varied one at a time, the others at their base values.

    The base value joins each sweep. An empty list leaves a constant alone. The defaults are on the scales of
    `variant="paper"` (lambda 1 breaks even); see docs/defaults.md.
    """

    penalty: tuple[float, ...] = (0.0, 0.3, 1.0, 3.0)
    mask_threshold: tuple[float, ...] = (0.3, 0.5, 0.7)
    step_size: tuple[float, ...] = (0.0125, 0.025, 0.05, 0.1)
    other_classes: tuple[int | Literal["all", "none", "logsumexp"], ...] = ("none", "logsumexp")


class AnalyzeSettings(Settings):
    """An analysis.

    Args:
        out: Folder of the results.
        model: The classifier, for whoever loads it.
        method: The base setting of AdvCAM; its scales and iterations are given here instead.
        scales: Of the working picture.
        iterations: T, None for the method's own.
        sweeps: What is varied.
        pictures: At most so many, None for all.
        landscape_pictures: The surroundings of the first so many are looked at.
        landscape_axis: See `LandscapeView`.
        landscape_points: Side of the planes, odd.
        threshold: The fixed threshold of the seeds.
        seed: Of the random directions.
    """

    out: Path
    model: ModelSettings = ModelSettings()
    method: MethodSettings = MethodSettings()
    scales: tuple[float, ...] = (1.0,)
    iterations: int | None = None
    sweeps: SweepSettings = SweepSettings()
    pictures: int | None = Field(default=None, ge=1)
    landscape_pictures: int = Field(default=4, ge=0)
    landscape_axis: Literal["climb", "gradient"] = "climb"
    landscape_points: int = Field(default=21, ge=5)
    threshold: float = Field(default=DEFAULT_THRESHOLD, ge=0, le=1)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.method.method != "advcam":
            raise ValueError(f"an analysis is of a climb, so the method is advcam, not {self.method.method}")
        if self.method.scales is not None or self.method.iterations is not None:
            raise ValueError("scales and iterations are settings of the analysis itself, not of its method")
        if self.landscape_points % 2 == 0:
            raise ValueError("landscape-points is odd, so that the picture itself is a point")
        return self

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Background values of the seeds: 0, 0.01, .. 1, and the fixed one."""
        return tuple(sorted({*SEED_THRESHOLDS, self.threshold}))

    @property
    def view(self) -> LandscapeView:
        """Which surroundings are looked at."""
        return LandscapeView(self.landscape_axis, self.landscape_points, self.seed)

    def base_method(self, classifier: Classifier) -> AdvCAM:
        """AdvCAM under the base setting.

        Raises:
            SettingError: A constant outside its range.
        """
        # All steps and flips unless told otherwise: a cheap climb is no subject of an analysis.
        given = {"scales": self.scales, "iterations": self.iterations, "effort": self.method.effort or "paper"}
        chosen = self.method.model_copy(update=given).chosen()
        method = create_method("advcam", classifier, **chosen)
        assert isinstance(method, AdvCAM)  # noqa: S101, for the type checker
        return method

    def sections(self, classifier: str, precision: str, num_classes: int) -> dict[str, dict[str, JSON]]:
        """The two sections of the folder's config.json: what decides a record, and what is made of records."""
        records = self.method.deciding() | {"precision": precision}
        records |= {"scales": list(self.scales), "iterations": self.iterations, "classifier": classifier}
        records |= {"num_classes": num_classes, "thresholds": list(self.thresholds), "view": asdict(self.view)}
        rest = self.model_dump(mode="json", include={"sweeps", "pictures", "landscape_pictures", "threshold"})
        return {"maps": records, "outputs": rest}


def analyze_settings(**values: object) -> AnalyzeSettings:
    """Validated settings.

    Raises:
        SettingError: A value of the wrong type or out of range; one line for the first of them.
    """
    try:
        return AnalyzeSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = next((str(k) for k in first["loc"] if k not in ("method", "model", "sweeps")), "")
        got = f"; got {first['input']!r}" if where else ""
        raise SettingError(
            f"{where.replace('_', '-') + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}{got}"
        ) from error


@dataclass(frozen=True)
class AnalysisPlan:
    """What an analysis is about to do: pictures (None where their number is not known), runs, planes, and the model."""

    pictures: int | None
    runs: tuple[str, ...]
    landscape_pictures: int
    model: str


class AnalysisProgress(Protocol):
    """Who watches an analysis."""

    def announce(self, plan: AnalysisPlan) -> None:
        """The analysis is about to start."""

    def unit_done(self, picture: str, unit: str, measured: bool) -> None:
        """A picture is finished under one run (or its landscape is); not `measured` if it was so before."""

    def picture_skipped(self, picture: str, reason: str) -> None:
        """A picture cannot be used; nothing of it counts."""


def analyze(
    samples: Iterable[TruthSample],
    classifier: Classifier,
    settings: AnalyzeSettings,
    num_classes: int,
    progress: AnalysisProgress,
) -> Analysis:
    """Measure, or go on measuring, and write tables and figures to `settings.out`.

    Args:
        samples: Pictures with their truth; taken one at a time, so they may be read as they are needed.
        classifier: The classifier.
        settings: Everything that was chosen.
        num_classes: Classes of the truth, the background counted, 2 to 255.
        progress: Hears of the plan and of each finished piece of work.

    Returns:
        The numbers, as the tables have them. An interrupt is raised on; the same call goes on later.

    Raises:
        AdvcamError: Settings that do not fit, an unusable folder, or no picture that can be used.
    """
    ConfusionMatrix(num_classes)  # its check, before hours of work
    method = settings.base_method(classifier)
    runs, sweeps = planned_runs(method.settings, settings.sweeps)
    with (
        RunDirectory.open(
            settings.out, settings.sections(classifier.fingerprint(), method.precision, num_classes)
        ) as folder,
        RecordFile(folder.folder / "records.jsonl") as records,
    ):
        count = min(len(samples), settings.pictures or len(samples)) if isinstance(samples, Sized) else None
        progress.announce(AnalysisPlan(count, tuple(runs), settings.landscape_pictures, classifier.name))
        job = _Job(settings, method, runs, num_classes, records, progress)
        analysis = job.run(islice(samples, settings.pictures), sweeps)
        facts = {
            "settings": json.loads(settings.model_dump_json(exclude={"out"})),
            "classifier": classifier.describe(),
            "num_classes": num_classes,
            "multi_label": classifier.multi_label,
            "runs": {name: asdict(climb) for name, climb in runs.items()},
            "sweeps": [asdict(sweep) for sweep in sweeps],
            "pictures": job.collector.pictures,
            "skipped": job.skipped,
        }
        write_outputs(settings.out, analysis, sweeps, facts)
        folder.record_outputs()
    return analysis


def planned_runs(base: ClimbSettings, values: SweepSettings) -> tuple[dict[str, ClimbSettings], list[Sweep]]:
    """The runs by name, the base first and each setting once, and the sweeps that they make up.

    Raises:
        SettingError: A value outside its range.
    """
    runs, sweeps = {BASE: base}, []
    for parameter, listed in values:
        if not listed:
            continue
        chosen = getattr(base, parameter)
        every = list(dict.fromkeys([*listed, chosen]))
        # Numbers in order of size, words as they were listed.
        every.sort(key=lambda value: value if not isinstance(value, str) else float("inf"))
        names = [BASE if value == chosen else f"{parameter}={value}" for value in every]
        runs |= {
            name: replace(base, **{parameter: value}) for name, value in zip(names, every, strict=True) if name != BASE
        }
        sweeps.append(Sweep(parameter, tuple(map(_written, every)), tuple(names), every.index(chosen)))
    return runs, sweeps


def _written(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


class _Job:
    """One analysis, with everything it needs at hand."""

    def __init__(
        self,
        settings: AnalyzeSettings,
        method: AdvCAM,
        runs: dict[str, ClimbSettings],
        num_classes: int,
        records: RecordFile,
        progress: AnalysisProgress,
    ) -> None:
        self.settings, self.method, self.num_classes = settings, method, num_classes
        self.records, self.progress = records, progress
        self.methods = {name: method.with_settings(climb) for name, climb in runs.items()}
        self.collector = Collector(tuple(runs), num_classes, settings.thresholds, settings.threshold)
        self.skipped: list[tuple[str, str]] = []

    def run(self, samples: Iterable[TruthSample], sweeps: list[Sweep]) -> Analysis:
        """Work through the pictures; one that cannot be used counts nowhere."""
        for sample in samples:
            try:
                sample.check()
                self._add(sample)
            except (PictureError, ModelError, DatasetError) as error:
                self.skipped.append((sample.name, one_line(error)))
                self.progress.picture_skipped(sample.name, one_line(error))
        if not self.collector.pictures:
            reason = f"the first was left out because: {self.skipped[0][1]}" if self.skipped else "none was given"
            raise DatasetError(f"no picture could be analysed; {reason}")
        return self.collector.analysis(sweeps)

    def _add(self, sample: TruthSample) -> None:
        digest = inputs_digest(sample.picture, sample.class_ids, sample.truth, sample.seed_ids)
        climbs = [(name, self._climbs(name, sample, digest)) for name in self.methods]
        wanted = self.collector.pictures < self.settings.landscape_pictures
        self.collector.add(sample.name, climbs, self._landscapes(sample, digest) if wanted else None)

    def _climbs(self, run: str, sample: TruthSample, digest: str) -> Climbs:
        method = self.methods[run]
        unit = json.dumps(asdict(method.settings), sort_keys=True)

        def measure() -> Climbs:
            return measure_climbs(method, sample, self.num_classes, self.settings.thresholds)

        return Climbs.read(self._content(unit, run, sample.name, digest, measure))

    def _landscapes(self, sample: TruthSample, digest: str) -> Landscapes:
        def measure() -> Landscapes:
            return measure_landscapes(self.method, sample, self.settings.view)

        return Landscapes.read(self._content(LANDSCAPE, LANDSCAPE, sample.name, digest, measure))

    def _content(
        self, unit: str, title: str, picture: str, digest: str, measure: Callable[[], Climbs | Landscapes]
    ) -> dict[str, Any]:
        """The record of a unit of work as it stands in the file, measured now if it does not."""
        content = self.records.find(unit, picture, digest)
        measured = content is None
        if content is None:
            content = self.records.add(unit, picture, digest, asdict(measure()))
        self.progress.unit_done(picture, title, measured)
        return content
