"""Stages without a network, for the engine: they note what they did in a folder, and die where they are told to."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import ray

from advcam.errors import ModelError, PictureError
from advcam.pipeline.shards import Shard, ShardResult, Told, shards_left
from advcam.store.index import ShardIndex
from advcam.types import Sample


def pictures(count: int) -> list[Sample]:
    return [Sample(f"{number:04d}.png", Path(f"{number:04d}.png")) for number in range(count)]


def shards(count: int, size: int) -> list[Shard]:
    return list(shards_left(pictures(count), size, [False] * count, ShardIndex((), lambda _: None)))


@dataclass(frozen=True)
class Marking:
    """Writes a file for each picture.

    Args:
        folder: Of the files.
        deadly: Ids of pictures at which the process dies, each time.
        once: Ids of pictures at which it dies the first time.
        hungry: Ids of pictures that no memory is enough for.
        seconds: A picture takes.
        unloadable: It cannot be loaded.
    """

    folder: Path
    deadly: tuple[str, ...] = ()
    once: tuple[str, ...] = ()
    hungry: tuple[str, ...] = ()
    seconds: float = 0.0
    unloadable: bool = False

    def load(self) -> "Marker":
        if self.unloadable:
            raise ModelError("no such network; name another")
        return Marker(self)


class Marker:
    def __init__(self, stage: Marking) -> None:
        self.stage = stage
        self.loaded = time.time_ns()

    def __call__(self, shard: Shard, told: Told) -> ShardResult:
        stage, done, skipped = self.stage, [], []
        for sample in shard.samples:
            told.begins(sample.id)
            time.sleep(stage.seconds)
            before = stage.folder / f"{sample.id}.died"
            if sample.id in stage.deadly or (sample.id in stage.once and not before.exists()):
                before.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            if sample.id in stage.hungry:
                raise MemoryError
            try:
                (stage.folder / sample.id).write_text(f"{os.getpid()} {os.environ.get('OMP_NUM_THREADS')}")
                if sample.id.startswith("9"):
                    raise PictureError("it is broken")
                done.append(sample.id)
                told.picture_done(sample.id)
            except PictureError as error:
                skipped.append((sample.id, str(error)))
                told.picture_skipped(sample.id, str(error))
        node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else ""
        answer = {"pid": os.getpid(), "loaded": self.loaded, "careful": shard.careful, "node": node}
        return ShardResult(shard.first, shard.last, tuple(done), tuple(skipped), answer=answer)
