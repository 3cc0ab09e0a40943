"""The most probable classes of pictures, in shards that say what is done.

The columns behind those that all stores begin with (see `advcam.store.shards`):

    ranked  list<int32>  class numbers of the data set, counted from 0, the most probable first
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from PIL import Image

from advcam.classifiers.classifier import Classifier
from advcam.errors import PictureError
from advcam.pipeline.attempt import Attempt
from advcam.pipeline.chain.localizing import load_model
from advcam.pipeline.class_match import ClassMatch
from advcam.pipeline.config import ModelSettings
from advcam.pipeline.shard_maps import file_bytes
from advcam.pipeline.shard_pictures import pictures_of
from advcam.pipeline.shard_rows import ShardRows
from advcam.pipeline.shards import Shard, ShardResult, Told
from advcam.store.shards import Format, ShardStore
from advcam.training.augment import RECIPES, Normalisation
from advcam.training.settings import ClassifierSettings

#: Predicted classes that are kept; Top-5 is the most that localization asks for.
RANKS = 5
_AHEAD = 8
#: Class numbers of the data set, the most probable first.
Ranking = Callable[[Image.Image], list[int]]


@dataclass(frozen=True)
class Ranked:
    """One row: the most probable classes of a picture.

    Args:
        sample_id: Id of the picture in its data set.
        file_bytes: Size of the picture file in bytes, to notice that it was changed.
        ranked: Class numbers of the data set, the most probable first.
    """

    sample_id: str
    file_bytes: int
    ranked: tuple[int, ...]


def _encode(row: Ranked) -> dict[str, Any]:
    return {"sample_id": row.sample_id, "file_bytes": row.file_bytes, "class_ids": None, "ranked": row.ranked}


def _decode(record: Mapping[str, Any]) -> Ranked:
    return Ranked(record["sample_id"], record["file_bytes"], tuple(record["ranked"]))


RANKINGS = Format("advcam_rankings", "1", {"ranked": pa.list_(pa.int32())}, _encode, _decode)
"""The format of the store."""


@dataclass(frozen=True)
class RankTask:
    """The stage as it is sent to a process.

    Args:
        model: The classifier.
        class_names: Of the data set, among which it answers.
        trained: How it was trained, where it was trained here.
        folder: Of the store that is written.
    """

    model: ModelSettings
    class_names: Sequence[str]
    trained: ClassifierSettings | None
    folder: Path

    def load(self) -> "Ranker":
        """See `ShardTask.load`."""
        return Ranker(_ranking(load_model(self.model), self.class_names, self.trained), self.folder)


class Ranker:
    """Ranks the classes of the pictures of shards.

    Args:
        ranking: Of a picture.
        folder: Of the store that is written.
    """

    def __init__(self, ranking: Ranking, folder: Path) -> None:
        self.ranking, self.store = ranking, ShardStore(folder, RANKINGS)

    def __call__(self, shard: Shard, told: Told) -> ShardResult:
        """See `ShardTask`. An interrupt leaves the finished pictures in a piece."""
        with Attempt(shard, told) as attempt, ShardRows(self.store, shard) as rows, ExitStack() as stack:
            for sample, _, picture in pictures_of(shard, _AHEAD, stack):
                attempt.begins(sample.id)
                try:
                    ranked = tuple(self.ranking(picture.result()))
                except PictureError as error:
                    attempt.skip(sample.id, error)
                    continue
                rows.add(Ranked(sample.id, file_bytes(sample), ranked))
                attempt.done(sample.id)
        return attempt.result()


def _ranking(classifier: Classifier, class_names: Sequence[str], trained: ClassifierSettings | None) -> Ranking:
    match = ClassMatch(classifier, class_names)
    if trained is None:
        return lambda picture: match.ranked(picture, RANKS)
    recipe, normalise = RECIPES[trained.augmentation], Normalisation(classifier.mean, classifier.std)

    def ranked(picture: Image.Image) -> list[int]:
        inputs = recipe.evaluate(picture, trained.side, normalise)[None].to(classifier.device)
        with torch.no_grad(), classifier.frozen():
            return match.order(classifier.respond(inputs).scores[0], RANKS)

    return ranked
