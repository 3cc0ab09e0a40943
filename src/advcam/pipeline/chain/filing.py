"""Stages that write a file for each picture: what is there already is kept, the others come in shards."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, cast

from advcam.pipeline.attempt import Attempt
from advcam.pipeline.chain.refining import Refined, with_maps
from advcam.pipeline.chain.stage import Stepping, Watcher
from advcam.pipeline.shards import SHARD_PICTURES, Engine, Shard, ShardResult, ShardTask, Told, in_shards, kept
from advcam.store.maps import MapStore
from advcam.types import Sample

#: Writes the file of a picture with its stored maps; can be sent to another process.
FileWriter: TypeAlias = Callable[[Refined, Path], None]


def write_files(
    task: ShardTask,
    samples: Sequence[Sample],
    files: Mapping[str, Path],
    engine: Engine,
    watcher: Watcher,
    words: str,
) -> list[tuple[str, str]]:
    """Have the files of pictures written that are not there yet; id and reason of the pictures that have none.

    Args:
        task: Its worker writes the file that `Shard.given` names for each picture.
        samples: The pictures.
        files: Of each picture, by its id.
        engine: Brings the work to processes.
        watcher: Hears of each picture.
        words: What is done.

    Raises:
        RunError: Files could not be written; those that were are kept.
    """
    todo = _missing(samples, files)
    watcher.start(words, sum(len(shard.samples) for shard in todo))
    return [one for result in kept(engine.map(task, todo, _Steps(watcher))) for one in result.skipped]


class _Steps(Stepping):
    """A step for each picture, and no word of those that have no file: the stage names them, or one before it did."""

    def picture_skipped(self, name: str, reason: str) -> None:
        """One step."""
        self.watcher.step()


def _missing(samples: Sequence[Sample], files: Mapping[str, Path]) -> list[Shard]:
    """The pictures without a file, in shards."""
    there = [files[sample.id].exists() for sample in samples]
    shards = []
    for first, part, is_there in in_shards(samples, SHARD_PICTURES, there):
        todo = tuple(sample for sample, exists in zip(part, is_there, strict=True) if not exists)
        if todo:
            shards.append(Shard(first, first + len(part) - 1, todo, tuple(files[sample.id] for sample in todo)))
    return shards


@dataclass(frozen=True)
class FilesOfMaps:
    """A stage that makes files of stored maps, as it is sent to a process.

    Args:
        source: Folder of the map store.
        write: See `FileWriter`.
    """

    source: Path
    write: FileWriter

    def load(self) -> "MapFiler":
        """See `ShardTask.load`."""
        return MapFiler(self)


class MapFiler:
    """Makes the files of shards."""

    def __init__(self, task: FilesOfMaps) -> None:
        self.maps, self.write = MapStore(task.source), task.write

    def __call__(self, shard: Shard, told: Told) -> ShardResult:
        """See `ShardTask`."""
        files = dict(zip((sample.id for sample in shard.samples), cast(Sequence[Path], shard.given), strict=True))
        with Attempt(shard, told) as attempt:
            for item in with_maps(self.maps, shard.samples, attempt.skip):
                attempt.begins(item.sample.id)
                self.write(item, files[item.sample.id])
                attempt.done(item.sample.id)
        return attempt.result()
