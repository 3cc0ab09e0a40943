"""`advcam run`: the stages of a recipe in their order, each skipped, continued or done as its fingerprint says.

run/  recipe.yaml  classifier/  localize/  baseline/  refined/<method>/  pseudo/  metrics/  stages/  report.html
      predicted/  localize-labelled/  baseline-labelled/  segmenter/  predictions/  onnx/
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from advcam.classifiers.classifier import Classifier
from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.errors import RunError, SettingError
from advcam.pipeline.album.chain_run import ChainAlbum
from advcam.pipeline.chain.classifying import NAME as CLASSIFY
from advcam.pipeline.chain.classifying import TABLE, classifying_stage
from advcam.pipeline.chain.irn import Irn
from advcam.pipeline.chain.labelling import NAME as PSEUDO
from advcam.pipeline.chain.labelling import Labelling, names_of_run, pseudo_settings
from advcam.pipeline.chain.localizing import BASELINE, LABELLED, load_model, maps_stage, mean_area
from advcam.pipeline.chain.localizing import NAME as LOCALIZE
from advcam.pipeline.chain.logged import logged
from advcam.pipeline.chain.opening import draw_pictures, locked, maps_digest
from advcam.pipeline.chain.pictures import has_masks, has_truth, read_pictures, with_test
from advcam.pipeline.chain.planning import PlannedStage, seconds_of_a_pass
from advcam.pipeline.chain.processes import Processes
from advcam.pipeline.chain.recipe_file import RECIPE, write_recipe
from advcam.pipeline.chain.refining import AffinityRefiner, CrfRefiner, Refiner, refine_store
from advcam.pipeline.chain.scoring import NAME as EVALUATE
from advcam.pipeline.chain.scoring import Scored, score_all, scoring_settings
from advcam.pipeline.chain.segment_stages import SegmentationStages
from advcam.pipeline.chain.settings import ChainSettings, Refinement
from advcam.pipeline.chain.stage import (
    PASS_PIXELS,
    Cost,
    Outcome,
    Stage,
    StageRecord,
    StageRecords,
    State,
    Watcher,
    named,
    picture_digest,
)
from advcam.pipeline.chain.thresholding import (
    LOOKED_AT,
    choose_threshold,
    label_free_threshold,
    read_threshold,
    validate_threshold,
)
from advcam.pipeline.chain.thresholding import NAME as THRESHOLD
from advcam.pipeline.chain.training import NAME as TRAIN
from advcam.pipeline.chain.training import model_of, training_stage
from advcam.pipeline.config import ModelSettings
from advcam.pipeline.reporting.chain import ChainReport
from advcam.pipeline.shards import Engine, LocalEngine
from advcam.pipeline.targets import evenly
from advcam.store.run import JSON
from advcam.training.loop import BEST_FILE
from advcam.types import DEFAULT_THRESHOLD

#: Thresholds set beforehand, by the last step, for the row "fixed" of the scores: a plain class activation map's
#: (docs/defaults.md), half of a CRF's marginals, and IRN's background of the final argmax (jiwoon-ahn/irn: sem_seg_bg).
_FIXED_THRESHOLDS = {BASELINE: 0.25, "crf": 0.5, "irn": 0.25}
#: Seconds of a refinement for a picture of 375 x 500 on one of today's CPU cores: for the plan only.
_SECONDS = {"crf": 0.6, "affinity": 0.1, "irn": 1.5}


class Chain:
    """A recipe in a run directory.

    Args:
        settings: The recipe.
        out: The run directory.
        engine: Brings the pictures of a stage to processes; None: this process works on them.

    Raises:
        AdvcamError: The pictures cannot be read, or the settings do not go together.
    """

    def __init__(self, settings: ChainSettings, out: Path, engine: Engine | None = None) -> None:
        self.engine = engine
        self.processes = Processes(settings.device)
        given = "" if settings.maps is None else maps_digest(settings.maps)
        self.pictures = read_pictures(settings.data, learn=settings.train is not None)
        if settings.segment is not None:
            self.pictures = with_test(self.pictures)
        self.settings, self.out = settings.model_copy(update={"data": self.pictures.data}), out
        self.model = model_of(settings, self.pictures, out / "classifier")
        self.stages = list(self._stages())
        pictures = self.pictures
        learnt = picture_digest(pictures.dataset, (pictures.train, pictures.val))
        masked = picture_digest(pictures.dataset, (pictures.masks,)) + given
        others = {TRAIN: learnt} | dict.fromkeys(
            [name + LABELLED for name in (LOCALIZE, BASELINE)], picture_digest(pictures.dataset, (pictures.labelled,))
        )
        self.records = StageRecords(out, self.stages, lambda stage: others.get(stage.name, masked))

    def plan(self, from_: str | None = None, until: str | None = None) -> list[PlannedStage]:
        """Every stage that `run` would come to, with its state and what is left of it; nothing is written.

        Raises:
            AdvcamError: As `run`, so far as it can be known beforehand.
        """
        first, last = self._range(from_, until)
        states = [(stage, self.records.state(stage)) for stage in self.stages[: last + 1]]
        if from_:
            again: State = "to be redone"
            states[first:] = [(stage, state if state == "to do" else again) for stage, state in states[first:]]
        costs = {stage.name: stage.cost() for stage, state in states if state != "done"}
        of_a_pass = seconds_of_a_pass(self._timed) if any(cost.passes for cost in costs.values()) else 0.0
        planned = []
        for stage, state in states:
            cost = costs.get(stage.name, Cost(0))
            seconds = cost.passes * of_a_pass + cost.seconds
            planned.append(PlannedStage(stage.name, state, cost.pictures, cost.passes, seconds))
        return planned

    def run(self, watcher: Watcher, from_: str | None = None, until: str | None = None) -> list[StageRecord]:
        """Carry out the stages, each if it is not up to date.

        Args:
            watcher: Hears of everything.
            from_: Stages from this one on are done anew; those before it must be done.
            until: The last stage.

        Raises:
            AdvcamError: A stage cannot be done; what was finished stays, and the same command goes on.
        """
        first, last = self._range(from_, until)
        stages = self.stages[first : last + 1]
        if not self.processes.main:
            self.processes.follow(stages)
            self.processes.part()
            return []
        with locked(self.out):
            write_recipe(self.out / RECIPE, self.settings)
            worked = False
            with logged(self.out, stages, watcher) as heard:
                for stage in stages:
                    worked = self.records.carry_out(stage, heard, from_ is not None, self.processes.announce)
                    if worked:
                        self.write_report()
                if not worked:  # what the report itself is asked for may have changed
                    self.write_report()
        self.processes.part()
        return self.done()

    def done(self) -> list[StageRecord]:
        """Records of the stages that are up to date."""
        records = [self.records.read(stage) for stage in self.stages if self.records.state(stage) == "done"]
        return [record for record in records if record is not None]

    def write_report(self) -> None:
        """report.html of what is done so far."""
        report = ChainReport(ChainAlbum(self.out), self.done())
        report.write(self.out / "report.html", self.settings.outputs.report_pictures)

    def _range(self, from_: str | None, until: str | None) -> tuple[int, int]:
        """Places of the first and the last stage to be done."""
        first = named(self.stages, from_, "--from")[0] if from_ else 0
        last = named(self.stages, until, "--until")[-1] if until else len(self.stages) - 1
        if from_ and last < first:
            raise SettingError(f"--until {until} comes before --from {from_}; turn them round")
        for stage in self.stages[:first]:
            if self.records.state(stage) != "done":
                raise RunError(f"--from {from_} needs {stage.name}, which is not done; run without --from first")
        return first, last

    def _stages(self) -> Iterator[Stage]:
        if self.settings.label_masks is None:
            yield from self._labelling_stages()
        if self.settings.segment is not None:
            before = (PSEUDO,) if self.settings.label_masks is None else ()
            trained = self.settings.train is not None or self.settings.label_masks is not None
            names = self.pictures.dataset.class_names if trained else None
            settings, chosen = self.settings, self.settings.segment
            yield from SegmentationStages(
                settings, chosen, self.pictures, self.out, names, before, self.engine or LocalEngine()
            ).stages()

    def _labelling_stages(self) -> Iterator[Stage]:
        """From image labels to label masks."""
        settings, pictures, out = self.settings, self.pictures, self.out
        trained: tuple[str, ...] = ()
        if settings.train is not None:
            yield training_stage(settings.train, pictures, out / "classifier", settings.device)
            trained = (TRAIN,)
        for name in self._own_maps:
            yield maps_stage(name, settings, pictures, self.model, out / name, trained, self.engine)
        if self._ranks:
            engine = self.engine or LocalEngine()
            yield classifying_stage(settings, pictures, self.model, out / "predicted", trained, engine)
        if settings.threshold is None:
            yield self._thresholding()
        for method in settings.refine.methods:
            yield self._refining(method, trained)
        last = f"refine-{settings.refine.methods[-1]}" if settings.refine.methods else LOCALIZE
        yield self._labelling(last)
        if has_truth(pictures.dataset, pictures.masks):
            yield self._scoring()

    def _thresholding(self) -> Stage:
        folder, labelled = self.out / THRESHOLD, self._labelled(LOCALIZE)
        engine = self.engine or LocalEngine()

        def work(watcher: Watcher) -> Outcome:
            if labelled is not None:
                asked = Scored(LOCALIZE, self._scores(LOCALIZE).parent, fixed_threshold(LOCALIZE), labelled)
                return validate_threshold(scoring_settings(self.settings, asked), folder, watcher, engine)
            return choose_threshold(self._scores(LOCALIZE), self.pictures.masks, folder, watcher)

        count = len(self.pictures.labelled) or len(evenly(self.pictures.masks, LOOKED_AT))
        after = self._localized if labelled is None else (labelled.name,)
        return Stage(THRESHOLD, folder, {}, after, work, lambda: Cost(count, 0.0, 0.1 * count))

    def _refining(self, method: Refinement, trained: Sequence[str]) -> Stage:
        settings, samples = self.settings, self.pictures.masks
        before, _, step = method.rpartition("+")
        start = f"refine-{before}" if before else LOCALIZE
        folder, source, irn = self.out / "refined" / method, self._scores(start), settings.refine.irn
        engine = self.engine or LocalEngine()

        def work(watcher: Watcher) -> Outcome:
            threshold, _ = self._threshold_of(start, watcher)
            if step == "irn":
                return Irn(irn, self.model, source, samples, threshold, folder, watcher, engine).run()
            refiner: Refiner = AffinityRefiner(settings.refine.affinity, settings.device)
            if step == "crf":
                refiner = CrfRefiner(settings.refine.crf, threshold, settings.device)
            return refine_store(source, samples, refiner, folder / "maps", watcher, f"refine: {method}", engine)

        def cost() -> Cost:
            count, area = len(samples), mean_area(samples) / PASS_PIXELS
            passes = count * (2 * irn.epochs * irn.crop**2 / PASS_PIXELS + 2 * area) if step == "irn" else 0
            return Cost(count, passes, _SECONDS[step] * count * area)

        chosen = getattr(settings.refine, step)
        decides: dict[str, JSON] = {"settings": chosen.model_dump(mode="json"), "threshold": settings.threshold}
        after = (start,) if before else (*self._localized, *self._thresholded)
        after = (*(trained if step == "irn" else ()), *after)
        return Stage(f"refine-{method}", folder, decides, after, work, cost, trains=step == "irn")

    def _threshold_of(self, stage: str, watcher: Watcher) -> tuple[float, str]:
        """The threshold that belongs to the scores of a stage, and what chose it."""
        if stage.endswith("crf"):
            return 0.5, "half of the marginals"
        if self.settings.threshold is not None:
            return self.settings.threshold, "as the recipe has it"
        if stage == LOCALIZE:
            return read_threshold(self.out / THRESHOLD), "that of the maps"
        return label_free_threshold(self._scores(stage), self.pictures.masks, watcher)

    def _labelling(self, last: str) -> Stage:
        chosen, samples, folder = self.settings.pseudo, self.pictures.masks, self.out / PSEUDO
        # What is wrong is said before anything is done; the classes of a given classifier are known when it is loaded.
        given = self._class_names()
        pseudo_settings(chosen).check_names(given if given is not None else chosen.class_thresholds)

        def work(watcher: Watcher) -> Outcome:
            source = self._scores(last)
            threshold, how = chosen.threshold, "as the recipe has it"
            if threshold is None:
                threshold, how = self._threshold_of(last, watcher)
            names = given if given is not None else self._classifier().class_names
            constants = pseudo_settings(chosen, threshold)
            objects = (
                source.parent / "instances" if last.endswith("irn") and self.settings.refine.irn.instances else None
            )
            outcome = Labelling(source, samples, names, constants, chosen.boxes, objects, folder, watcher).run()
            return replace(outcome, facts=[*outcome.facts, ("chosen", how)])

        after = (*self._localized, *self._thresholded) if last == LOCALIZE else (last,)
        decides = {"settings": chosen.model_dump(mode="json"), "threshold": self.settings.threshold}
        return Stage(PSEUDO, folder, decides, after, work, lambda: Cost(len(samples)))

    def _scoring(self) -> Stage:
        refined = [f"refine-{method}" for method in self.settings.refine.methods]
        of_maps = [*((BASELINE,) if self._has_baseline else ()), LOCALIZE, *refined]
        top_classes = self.out / "predicted" / TABLE if self._ranks else None
        engine = self.engine or LocalEngine()

        def work(watcher: Watcher) -> Outcome:
            scored = [
                Scored(name, self._scores(name).parent, fixed_threshold(name), self._labelled(name)) for name in of_maps
            ]
            scored.append(Scored(PSEUDO, self.out / PSEUDO / "masks"))
            return score_all(self.settings, scored, top_classes, self.out / "metrics", watcher, engine)

        decides = {"settings": self.settings.evaluate.model_dump(mode="json")}
        after = (*self._own_maps, *((CLASSIFY,) if self._ranks else ()), *refined, PSEUDO)
        return Stage(EVALUATE, self.out / "metrics", decides, after, work, lambda: Cost(len(self.pictures.masks)))

    @property
    def _timed(self) -> ModelSettings:
        """The network whose passes the plan counts, trained or not."""
        if self.settings.label_masks is None or self.settings.segment is None:
            return self.model
        network = self.settings.segment.network
        return ModelSettings(
            model=network.model,
            weights=self.out / "segmenter" / BEST_FILE,
            output_stride=network.stride,
            device=self.settings.device,
        )

    @property
    def _has_baseline(self) -> bool:
        baseline = self.settings.baseline
        return self.settings.maps is None and baseline is not None and baseline != self.settings.localize.method

    @property
    def _own_maps(self) -> tuple[str, ...]:
        """The stages of this chain that make maps."""
        names = () if self.settings.maps is not None else (LOCALIZE, *((BASELINE,) if self._has_baseline else ()))
        both = [name + end for name in names for end in ("", LABELLED)]
        return tuple(name for name in both if self.pictures.labelled or not name.endswith(LABELLED))

    @property
    def _ranks(self) -> bool:
        """Whether Top-1 and Top-5 Loc are scored: the truth is boxes, and there is a classifier."""
        dataset, samples = self.pictures.dataset, self.pictures.masks
        return self.settings.maps is None and has_truth(dataset, samples) and not has_masks(dataset, samples)

    def _labelled(self, name: str) -> Path | None:
        """The run whose maps choose the validated threshold of a stage, where it has one."""
        return self.out / (name + LABELLED) if name + LABELLED in self._own_maps else None

    @property
    def _localized(self) -> tuple[str, ...]:
        """The stage of the maps, where it is one of this chain."""
        return () if self.settings.maps is not None else (LOCALIZE,)

    def _scores(self, name: str) -> Path:
        """Folder of the map store that a stage left."""
        if name == LOCALIZE and self.settings.maps is not None:
            return self.settings.maps / "maps"
        where = self.out / name if name in (LOCALIZE, BASELINE) else self.out / "refined" / name.removeprefix("refine-")
        return where / "maps"

    @property
    def _thresholded(self) -> tuple[str, ...]:
        """The stage of the threshold, where a rule chooses it."""
        return (THRESHOLD,) if self.settings.threshold is None else ()

    def _class_names(self) -> tuple[str, ...] | None:
        """Classes of the maps by their number, where they are known without the classifier."""
        if self.settings.maps is not None:
            return names_of_run(self.settings.maps)
        return None if self.settings.train is None else tuple(self.pictures.dataset.class_names)

    def _classifier(self) -> Classifier:
        return load_model(self.model)


def fixed_threshold(stage: str) -> float:
    """The threshold that was set beforehand for the scores of a stage."""
    return _FIXED_THRESHOLDS.get(stage.removeprefix("refine-").rpartition("+")[2], DEFAULT_THRESHOLD)


@contextmanager
def open_chain(settings: ChainSettings, out: Path, keep: bool = True, engine: Engine | None = None) -> Iterator[Chain]:
    """A chain whose pictures are there: those of a recipe that draws its data set are drawn.

    Args:
        settings: The recipe.
        out: The run directory.
        keep: The drawn data set stays; else it is gone afterwards, unless it was there before.
        engine: See `Chain`.

    Raises:
        AdvcamError: As `Chain`.
    """
    generated, root = settings.data.generated, settings.data.root
    if generated is None or root.exists():
        yield Chain(settings, out, engine)
        return
    if keep:
        draw_pictures(generated, root)
        yield Chain(settings, out, engine)
        return
    with tempfile.TemporaryDirectory() as temporary:
        drawn = Path(temporary) / "data"
        write_dataset(generated.layout, drawn, generated.pictures, generated.seed)
        data = settings.data.model_copy(update={"root": drawn})
        yield Chain(settings.model_copy(update={"data": data}), out, engine)
