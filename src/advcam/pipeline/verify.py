"""`advcam verify`: is everything in a run as it was written? What is not is removed and made again, and only that.

What cannot be made again, such as the only copy of a trained network, or anything while its pictures are away, is named
and stays; and while there is such a thing nothing is changed, as what is made again would stand on it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from advcam.errors import AdvcamError, RunError, counted, one_line
from advcam.pipeline.chain.opening import locked
from advcam.pipeline.chain.recipe_file import RECIPE, read_chain
from advcam.pipeline.chain.run import Chain, open_chain
from advcam.pipeline.chain.stage import Stage, Stepping, Watcher
from advcam.pipeline.config import LocalizeSettings, kept_settings
from advcam.pipeline.damage import MAPS, Damage, Findings, find_damage, is_chain, is_prediction, store_of
from advcam.pipeline.localize import Plan, Summary, localize, pictures_of_run
from advcam.pipeline.predicting.predict import PredictSummary, predict_pictures
from advcam.pipeline.predicting.predict import pictures_of_run as pictures_of_prediction
from advcam.pipeline.predicting.settings import PredictSettings
from advcam.pipeline.shard_maps import file_bytes
from advcam.pipeline.shards import Engine
from advcam.store.files import remove_leftovers, try_lock
from advcam.store.maps import MapStore
from advcam.store.places import Place
from advcam.store.remote import RemotePath
from advcam.untrusted import parse_json


@dataclass
class Verification:
    """What `verify` found and did.

    Args:
        run: The run directory.
        shards: That were looked at.
        pictures: Of which they hold a row.
        files: Others that were looked at.
        damaged: What was damaged or missing.
        well: Whether all is as it was written, from the beginning or by now.
        unfinished: Its last session was interrupted; what that left undone is no damage.
        skipped: Id and reason of pictures that could not be made again.
    """

    run: str
    shards: int
    pictures: int
    files: int
    damaged: list[Damage]
    well: bool
    unfinished: bool = False
    skipped: list[tuple[str, str]] = field(default_factory=list)


#: Hears what is damaged before anything is changed.
Named: TypeAlias = Callable[[Sequence[Damage]], None]


def verify(
    run: Place,
    watcher: Watcher,
    mend: bool = True,
    engine: Engine | None = None,
    named: Named = lambda damaged: None,
) -> Verification:
    """Look at everything in a run, and make again what is damaged or missing.

    Args:
        run: Directory of `advcam localize`, `predict`, `run` or `refine`, or its URL.
        watcher: Hears of everything.
        mend: Else nothing is changed.
        engine: Brings what is made again to processes; None: this process does it.
        named: Hears what is damaged before anything is changed.

    Raises:
        AdvcamError: It is no run, another process works in it, or what is made again fails as it would in the run.
    """
    if not mend:
        found = find_damage(run, watcher)
        named(found.damaged)
        return _verification(run, found)
    if is_chain(run) and isinstance(run, Path):
        found, skipped = _mend_chain(run, watcher, engine, named)
    else:
        found, skipped = _mend_run(run, watcher, engine, named)
    result = _verification(run, found)
    if found.damaged and not _lasting(found):
        now = find_damage(run, watcher)
        result.well, result.unfinished = not skipped and not now.damaged, now.unfinished
        result.skipped = skipped
    return result


def _verification(run: Place, found: Findings) -> Verification:
    looked = found.shards, found.pictures, found.files
    return Verification(str(run), *looked, found.damaged, not found.damaged, found.unfinished)


def _lasting(found: Findings) -> bool:
    """Whether something is damaged that is not made again."""
    return any(damage.advice for damage in found.damaged)


def _mend_run(
    run: Place, watcher: Watcher, engine: Engine | None, named: Named
) -> tuple[Findings, list[tuple[str, str]]]:
    """A run of `advcam localize` or `predict`: the command that made it is given again."""
    with _alone(run):
        found = find_damage(run, watcher)
    if found.damaged and not _lasting(found):
        _advise(found, _obstacle(run, found, engine))
    named(found.damaged)
    if _lasting(found):
        return found, []
    with _alone(run):
        before = _skipped(run)
        _remove(run, found.damaged)
        store_of(run).clean()
    if not found.damaged:
        return found, []
    return found, [(id_, reason) for id_, reason in _given_again(run, watcher, engine) if id_ not in before]


def _obstacle(run: Place, found: Findings, engine: Engine | None) -> str:
    """Why the command of a run cannot be given again as it was; empty where it can."""
    try:
        if is_prediction(run):
            samples = pictures_of_prediction(kept_settings(run, PredictSettings), engine)
        else:
            samples = pictures_of_run(kept_settings(run, LocalizeSettings), engine)
    except AdvcamError as error:
        return one_line(error)
    there = {sample.id for sample in samples if file_bytes(sample) >= 0}
    return _away([id_ for id_ in found.needed if id_ not in there])


def _away(ids: Sequence[str]) -> str:
    if not ids:
        return ""
    return f"{counted(len(ids), 'picture')} of the run cannot be found, the first: {ids[0]}; put what is missing back"


def _advise(found: Findings, obstacle: str) -> None:
    """Say of everything that is damaged what keeps it from being made again."""
    if obstacle:
        advice = f"nothing is changed, as it cannot be made again now: {obstacle}; then verify again"
        found.damaged = [replace(damage, advice=damage.advice or advice) for damage in found.damaged]


def _given_again(run: Place, watcher: Watcher, engine: Engine | None) -> list[tuple[str, str]]:
    """Give the command of a run again; the pictures that it cannot use."""
    told = _Heard(watcher)
    summary: Summary | PredictSummary
    if is_prediction(run):
        summary = predict_pictures(kept_settings(run, PredictSettings), told, engine)
    else:
        summary = localize(kept_settings(run, LocalizeSettings), told, engine=engine)
    if summary.interrupted:
        raise KeyboardInterrupt
    return summary.skipped


def _mend_chain(
    run: Path, watcher: Watcher, engine: Engine | None, named: Named
) -> tuple[Findings, list[tuple[str, str]]]:
    """A run of a recipe: the stages whose files are damaged go on with what is there."""
    with locked(run), ExitStack() as stack:
        found = find_damage(run, watcher)
        if not found.damaged:
            _remove(run, ())
            return found, []
        if not _lasting(found):
            try:
                chain = stack.enter_context(open_chain(read_chain(str(run / RECIPE)), run, engine=engine))
            except AdvcamError as error:
                _advise(found, one_line(error))
            else:
                _advise(found, _away(_pictures_away(chain)))
                found.damaged = [_owned(chain, damage) for damage in found.damaged]
        named(found.damaged)
        return found, [] if _lasting(found) else _redone(chain, found.damaged, watcher)


def _pictures_away(chain: Chain) -> list[str]:
    """Ids of the pictures of a chain whose files are gone."""
    pictures = chain.pictures
    groups = (pictures.masks, pictures.labelled, pictures.train, pictures.val, pictures.test)
    return list(dict.fromkeys(sample.id for group in groups for sample in group if file_bytes(sample) < 0))


def _redone(chain: Chain, damaged: Sequence[Damage], watcher: Watcher) -> list[tuple[str, str]]:
    """Do again what is damaged; the pictures that could not be."""
    _remove(chain.out, damaged)
    skipped = []
    stages = [stage for stage in chain.stages if any(_owns(chain, stage, damage) for damage in damaged)]
    for stage in stages:
        chain.records.reopen(stage)
    for stage in stages:
        before = chain.records.read(stage)
        known = {id_ for id_, _ in before.skipped} if before else set()
        chain.records.carry_out(stage, watcher)
        after = chain.records.read(stage)
        skipped += [(id_, reason) for id_, reason in (after.skipped if after else ()) if id_ not in known]
    chain.write_report()
    return skipped


def _owned(chain: Chain, damage: Damage) -> Damage:
    """With advice where no stage would make the file again as it was."""
    if damage.advice:
        return damage
    owner = next((stage for stage in chain.stages if _owns(chain, stage, damage)), None)
    if owner is None:
        return replace(damage, advice="no stage of the recipe makes it; put a copy of it back, or delete it")
    if chain.records.state(owner) not in ("done", "to be finished"):
        advice = f"{owner.name} is out of date: advcam run {RECIPE} does it anew"
        return replace(damage, advice=advice)
    return damage


def _owns(chain: Chain, stage: Stage, damage: Damage) -> bool:
    return stage.folder in (chain.out / damage.path).parents


def _remove(run: Place, damaged: Sequence[Damage]) -> None:
    """What is damaged, and what dead processes left; pieces whose rows all lie in shards go with the next session."""
    for damage in damaged:
        path = run / damage.path
        if path.is_file():
            path.unlink()
    remove_leftovers(run, everywhere=True)
    if isinstance(run, Path):
        for folder in (*run.glob(f"*/{MAPS}"), *run.glob(f"refined/*/{MAPS}")):
            MapStore(folder).clean()


def _skipped(run: Place) -> set[str]:
    """Pictures that the last session could not use; none where its summary is damaged."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        return {id_ for id_, _ in parse_json((run / "summary.json").read_bytes())["skipped"]}
    return set()


@contextmanager
def _alone(run: Place) -> Iterator[None]:
    """The run for this process alone, so far as there are locks.

    Raises:
        RunError: Another process works in it, or it cannot be written.
    """
    with ExitStack() as stack:
        if not isinstance(run, RemotePath) and run.is_dir():
            try:
                lock = stack.enter_context((run / ".lock").open("ab"))
            except OSError as error:
                raise RunError(
                    f"cannot write to {run} ({error.strerror}); change its permissions, or look with --dry-run"
                ) from error
            if not try_lock(lock):
                raise RunError(f"another process is working in {run}; wait for it, or look with --dry-run")
        yield


class _Heard(Stepping):
    """Hands the words of a localization or a prediction on."""

    def announce(self, plan: Plan) -> None:
        """How many pictures are to come."""
        self.watcher.start(f"{plan.method} with {plan.model}", plan.pictures - plan.already_done)

    def start(self, words: str, total: int) -> None:
        """So many are to come."""
        self.watcher.start(words, total)

    def step(self) -> None:
        """One of them."""
        self.watcher.step()

    def skipped(self, name: str, reason: str) -> None:
        """Why a picture is left out."""
        self.watcher.skipped(name, reason)
