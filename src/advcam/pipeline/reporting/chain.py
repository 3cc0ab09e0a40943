"""The report of `advcam run`, `train`, `refine` and `segment`."""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from advcam.attribution.registry import method_title
from advcam.errors import AdvcamError
from advcam.pipeline.album.chain_run import PREDICTIONS, PSEUDO, ChainAlbum
from advcam.pipeline.chain.carding import LEARNT_FROM
from advcam.pipeline.chain.localizing import BASELINE
from advcam.pipeline.chain.localizing import NAME as LOCALIZE
from advcam.pipeline.chain.pictures import read_pictures, with_test
from advcam.pipeline.chain.scoring import NAME as EVALUATE
from advcam.pipeline.chain.segment_stages import EVALUATE as EVALUATE_SEGMENT
from advcam.pipeline.chain.segment_stages import PREDICT, SEGMENT, TEST_METRICS
from advcam.pipeline.chain.stage import StageRecord, read_record
from advcam.pipeline.evaluation.result import Evaluation
from advcam.pipeline.evaluation.stored import EVALUATION, read_evaluation
from advcam.pipeline.reporting.data import data_section
from advcam.pipeline.reporting.making import cost_of, differences, repeat_chain, version_of
from advcam.pipeline.reporting.pictures import lowest, reviews_in_words, shown_pictures
from advcam.pipeline.reporting.scores import (
    Scored,
    class_section,
    confusion_section,
    curve_section,
    score_tables,
    tile,
)
from advcam.report.chain_page import ChainHead, ChainPicture, write_chain_page
from advcam.report.sections import Sections, StageRow
from advcam.store.maps import MapStore
from advcam.store.places import Place

_TITLE, _GIVEN_MASKS = "From image labels to masks", "From masks to a segmentation network"
_MASKS_INTRO = (
    "The pictures came with the names of what they show, not where it is. A classifier that knows the names is "
    "asked where it looks (the maps); the maps are grown, sharpened, and cut into masks, one class a pixel."
)
_NETWORK_INTRO = (
    "A segmentation network then learns the masks, those that people corrected in place of the others, and is shown "
    "other pictures."
)
_GIVEN_INTRO = "A segmentation network learns masks that were made before, and is then shown other pictures."


