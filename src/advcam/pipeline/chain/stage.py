"""A stage of the chain: what decides its result, whether it is up to date, and how it is carried out.

The fingerprint of a stage is that of its settings, of its code's version, and of the stages and pictures that it stands
on. `stages/<name>.json` of the run directory keeps it: equal and done, the stage is left alone; equal and not done, it
goes on where it stopped; another, its folder is emptied and it is done anew, as is everything behind it.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from advcam import untrusted
from advcam.datasets.dataset import Dataset
from advcam.errors import RunError, SettingError, one_line
from advcam.store.files import write_text
from advcam.store.run import JSON
from advcam.types import Sample

#: Pixels of the picture that passes are counted in: 375 x 500.
PASS_PIXELS = 375 * 500

State = Literal["done", "to be finished", "to do", "to be redone"]


class Watcher(Protocol):
    """Who watches a chain."""

    def stage(self, name: str, state: State) -> None:
        """A stage begins, or is left alone where its state is "done"."""

    def say(self, words: str) -> None:
        """A line for the reader."""

    def skipped(self, name: str, reason: str) -> None:
        """A picture cannot be used; several stages may say so of one."""

    def start(self, words: str, total: int) -> None:
        """So many pictures or steps are to come."""

    def step(self) -> None:
        """One of them."""


class Stepping:
    """Hands what is heard of the pictures of a shard on to a watcher."""

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher

    def begins(self, id_: str) -> None:
        """Nothing."""

    def picture_done(self, name: str) -> None:
        """One step."""
        self.watcher.step()

    def picture_skipped(self, name: str, reason: str) -> None:
        """One step, and why."""
        self.watcher.skipped(name, reason)
        self.watcher.step()


@dataclass(frozen=True)
class Cost:
    """What a stage will take.

    Args:
        pictures: That it looks at.
        passes: Passes of the network over a picture of `PASS_PIXELS`, there or back.
        seconds: Besides the passes, such as for the CRF; an estimate.
    """

    pictures: int
    passes: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """What a stage did.

    Args:
        facts: Name and value, for the report.
        notes: Warnings, one line each.
        skipped: Id and reason of pictures that could not be used.
    """

    facts: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    skipped: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Stage:
    """One stage.

    Args:
        name: Such as "localize" or "refine-crf".
        folder: Of everything that it writes.
        decides: Its settings, as JSON.
        after: Names of the stages whose results it uses.
        work: Does it, or goes on with it.
        cost: Estimates it before it is done.
        version: Of its code: raised where the same settings give another result.
        trains: Its work is a training that all processes of a launch share.
    """

    name: str
    folder: Path
    decides: Mapping[str, JSON]
    after: Sequence[str]
    work: Callable[[Watcher], Outcome]
    cost: Callable[[], Cost]
    version: int = 1
    trains: bool = False


@dataclass
class StageRecord:
    """What is kept of a stage, `stages/<name>.json`."""

    name: str
    fingerprint: str
    done: bool = False
    seconds: float = 0.0
    facts: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)


class StageRecords:
    """The records of a run directory.

    Args:
        out: The run directory.
        stages: All stages, in order.
        pictures: Fingerprint of the pictures that a stage looks at, and of their labels.
    """

    def __init__(self, out: Path, stages: Sequence[Stage], pictures: Callable[[Stage], str]) -> None:
        self.folder = out / "stages"
        self.fingerprints: dict[str, str] = {}
        for stage in stages:
            before = [self.fingerprints[name] for name in stage.after]
            looks_at = pictures(stage)
            self.fingerprints[stage.name] = digest([looks_at, stage.name, stage.version, dict(stage.decides), before])

    def state(self, stage: Stage) -> State:
        """Where a stage stands."""
        record = self.read(stage)
        if record is None:
            return "to do"
        if record.fingerprint != self.fingerprints[stage.name]:
            return "to be redone"
        return "done" if record.done else "to be finished"

    def read(self, stage: Stage) -> StageRecord | None:
        """The record of a stage, None where it was never begun.

        Raises:
            RunError: It is damaged.
        """
        path = self._path(stage)
        return read_record(path) if path.exists() else None

    def reopen(self, stage: Stage) -> None:
        """Have a stage that is done to be finished: what is missing in its folder is made again.

        Raises:
            RunError: Its record is damaged, or cannot be written.
        """
        record = self.read(stage)
        if record is not None and record.done:
            record.done = False
            self._write(stage, record)

    def carry_out(
        self, stage: Stage, watcher: Watcher, anew: bool = False, announce: Callable[[bool], None] = lambda _: None
    ) -> bool:
        """Do a stage, or what is left of it; whether there was something to do.

        Args:
            stage: Those before it are done.
            watcher: Hears of it.
            anew: Even where it is done.
            announce: Told, when all is ready for it, whether it is worked at.

        Raises:
            AdvcamError: What the stage raises; the same command goes on with it.
        """
        state = "to be redone" if anew and self.read(stage) is not None else self.state(stage)
        watcher.stage(stage.name, state)
        if state == "done":
            announce(False)
            return False
        record = self.read(stage) if state == "to be finished" else None
        if record is None:
            # Without a record too: what lies in the folder may be of other settings.
            self._forget(stage)
            record = StageRecord(stage.name, self.fingerprints[stage.name])
        self._write(stage, record)
        announce(True)
        started = time.monotonic()
        try:
            outcome = stage.work(watcher)
        except BaseException:
            record.seconds = round(record.seconds + time.monotonic() - started, 1)
            with suppress(RunError):  # of a full disk the stage itself has said more
                self._write(stage, record)
            raise
        record.seconds = round(record.seconds + time.monotonic() - started, 1)
        record.facts, record.notes = list(outcome.facts), list(outcome.notes)
        record.skipped, record.done = list(outcome.skipped), True
        self._write(stage, record)
        watcher.say(f"{stage.name}: done in {record.seconds:.0f} s")
        return True

    def _forget(self, stage: Stage) -> None:
        """Remove what a stage left, its record last: a kill in between leaves it to be redone."""
        try:
            if stage.folder.exists():
                shutil.rmtree(stage.folder)
            self._path(stage).unlink(missing_ok=True)
        except OSError as error:
            raise RunError(f"cannot empty {stage.folder} ({error.strerror}); change its permissions") from error

    def _write(self, stage: Stage, record: StageRecord) -> None:
        write_text(self._path(stage), json.dumps(record.__dict__, indent=1, ensure_ascii=False) + "\n")

    def _path(self, stage: Stage) -> Path:
        return self.folder / f"{stage.name}.json"


def read_record(path: Path) -> StageRecord:
    """The record of a stage that was begun.

    Raises:
        RunError: It is missing or damaged.
    """
    try:
        content = untrusted.read_json(path)
        return StageRecord(**{**content, "facts": _pairs(content["facts"]), "skipped": _pairs(content["skipped"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(f"{path} is damaged ({one_line(error)}); delete it: its stage is done anew") from error


def digest(value: JSON) -> str:
    """Equal for equal values."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def picture_digest(dataset: Dataset, groups: Iterable[Iterable[Sample]]) -> str:
    """Equal where the classes, the pictures, their labels and the sizes of their files are."""
    found = hashlib.sha256(json.dumps([dataset.layout, list(dataset.class_names)]).encode())
    for group in groups:
        for sample in group:
            size = sample.path.stat().st_size if sample.path.exists() else -1
            found.update(json.dumps([sample.id, sample.labels, size]).encode())
        found.update(b"|")
    return found.hexdigest()


def named(stages: Sequence[Stage], name: str, option: str) -> list[int]:
    """Places of the stages with a name, or with a name that begins so ("refine" is every refinement).

    Only those that follow each other: "evaluate" is not "evaluate-segment", which comes after other stages.

    Raises:
        SettingError: No stage is called so.
    """
    found = [place for place, stage in enumerate(stages) if stage.name == name or stage.name.startswith(f"{name}-")]
    if not found:
        known = ", ".join(stage.name for stage in stages)
        raise SettingError(f"{option} names {name!r}; the stages of this recipe are {known}")
    return [place for count, place in enumerate(found) if place == found[0] + count]


def _pairs(rows: Sequence[Sequence[str]]) -> list[tuple[str, str]]:
    return [(str(first), str(second)) for first, second in rows]
