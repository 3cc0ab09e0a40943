"""Thresholds chosen without masks: six rules against the oracle, with an ImageNet classifier that never saw a mask.

    python benchmarks/label_free.py ROOT --method cam --scales 0.5 1 [--limit 40] [--split val] [--maps FOLDER]

ROOT holds Oxford-IIIT Pet or PASCAL VOC 2012. The class of a picture is the best-scoring id of its group of ImageNet
ids: for pets 281 to 285 (cats) and 151 to 268 (dogs), for VOC those of `--groups` (a JSON object of lists;
voc_imagenet_groups.json beside ROOT by default). VOC pictures with a person are left out, for ImageNet has no such
class. `--maps` keeps the maps in a folder (one for each method, scales and fusion) and takes them from there the next
time.

A rule gives each picture a curve: how good a mask looks at each of 101 thresholds, without any mask. Three readings:
`mean`, the highest point of the mean curve; `median`, the median of the pictures' own highest points; `each`, a
threshold of its own for each picture. Figures are mIoU in percent over the classes (`classes`) and over foreground and
background (`foreground`), pooled over all pixels: at the oracle threshold, and the points lost against it at a fixed
threshold (0.4 and 0.25) and by each rule. Where a picture shows several classes, rules see the highest map. The last
line printed is JSON.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.color import rgb2lab

import advcam
from advcam.attribution.method import Method
from advcam.datasets.dataset import Dataset
from advcam.datasets.pets import OxfordPets
from advcam.datasets.voc import VOC2012
from advcam.evaluate.segmentation import ConfusionMatrix, SeedSweep
from advcam.evaluate.selection import choose_oracle, superpixel_agreement
from advcam.evaluate.thresholds import SEED_THRESHOLDS

Floats = NDArray[np.floating]
METHODS: dict[str, Callable[..., Method]] = {
    "cam": advcam.CAM,
    "advcam": partial(advcam.AdvCAM, effort="paper", iterations=8, small_iterations=8),
}
FIXED = (0.4, 0.25)
PET_GROUPS = {"cat": list(range(281, 286)), "dog": list(range(151, 269))}
THRESHOLDS = np.array(SEED_THRESHOLDS)
COLOUR_BINS = 8


@dataclass(frozen=True)
class Seen:
    """What a rule sees of a picture.

    Args:
        maps: (K, h, w), in [0, 1].
        picture: The photograph.
    """

    maps: Floats
    picture: Image.Image

    @property
    def foreground(self) -> Floats:
        """The highest map, (h, w)."""
        return np.asarray(self.maps.max(axis=0))

    @property
    def masks(self) -> NDArray[np.bool_]:
        """The masks at all thresholds, (T, h, w)."""
        return np.asarray(self.foreground[None] > THRESHOLDS[:, None, None])

    @property
    def lab(self) -> Floats:
        """Lab colours at the size of the maps, (h, w, 3)."""
        height, width = self.maps.shape[1:]
        small = cv2.resize(np.asarray(self.picture), (width, height), interpolation=cv2.INTER_AREA)
        return np.asarray(rgb2lab(small))


def otsu(seen: Seen) -> Floats:
    """Between-class share of the variance of the map's values (Otsu 1979); the picture is not looked at."""
    return _separated(seen.foreground.reshape(-1, 1), seen.masks)


def stability(seen: Seen) -> Floats:
    """IoU of the masks 0.05 below and above the threshold: the flattest part of the area curve."""
    area = seen.masks.mean(axis=(1, 2))
    score = np.zeros(len(area))
    score[10:-10] = area[15:-5] / np.maximum(area[5:-15], 1e-9)  # at the ends every mask is stable: full or empty
    return score


def edges(seen: Seen) -> Floats:
    """Mean colour gradient on the outline, in standard deviations of the picture, times the root of its length."""
    down, right, _ = np.gradient(cv2.GaussianBlur(seen.lab, (0, 0), 1))
    gradient = np.sqrt((down**2 + right**2).sum(axis=2))
    gradient = (gradient - gradient.mean()) / max(float(gradient.std()), 1e-9)
    score = np.zeros(len(THRESHOLDS))
    for index, mask in enumerate(seen.masks.astype(np.uint8)):
        outline = gradient[cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0]
        score[index] = outline.sum() / np.sqrt(len(outline)) if len(outline) > 20 else 0
    return score


def colour_variance(seen: Seen) -> Floats:
    """Between-class share of the variance of the colours (two flat regions, as Chan and Vese 2001 without length)."""
    return _separated(seen.lab.reshape(-1, 3), seen.masks)