class ChainReport:
    """What a chain has to say.

    Args:
        album: The run.
        records: Of its stages, in their order; None: all that lie in the run.
    """

    def __init__(self, album: ChainAlbum, records: Sequence[StageRecord] | None = None) -> None:
        self.album, self.folder, self.settings = album, album.folder, album.settings
        self.notes: list[str] = []
        self.records = list(records) if records is not None else self._read_records()
        self.done = {record.name for record in self.records if record.done}
        self.map_stages = self._readable_maps()
        self.scored = [
            self._evaluations("metrics", self.settings.data.masks_split, EVALUATE),
            self._evaluations(TEST_METRICS, self._test_split, EVALUATE_SEGMENT),
        ]

    def write(self, out: Place, count: int) -> None:
        """Write the page with at most so many pictures.

        Raises:
            RunError: It cannot be written, or what a stage left is damaged.
        """
        given = self.settings.label_masks is not None
        networked = [_NETWORK_INTRO] if self.settings.segment is not None else []
        intro = [_GIVEN_INTRO] if given else [_MASKS_INTRO, *networked]
        head = ChainHead(
            _GIVEN_MASKS if given else _TITLE,
            self._facts(),
            intro,
            self._tiles(),
            has_maps=bool(self.map_stages),
            without_pictures="No picture has maps yet."
            if not given
            else "No picture has been shown to the network yet.",
        )
        write_chain_page(out, head, self._sections(), self._pictures(count))

    def _read_records(self) -> list[StageRecord]:
        """The records that lie in the run, in the order in which they were last written to."""
        found = []
        for path in sorted((self.folder / "stages").glob("*.json"), key=lambda path: path.stat().st_mtime_ns):
            try:
                found.append(read_record(path))
            except AdvcamError as error:
                self.notes.append(str(error))
        order = _order(self.folder)
        found.sort(key=lambda record: order.get(record.name, len(order)))
        open_ = [record.name for record in found if not record.done]
        if open_:
            self.notes.append(f"The run is not finished: {', '.join(open_)} was begun. Its command goes on with it.")
        return found

    def _evaluations(self, folder: str, split: str, stage: str) -> Scored:
        """What was scored, in the order in which it was."""
        found: dict[str, Evaluation] = {}
        if stage in self.done:
            files = sorted((self.folder / folder).glob(f"*/{EVALUATION}"), key=lambda path: path.stat().st_mtime_ns)
            if not files:
                self.notes.append(f"The scores of {folder}/ are gone; advcam run --from {stage} makes them again.")
            for path in files:
                try:
                    found[path.parent.name] = read_evaluation(path)
                except AdvcamError as error:
                    self.notes.append(str(error))
        return Scored(split, found, self._meanings)

    @property
    def _meanings(self) -> dict[str, str]:
        meanings = {BASELINE: self._method(BASELINE), LOCALIZE: self._method(LOCALIZE)}
        return meanings | {PSEUDO: "the finished masks", SEGMENT: "the network"}

    @property
    def _test_split(self) -> str:
        data = self.settings.data
        dataset = self.album.dataset
        return data.test or ("val" if dataset is not None and "val" in dataset.splits else data.masks_split)

    def _readable_maps(self) -> tuple[str, ...]:
        """The stages whose maps are done, there and whole; a note on each that is broken."""
        given = {LOCALIZE} if self.settings.maps is not None else set[str]()
        found = []
        for stage in self.album.map_stages:
            if stage in self.done | given:
                try:
                    MapStore(self.album.stores[stage]).index()
                    found.append(stage)
                except AdvcamError as error:
                    self.notes.append(f"The maps of {stage} cannot be shown: {error}")
        return tuple(found)

    def _facts(self) -> list[tuple[str, str]]:
        album, settings = self.album, self.settings
        facts = list(album.facts[:1])
        facts[0] = (facts[0][0], f"{facts[0][1]}, split {settings.data.masks_split}")
        if settings.label_masks is None:
            facts.append(("Classifier", self._classifier()))
            facts.append(("Maps", self._method(LOCALIZE)))
            facts.append(("Refinement", ", ".join(settings.refine.methods) or "none"))
        else:
            facts.append(("Masks", str(settings.label_masks)))
        if settings.segment is not None:
            learner = settings.segment.network
            facts.append(("Segmentation network", f"{learner.head} on {learner.model}"))
        facts += reviews_in_words(album)
        return [*facts, ("advcam", version_of(self.folder))]

    def _classifier(self) -> str:
        settings = self.settings
        if settings.maps is not None:
            return f"that of {settings.maps}"
        if settings.train is not None:
            return f"{settings.train.model}, trained here"
        weights = settings.model.weights
        return settings.model.model if weights is None else f"{settings.model.model} with {weights.name}"

    def _method(self, stage: str) -> str:
        name = self.settings.localize.method if stage == LOCALIZE else self.settings.baseline or "cam"
        return method_title(name)

    def _tiles(self) -> list[tuple[str, str]]:
        masks, tested = self.scored
        tiles = tile(masks, BASELINE, f"where the classifier looks ({self._method(BASELINE)})")
        tiles += tile(masks, LOCALIZE, f"the maps ({self._method(LOCALIZE)})")
        tiles += tile(masks, PSEUDO, f"the finished masks{self._fact(PSEUDO, 'chosen', 'threshold: ')}")
        return tiles + tile(tested, SEGMENT, f"the segmentation network{self._fact(SEGMENT, LEARNT_FROM, 'learnt: ')}")

    def _fact(self, stage: str, name: str, words: str) -> str:
        """What a stage says of itself, in brackets."""
        facts = next((dict(record.facts) for record in self.records if record.name == stage), {})
        return f" ({words}{facts[name]})" if name in facts else ""

    def _sections(self) -> Sections:
        masks, tested = self.scored
        stages = [StageRow(r.name, r.seconds, _facts_of(r), r.notes, len(r.skipped), not r.done) for r in self.records]
        skipped = [(id_, f"{reason} ({r.name})") for r in self.records for id_, reason in r.skipped]
        return Sections(
            notes=self.missing,
            data=data_section(self.album.samples, skipped, self._uses()),
            scores=[*score_tables(masks), *score_tables(tested)],
            curves=curve_section(masks),
            classes=[*class_section(masks, self._final, LOCALIZE), *class_section(tested, SEGMENT)],
            confusions=[*confusion_section(masks, self._final), *confusion_section(tested, SEGMENT)],
            stages=stages,
            cost=[(f"localize: {name[0].lower()}{name[1:]}", value) for name, value in cost_of(self.folder / LOCALIZE)],
            settings=differences(self.settings),
            repeat=repeat_chain(self.folder),
        )

    @property
    def _final(self) -> str:
        """The stage whose masks count: the finished ones, else the last that was scored."""
        names = list(self.scored[0].results)
        return PSEUDO if PSEUDO in names or not names else names[-1]

    def _uses(self) -> list[tuple[str, str]]:
        """Which pictures are there for what."""
        settings, uses = self.settings, dict[str, list[str]]()
        if settings.train is not None:
            uses.setdefault(settings.data.train or "train", []).append("trains the classifier")
        gets = "gets masks" if settings.label_masks is None else "is learnt"
        uses.setdefault(settings.data.masks_split, []).append(gets)
        if settings.segment is not None:
            uses.setdefault(self._test_split, []).append("is shown to the network in the end")
        return [(f"Split {split}", " and ".join(words)) for split, words in uses.items()] + self._counts()

    def _counts(self) -> list[tuple[str, str]]:
        """How many pictures do what; empty where the lists of the data set cannot be read any more."""
        data, dataset = self.settings.data, self.album.dataset
        with suppress(AdvcamError):
            root = data.root if dataset is None else dataset.root
            learns = self.settings.train is not None
            pictures = read_pictures(data.model_copy(update={"root": root}), learn=learns)
            pictures = pictures if self.settings.segment is None else with_test(pictures)
            uses = {
                "to learn": pictures.train,
                "to choose the epoch": pictures.val,
                "to choose the threshold": pictures.labelled,
                "to mask" if self.settings.label_masks is None else "with masks to learn": pictures.masks,
                "to test the segmentation network": pictures.test,
            }
            return [("Used", ", ".join(f"{len(some):,} {use}" for use, some in uses.items() if some))]
        return []

    @property
    def missing(self) -> list[str]:
        """What of the run is damaged, was made once and is not there any more, or is to come; one line each."""
        gone = [name for name in (PSEUDO, PREDICTIONS) if self._made(name) and name not in self.album.mask_sets]
        gone += [stage for stage in self.album.stores if stage in self.done and stage not in self.album.map_stages]
        words = [f"What {name} left is gone: advcam verify {self.folder} makes it again." for name in gone]
        return [*self.notes, *words]

    def _made(self, name: str) -> bool:
        return (PREDICT if name == PREDICTIONS else name) in self.done

    def _pictures(self, count: int) -> Iterator[ChainPicture]:
        """Pictures with masks, then half as many that the network was shown alone."""
        if not count:
            return
        masks, tested = self.scored
        with_masks = set(self.album.sets[PSEUDO].names)
        stages = {stage: masks.called(stage) for stage in self.map_stages}
        if stages or PSEUDO in self.done:
            samples = [sample for sample in self.album.samples if sample.id in with_masks]
            result = masks.results.get(self._final)
            yield from shown_pictures(
                self.album, samples, count, result, lowest(self.album, samples), stages, self._sets(), "among the masks"
            )
        if PREDICT in self.done:
            shown = set(self.album.sets[PREDICTIONS].names)
            samples = [sample for sample in self.album.samples if sample.id in shown]
            result, most = tested.results.get(SEGMENT), max(1, count // 2)
            yield from shown_pictures(
                self.album, samples, most, result, {}, {}, {PREDICTIONS}, "that the network was shown"
            )

    def _sets(self) -> set[str]:
        return {PSEUDO} if PSEUDO in self.done else set()


def _facts_of(record: StageRecord) -> list[tuple[str, str]]:
    """The facts of a stage; the scores have sections of their own."""
    return [] if record.name in (EVALUATE, EVALUATE_SEGMENT) else record.facts


def _order(folder: Path) -> dict[str, int]:
    """Place of each stage, as the longest session of the run named them in its log; of equal ones the last counts."""
    names: list[str] = []
    with suppress(OSError, ValueError):
        for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):
                event = json.loads(line)
                told = event.get("stages", ()) if isinstance(event, dict) else ()
                names = told if len(told) >= len(names) and isinstance(told, list) else names
    return {str(name): place for place, name in enumerate(names)}
