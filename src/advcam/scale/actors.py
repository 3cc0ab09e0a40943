"""What runs in the actors of a cluster: the stage, loaded once, with an eye on what brings it down."""

import os
import pickle
import socket
import zlib
from contextlib import suppress
from dataclasses import replace
from typing import Any

from advcam.errors import AdvcamError, one_line
from advcam.pipeline.shards import Shard, ShardResult, ShardTask, ShardWorker
from advcam.scale.ledger import ATTEMPTS, DEATHS


def packed(value: object) -> bytes:
    """A value on its way between processes; the ids of a shard begin alike, so that it shrinks to a quarter."""
    from ray import cloudpickle

    return zlib.compress(cloudpickle.dumps(value), level=1)  # type: ignore[no-untyped-call]


def unpacked(data: bytes) -> Any:  # noqa: ANN401, whatever was packed
    """The reverse of `packed`."""
    return pickle.loads(zlib.decompress(data))  # noqa: S301, of this run's own processes


class ShardActor:
    """Works on packed shards, one after the other.

    Args:
        task: The packed stage.
        ledger: Handle of the run's `Ledger`.
        folder: That relative paths of the run start from.
    """

    def __init__(self, task: bytes, ledger: Any, folder: str) -> None:  # noqa: ANN401, a handle of Ray
        with suppress(OSError):  # of a machine that lacks it, absolute paths and URLs are the same
            os.chdir(folder)
        self.ledger, self.error = ledger, ""
        self.work: ShardWorker = _unloaded
        try:
            loaded: ShardTask = unpacked(task)
            self.work = loaded.load()
        except (AdvcamError, OSError, ImportError, AttributeError) as error:
            # Each shard will say so: an actor whose constructor fails would be started for ever.
            self.error = f"the stage cannot be loaded on this machine: {one_line(error)}"

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        """The packed results of a batch of packed shards."""
        return {"result": [packed(self._result(unpacked(bytes(shard)))) for shard in batch["shard"]]}

    def _result(self, shard: Shard) -> ShardResult:
        if self.error:
            return ShardResult(shard.first, shard.last, failed=self.error)
        attempt, left_out = self._ask("begin", shard.first)
        result = self._attempted(shard, attempt, frozenset(left_out))
        self._ask("end", shard.first)
        return replace(result, worker=f"{socket.gethostname()}:{os.getpid()}", attempts=attempt)

    def _attempted(self, shard: Shard, attempt: int, left_out: frozenset[str]) -> ShardResult:
        if attempt > ATTEMPTS:
            return ShardResult(shard.first, shard.last, failed=f"{ATTEMPTS} processes died at it")
        careful = without(replace(shard, careful=shard.careful or attempt > 1), left_out)
        try:
            result = self.work(careful, _Announcing(self, shard.first, attempt > 1))
        except AdvcamError as error:
            return ShardResult(shard.first, shard.last, failed=one_line(error))
        except MemoryError:
            os._exit(1)  # nothing of this process can be relied on; the ledger will tell which picture it was
        why = f"{DEATHS} processes died while working at it; most often it needs more memory than a machine has"
        return replace(result, skipped=(*result.skipped, *((id_, why) for id_ in sorted(left_out))))

    def _ask(self, method: str, *arguments: object) -> Any:  # noqa: ANN401, the ledger's answer
        import ray

        return ray.get(getattr(self.ledger, method).remote(*arguments))


class _Announcing:
    """Tells the ledger which picture is worked at, where that is wanted."""

    def __init__(self, actor: ShardActor, shard: int, wanted: bool) -> None:
        self.actor, self.shard, self.wanted = actor, shard, wanted

    def begins(self, id_: str) -> None:
        """Announce it."""
        if self.wanted:
            self.actor._ask("at", self.shard, id_)

    def picture_done(self, name: str) -> None:
        """Nothing: the result says so."""

    def picture_skipped(self, name: str, reason: str) -> None:
        """Nothing: the result says so."""


def without(shard: Shard, ids: frozenset[str]) -> Shard:
    """A shard without some of its pictures."""
    if not ids:
        return shard
    stay = [place for place, sample in enumerate(shard.samples) if sample.id not in ids]
    samples = tuple(shard.samples[place] for place in stay)
    given = tuple(shard.given[place] for place in stay) if shard.given else ()
    return replace(shard, samples=samples, given=given, order=tuple(id_ for id_ in shard.order if id_ not in ids))


def _unloaded(shard: Shard, _told: object) -> ShardResult:
    return ShardResult(shard.first, shard.last, failed="the stage is not loaded")
