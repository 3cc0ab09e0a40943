"""What a session of a run tells those who keep it running: its log and its metrics, fed by one listener.

A line of the log for the start, each shard, each skip and the end; finished pictures are counted, not logged.
"""

import time
from types import TracebackType
from typing import Self

from advcam.pipeline.operations.log import LOG_FILE, RunLog, outcome
from advcam.pipeline.operations.metrics import Metrics
from advcam.store.places import Place
from advcam.store.run import JSON

#: A worker counts as alive so many seconds after its last shard.
WORKER_SECONDS = 600.0


class Telemetry:
    """Listens to one session of a run; as a context manager it logs how the session ended.

    Args:
        folder: The run directory, open for this session: `log.jsonl`, `metrics.json` and `metrics.prom` go there.

    Attributes:
        log: For events of other kinds.
        metrics: The numbers.
    """

    def __init__(self, folder: Place) -> None:
        self.log, self.metrics = RunLog(folder / LOG_FILE), Metrics(folder)
        self._began = time.monotonic()
        self._interrupted = False
        self._heard: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ending = {"outcome": "interrupted"} if self._interrupted and error is None else outcome(error)
        with self.metrics:  # writes them a last time
            numbers = self.metrics.values()
        counts = {name: numbers[name] for name in ("pictures", "pictures_skipped", "shards", "shard_failures")}
        seconds = round(time.monotonic() - self._began, 1)
        self.log.event("ended", seconds=seconds, **counts, **ending)
        self.log.flush()

    def started(self, command: str, pictures: int, already_done: int = 0, **facts: JSON) -> None:
        """The session knows its work.

        Args:
            command: Such as "localize".
            pictures: Of the run.
            already_done: Of them, by earlier sessions.
            facts: Such as version, device, engine.
        """
        self.log.event("started", command=command, pictures=pictures, already_done=already_done, **facts)
        self.metrics.gauge("pictures_planned", pictures)
        self.metrics.gauge("pictures_already_done", already_done)
        self.metrics.write_if_due()

    def picture_done(self) -> None:
        """One more picture is finished."""
        self.metrics.count("pictures")
        self.metrics.write_if_due()

    def picture_skipped(self, name: str, reason: str) -> None:
        """A picture is left out."""
        self.log.event("skipped", picture=name, reason=reason)
        self.metrics.count("pictures_skipped")
        self.metrics.write_if_due()

    def shard_done(self, shard: str, pictures: int, seconds: float, worker: str = "", attempts: int = 1) -> None:
        """A shard is finished and stored.

        Args:
            shard: Its name.
            pictures: Computed in it.
            seconds: It took.
            worker: Who did it; empty: this process.
            attempts: More than 1 where workers died over it.
        """
        facts: dict[str, JSON] = {"shard": shard, "pictures": pictures, "seconds": round(seconds, 3)}
        self.log.event("shard done", **facts, **_by(worker, attempts))
        self.metrics.count("shards")
        self._counted(worker, attempts)

    def shard_failed(self, shard: str, reason: str, worker: str = "", attempts: int = 1) -> None:
        """A shard could not be kept, and is given up in this session."""
        self.log.event("shard failed", shard=shard, reason=reason, **_by(worker, attempts))
        self.metrics.count("shard_failures")
        self._counted(worker, attempts)

    def interrupted(self) -> None:
        """The session was asked to end (Ctrl-C, SIGTERM), and what it has is being put away."""
        self._interrupted = True
        self.log.event("interrupted")

    def _counted(self, worker: str, attempts: int) -> None:
        now = time.monotonic()
        self._heard[worker] = now
        self._heard = {name: at for name, at in self._heard.items() if now - at < WORKER_SECONDS}
        self.metrics.gauge("workers", len(self._heard))
        self.metrics.count("shard_retries", attempts - 1)
        self.metrics.write_if_due()


def _by(worker: str, attempts: int) -> dict[str, JSON]:
    """Who worked at a shard, where that was another process."""
    return {"worker": worker, "attempts": attempts} if worker else {}
