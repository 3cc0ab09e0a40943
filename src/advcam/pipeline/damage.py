"""What of a run is damaged or missing, found by reading everything in it; nothing is changed.

A shard is held against the checksum in its name, all shards against the pictures that the run knows. Masks, overlays
and JSON files have to be readable, masks as large as their picture; those of a prediction are held against their
digest. Networks have to hold finite numbers only.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from safetensors import SafetensorError

from advcam.errors import AdvcamError, RunError, one_line
from advcam.pipeline.chain.classifying import NAME as CLASSIFY
from advcam.pipeline.chain.localizing import BASELINE, LABELLED
from advcam.pipeline.chain.localizing import NAME as LOCALIZE
from advcam.pipeline.chain.ranking import RANKINGS, Ranked
from advcam.pipeline.chain.recipe_file import RECIPE, read_chain
from advcam.pipeline.chain.stage import read_record
from advcam.pipeline.config import SETTINGS
from advcam.pipeline.file_checks import CHECKS, check_mask, check_picture, read_config, read_json
from advcam.pipeline.lost_rows import (
    BOXES,
    PREDICTIONS,
    SUMMARY,
    counted_pictures,
    listed_pictures,
    lost_rows,
    was_interrupted,
)
from advcam.store.class_file import parse_classes
from advcam.store.maps import MapStore, StoredMaps
from advcam.store.places import Place
from advcam.store.predictions import PredictionStore, StoredPrediction
from advcam.store.run import output_names
from advcam.store.shards import ShardName, ShardStore
from advcam.untrusted import parse_json

MAPS, RECORDS = "maps", "records"
_CONFIG = "config.json"
#: Stages of a recipe whose folder holds what was trained.
_TRAINED = {"classifier": "train", "segmenter": "segment"}


class Watcher(Protocol):
    """Who watches."""

    def start(self, words: str, total: int) -> None:
        """So much is to be looked at."""

    def step(self) -> None:
        """A part of it."""


@dataclass(frozen=True)
class Damage:
    """Something that is damaged or missing.

    Args:
        path: In the run directory.
        problem: What is wrong with it.
        advice: What to do; empty where it can be made again from the rest of the run and its pictures.
    """

    path: str
    problem: str
    advice: str = ""


@dataclass
class Findings:
    """What a look at a run found.

    Args:
        shards: That were looked at.
        pictures: Of which they hold a row.
        files: Others that were looked at.
        damaged: What is damaged or missing.
        unfinished: The last session was interrupted; what it left undone is no damage.
        needed: Ids of the pictures that have to be there to make it again, in a run of `localize` or `predict`.
    """

    shards: int = 0
    pictures: int = 0
    files: int = 0
    damaged: list[Damage] = field(default_factory=list)
    unfinished: bool = False
    needed: dict[str, None] = field(default_factory=dict)


def find_damage(run: Place, watcher: Watcher) -> Findings:
    """Look at everything in a run directory.

    Args:
        run: Of `advcam localize`, `predict`, `run` or `refine`.
        watcher: Hears of each shard, picture and file.

    Raises:
        RunError: It is no such run, or cannot be listed.
    """
    search = _Search(run, watcher)
    if is_chain(run):
        search.chain()
    else:
        search.run(run)
    return search.findings


def is_chain(run: Place) -> bool:
    """Whether a run is one of a recipe; else it is one of `advcam localize` or `predict`.

    Raises:
        RunError: It is none of them.
    """
    if any((run / name).exists() for name in (RECIPE, _CONFIG, MAPS, RECORDS)):
        return (run / RECIPE).exists()
    raise RunError(
        f"{run} holds no run of advcam: neither {RECIPE} nor {_CONFIG}; name the --out of advcam localize, predict, "
        "run or refine"
    )


def is_prediction(run: Place) -> bool:
    """Whether a run is one of `advcam predict`, though its records may be gone; else it is one of `localize`."""
    return any((run / name).exists() for name in (RECORDS, PREDICTIONS))


def store_of(folder: Place) -> MapStore | PredictionStore:
    """The store of a run of `advcam localize` or `predict`."""
    return PredictionStore(folder / RECORDS) if is_prediction(folder) else MapStore(folder / MAPS)


#: Of the row of a picture: its size, and the digest of its mask where that is known.
_Row: TypeAlias = tuple[tuple[int, int], str | None]


class _Search:
    """Looks at a run directory, part after part."""

    def __init__(self, folder: Place, watcher: Watcher) -> None:
        self.folder, self.watcher, self.findings = folder, watcher, Findings()

    def run(self, folder: Place) -> None:
        """A run of `advcam localize` or `predict`, maybe as a stage of another."""
        listed = listed_pictures(folder)
        rows = self._shards(store_of(folder), listed, counted_pictures(folder))
        self.findings.needed |= dict.fromkeys(listed or rows)
        self.findings.unfinished |= was_interrupted(folder)
        self._expected(folder)
        self._pictures(folder, rows)

    def chain(self) -> None:
        """A run of a recipe: its record of each stage, the stages that are runs themselves, and all other files."""
        out = Path(str(self.folder))
        self._file(out / RECIPE, lambda path: read_chain(str(path)), "put a copy of it back, or run its recipe again")
        runs = sorted(path.parent for path in out.glob(f"*/{_CONFIG}"))
        for folder in runs:
            self.run(folder)
        for folder in sorted(out.glob(f"refined/*/{MAPS}")):
            self._shards(MapStore(folder))
        self._shards(ShardStore(out / "predicted" / RECORDS, RANKINGS))
        self._records(out)
        others = [path for path in sorted(out.rglob("*")) if path.suffix in CHECKS and path.is_file()]
        others = [path for path in others if not any(run in path.parents for run in runs)]
        self.watcher.start("files", len(others))
        for path in others:
            if path.parent != out / "stages":
                self._file(path, CHECKS[path.suffix], _advice(path.relative_to(out)))
            self.watcher.step()

    def _shards(self, store: ShardStore[Any], listed: Sequence[str] = (), count: int = 0) -> dict[str, _Row]:
        """The row of each picture that counts, by reading all shards; `listed` and `count`: see `lost_rows`."""
        rows: dict[str, _Row] = {}
        damaged = []
        names = store.names()
        self.watcher.start("shards", len(names))
        for name in names:
            path = store.folder / name.file
            try:
                if store.fits_its_name(name):
                    rows |= _rows(store, name)
                else:
                    damaged.append(name)
                    self._found(path, "its bytes are not those that were written")
            except RunError as error:  # of another version, or a disk that cannot be read: nothing to be removed
                damaged.append(name)
                self._found(path, one_line(error), "nothing is changed; see the reason")
            self.watcher.step()
        for path, problem in lost_rows(store, rows, damaged, listed, count):
            self._found(path, problem)
        self.findings.shards += len(names)
        self.findings.pictures += len(rows)
        return rows

    def _expected(self, folder: Place) -> None:
        """The files that every finished run has."""
        self._file(
            folder / _CONFIG, read_config, "put a copy of it back, or do the run again in another folder", needed=True
        )
        alone = folder == self.folder  # else the stage of a recipe, which knows them
        command = "give the command of this run again, which writes it anew, then verify again"
        self._file(folder / SETTINGS, read_json, command if alone else "", needed=alone)
        self._file(
            folder / "classes.json",
            lambda path: parse_classes(path.read_bytes()),
            "put a copy of it back; without one, delete it and masks/ and verify again: both are made anew",
            needed=(folder / "masks").exists(),  # it numbers their classes
        )
        results = [SUMMARY, BOXES] + ([PREDICTIONS] if is_prediction(folder) else [])
        ended = any((folder / name).exists() for name in results)
        for name in results:
            self._file(folder / name, read_json, needed=ended)

    def _pictures(self, folder: Place, rows: dict[str, _Row]) -> None:
        """Masks and overlays of the pictures that are done."""
        names, overlays = output_names(list(rows)), _overlays(folder)
        self.watcher.start("masks", len(rows))
        for id_, (size, digest) in rows.items():
            before = len(self.findings.damaged)
            mask = _output(folder / "masks", names[id_], id_, ".png")
            self._file(mask, lambda path, size=size, digest=digest: check_mask(path, size, digest), needed=True)
            if overlays:
                overlay = _output(folder / "overlays", names[id_], id_, ".jpg")
                self._file(overlay, check_picture, needed=True)
            if len(self.findings.damaged) > before:
                self.findings.needed[id_] = None
            self.watcher.step()

    def _records(self, out: Path) -> None:
        """What is kept of each stage, whether its folder is there, and whether it has as many masks as it wrote."""
        for path in sorted((out / "stages").glob("*.json")):
            self._file(path, read_record, "delete it: its stage is done anew by the recipe")
            try:
                record = read_record(path)
            except RunError:
                continue
            self.findings.unfinished |= not record.done
            store = _store_of_stage(out, path.stem)
            if record.done and store is not None and not store.exists():
                self._found(store, "is missing")
            masks = out / {"predict": "predictions"}.get(path.stem, path.stem) / "masks"
            wanted = dict(record.facts).get("masks", "")
            found = sum(1 for _ in masks.rglob("*.png"))
            if wanted.isdecimal() and found < int(wanted):
                self._found(masks, f"holds {found} of {wanted} masks")

    def _file(self, path: Place, check: Callable[..., object], advice: str = "", needed: bool = False) -> None:
        """One file that may be there, or has to."""
        if not path.exists():
            if needed:
                self._found(path, "is missing", advice)
            return
        self.findings.files += 1
        try:
            check(path)
        except (AdvcamError, OSError, ValueError, SyntaxError, SafetensorError) as error:
            self._found(path, one_line(error), advice)

    def _found(self, path: Place, problem: str, advice: str = "") -> None:
        inside = str(path)[len(str(self.folder)) :].lstrip("/\\")
        self.findings.damaged.append(Damage(inside.replace("\\", "/"), problem.replace(f"{path} ", ""), advice))


def _rows(store: ShardStore[Any], name: ShardName) -> Iterator[tuple[str, _Row]]:
    row: StoredMaps | StoredPrediction | Ranked
    for row in store.read(name):
        if isinstance(row, StoredMaps):
            yield row.sample_id, (row.attribution.image_size, None)
        elif isinstance(row, StoredPrediction):
            yield row.sample_id, (row.image_size, row.mask)
        else:
            yield row.sample_id, ((0, 0), None)  # a ranking, of which there is no mask


def _store_of_stage(out: Path, name: str) -> Path | None:
    """What a stage that makes maps or rankings leaves at least."""
    if name.startswith("refine-"):
        return out / "refined" / name.removeprefix("refine-") / MAPS
    if name.removesuffix(LABELLED) in (LOCALIZE, BASELINE):
        return out / name / _CONFIG
    return out / "predicted" / RECORDS if name == CLASSIFY else None


def _output(folder: Place, name: str, id_: str, extension: str) -> Place:
    """The output file of a picture: under its full id where another one, that has no row, took the short name."""
    whole = folder / f"{id_}{extension}"
    return whole if whole.exists() else folder / f"{name}{extension}"


def _overlays(folder: Place) -> bool:
    """Whether a run writes overlays."""
    try:
        return bool(parse_json((folder / _CONFIG).read_bytes())["outputs"]["overlays"])
    except (OSError, ValueError, LookupError, TypeError):
        return False  # damage that is named already


def _advice(path: Path) -> str:
    """What to do about a damaged file of a recipe's run that holds what was trained; empty for all others."""
    stage = _TRAINED.get(path.parts[0], "")
    if path.parts[0] == "refined" and "network" in path.parts:
        stage = f"refine-{path.parts[1]}"
    return f"put a copy of it back; without one, train again: advcam run {RECIPE} --from {stage}" if stage else ""
