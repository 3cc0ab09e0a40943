"""The stage behind the maps: boxes of every picture, and the masks and overlays that are missing or out of date."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from advcam.datasets.pictures import read_picture
from advcam.errors import PictureError
from advcam.pipeline.attempt import Attempt
from advcam.pipeline.config import OutputSettings
from advcam.pipeline.outputs import Outputs
from advcam.pipeline.shard_rows import stored_rows
from advcam.pipeline.shards import Shard, ShardResult, Told
from advcam.store.maps import MapStore, StoredMaps
from advcam.store.places import Place
from advcam.store.run import JSON
from advcam.types import Sample


@dataclass(frozen=True)
class OutputsTask:
    """The stage as it is sent to a process. `Shard.given` are the names of the output files.

    Args:
        folder: Of the run.
        settings: Of the outputs.
        class_names: Of the classifier.
        anew: Masks and overlays are made with other settings than before.
    """

    folder: Place
    settings: OutputSettings
    class_names: Sequence[str]
    anew: bool

    def load(self) -> "OutputsMaker":
        """See `ShardTask.load`."""
        return OutputsMaker(self)


class OutputsMaker:
    """Makes the outputs of shards; the answer of each is the entry in boxes.json of each picture, by its id."""

    def __init__(self, task: OutputsTask) -> None:
        self.anew = task.anew
        self.outputs = Outputs(task.folder, task.settings, task.class_names)
        self.store = MapStore(task.folder / "maps")

    def __call__(self, shard: Shard, told: Told) -> ShardResult:
        """See `ShardTask`."""
        boxes: dict[str, JSON] = {}
        names = dict(zip(shard.samples, cast(Sequence[str], shard.given), strict=True))
        with Attempt(shard, told) as attempt:
            rows = stored_rows(self.store, shard)
            for sample in shard.samples:
                if sample.id in rows:
                    try:
                        self._restore(sample, names[sample], rows[sample.id])
                        boxes[sample.id] = cast(JSON, self.outputs.boxes(rows[sample.id].attribution))
                        attempt.done(sample.id)
                    except PictureError as error:
                        attempt.skip(sample.id, error)
        return attempt.result(boxes)

    def _restore(self, sample: Sample, name: str, row: StoredMaps) -> None:
        if self.anew or not self.outputs.present(name):
            self.outputs.write_picture(name, read_picture(sample.path), row.attribution)
