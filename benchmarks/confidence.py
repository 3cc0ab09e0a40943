"""Which confidence, judged without truth, ranks pseudo-labels as their true IoU does.

    python benchmarks/confidence.py ROOT --limit 100 [--method advcam] [--thresholds 0.3 0.4]

ROOT holds Oxford-IIIT Pet or PASCAL VOC 2012 (see grouped.py). For each (picture, class) of seeds at a threshold t:

    share        the package's: the greatest share of the class's score in one connected part of its mask
    inside       the share of the class's score in its whole mask
    margin       mean over the mask of score minus the best competitor, other classes or t, over 1 - t
    stability    IoU of the masks of the class at 0.8 t and 1.2 t
    probability  what the classifier gives the class in this picture
    both         share times the square root of the probability

The last line printed is JSON: Spearman's rank correlation of each with the true IoU at each threshold, the mean IoU of
all, and that of the quarter with the lowest `share`.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from grouped import SCALES, Known, known_pictures
from numpy.typing import NDArray

from advcam.pseudo.labels import PseudoSettings, pseudo_label
from advcam.types import IGNORE, FloatArray

Floats = NDArray[np.float64]


def candidates(known: Known, threshold: float) -> dict[str, Floats]:
    """Each candidate for each of the C classes of a picture, (C,)."""
    maps = known.attribution.upsample()
    label = pseudo_label(known.attribution, PseudoSettings(threshold))
    numbers = [class_id + 1 for class_id in known.attribution.class_ids]
    masks = [label.mask == number for number in numbers]
    loose, strict = (known.attribution.label_mask(threshold * factor) for factor in (0.8, 1.2))
    return {
        "share": label.confidence,
        "inside": np.array([m[mask].sum() / max(m.sum(), 1e-9) for m, mask in zip(maps, masks, strict=True)]),
        "margin": np.array([margin(maps, index, mask, threshold) for index, mask in enumerate(masks)]),
        "stability": np.array([(strict == n).sum() / max((loose == n).sum(), 1) for n in numbers]),
        "probability": known.probabilities,
        "both": label.confidence * np.sqrt(known.probabilities),
    }


def margin(maps: FloatArray, index: int, mask: NDArray[np.bool_], threshold: float) -> float:
    """Mean lead of one class over the others and the background inside its mask, in [0, 1]."""
    if not mask.any():
        return 0.0
    rivals = np.delete(maps, index, axis=0)[:, mask].max(axis=0, initial=threshold)
    return float((maps[index][mask] - rivals).mean()) / (1 - threshold)


def true_iou(known: Known, threshold: float) -> Floats:
    """IoU of each class of a picture with its truth, (C,); ignored pixels do not count."""
    seed = known.attribution.label_mask(threshold)
    valid = known.truth != IGNORE
    found = []
    for class_id in known.attribution.class_ids:
        claimed, true = (seed == class_id + 1) & valid, known.truth == class_id + 1
        found.append((claimed & true).sum() / max((claimed | true).sum(), 1))
    return np.array(found)


def spearman(one: Floats, other: Floats) -> float:
    """Correlation of the ranks, those of equals averaged."""
    return float(np.corrcoef(ranks(one), ranks(other))[0, 1])


def ranks(values: Floats) -> Floats:
    """Ranks from 0, equals sharing their mean."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((count.cumsum() - (count + 1) / 2)[place])


def report(pictures: list[Known], threshold: float) -> dict[str, float]:
    """Figures at one threshold."""
    rows = [candidates(known, threshold) for known in pictures]
    found = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    truth = np.concatenate([true_iou(known, threshold) for known in pictures])
    doubtful = truth[np.argsort(found["share"])[: len(truth) // 4]]
    figures = {name: spearman(values, truth) for name, values in found.items()}
    figures |= {"mean_iou": float(truth.mean()), "mean_iou_of_doubtful_quarter": float(doubtful.mean())}
    return {name: round(value, 3) for name, value in figures.items()}


def main() -> None:
    """Score all candidates on one data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--method", default="cam")
    parser.add_argument("--thresholds", type=float, nargs="+", default=[0.3, 0.4])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pictures = list(known_pictures(arguments.root, arguments.method, arguments.limit))
    figures = {str(threshold): report(pictures, threshold) for threshold in arguments.thresholds}
    facts = {"pictures": len(pictures), "pairs": sum(len(known.attribution.class_ids) for known in pictures)}
    print(json.dumps({**facts, "method": arguments.method, "scales": SCALES, **figures}))


if __name__ == "__main__":
    main()
