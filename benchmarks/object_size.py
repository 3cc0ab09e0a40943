"""What the climb does to small and to large objects: seeds on PASCAL VOC 2012, by their share of the picture.

    python benchmarks/object_size.py ROOT --maps voc-climbs [--scales 0.5 1 2] [--iterations 6] [--threshold 0.38]

ROOT holds VOCdevkit/VOC2012, as for voc_groups.py, whose recorded climbs are read from `--maps` (and made there where
they are missing; `--recorded` names the scales they were recorded with). Plain CAM is the climb without a step, at the
same scales. Each method is cut at its own oracle threshold, chosen on all pictures, or both at `--threshold`. For each
(picture, class) the pixels of the class in the truth, as a share of the pixels that are not ignored, say how large the
object is; several objects of a class in a picture count as one.

The last line printed is JSON: for each bin of that share the number of cases, and for both methods the mean IoU,
precision and recall of the class in the picture, and the pixels of the mask over those of the truth (median).
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from voc_climbs import Job, eligible, load, record

from advcam.datasets.voc import VOC2012
from advcam.evaluate.segmentation import SeedSweep
from advcam.types import IGNORE

#: Upper ends of the bins of the share of the picture.
EDGES = (0.05, 0.15, 0.3, 1.0)


def thresholds(job: Job, ids: Sequence[str], scales: tuple[float, ...], steps: Sequence[int]) -> dict[int, float]:
    """The oracle threshold after each of some numbers of steps."""
    dataset = VOC2012(job.root)
    sweeps = {t: SeedSweep(len(dataset.class_names) + 1) for t in steps}
    for id_ in ids:
        climbs, truth = load(job.file(id_)), dataset.mask(id_)
        assert truth is not None
        for t, sweep in sweeps.items():
            sweep.add(truth, climbs.fused(t, scales, "sum"), climbs.class_ids)
    return {t: sweep.best()[0] for t, sweep in sweeps.items()}


def cases(job: Job, ids: Sequence[str], scales: tuple[float, ...], cuts: dict[int, float]) -> NDArray[np.float64]:
    """A row for each (picture, class): share of the picture, then of each method true, marked and common pixels."""
    dataset, rows = VOC2012(job.root), []
    for id_ in ids:
        climbs, truth = load(job.file(id_)), dataset.mask(id_)
        assert truth is not None
        known = truth != IGNORE
        seeds = [seed(climbs.fused(t, scales, "sum"), climbs.class_ids, cut) for t, cut in cuts.items()]
        for number in (class_id + 1 for class_id in climbs.class_ids):
            true = truth == number
            marked = [known & (one == number) for one in seeds]
            counts = [n for one in marked for n in (true.sum(), one.sum(), (true & one).sum())]
            rows.append([true.sum() / known.sum(), *counts])
    return np.array([row for row in rows if row[0] > 0], dtype=np.float64)


def seed(maps: NDArray[np.float32], class_ids: Sequence[int], threshold: float) -> NDArray[np.int64]:
    """Class numbers (H, W) of maps (C, H, W): the highest map where it exceeds the threshold, else 0."""
    winners = np.array(class_ids)[maps.argmax(axis=0)] + 1
    return np.where(maps.max(axis=0) > threshold, winners, 0)


def figures(true: NDArray[Any], marked: NDArray[Any], common: NDArray[Any]) -> dict[str, float]:
    """Means over the cases of a bin, in percent; a mask without a pixel has a precision of 0."""
    return {
        "iou": percent(common / (true + marked - common)),
        "precision": percent(common / np.maximum(marked, 1)),
        "recall": percent(common / true),
        "area": round(float(np.median(marked / true)), 2),
    }


def percent(shares: NDArray[Any]) -> float:
    """The mean in percent."""
    return round(100 * float(shares.mean()), 1)


def main() -> None:
    """Cut both methods at their thresholds and print a row for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--maps", type=Path, default=Path("voc-climbs"))
    parser.add_argument("--scales", type=float, nargs="+", default=[0.5, 1.0, 2.0])
    parser.add_argument("--recorded", type=float, nargs="+", default=[0.5, 1.0, 2.0, 3.0])
    parser.add_argument("--iterations", type=int, default=6)
    parser.add_argument("--threshold", type=float)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()

    climb = {"iterations": arguments.iterations, "scales": arguments.recorded, "flip": False}
    folder = arguments.maps / "-".join(f"{name}{value}".replace(" ", "") for name, value in climb.items())
    groups = arguments.root.parent / "voc_imagenet_groups.json"
    job, dataset = Job(arguments.root, groups, folder, climb), VOC2012(arguments.root)
    ids, scales = eligible(dataset, groups, "train", arguments.limit), tuple(arguments.scales)
    record(job, ids, arguments.workers)

    steps, cut = [0, arguments.iterations], arguments.threshold
    cuts = thresholds(job, ids, scales, steps) if cut is None else dict.fromkeys(steps, cut)
    table = cases(job, ids, scales, cuts)
    sizes = []
    for low, high in zip((0.0, *EDGES), EDGES, strict=False):
        rows = table[(table[:, 0] > low) & (table[:, 0] <= high)]
        methods = zip(("cam", "advcam"), (rows[:, 1:4].T, rows[:, 4:7].T), strict=True)
        sizes.append({"share": [low, high], "cases": len(rows)} | {name: figures(*counts) for name, counts in methods})
    print(json.dumps({"pictures": len(ids), "thresholds": list(cuts.values()), "sizes": sizes}))


if __name__ == "__main__":
    main()
