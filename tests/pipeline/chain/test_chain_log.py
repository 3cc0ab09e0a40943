"""The log of a chain: each stage with its state, how the chain ended, and a run that is continued."""

from pathlib import Path
from typing import Any

import pytest
from chains import Heard

import advcam
from advcam.errors import RunError
from advcam.pipeline.chain.logged import logged
from advcam.pipeline.chain.stage import Cost, Outcome, Stage, StageRecords
from advcam.pipeline.operations.log import read_log
from advcam.pipeline.operations.shutdown import Terminated


def carry_out(out: Path, error: BaseException | None = None) -> Heard:
    """Two stages, the second of which may not come to its end."""

    def work(watcher: Any) -> Outcome:
        watcher.start("pictures", 1)
        watcher.step()
        return Outcome()

    def may_fail(watcher: Any) -> Outcome:
        if error is not None:
            raise error
        return work(watcher)

    stages = [
        Stage("first", out / "first", {}, (), work, lambda: Cost(1)),
        Stage("second", out / "second", {}, ("first",), may_fail, lambda: Cost(1)),
    ]
    records, heard = StageRecords(out, stages, lambda _: ""), Heard()
    with logged(out, stages, heard) as watcher:
        for stage in stages:
            records.carry_out(stage, watcher)
    return heard


def events(out: Path) -> list[tuple[Any, ...]]:
    return [
        tuple(value for key, value in event.items() if key not in ("time", "host", "pid"))
        for event in read_log(out / "log.jsonl")
    ]


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (RunError("the disk is full\nmore"), ("ended", "failed", "RunError", "the disk is full")),
        (Terminated(), ("ended", "interrupted", "Terminated", "Terminated")),
    ],
)
def test_a_chain_that_ends_early_and_goes_on(tmp_path: Path, error: BaseException, ending: tuple[str, ...]) -> None:
    start = ("started", "run", advcam.__version__, ["first", "second"])
    with pytest.raises(type(error)):
        carry_out(tmp_path, error)
    first = [start, ("stage", "first", "to do"), ("stage", "second", "to do"), ending]
    assert events(tmp_path) == first
    carry_out(tmp_path)
    second = [start, ("stage", "first", "done"), ("stage", "second", "to be finished"), ("ended", "done")]
    assert events(tmp_path) == first + second


def test_whoever_watches_hears_what_it_heard_before(tmp_path: Path) -> None:
    heard = carry_out(tmp_path)
    assert heard.stages == {"first": "to do", "second": "to do"}
    assert [words for words in heard.words if words == "pictures"] == 2 * ["pictures"]
