"""An engine that is written down works as the other one does, and every shard and picture is told of."""

import json
from pathlib import Path
from typing import Any

from advcam.pipeline.operations.log import read_log
from advcam.pipeline.operations.recording import RecordingEngine
from advcam.pipeline.operations.telemetry import Telemetry
from advcam.pipeline.shards import LocalEngine, Shard, ShardResult, ShardWorker


def test_the_engine_tells_of_every_shard_and_picture(tmp_path: Path):
    class Task:
        def load(self) -> ShardWorker:
            return work

    class Told:
        def __init__(self) -> None:
            self.heard: list[tuple[str, ...]] = []

        def begins(self, id_: str) -> None:
            self.heard.append(("begins", id_))

        def picture_done(self, name: str) -> None:
            self.heard.append(("done", name))

        def picture_skipped(self, name: str, reason: str) -> None:
            self.heard.append(("skipped", name, reason))

    def work(shard: Shard, told: Any) -> ShardResult:
        told.begins("a")
        told.picture_done("a")
        told.picture_skipped("b", "it is no picture")
        failed = "the disk is full" if shard.first else ""
        skipped = (("b", "it is no picture"),)
        return ShardResult(shard.first, shard.last, ("a",), skipped, failed, 1.5, worker="host:7", attempts=2)

    told, shards = Told(), [Shard(0, 63, ()), Shard(64, 100, ())]
    with Telemetry(tmp_path) as telemetry:
        engine = RecordingEngine(LocalEngine(), telemetry)
        assert engine.remote is False
        results = list(engine.map(Task(), shards, told))
    plain = Told()
    assert results == list(LocalEngine().map(Task(), shards, plain))
    assert told.heard == plain.heard
    events = read_log(tmp_path / "log.jsonl")
    logged = [(event["event"], event.get("shard"), event.get("reason"), event.get("worker")) for event in events]
    assert logged == [
        ("skipped", None, "it is no picture", None),
        ("shard done", "0-63", None, "host:7"),
        ("skipped", None, "it is no picture", None),
        ("shard failed", "64-100", "the disk is full", "host:7"),
        ("ended", None, None, None),
    ]
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert (found["pictures"], found["pictures_skipped"], found["shards"], found["shard_failures"]) == (2, 2, 1, 1)
    assert (found["workers"], found["shard_retries"], found["shards_waiting"]) == (1, 2, 0)
