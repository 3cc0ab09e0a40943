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
from advcam.errors import AdvcamError, PictureError, one_line
from advcam.pipeline.chain.settings import AffinityRefinement, CrfRefinement
from advcam.pipeline.chain.stage import Outcome, Watcher
from advcam.pipeline.flow import read_ahead
from advcam.refine.dense_crf import DEEPLAB, IRN_LABELS, dense_crf, label_unary
from advcam.refine.local_affinity import AffinitySettings, local_affinity
from advcam.store.maps import MapStore, StoredMaps
from advcam.types import Attribution, FloatArray, Sample

#: Scores (C, H, W) of a picture (H, W, 3) and its maps.
Refiner = Callable[[Attribution, NDArray[np.uint8]], FloatArray]
_AHEAD = 4
_KERNELS = {"deeplab": DEEPLAB, "irn": IRN_LABELS}


def crf_refiner(settings: CrfRefinement, threshold: float, device: str) -> Refiner:
    """Dense CRF on the label mask of the maps: marginals of the classes.

    Seed + CRF of AdvCAM (jbeomlee93/AdvCAM#11): the label map at a background threshold, then DeepLab's CRF.
    """
    kernels, background = _KERNELS[settings.kernels], settings.threshold
    chosen = threshold if background is None else background

    def refine(attribution: Attribution, picture: NDArray[np.uint8]) -> FloatArray:
        maps = attribution.upsample()
        labels = np.where(maps.max(axis=0) > chosen, maps.argmax(axis=0) + 1, 0)
        unary = label_unary(torch.from_numpy(labels)[None].to(device), len(maps) + 1, settings.confidence)
        pixels = torch.from_numpy(picture.copy()).movedim(2, 0)[None].to(device)
        return np.asarray(dense_crf(pixels, unary, kernels)[0, 1:].cpu().numpy())

    return refine


def affinity_refiner(settings: AffinityRefinement, device: str) -> Refiner:
    """Local affinity: maps averaged over neighbours of similar colour.

    They are not divided by their new maximum: so they keep the threshold of the maps (benchmarks/local_affinity.py).
    """
    constants = AffinitySettings(iterations=settings.iterations)

    def refine(attribution: Attribution, picture: NDArray[np.uint8]) -> FloatArray:
        maps = torch.from_numpy(attribution.upsample())[None].to(device)
        pixels = torch.from_numpy(picture.copy()).movedim(2, 0)[None].to(device)
        return np.asarray(local_affinity(pixels, maps, constants)[0].cpu().numpy())

    return refine


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


def refine_store(
    source: Path, samples: Sequence[Sample], refiner: Refiner, folder: Path, watcher: Watcher, words: str
) -> Outcome:
    """Refine the stored maps of pictures; what the folder holds already is kept.

    Args:
        source: Folder of the map store.
        samples: The pictures; those without maps are left out.
        refiner: See `Refiner`.
        folder: Of the map store that is written.
        watcher: Hears of each picture.
        words: What is done.
    """
    skipped: list[tuple[str, str]] = []
    with MapStore(folder) as store:
        known = store.index()
        todo = [sample for sample in samples if sample.id not in known]
        watcher.start(words, len(todo))
        for item in with_maps(source, todo, skipped):
            scores = refiner(item.row.attribution, item.picture) if item.row.attribution.class_ids else None
            refined = item.row.attribution if scores is None else with_scores(item.row.attribution, scores)
            store.append(StoredMaps(item.sample.id, item.row.file_bytes, refined))
            watcher.step()
    for id_, reason in skipped:
        watcher.say(f"skipped {id_}: {reason}")
    return Outcome([("pictures", f"{len(samples) - len(skipped)}")], (), skipped)


def with_maps(source: Path, samples: Sequence[Sample], skipped: list[tuple[str, str]]) -> Iterator[Refined]:
    """Pictures with their maps, read ahead; what cannot be read is added to `skipped`."""
    maps = MapStore(source)
    stored = maps.index()
    there = [sample for sample in samples if sample.id in stored]
    skipped += [(sample.id, "it has no maps") for sample in samples if sample.id not in stored]
    for sample, future in read_ahead(there, lambda one: np.asarray(read_picture(one.path).convert("RGB")), _AHEAD):
        try:
            picture = future.result()
            row = maps.get(sample.id)
            _check_size(sample, row.attribution, picture)
        except AdvcamError as error:
            skipped.append((sample.id, one_line(error)))
            continue
        yield Refined(sample, row, picture)


def with_scores(attribution: Attribution, scores: FloatArray) -> Attribution:
    """An attribution with other maps."""
    return replace(attribution, maps=scores.astype(np.float32), steps=None, trajectories=())


def _check_size(sample: Sample, attribution: Attribution, picture: NDArray[np.uint8]) -> None:
    if picture.shape[:2] != tuple(attribution.image_size):
        raise PictureError(f"{sample.path} has another size than when its maps were made; localize it again")
