"""The stages "refine-crf", "refine-affinity" and "refine-irn": stored maps in, sharper scores out, a row a picture.

Each writes a map store of its own. Its scores are not divided by the maximum of each class, as the maps are: they are
marginals of a CRF (the background has the rest of 1), or random-walk scores relative to the highest of the picture.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from advcam.datasets.pictures import read_picture
from advcam.errors import AdvcamError, PictureError
from advcam.pipeline.attempt import Attempt
from advcam.pipeline.chain.settings import AffinityRefinement, CrfRefinement
from advcam.pipeline.chain.stage import Outcome, Stepping, Watcher
from advcam.pipeline.flow import read_ahead
from advcam.pipeline.shard_rows import ShardRows
from advcam.pipeline.shards import SHARD_PICTURES, Engine, Shard, ShardResult, Told, kept, shards_left
from advcam.refine.dense_crf import DEEPLAB, IRN_LABELS, dense_crf, label_unary
from advcam.refine.local_affinity import AffinitySettings, local_affinity
from advcam.store.maps import MapStore, StoredMaps
from advcam.types import Attribution, FloatArray, Sample

#: Scores (C, H, W) of a picture (H, W, 3) and its maps; can be sent to another process.
Refiner = Callable[[Attribution, NDArray[np.uint8]], FloatArray]
_AHEAD = 4
_KERNELS = {"deeplab": DEEPLAB, "irn": IRN_LABELS}


@dataclass(frozen=True)
class CrfRefiner:
    """Dense CRF on the label mask of the maps: marginals of the classes.

    Seed + CRF of AdvCAM (jbeomlee93/AdvCAM#11): the label map at a background threshold, then DeepLab's CRF.

    Args:
        settings: Of the CRF.
        threshold: Of the label mask, where the settings have none.
        device: Where it works.
    """

    settings: CrfRefinement
    threshold: float
    device: str

    def __call__(self, attribution: Attribution, picture: NDArray[np.uint8]) -> FloatArray:
        """See `Refiner`."""
        maps, background = attribution.upsample(), self.settings.threshold
        chosen = self.threshold if background is None else background
        labels = np.where(maps.max(axis=0) > chosen, maps.argmax(axis=0) + 1, 0)
        unary = label_unary(torch.from_numpy(labels)[None].to(self.device), len(maps) + 1, self.settings.confidence)
        pixels = torch.from_numpy(picture.copy()).movedim(2, 0)[None].to(self.device)
        return np.asarray(dense_crf(pixels, unary, _KERNELS[self.settings.kernels])[0, 1:].cpu().numpy())


@dataclass(frozen=True)
class AffinityRefiner:
    """Local affinity: maps averaged over neighbours of similar colour.

    They are not divided by their new maximum: so they keep the threshold of the maps (benchmarks/local_affinity.py).

    Args:
        settings: Of the affinity.
        device: Where it works.
    """

    settings: AffinityRefinement
    device: str

    def __call__(self, attribution: Attribution, picture: NDArray[np.uint8]) -> FloatArray:
        """See `Refiner`."""
        maps = torch.from_numpy(attribution.upsample())[None].to(self.device)
        pixels = torch.from_numpy(picture.copy()).movedim(2, 0)[None].to(self.device)
        constants = AffinitySettings(iterations=self.settings.iterations)
        return np.asarray(local_affinity(pixels, maps, constants)[0].cpu().numpy())


@dataclass(frozen=True)
class Refined:
    """One picture with its stored maps.

    Args:
        sample: The picture.
        row: Its maps.
        picture: RGB, (H, W, 3), uint8.
    """

    sample: Sample
    row: StoredMaps
    picture: NDArray[np.uint8]


@dataclass(frozen=True)
class RefineTask:
    """The stage as it is sent to a process.

    Args:
        source: Folder of the map store.
        folder: Of the map store that is written.
        refiner: See `Refiner`.
    """

    source: Path
    folder: Path
    refiner: Refiner

    def load(self) -> "ShardRefiner":
        """See `ShardTask.load`."""
        return ShardRefiner(self)


class ShardRefiner:
    """Refines the stored maps of shards."""

    def __init__(self, task: RefineTask) -> None:
        self.refiner, self.source, self.store = task.refiner, MapStore(task.source), MapStore(task.folder)

    def __call__(self, shard: Shard, told: Told) -> ShardResult:
        """See `ShardTask`. An interrupt leaves the finished pictures in a piece."""
        with Attempt(shard, told) as attempt, ShardRows(self.store, shard) as rows:
            for item in with_maps(self.source, shard.samples, attempt.skip):
                attempt.begins(item.sample.id)
                rows.add(StoredMaps(item.sample.id, item.row.file_bytes, self._refined(item)))
                attempt.done(item.sample.id)
        return attempt.result()

    def _refined(self, item: Refined) -> Attribution:
        attribution = item.row.attribution
        if not attribution.class_ids:
            return attribution
        return with_scores(attribution, self.refiner(attribution, item.picture))


def refine_store(
    source: Path,
    samples: Sequence[Sample],
    refiner: Refiner,
    folder: Path,
    watcher: Watcher,
    words: str,
    engine: Engine,
) -> Outcome:
    """Refine the stored maps of pictures; what the folder holds already is kept.

    Args:
        source: Folder of the map store.
        samples: The pictures; those without maps are left out.
        refiner: See `Refiner`.
        folder: Of the map store that is written.
        watcher: Hears of each picture.
        words: What is done.
        engine: Brings the work to processes.

    Raises:
        RunError: Shards could not be kept; everything else is.
    """
    store = MapStore(folder)
    store.clean()
    index = store.index()
    todo = list(shards_left(samples, SHARD_PICTURES, [sample.id in index for sample in samples], index))
    watcher.start(words, sum(len(shard.samples) for shard in todo))
    results = kept(engine.map(RefineTask(source, folder, refiner), todo, Stepping(watcher)))
    skipped = [one for result in results for one in result.skipped]
    store.clean()
    store.write_index()
    return Outcome([("pictures", f"{len(samples) - len(skipped)}")], (), skipped)


def with_maps(
    maps: MapStore, samples: Sequence[Sample], skip: Callable[[str, AdvcamError | str], None]
) -> Iterator[Refined]:
    """Pictures with their maps, read ahead; `skip` is told of what cannot be read, and why."""
    stored = maps.index()
    there = [sample for sample in samples if sample.id in stored]
    for sample in samples:
        if sample.id not in stored:
            skip(sample.id, "it has no maps")
    for sample, future in read_ahead(there, lambda one: np.asarray(read_picture(one.path).convert("RGB")), _AHEAD):
        try:
            picture = future.result()
            row = maps.get(sample.id)
            _check_size(sample, row.attribution, picture)
        except AdvcamError as error:
            skip(sample.id, error)
            continue
        yield Refined(sample, row, picture)


def with_scores(attribution: Attribution, scores: FloatArray) -> Attribution:
    """An attribution with other maps."""
    return replace(attribution, maps=scores.astype(np.float32), steps=None, trajectories=())


def _check_size(sample: Sample, attribution: Attribution, picture: NDArray[np.uint8]) -> None:
    if picture.shape[:2] != tuple(attribution.image_size):
        raise PictureError(f"{sample.path} has another size than when its maps were made; localize it again")
