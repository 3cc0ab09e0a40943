"""An engine whose work is written down: each shard in the log, each picture in the metrics."""

from collections.abc import Iterable, Iterator

from advcam.pipeline.operations.telemetry import Telemetry
from advcam.pipeline.shards import Engine, Shard, ShardResult, ShardTask, Told


class RecordingEngine:
    """Works as another engine does, and tells the telemetry of the run about it; see `Engine`.

    Args:
        engine: Does the work.
        telemetry: Of the run.
    """

    def __init__(self, engine: Engine, telemetry: Telemetry) -> None:
        self.engine, self.telemetry, self.remote = engine, telemetry, engine.remote

    def map(self, task: ShardTask, shards: Iterable[Shard], told: Told) -> Iterator[ShardResult]:
        """See `Engine.map`."""
        waiting = 0

        def taken() -> Iterator[Shard]:
            nonlocal waiting
            for shard in shards:
                waiting += 1
                self.telemetry.metrics.gauge("shards_waiting", waiting)
                yield shard

        for result in self.engine.map(task, taken(), _Heard(told, self.telemetry)):
            waiting -= 1
            self.telemetry.metrics.gauge("shards_waiting", waiting)
            name = f"{result.first}-{result.last}"
            if result.failed:
                self.telemetry.shard_failed(name, result.failed, result.worker, result.attempts)
            else:
                self.telemetry.shard_done(name, len(result.done), result.seconds, result.worker, result.attempts)
            yield result


class _Heard:
    """Tells the telemetry of pictures, and whoever was to be told."""

    def __init__(self, told: Told, telemetry: Telemetry) -> None:
        self.told, self.telemetry = told, telemetry

    def begins(self, id_: str) -> None:
        """Handed on."""
        self.told.begins(id_)

    def picture_done(self, name: str) -> None:
        """Counted."""
        self.telemetry.picture_done()
        self.told.picture_done(name)

    def picture_skipped(self, name: str, reason: str) -> None:
        """Counted and logged."""
        self.telemetry.picture_skipped(name, reason)
        self.told.picture_skipped(name, reason)