def colour_information(seen: Seen) -> Floats:
    """Mutual information of mask and colour, in nats, over 8 x 8 x 8 bins of Lab."""
    size, inside = _by_colour(seen)
    share = inside.sum(axis=0) / size.sum()
    return np.asarray(_entropy(share) - (size / size.sum() * _entropy(inside / size)).sum(axis=0))


def colour_votes(seen: Seen) -> Floats:
    """Cohen's kappa of the mask and its rounding to whole colours: each colour bin goes where most of it lies."""
    size, inside = _by_colour(seen)
    votes = 2 * inside > size
    share, voted = inside.sum(axis=0) / size.sum(), (size * votes).sum(axis=0) / size.sum()
    equal = np.where(votes, inside, size - inside).sum(axis=0) / size.sum()
    chance = share * voted + (1 - share) * (1 - voted)
    return np.where(chance < 1, (equal - chance) / np.where(chance < 1, 1 - chance, 1), 0)


def superpixels(seen: Seen) -> Floats:
    """The rule of the package."""
    return superpixel_agreement(seen.maps, seen.picture, THRESHOLDS)


RULES: dict[str, Callable[[Seen], Floats]] = {
    "otsu": otsu,
    "stability": stability,
    "edges": edges,
    "colour variance": colour_variance,
    "colour information": colour_information,
    "colour votes": colour_votes,
    "superpixels": superpixels,
}


def _separated(values: Floats, masks: NDArray[np.bool_]) -> Floats:
    """Share of the variance of values (P, C) that lies between inside and outside of each mask, (T,)."""
    centred = values - values.mean(axis=0)
    inside = masks.reshape(len(masks), -1).astype(np.float64)
    size = inside.sum(axis=1)
    between = ((inside @ centred) ** 2).sum(axis=1) * (1 / np.maximum(size, 1) + 1 / np.maximum(len(values) - size, 1))
    return np.asarray(between / max(float((centred**2).sum()), 1e-9))


def _by_colour(seen: Seen) -> tuple[Floats, Floats]:
    """Pixels of each colour that occurs, (B, 1), and those of them in each mask, (B, T)."""
    unit = (seen.lab.reshape(-1, 3) - [0, -60, -60]) / [100, 120, 120]
    bins = np.clip(unit * COLOUR_BINS, 0, COLOUR_BINS - 1).astype(int) @ [1, COLOUR_BINS, COLOUR_BINS**2]
    _, colour, size = np.unique(bins, return_inverse=True, return_counts=True)
    masks = seen.masks.reshape(len(THRESHOLDS), -1)
    inside = np.stack([np.bincount(colour, weights=mask, minlength=len(size)) for mask in masks], axis=1)
    return np.asarray(size[:, None], dtype=np.float64), np.asarray(inside, dtype=np.float64)


def _entropy(share: Floats) -> Floats:
    """Of a coin, in nats."""
    inner = np.clip(share, 1e-12, 1 - 1e-12)
    return np.asarray(-inner * np.log(inner) - (1 - inner) * np.log(1 - inner))


class Loss:
    """Sweeps over all pictures, and what a threshold loses against the oracle, in points of mIoU."""

    def __init__(self, num_classes: int) -> None:
        self.sweeps = {"classes": SeedSweep(num_classes), "foreground": SeedSweep(2)}

    def add(self, truth: NDArray[np.int32], maps: Floats, class_ids: list[int]) -> None:
        """One picture: truth and maps at its size."""
        self.sweeps["classes"].add(truth, maps, class_ids)
        binary = np.where((truth > 0) & (truth < 255), 1, truth)
        self.sweeps["foreground"].add(binary, maps.max(axis=0, keepdims=True), [0])

    def oracle(self) -> dict[str, tuple[float, float]]:
        """Threshold and mIoU."""
        return {
            name: (choose_oracle(sweep.miou, SEED_THRESHOLDS).threshold, round(100 * float(sweep.miou.max()), 2))
            for name, sweep in self.sweeps.items()
        }

    def at(self, index: int) -> dict[str, float]:
        """Points lost at one threshold for all."""
        return {
            name: round(100 * float(sweep.miou[index] - sweep.miou.max()), 2) for name, sweep in self.sweeps.items()
        }

    def each(self, indices: list[int]) -> dict[str, float]:
        """Points lost with a threshold for each picture; positive where it beats the oracle threshold for all."""
        lost = {}
        for name, sweep in self.sweeps.items():
            total = ConfusionMatrix(sweep.num_classes)
            for picture, index in enumerate(indices):
                total += sweep.subset([picture]).confusion(index)
            lost[name] = round(100 * (total.scores().miou - float(sweep.miou.max())), 2)
        return lost


