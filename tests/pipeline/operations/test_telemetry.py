"""A session as its log and metrics tell it: finished, interrupted, failed, and continued."""

import json
from pathlib import Path
from typing import Any

import pytest

from advcam.errors import RunError
from advcam.pipeline.operations.log import read_log
from advcam.pipeline.operations.shutdown import Terminated
from advcam.pipeline.operations.telemetry import Telemetry
from advcam.store.remote import RemotePath


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
        for _ in range(64):
            telemetry.picture_done()
        telemetry.shard_done("0-63", 64, 12.5, worker="w1")
        telemetry.picture_skipped("cat.jpg", "it is truncated")
        telemetry.shard_done("64-127", 2, 0.5, worker="w2", attempts=3)
        telemetry.shard_failed("128-130", "the disk is full", worker="w1")
    assert events(tmp_path) == [
        {"event": "started", "command": "localize", "pictures": 131, "already_done": 64, "engine": "local"},
        {"event": "shard done", "shard": "0-63", "pictures": 64, "worker": "w1", "attempts": 1},
        {"event": "skipped", "picture": "cat.jpg", "reason": "it is truncated"},
        {"event": "shard done", "shard": "64-127", "pictures": 2, "worker": "w2", "attempts": 3},
        {"event": "shard failed", "shard": "128-130", "reason": "the disk is full", "worker": "w1", "attempts": 1},
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
        "shard_retries": 2,
        "shard_failures": 1,
        "workers": 2,
    }
    assert {name: found[name] for name in expected} == expected


def test_a_worker_that_finishes_nothing_any_more_is_not_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    now = [0.0]
    monkeypatch.setattr("advcam.pipeline.operations.telemetry.time.monotonic", lambda: now[0])
    telemetry = Telemetry(tmp_path)
    alive = []
    for now[0], worker in ((0.0, "a"), (300.0, "b"), (599.0, "b"), (601.0, "b"), (602.0, "c")):
        telemetry.shard_done("0-63", 64, 1.0, worker)
        alive.append(telemetry.metrics.values()["workers"])
    assert alive == [1, 2, 2, 1, 2]


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
        with Telemetry(tmp_path):
            raise error

    with pytest.raises(type(error)):
        work()
    (end,) = events(tmp_path)
    assert (end["event"], end["outcome"], end["type"]) == ("ended", outcome, kind)
    assert end["reason"].startswith(reason)
    assert "\n" not in end["reason"]
    assert numbers(tmp_path)["running"] == 0


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


def test_a_run_in_a_store_has_its_log_and_metrics_there():
    folder = RemotePath("memory", "bucket/telemetry")
    for _ in range(2):
        with Telemetry(folder) as telemetry:
            telemetry.started("localize", 1)
            telemetry.picture_done()
    assert [event["event"] for event in read_log(folder / "log.jsonl")] == ["started", "ended", "started", "ended"]
    assert json.loads((folder / "metrics.json").read_text())["pictures"] == 1
    assert 'advcam_pictures_total{run="memory://bucket/telemetry"} 1' in (folder / "metrics.prom").read_text()


def test_a_folder_that_takes_nothing_ends_nothing(tmp_path: Path):
    (tmp_path / "file").touch()
    with Telemetry(tmp_path / "file") as telemetry:
        telemetry.started("localize", 1)
        telemetry.picture_done()
    assert telemetry.log.lost == 2
    assert telemetry.metrics.lost == 2
