"""A session as its log and metrics tell it: finished, interrupted, failed, and continued."""

import json
from pathlib import Path
from typing import Any

import pytest

from advcam.errors import RunError
from advcam.pipeline.operations.log import read_log
from advcam.pipeline.operations.shutdown import Terminated
from advcam.pipeline.operations.telemetry import Telemetry


def events(folder: Path) -> list[dict[str, Any]]:
    """Without what differs between sessions."""
    found = [dict(event) for event in read_log(folder / "log.jsonl")]
    return [{key: event[key] for key in event if key not in ("time", "host", "pid", "seconds")} for event in found]


def numbers(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())


def test_a_session_from_start_to_end(tmp_path: Path):
    with Telemetry(tmp_path) as telemetry:
        telemetry.started("localize", pictures=131, already_done=64, engine="local")
        assert numbers(tmp_path)["pictures_planned"] == 131
        for shard in ("0", "1"):
            telemetry.shard_started(shard)
        assert telemetry.metrics.values()["shards_in_flight"] == 2
        telemetry.shard_failed("1", "the worker died", again=True, worker="w2")
        telemetry.shard_started("1")
        for _ in range(64):
            telemetry.picture_done()
        telemetry.shard_done("0", 64, 12.5, written_bytes=1000)
        telemetry.picture_skipped("cat.jpg", "it is truncated")
        telemetry.shard_done("1", 2, 0.5, written_bytes=10, worker="w1")
    assert events(tmp_path) == [
        {"event": "started", "command": "localize", "pictures": 131, "already_done": 64, "engine": "local"},
        {"event": "shard failed", "shard": "1", "reason": "the worker died", "again": True, "worker": "w2"},
        {"event": "shard done", "shard": "0", "pictures": 64, "bytes": 1000},
        {"event": "skipped", "picture": "cat.jpg", "reason": "it is truncated"},
        {"event": "shard done", "shard": "1", "pictures": 2, "bytes": 10, "worker": "w1"},
        {
            "event": "ended",
            "outcome": "done",
            "pictures": 64,
            "pictures_skipped": 1,
            "shards": 2,
            "shard_failures": 1,
        },
    ]
    found = numbers(tmp_path)
    expected = {
        "running": 0,
        "pictures_planned": 131,
        "pictures_already_done": 64,
        "pictures": 64,
        "pictures_skipped": 1,
        "shards": 2,
        "shards_in_flight": 0,
        "shard_retries": 1,
        "shard_failures": 1,
        "written_bytes": 1010,
    }
    assert {name: found[name] for name in expected} == expected


def test_a_failure_that_is_not_tried_again_is_no_retry(tmp_path: Path):
    telemetry = Telemetry(tmp_path)
    telemetry.shard_started("0")
    telemetry.shard_failed("0", "three workers died over it", again=False)
    values = telemetry.metrics.values()
    assert (values["shard_failures"], values["shard_retries"], values["shards_in_flight"]) == (1, 0, 0)


@pytest.mark.parametrize(
    ("error", "outcome", "kind", "reason"),
    [
        (RunError("cannot write maps (No space left on device)\nmore"), "failed", "RunError", "cannot write maps (No"),
        (KeyboardInterrupt(), "interrupted", "KeyboardInterrupt", "KeyboardInterrupt"),
        (Terminated(), "interrupted", "Terminated", "Terminated"),
    ],
)
def test_an_error_is_how_it_ended(tmp_path: Path, error: BaseException, outcome: str, kind: str, reason: str):
    def work() -> None:
        with Telemetry(tmp_path) as telemetry:
            telemetry.shard_started("0")
            raise error

    with pytest.raises(type(error)):
        work()
    (end,) = events(tmp_path)
    assert (end["event"], end["outcome"], end["type"]) == ("ended", outcome, kind)
    assert end["reason"].startswith(reason)
    assert "\n" not in end["reason"]
    assert (numbers(tmp_path)["running"], numbers(tmp_path)["shards_in_flight"]) == (0, 0)


def test_an_interrupt_that_the_stage_handles_itself(tmp_path: Path):
    with Telemetry(tmp_path) as telemetry:
        telemetry.interrupted()
    first, end = events(tmp_path)
    assert (first["event"], end["event"], end["outcome"]) == ("interrupted", "ended", "interrupted")
    assert "type" not in end


def test_sessions_follow_each_other_in_the_log_and_count_from_zero(tmp_path: Path):
    for already_done in (0, 1):
        with Telemetry(tmp_path) as telemetry:
            telemetry.started("predict", 2, already_done)
            telemetry.picture_done()
    assert [event["event"] for event in events(tmp_path)] == ["started", "ended", "started", "ended"]
    assert (numbers(tmp_path)["pictures"], numbers(tmp_path)["pictures_already_done"]) == (1, 1)


def test_a_folder_that_takes_nothing_ends_nothing(tmp_path: Path):
    (tmp_path / "file").touch()
    with Telemetry(tmp_path / "file") as telemetry:
        telemetry.started("localize", 1)
        telemetry.picture_done()
    assert telemetry.log.lost == 2
    assert telemetry.metrics.lost == 2
