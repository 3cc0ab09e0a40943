"""Recorded climbs of PASCAL VOC pictures with an ImageNet classifier: the raw map of every step, class and scale.

Shared by the benchmarks on VOC. A VOC class is read through its group of ImageNet ids: of each group the id that scores
best in the picture. Climbs are kept in a folder, a file a picture, and reused when the same settings run again.
"""

import json
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import advcam
from advcam.attribution.fusion import Fusion, fuse_scales, resize
from advcam.datasets.pictures import read_picture
from advcam.datasets.voc import VOC2012
from advcam.pipeline.class_match import ClassMatch, read_groups
from advcam.store.files import replacing


@dataclass(frozen=True)
class Climbs:
    """The recorded climbs of one picture.

    Args:
        class_ids: VOC classes, counted from 0.
        image_size: (H, W).
        maps: Raw maps of the steps by (place of the class, scale), each (S, h, w); step 0 is the plain CAM.
    """

    class_ids: tuple[int, ...]
    image_size: tuple[int, int]
    maps: dict[tuple[int, float], NDArray[np.float32]]

    def fused(self, steps: int, scales: Sequence[float], fusion: Fusion) -> NDArray[np.float32]:
        """Maps after so many steps over some scales, divided by their maximum, at picture size, (C, H, W)."""
        height, width = self.image_size
        grid = (-(-height // 4), -(-width // 4))
        fused = []
        for place in range(len(self.class_ids)):
            summed = [torch.from_numpy(self.maps[place, scale][: steps + 1].sum(axis=0)) for scale in scales]
            total = fuse_scales([resize(one, grid) for one in summed], [steps + 1] * len(scales), fusion).numpy()
            fused.append(total / max(float(total.max()), 1e-12))
        names = ("",) * len(fused)
        return advcam.Attribution(
            self.class_ids, names, np.stack(fused), self.image_size, np.zeros(len(fused), np.float32)
        ).upsample()


@dataclass(frozen=True)
class Job:
    """What is recorded: where the data are, how is climbed, and where the climbs go."""

    root: Path
    groups: Path
    folder: Path
    settings: dict[str, object]

    def file(self, id_: str) -> Path:
        """Where the climbs of a picture lie."""
        return self.folder / f"{id_}.npz"


def eligible(dataset: VOC2012, groups: Path, split: str, limit: int | None) -> list[str]:
    """Pictures with a mask, all of whose classes have a group; `limit` of them, evenly spread."""
    covered = set(read_groups(groups))
    samples = [s for s in dataset.samples(split) if s.labels and covered >= set(s.labels)]
    ids = [s.id for s in samples if (dataset.root / "SegmentationClass" / f"{s.id}.png").exists()]
    return ids if limit is None or limit >= len(ids) else [ids[k * len(ids) // limit] for k in range(limit)]


def record(job: Job, ids: Iterable[str], workers: int) -> float:
    """Climb the pictures that are not yet recorded, each worker on one thread; returns the seconds it took."""
    job.folder.mkdir(parents=True, exist_ok=True)
    (job.folder / "settings.json").write_text(json.dumps(job.settings))
    missing = [id_ for id_ in ids if not job.file(id_).exists()]
    started = time.perf_counter()
    with ProcessPoolExecutor(workers, initializer=_start, initargs=(job,)) as pool:
        for done, id_ in enumerate(pool.map(_climb, missing), start=1):
            print(f"{done}/{len(missing)} {id_} {time.perf_counter() - started:.0f} s", flush=True)
    return time.perf_counter() - started


def load(path: Path) -> Climbs:
    """The climbs of one picture."""
    with np.load(path, allow_pickle=False) as file:
        height, width = (int(side) for side in file["image_size"])
        class_ids = tuple(int(number) for number in file["class_ids"])
        maps = {
            (int(key.split("_")[1]), float(key.split("_")[2])): file[key]
            for key in file.files
            if key.startswith("map_")
        }
    return Climbs(class_ids, (height, width), maps)


_worker: dict[str, object] = {}


def _start(job: Job) -> None:
    torch.set_num_threads(1)
    classifier = advcam.load_classifier()
    dataset = VOC2012(job.root)
    match = ClassMatch(classifier, dataset.class_names, read_groups(job.groups))
    # As many steps at every scale, with flips unless told otherwise, in float32.
    even = {"effort": "paper", "small_iterations": job.settings["iterations"], "precision": "float32"}
    method = advcam.AdvCAM(classifier, batch_size=1, **(even | job.settings))  # type: ignore[arg-type]
    _worker.update(job=job, dataset=dataset, match=match, method=method)


def _climb(id_: str) -> str:
    job, dataset, match, method = (_worker[name] for name in ("job", "dataset", "match", "method"))
    assert isinstance(job, Job)
    assert isinstance(dataset, VOC2012)
    assert isinstance(match, ClassMatch)
    assert isinstance(method, advcam.AdvCAM)
    sample = dataset.sample(id_)
    picture, labels = read_picture(sample.path), sample.labels or ()
    targets = match.targets(picture, labels)
    arrays: dict[str, NDArray[np.generic]] = {
        "class_ids": np.array([dataset.class_id(label) for label in labels]),
        "image_size": np.array([picture.height, picture.width]),
        "targets": np.array(targets),
    }
    # Two classes of a picture can share an ImageNet id, so each is climbed for itself.
    for place, target in enumerate(targets):
        (result,) = method([picture], [[target]], record="maps")
        arrays |= {f"map_{place}_{t.scale}": t.maps for t in result.trajectories}
    with replacing(job.file(id_)) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    return id_