def readings(curves: Floats, loss: Loss) -> dict[str, object]:
    """The three readings of a rule's curves (N, T)."""
    own = [_index(curve) for curve in curves]
    mean, median = _index(curves.mean(axis=0)), round(float(np.median(own)))
    return {
        "mean": {"threshold": SEED_THRESHOLDS[mean], **loss.at(mean)},
        "median": {"threshold": SEED_THRESHOLDS[median], **loss.at(median)},
        "each": loss.each(own),
    }


def _index(curve: Floats) -> int:
    return SEED_THRESHOLDS.index(choose_oracle(curve, SEED_THRESHOLDS).threshold)


def pictures(dataset: Dataset, split: str, limit: int | None) -> list[str]:
    """Ids without a person, evenly spread if limited."""
    ids = [id_ for id_ in dataset.ids(split) if "person" not in (dataset.sample(id_).labels or ())]
    return ids if limit is None or limit >= len(ids) else [ids[i * len(ids) // limit] for i in range(limit)]


def explained(
    arguments: argparse.Namespace, dataset: Dataset, groups: dict[str, list[int]]
) -> Iterator[tuple[str, Seen]]:
    """Id, maps and photograph of each picture; the maps in the order of the labels."""
    classifier = advcam.load_classifier()
    method = METHODS[arguments.method](classifier, scales=arguments.scales, fusion=arguments.fusion)
    for id_ in pictures(dataset, arguments.split, arguments.limit):
        sample = dataset.sample(id_)
        photograph = Image.open(sample.path).convert("RGB")
        file = None if arguments.maps is None else arguments.maps / f"{id_}.safetensors"
        if file is None or not file.exists():
            odds = {found.class_id: found.probability for found in classifier.predict(photograph, top=1000)}
            ids = [max(groups[label], key=odds.__getitem__) for label in sample.labels or ()]
            (result,) = method([photograph], [ids])
            if file is not None:
                arguments.maps.mkdir(parents=True, exist_ok=True)
                result.save(file)
        else:
            result = advcam.Attribution.load(file)
        yield id_, Seen(result.maps, photograph)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--split", help="of the data set; test for pets and train for VOC by default")
    parser.add_argument("--method", choices=sorted(METHODS), default="cam")
    parser.add_argument("--scales", type=float, nargs="+", default=[0.5, 1.0])
    parser.add_argument("--fusion", choices=["sum", "geometric"], default="sum")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--groups", type=Path)
    parser.add_argument("--maps", type=Path)
    return parser.parse_args()


def main() -> None:
    """Score all rules on one data set and method."""
    arguments = parse()
    started = time.perf_counter()
    if OxfordPets.fits(arguments.root):
        dataset: Dataset = OxfordPets(arguments.root, classes="species")
        groups, arguments.split = PET_GROUPS, arguments.split or "test"
    else:
        dataset = VOC2012(arguments.root)
        file = arguments.groups or arguments.root.resolve().parent / "voc_imagenet_groups.json"
        groups, arguments.split = json.loads(file.read_text()), arguments.split or "train"
    loss = Loss(len(dataset.class_names) + 1)
    curves: dict[str, list[Floats]] = {name: [] for name in RULES}
    for id_, seen in explained(arguments, dataset, groups):
        truth, labels = dataset.mask(id_), dataset.sample(id_).labels or ()
        if truth is None:
            continue
        size = seen.picture.size
        maps = np.stack([cv2.resize(one, size, interpolation=cv2.INTER_LINEAR) for one in seen.maps])
        loss.add(truth, maps, [dataset.class_names.index(label) for label in labels])
        for name, rule in RULES.items():
            curves[name].append(rule(seen))
    figures = {
        "data": f"{dataset.title} {arguments.split}",
        "method": arguments.method,
        "scales": arguments.scales,
        "fusion": arguments.fusion,
        "pictures": len(curves["otsu"]),
        "oracle": loss.oracle(),
        "fixed": {value: loss.at(SEED_THRESHOLDS.index(value)) for value in FIXED},
        "rules": {name: readings(np.stack(found), loss) for name, found in curves.items()},
        "seconds": round(time.perf_counter() - started, 1),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
