"""Recorded climbs for `effort.py`: of pictures of two data sets, the raw map of every step, class and scale.

PASCAL VOC 2012 without person, its classes read through groups of ImageNet ids, and Oxford-IIIT Pet breeds that
ImageNet has. A climb of T steps holds those of fewer steps, so one record serves every T, every share of the steps
below scale 1 and every choice of scales.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pets_seeds import eligible as pets_eligible
from PIL import Image
from voc_climbs import eligible as voc_eligible

import advcam
from advcam.attribution.fusion import fuse_scales, resize
from advcam.datasets.pictures import read_picture
from advcam.datasets.voc import VOC2012
from advcam.pipeline.class_match import ClassMatch, read_groups
from advcam.store.files import replacing

Steps = dict[float, int]


class VOC:
    """Eligible pictures of the training list."""

    name, num_classes = "voc", 21

    def __init__(self, root: Path) -> None:
        self.dataset = VOC2012(root / "VOCdevkit" / "VOC2012")
        self.groups = root.parent / "voc_imagenet_groups.json"

    def ids(self, limit: int | None) -> list[str]:
        """At most so many, evenly spread."""
        return voc_eligible(self.dataset, self.groups, "train", limit)

    def explainer(self, classifier: advcam.Classifier) -> Callable[[str], tuple[Image.Image, list[int]]]:
        """Picture and ImageNet ids by id."""
        match = ClassMatch(classifier, self.dataset.class_names, read_groups(self.groups))

        def explained(id_: str) -> tuple[Image.Image, list[int]]:
            sample = self.dataset.sample(id_)
            picture = read_picture(sample.path)
            return picture, match.targets(picture, sample.labels or ())

        return explained

    def truth(self, id_: str) -> tuple[NDArray[Any], tuple[int, ...]]:
        """Mask, and the classes in the order of the targets, counted from 0."""
        mask, labels = self.dataset.mask(id_), self.dataset.sample(id_).labels or ()
        assert mask is not None
        return mask, tuple(self.dataset.class_id(label) for label in labels)


class Pets:
    """Pictures whose breed is an ImageNet class; one foreground class."""

    name, num_classes = "pets", 2

    def __init__(self, root: Path) -> None:
        self.root = root
        self.imagenet_id = dict(pets_eligible(root, None))

    def ids(self, limit: int | None) -> list[str]:
        """At most so many, evenly spread."""
        return [name for name, _ in pets_eligible(self.root, limit)]

    def explainer(self, classifier: advcam.Classifier) -> Callable[[str], tuple[Image.Image, list[int]]]:
        """Picture and ImageNet id by name."""
        return lambda id_: (read_picture(self.root / "images" / f"{id_}.jpg"), [self.imagenet_id[id_]])

    def truth(self, id_: str) -> tuple[NDArray[Any], tuple[int, ...]]:
        """Trimap as a mask: 1 foreground, 0 background, 255 ignored."""
        trimap = np.asarray(Image.open(self.root / "annotations" / "trimaps" / f"{id_}.png"))
        return np.array([0, 1, 0, 255], dtype=np.uint8)[trimap], (0,)


Source = VOC | Pets


@dataclass(frozen=True)
class Record:
    """The climbs of a picture.

    Args:
        maps: Raw maps of the steps by (place of the class, scale), each (S, h, w).
        classes: How many.
    """

    maps: dict[tuple[int, float], NDArray[np.float32]]
    classes: int

    def fused(self, steps: Steps, size: tuple[int, int], climbed: bool = True) -> NDArray[np.float32]:
        """Maps after so many steps at each scale, added up, at picture size; or the plain maps, weighed alike."""
        factor = min(1.0, 512 / max(size))
        grid = (-(-round(size[0] * factor) // 4), -(-round(size[1] * factor) // 4))
        found = []
        for place in range(self.classes):
            sums = []
            for scale, count in steps.items():
                maps = self.maps[place, scale]
                added = maps[: count + 1].sum(axis=0) if climbed else maps[0] * (count + 1)
                sums.append(resize(torch.from_numpy(added), grid))
            total = fuse_scales(sums, [1] * len(sums), "sum").numpy()
            found.append(total / max(float(total.max()), 1e-12))
        zeros, names = np.zeros(self.classes, np.float32), ("",) * self.classes
        return advcam.Attribution(tuple(range(self.classes)), names, np.stack(found), size, zeros).upsample().clip(0, 1)

    def steps_taken(self, scale: float) -> int:
        """Steps at a scale before an early stop, which repeats the last map; the most over the classes."""
        each = []
        for place in range(self.classes):
            maps = self.maps[place, scale]
            moved = np.flatnonzero((np.diff(maps, axis=0) != 0).any(axis=(1, 2)))
            each.append(int(moved[-1]) + 1 if len(moved) else 0)
        return max(each)


def record(source: Source, folder: Path, settings: dict[str, object], ids: Sequence[str], workers: int) -> None:
    """Climb the pictures that are not yet recorded, each worker on one thread."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [id_ for id_ in ids if not (folder / f"{id_}.npz").exists()]
    with ProcessPoolExecutor(workers, initializer=_start, initargs=(source, folder, settings)) as pool:
        for done, id_ in enumerate(pool.map(_climb, missing), start=1):
            if done % 20 == 0 or done == len(missing):
                print(f"{folder.name}: {done}/{len(missing)} {id_}", flush=True)


def load(path: Path) -> Record:
    """The climbs of one picture."""
    with np.load(path, allow_pickle=False) as file:
        places = [(int(place), float(scale)) for place, scale in (key.split("_") for key in file.files)]
        maps = {key: file[name] for key, name in zip(places, file.files, strict=True)}
    return Record(maps, 1 + max(place for place, _ in maps))


_worker: dict[str, Any] = {}


def _start(source: Source, folder: Path, settings: dict[str, object]) -> None:
    torch.set_num_threads(1)
    classifier = advcam.load_classifier()
    method = advcam.AdvCAM(classifier, batch_size=1, **settings)  # type: ignore[arg-type]
    _worker.update(folder=folder, explained=source.explainer(classifier), method=method)


def _climb(id_: str) -> str:
    picture, targets = _worker["explained"](id_)
    arrays: dict[str, NDArray[Any]] = {}
    for place, target in enumerate(targets):  # one by one: two classes of VOC can share an ImageNet id
        (result,) = _worker["method"]([picture], [[target]], record="maps")
        arrays |= {f"{place}_{t.scale}": t.maps for t in result.trajectories}
    with replacing(_worker["folder"] / f"{id_}.npz") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    return id_
