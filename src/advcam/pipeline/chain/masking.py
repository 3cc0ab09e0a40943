"""Masks by a trained segmentation network, a PNG for each picture: of other pictures, or of those that it learnt."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from advcam.errors import PictureError
from advcam.pipeline.attempt import Attempt
from advcam.pipeline.shard_pictures import pictures_of
from advcam.pipeline.shards import Shard, ShardResult, Told
from advcam.segment.inference import InferenceSettings, predict
from advcam.segment.trained import Segmenter, load_segmenter
from advcam.store.masks import write_mask
from advcam.types import IGNORE, Mask, Sample

_AHEAD = 2  # they may be large


@dataclass(frozen=True)
class MaskTask:
    """The stage as it is sent to a process. `Shard.given` are the files of the masks.

    Args:
        segmenter: Folder of the network.
        device: Where it works.
        inference: How a picture is looked at.
        limited: Each picture shows the classes of its image labels alone. A label that the network has no class for
            allows nothing.
        least: Pixels that the network is less sure of stay undecided.
    """

    segmenter: Path
    device: str
    inference: InferenceSettings
    limited: bool
    least: float = 0.0

    def load(self) -> "Masker":
        """See `ShardTask.load`."""
        return Masker(self, load_segmenter(self.segmenter, self.device))


class Masker:
    """Writes the masks of shards.

    Args:
        task: What is asked for.
        segmenter: The network.
    """

    def __init__(self, task: MaskTask, segmenter: Segmenter) -> None:
        self.task, self.segmenter = task, segmenter
        self.numbers = {name: place + 1 for place, name in enumerate(segmenter.class_names)}

    def __call__(self, shard: Shard, told: Told) -> ShardResult:
        """See `ShardTask`."""
        with Attempt(shard, told) as attempt, ExitStack() as stack:
            for sample, file, picture in pictures_of(shard, _AHEAD, stack):
                attempt.begins(sample.id)
                try:
                    pixels = np.asarray(picture.result().convert("RGB"))
                except PictureError as error:
                    attempt.skip(sample.id, error)
                    continue
                write_mask(file, self._mask(sample, pixels))
                attempt.done(sample.id)
        return attempt.result()

    def _mask(self, sample: Sample, pixels: NDArray[np.uint8]) -> Mask:
        known = None
        if self.task.limited and sample.labels is not None:
            known = [self.numbers[label] for label in sample.labels if label in self.numbers]
        found = predict(self.segmenter.network, pixels, self.task.inference, known)
        return np.where(found.confidence < self.task.least, np.int32(IGNORE), found.mask)
