"""The stages of a prediction run: pictures to masks and records, and a look at what an earlier session left."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from advcam.datasets.pictures import read_picture
from advcam.errors import ModelError, PictureError
from advcam.pipeline.attempt import Attempt
from advcam.pipeline.flow import WriteBehind
from advcam.pipeline.predicting.outputs import PredictionOutputs, found_in
from advcam.pipeline.predicting.settings import PredictSettings
from advcam.pipeline.shard_maps import file_bytes
from advcam.pipeline.shard_pictures import pictures_of
from advcam.pipeline.shard_rows import ShardRows, stored_rows
from advcam.pipeline.shards import Shard, ShardResult, Told
from advcam.segment.inference import Prediction, predict
from advcam.segment.trained import Segmenter, load_segmenter
from advcam.store.places import Place
from advcam.store.predictions import StoredPrediction, mask_digest
from advcam.types import Sample

#: Pictures that are read ahead, and results that wait to be written: they may be large.
_AHEAD, _BEHIND = 2, 2


@dataclass(frozen=True)
class Given:
    """What is known of a picture beforehand; a value of `Shard.given`.

    Args:
        class_ids: Classes that it may show, counted from 0; None: all.
        name: Of its output files.
    """

    class_ids: tuple[int, ...] | None
    name: str


class PredictTask:
    """The stage that predicts, as it is sent to a process.

    Args:
        settings: Of the run.
        segmenter: What `load` would load, if it is at hand; another process loads its own.
    """

    def __init__(self, settings: PredictSettings, segmenter: Segmenter | None = None) -> None:
        self.settings, self.segmenter = settings, segmenter

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": self.settings, "segmenter": None}

    def load(self) -> "Predictor":
        """See `ShardTask.load`."""
        settings = self.settings
        return Predictor(settings, self.segmenter or load_segmenter(settings.segmenter, settings.device))


class Predictor:
    """Predicts the pictures of shards.

    Args:
        settings: Of the run.
        segmenter: Its network.
    """

    def __init__(self, settings: PredictSettings, segmenter: Segmenter) -> None:
        self.inference, self.segmenter = settings.inference, segmenter
        self.outputs = PredictionOutputs(settings.out, segmenter.class_names, settings.overlays)

    def __call__(self, shard: Shard, told: Told) -> ShardResult:
        """See `ShardTask`. An interrupt leaves the finished pictures in a piece."""
        writing = Attempt(shard, told), ShardRows(self.outputs.store, shard), WriteBehind(_BEHIND), ExitStack()
        attempt, rows, writer, stack = writing
        with attempt, rows, writer, stack:
            for sample, given, picture in pictures_of(shard, _AHEAD, stack):
                attempt.begins(sample.id)
                try:
                    pixels = np.asarray(picture.result())
                    found = self._predicted(pixels, given)
                except (PictureError, ModelError) as error:
                    attempt.skip(sample.id, error)
                    continue
                writer.submit(self._keep, rows, sample, given, pixels, found)
                attempt.done(sample.id)
        return attempt.result()

    def _predicted(self, pixels: NDArray[np.uint8], given: Given) -> Prediction:
        numbers = None if given.class_ids is None else [class_id + 1 for class_id in given.class_ids]
        return predict(self.segmenter.network, pixels, self.inference, numbers)

    def _keep(
        self,
        rows: ShardRows[StoredPrediction],
        sample: Sample,
        given: Given,
        pixels: NDArray[np.uint8],
        found: Prediction,
    ) -> None:
        """Everything of a picture, its row last: a kill in between leaves it to be done again."""
        mask = self.outputs.write_picture(given.name, pixels, found)
        size = (pixels.shape[0], pixels.shape[1])
        areas, boxes = found_in(found, self.segmenter.class_names)
        rows.add(StoredPrediction(sample.id, file_bytes(sample), given.class_ids, size, mask, areas, boxes))


@dataclass(frozen=True)
class LookTask:
    """The stage that looks at pictures whose records are valid. `Shard.given` are the names of their output files.

    The answer for a shard are the ids of those that must be predicted again, because their masks are gone or others.
    An overlay that is missing alone is made of its mask.

    Args:
        folder: Of the run.
        class_names: Of the network.
        overlays: Whether there are overlays.
    """

    folder: Place
    class_names: Sequence[str]
    overlays: bool

    def load(self) -> "Looker":
        """See `ShardTask.load`."""
        return Looker(PredictionOutputs(self.folder, self.class_names, self.overlays))


class Looker:
    """Looks at the pictures of shards.

    Args:
        outputs: Of the run.
    """

    def __init__(self, outputs: PredictionOutputs) -> None:
        self.outputs = outputs

    def __call__(self, shard: Shard, told: Told) -> ShardResult:
        """See `ShardTask`."""
        lost: list[str] = []
        with Attempt(shard, told) as attempt:
            rows = stored_rows(self.outputs.store, shard)
            for sample, name in zip(shard.samples, cast(Sequence[str], shard.given), strict=True):
                attempt.begins(sample.id)
                if sample.id in rows and self._restored(sample, name, rows[sample.id]):
                    attempt.done(sample.id)
                else:
                    lost.append(sample.id)
        return attempt.result(tuple(lost))

    def _restored(self, sample: Sample, name: str, row: StoredPrediction) -> bool:
        try:
            mask = self.outputs.mask(name)
            if mask_digest(mask) != row.mask:
                return False
            if self.outputs.lacks_overlay(name):
                self.outputs.write_overlay(name, np.asarray(read_picture(sample.path)), mask)
        except PictureError:  # a damaged mask is made again, a damaged picture is named there
            return False
        return True
