"""`advcam verify`: is a run as it was written, and if not, made so."""

import json
import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console

from advcam.cli.engines import Engines, opened
from advcam.errors import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from advcam.pipeline.damage import Damage
    from advcam.pipeline.verify import Verification

_WELL, _DAMAGED = 0, 1


def verify(
    run: str,
    *,
    engines: Engines | None = None,
    dry_run: bool = False,
    quiet: bool = False,
    json_: Annotated[bool, Parameter("--json")] = False,
) -> int:
    """Look for damage in everything that a run has written, and make again what is damaged or missing, only that.

    Exit code 1 where something is damaged and not mended.

    Args:
        run: Folder of localize, predict, run or refine, or the URL of a run of localize or predict.
        engines: Who works on the pictures that are made again.
        dry_run: Say what is damaged; change nothing.
        quiet: No progress, and only what is damaged.
        json_: Print what was found as JSON.
    """
    from dataclasses import asdict

    from advcam.cli.run import ChainWatch
    from advcam.pipeline.verify import verify as run_verify
    from advcam.store.places import place

    def named(damaged: "Sequence[Damage]") -> None:
        if not json_:
            _name(damaged)

    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    with opened(engines, "cpu") as engine, ChainWatch(console, quiet) as watch:
        found = run_verify(place(run), watch, not dry_run, engine, named)
    if json_:
        sys.stdout.write(json.dumps(asdict(found), ensure_ascii=False) + "\n")
    else:
        _say(found, dry_run, quiet)
    return _WELL if found.well else _DAMAGED


def _name(damaged: "Sequence[Damage]") -> None:
    """What is damaged, a line each."""
    console = Console(highlight=False, markup=False, emoji=False)
    for damage in damaged:
        advice = f"; {damage.advice}" if damage.advice else ""
        console.print(f"{damage.path}: {damage.problem}{advice}", soft_wrap=True)


def _say(found: "Verification", dry_run: bool, quiet: bool) -> None:
    """How it stands in the end."""
    console = Console(highlight=False, markup=False, emoji=False)
    for id_, reason in found.skipped:
        console.print(f"not made again, {id_}: {reason}", soft_wrap=True)
    if found.unfinished:
        console.print("the run is not finished: the command that made it goes on with it", soft_wrap=True)
    if quiet:
        return
    looked = ", ".join(
        [counted(found.shards, "shard"), counted(found.pictures, "picture"), counted(found.files, "file")]
    )
    console.print(f"looked at {looked}: {_state(found, dry_run)}", soft_wrap=True)


def _state(found: "Verification", dry_run: bool) -> str:
    if not found.damaged:
        return "all is as it was written"
    damaged = f"{len(found.damaged):,} damaged or missing"
    if found.well:
        return f"{damaged}, made again"
    if any(damage.advice for damage in found.damaged):
        return f"{damaged}, and nothing is changed: see the advice"
    if dry_run:
        return f"{damaged}; without --dry-run they are made again"
    return f"{damaged}, not all of it could be made again"
